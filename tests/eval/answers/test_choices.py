import json
import math

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from sklearn.metrics import cohen_kappa_score
from toy_models import tiny_lm
from toy_tokenizer import byte_tokenizer

from eval.answers.choices import Answered, Summary, accuracy, ask, kappa, shares
from eval.answers.generation import generate
from eval.answers.questions import Question
from eval.answers.reading import Reading, read_choice
from eval.answers.scoring import Request, Scorer, Scores
from presight.errors import PresightError

TOKENIZER = byte_tokenizer()
SHORT = [Question(str(n), f"{n}?", ("u", "no", "g")[: 2 + n % 2], n % 2, f"c{n // 2}") for n in range(4)]


def answered(item, choice, said, answer, cluster=None, options=("u", "v", "w")):
    """A question whose first-rate option by every normalisation is `choice`, and a reply read as `said`."""
    n = len(options)
    scores = Scores(tuple(-1.0 - (place != choice) for place in range(n)), (1,) * n, (1,) * n, (False,) * n)
    reading = Reading(said, "letter") if isinstance(said, int) else Reading(None, said)
    return Answered(Question(item, "?", options, answer, cluster), scores, "…", reading)


def small_ask(**more):
    scorer = Scorer(tiny_lm("gpt2"), TOKENIZER, empty="?:")
    return scorer, ask(scorer, SHORT, tokens=3, **more)


def test_questions_are_scored_and_replied_to_with_the_same_prompt():
    scorer, found = small_ask()
    assert [each.question for each in found] == SHORT
    for each in found:
        question = each.question
        alone = scorer.score([Request(question.text(), tuple(f" {x}" for x in "ABC"[: len(question.options)]))])[0]
        assert np.allclose(each.scores.by("pmi"), alone.by("pmi"), atol=1e-5)
        assert each.reply == generate(scorer.model, TOKENIZER, [question.text()], tokens=3)[0]
        assert each.reading == read_choice(each.reply, question.options)
    cloze = ask(scorer, SHORT, "cloze", replies=False)
    assert [len(each.scores.bytes) for each in cloze] == [2, 3, 2, 3]
    assert [each.scores.bytes for each in cloze][1] == (1, 2, 1)
    assert all(each.reply is None and each.choice("reply") is None for each in cloze)


def test_rotations_are_asked_one_after_the_other():
    found = small_ask(rotate=True, replies=False)[1]
    assert [(each.question.item, each.question.rotation) for each in found] == [
        *(("0", 0), ("0", 1), ("1", 0), ("1", 1), ("1", 2), ("2", 0), ("2", 1), ("3", 0), ("3", 1), ("3", 2)),
    ]


def test_records_go_into_parquet_and_come_back(tmp_path):
    found = small_ask()[1]
    rows = [each.record("pmi") for each in found]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "items.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "items.parquet").to_pylist() == rows
    for row, each in zip(rows, found, strict=True):
        assert (row["item"], row["cluster"], row["label"]) == (
            each.question.item,
            each.question.cluster,
            each.question.answer,
        )
        assert row["prediction"] == each.scores.choice("pmi") == row["by_pmi"]
        assert row["correct"] == (row["prediction"] == row["label"])
        odds = np.exp(row["logprob"])
        assert row["confidence"] == pytest.approx(odds[row["label"]] / odds.sum())
        assert row["by_reply"] == each.reading.choice
        assert row["tier"] == each.reading.tier
    alone = Answered(SHORT[0], found[0].scores).record("sum")
    assert alone["tier"] is None
    assert "by_reply" not in alone


EIGHT = [
    answered("1", 0, 0, 0),
    answered("2", 1, 1, 0),
    answered("3", 2, 2, 2),
    answered("4", 0, 1, 1),
    answered("5", 0, 0, 0, options=("u", "v")),
    answered("6", 1, "abstained", 1, options=("u", "v")),
    answered("7", 1, "ambiguous", 2),
    answered("8", 2, "none", 2),
]


def test_a_summary_counts_what_the_records_say():
    found = Summary.of(EIGHT)
    assert (found.items, found.shown) == (8, 8)
    assert found.accuracy["sum"].estimate == 5 / 8
    assert found.accuracy["reply"].estimate == 4 / 8  # what is not parsed is wrong
    assert set(found.accuracy) == {"sum", "token", "byte", "reply"}
    assert found.accuracy["sum"].low < 5 / 8 < found.accuracy["sum"].high
    assert found.chance == pytest.approx((6 / 3 + 2 / 2) / 8)
    assert found.parsed == 5 / 8
    assert found.tiers == {"letter": 5, "abstained": 1, "ambiguous": 1, "none": 1}
    assert found.abstained == 1 / 8
    assert found.agreement == 4 / 5
    assert found.kappa == pytest.approx(cohen_kappa_score([0, 1, 2, 1, 0], [0, 1, 2, 0, 0]))
    assert found.letters["sum"] == (3 / 8, 3 / 8, 2 / 8)
    assert found.letters["reply"] == (2 / 5, 2 / 5, 1 / 5)
    assert found.answers == (3 / 8, 2 / 8, 3 / 8)
    assert json.loads(json.dumps(found.to_json()))["abstained"] == 1 / 8


def test_without_replies_there_is_nothing_to_agree_with():
    found = Summary.of([Answered(each.question, each.scores) for each in EIGHT])
    assert (found.parsed, found.agreement, found.kappa, found.abstained) == (None,) * 4
    assert "reply" not in found.accuracy
    unread = Summary.of([answered("1", 0, "none", 0), answered("2", 0, "none", 1)])
    assert (unread.parsed, unread.agreement, unread.letters["reply"]) == (0, None, (0, 0, 0))


def test_rotations_of_a_question_are_one_question():
    twice = [*EIGHT, *(Answered(each.question.rotated(1), each.scores, "…", each.reading) for each in EIGHT)]
    found, scores = Summary.of(twice), {}
    assert (found.items, found.shown) == (8, 16)
    for each in twice:
        scores.setdefault(each.question.item, []).append(each.correct("sum"))
    means = [np.mean(each) for each in scores.values()]
    assert found.accuracy["sum"].estimate == pytest.approx(np.mean(means))
    reach = 2.3646242510 * np.std(means, ddof=1) / math.sqrt(8)  # t of 7 degrees of freedom
    assert found.accuracy["sum"].half_width == pytest.approx(reach)


def test_clusters_make_the_interval_of_accuracy_longer():
    rights = [1] * 10 + [0] * 10
    plain = [answered(str(n), 0, 0, 0 if right else 1) for n, right in enumerate(rights)]
    grouped = [answered(str(n), 0, 0, 0 if right else 1, f"g{n // 2}") for n, right in enumerate(rights)]
    assert accuracy(grouped, "sum").half_width > 1.3 * accuracy(plain, "sum").half_width
    assert "clusters" in accuracy(grouped, "sum").method
    with pytest.raises(PresightError, match="cluster: some questions have one and some have none"):
        accuracy([*plain, grouped[0]][1:], "sum")
    with pytest.raises(PresightError, match="answered: no question"):
        Summary.of([])


def test_kappa_is_none_where_chance_explains_everything():
    assert kappa([(0, 0), (0, 0)]) is None
    assert kappa([(0, 0), (1, 1)]) == 1
    assert kappa([(0, 1), (1, 0)]) == -1
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = rng.integers(0, 4, (2, 30)).tolist()
        assert kappa(list(zip(first, second, strict=True))) == pytest.approx(cohen_kappa_score(first, second))


def test_shares_leave_out_what_is_no_choice():
    assert shares([0, 2, None, 2], 3) == pytest.approx((1 / 3, 0, 2 / 3))
    assert shares([None], 2) == (0, 0)


def test_chance_of_rotated_questions_is_that_of_always_one_place():
    """Who always says A is right once in every rotation of a question, however many options it has."""
    questions = [Question("two", "?", ("u", "v"), 0), Question("four", "?", ("u", "v", "w", "x"), 2)]
    shown = [question.rotated(places) for question in questions for places in range(len(question.options))]
    said = [answered(each.item, 0, "none", each.answer, options=each.options) for each in shown]
    summary = Summary.of(said)
    assert summary.chance == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert summary.accuracy["sum"].estimate == pytest.approx(summary.chance)
