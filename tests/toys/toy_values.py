"""Toy stages drawn by hypothesis, and what every fault must be."""

import string

import toys
from hypothesis import strategies as st

from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled

finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)  # no -0.0: it equals 0.0
words = st.text(string.printable + "äß→$", max_size=8)
numbers = st.builds(toys.Number, value=finite)
sums = st.builds(toys.Add, left=numbers, right=finite | numbers, steps=st.integers(0, 9))
labels = st.dictionaries(words, words, max_size=2).map(FrozenMap)
bags = st.builds(
    toys.Bag,
    flag=st.booleans(),
    whole=st.integers(),
    ratio=finite,
    word=words,
    maybe=st.none() | finite,
    either=st.integers() | words,
    words=st.lists(words, max_size=3).map(tuple),
    shares=st.dictionaries(words.filter(lambda word: not word.startswith("$")), finite, max_size=3),
    deep=st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), max_size=2).map(tuple), max_size=2),
    anything=st.none() | words | st.tuples(st.integers(), words),
    start=st.none() | numbers | sums,
    gathered=st.lists(st.builds(Labelled, labels, numbers | sums), max_size=2).map(tuple),
)


def one_sentence(error: PresightError) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    return text
