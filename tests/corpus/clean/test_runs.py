import numpy as np
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from corpus.clean import runs as module
from corpus.clean.runs import Hasher, runs

texts = st.lists(st.text("ab", min_size=1, max_size=2), max_size=30)


def slow(words):
    """Hash of a run by the definition, in whole numbers."""
    total = 0
    for word in words:
        total = (total * int(module.MULTIPLIER) + xxhash.xxh64_intdigest(word)) % 2**64
    return total


@given(texts, st.integers(1, 12))
def test_runs_equal_the_slow_twin(words, longest):
    hasher = Hasher()
    found = {length: hashes.tolist() for length, hashes in runs(hasher.words(words), longest)}
    assert found == {
        length: [slow(words[i : i + length]) for i in range(len(words) - length + 1)]
        for length in range(1, min(longest, len(words)) + 1)
    }
    if words:
        assert hasher.run(words) == slow(words)


@given(st.lists(texts.map(tuple), max_size=30))
def test_runs_are_equal_if_their_words_are(many):
    same = {}
    for words in filter(None, many):
        same.setdefault((len(words), Hasher().run(words)), set()).add(words)
    assert all(len(each) == 1 for each in same.values())


def test_a_million_runs_of_few_words_do_not_collide():
    words = np.random.default_rng(0).integers(0, 50, 200_000)
    *_, (length, hashes) = runs(Hasher().words([str(word) for word in words]), 12)
    distinct = len(np.unique(np.lib.stride_tricks.sliding_window_view(words, length), axis=0))
    assert len(np.unique(hashes)) == distinct


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 10)
    hasher = Hasher()
    words = [f"w{i % 25}" for i in range(100)]
    assert hasher.words(words).tolist() == [xxhash.xxh64_intdigest(word) for word in words]
    assert len(hasher) <= 10
