import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.labels import model
from corpus.labels.scorer import Scorer

LABELS = ("a", "b", "c")
WORDS = ["the", "cat", "sat", "naïve", "漢字", "->", "):", "(", ")", "-", ">", "7", "_", "≤", "”", "x" * 300]
pieces = st.sampled_from(
    [*WORDS, "unknown", "The", "CAT", "dog7", "“quoted”", "a->b", "\n\t", "\xa0", "\u2028", "\ud800", "\0"]
)
texts = st.lists(st.one_of(pieces, st.text(max_size=6)), max_size=30).flatmap(
    lambda parts: st.sampled_from([" ", ""]).map(lambda glue: glue.join(parts))
)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    words = tuple(sorted(WORDS))
    return model.Weights(LABELS, words, rng.normal(size=(len(words), 3)), rng.normal(size=3))


@pytest.fixture(scope="module")
def trained(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.bin"
    weights.save(path)
    return model.load(path)


@given(st.lists(texts, max_size=6))
@settings(max_examples=300, deadline=None)
def test_logits_equal_the_slow_twins(weights, trained, given_texts):
    found = Scorer(trained, LABELS).logits(given_texts)
    expected = weights.logits([model.prepare(text) for text in given_texts])
    assert found.shape == (len(given_texts), 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # fastText keeps 32 bits of each weight


@given(st.lists(texts, min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_scores_are_fasttexts_own(trained, given_texts):
    scorer = Scorer(trained, LABELS)
    names, probabilities = trained.predict([model.prepare(text) for text in given_texts], k=-1)  # by falling score
    pairs = (dict(zip(*each, strict=True)) for each in zip(names, probabilities, strict=True))
    expected = [[row[model.PREFIX + label] for label in LABELS] for row in pairs]
    np.testing.assert_allclose(scorer.scores(given_texts), expected, atol=0.01)  # it looks its sigmoid up in a table


def test_a_score_does_not_depend_on_what_else_is_asked(trained):
    rng = np.random.default_rng(1)
    many = [" ".join(rng.choice([*WORDS, "other", "Thé"], 200)) for _ in range(150)]
    scorer = Scorer(trained, LABELS)
    whole = scorer.scores(many)
    assert np.array_equal(whole, np.concatenate([scorer.scores([text]) for text in many]))
    assert np.array_equal(whole[::-1], scorer.scores(many[::-1]))


def test_long_texts_and_none(trained):
    scorer = Scorer(trained, LABELS)
    assert scorer.scores([]).shape == (0, 3)
    long = "the cat " * 50_000
    np.testing.assert_allclose(scorer.logits([long, "the cat"])[0], scorer.logits(["cat the"])[0])
