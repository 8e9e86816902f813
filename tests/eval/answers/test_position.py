import numpy as np
import pytest
from scipy import stats

from eval.answers.choices import Answered, ask
from eval.answers.position import averaged, marginal_homogeneity, position_bias
from eval.answers.questions import Question, rotations
from eval.answers.reading import Reading
from eval.answers.scoring import Scorer, Scores
from presight.errors import PresightError


def shown(question, scores, said=None):
    n = len(question.options)
    return Answered(question, Scores(tuple(scores), (1,) * n, (1,) * n, (False,) * n), "…", Reading(said, "letter"))


def leaning(items, lean, seed=0, options=4):
    """Every option has a merit of its own, and what stands first gets `lean` on top."""
    rng, found = np.random.default_rng(seed), []
    for item in range(items):
        merit = rng.standard_normal(options)
        question = Question(str(item), "?", tuple("uvwx"[:options]), int(rng.integers(options)))
        merit[question.answer] += 1
        for turned in rotations(question):
            here = [merit[turned.original(place)] + lean * (place == 0) for place in range(options)]
            found.append(shown(turned, here, int(np.argmax(here))))
    return found


def test_a_leaning_to_the_first_place_is_seen_and_averaged_away():
    biased, fair = leaning(60, 3.0), leaning(60, 0.0)
    first = [each for each in biased if each.question.rotation == 0]
    found = position_bias(first, "sum")
    assert found.chosen[0] > 0.7
    assert found.distance == pytest.approx(np.abs(np.subtract(found.chosen, found.answers)).sum() / 2)
    assert found.p < 1e-6
    assert found.accuracy[0] > max(found.accuracy[1:])
    assert position_bias([each for each in fair if each.question.rotation == 0], "sum").p > 0.01
    whole = position_bias(biased, "reply")
    assert whole.answers == (0.25,) * 4
    for one, other in zip(averaged(biased, "sum"), averaged(fair, "sum"), strict=True):
        assert one.prediction == other.prediction
        assert other.always == other.correct  # without a leaning all rotations say the same
    right = [np.mean([each.correct for each in averaged(kind, "sum")]) for kind in (biased, fair)]
    assert right[0] == right[1] > np.mean([each.correct("sum") for each in biased])


def test_marginal_homogeneity_of_two_places_is_mcnemar_s():
    pairs = [(0, 1)] * 9 + [(1, 0)] * 4 + [(0, 0)] * 20 + [(1, 1)] * 7
    assert marginal_homogeneity(pairs, 2) == (pytest.approx((9 - 4) ** 2 / 13), 1)
    assert marginal_homogeneity([(0, 0), (1, 1)], 2) == (0, 0)
    assert marginal_homogeneity([(0, 1)] * 9 + [(1, 0)] * 4 + [(2, 2)] * 3, 4) == (pytest.approx(25 / 13), 1)


def test_marginal_homogeneity_is_the_quadratic_form_of_all_places_but_one():
    rng = np.random.default_rng(1)
    pairs = list(zip(*rng.integers(0, 4, (2, 80)).tolist(), strict=True))
    table = np.zeros((4, 4))
    for pair in pairs:
        table[pair] += 1
    d = (table.sum(1) - table.sum(0))[:3]
    s = (np.diag(table.sum(1) + table.sum(0)) - table - table.T)[:3, :3]
    assert marginal_homogeneity(pairs, 4) == (pytest.approx(d @ np.linalg.solve(s, d)), 3)


def test_bias_is_found_in_five_per_cent_of_models_without_any():
    rng, p = np.random.default_rng(2), []
    for _ in range(600):
        answers = rng.choice(3, 150, p=[0.5, 0.3, 0.2])
        guesses = np.where(rng.random(150) < 0.6, answers, rng.choice(3, 150, p=[0.5, 0.3, 0.2]))
        table = [
            shown(Question(str(n), "?", ("u", "v", "w"), int(answer)), np.eye(3)[guess])
            for n, (answer, guess) in enumerate(zip(answers, guesses, strict=True))
        ]
        p.append(position_bias(table, "sum").p)
    assert stats.binomtest(int((np.array(p) < 0.05).sum()), 600, 0.05).pvalue > 0.001


def test_replies_are_averaged_by_their_votes():
    question = Question("1", "?", ("u", "v", "w"), 1)
    turned = rotations(question)

    def replies(*options):
        return [
            shown(each, (0, 0, 0), None if x is None else each.options.index(x))
            for each, x in zip(turned, options, strict=True)
        ]

    found = averaged(replies("v", "w", "v"), "reply")[0]
    assert (found.prediction, found.answer, found.correct, found.always) == (1, 1, True, False)
    assert averaged(replies("v", "v", "v"), "reply")[0].always
    assert averaged(replies("v", "w", None), "reply")[0].prediction is None
    assert averaged(replies(None, None, None), "reply")[0].prediction is None
    assert averaged(replies(None, "w", None), "reply")[0].prediction == 2


def test_averages_need_every_rotation_once():
    found = leaning(2, 0.0)
    for some in (found[:-1], [*found, found[-1]]):
        with pytest.raises(PresightError, match="item 1: not asked in every rotation"):
            averaged(some, "sum")
    silent = [Answered(each.question, each.scores) for each in found]
    with pytest.raises(PresightError, match="reply: chooses nothing"):
        position_bias(silent, "reply")


def test_a_real_model_s_rotations_are_averaged_as_its_scores_are():
    from toy_models import tiny_lm
    from toy_tokenizer import byte_tokenizer

    scorer = Scorer(tiny_lm("llama"), byte_tokenizer())
    questions = [Question("a", "x?", ("u", "v", "w"), 2), Question("b", "y?", ("u", "v"), 0)]
    found = ask(scorer, questions, "cloze", replies=False, rotate=True)
    for question, each in zip(questions, averaged(found, "byte"), strict=True):
        plain = next(one for one in found if one.question == question)
        assert each.prediction == plain.choice("byte")  # a cloze prompt shows no options: no order to lean on
        assert each.answer == question.answer
