import numpy as np
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import GopherRepetitionFilter
from datatrove.pipeline.filters import gopher_repetition_filter as twin
from hypothesis import given
from hypothesis import strategies as st

from corpus.clean.repetition import Repetition, again, commonest
from corpus.clean.runs import Hasher, runs
from corpus.clean.words import WORDS

# of equal length: datatrove glues the words of an n-gram together, and would take `a bc` for `ab c`
words = st.lists(st.sampled_from(["one", "two", "six", "ten", "..."]), min_size=1, max_size=60)
OURS, THEIRS = Repetition(), GopherRepetitionFilter(language=WORDS)


@given(words, st.integers(1, 10))
def test_counts_equal_datatroves(given_words, n):
    ends = np.cumsum([0, *map(len, given_words)])
    found = dict(runs(Hasher().words(given_words), n))
    if n in found:
        assert commonest(found[n], n, ends) == twin.find_top_duplicate(twin.get_n_grams(given_words, n))
        assert again(found[n], n, ends) == twin.find_all_duplicate(given_words, n)


def test_of_equally_common_ngrams_the_first_counts():
    given_words = ["a", "b", "long", "longer", "a", "b", "long", "longer"]
    grams = dict(runs(Hasher().words(given_words), 2))[2]
    assert commonest(grams, 2, np.cumsum([0, *map(len, given_words)])) == 2 * len("a b")


@given(st.lists(words.map(" ".join), max_size=8), st.sampled_from([" ", "\n", "\n\n"]))
def test_verdicts_equal_datatroves(lines, joint):
    document = Document(text=joint.join(lines), id="")
    assert OURS.filter(document) == THEIRS.filter(document)


@pytest.mark.parametrize("loops", [0, 3, 30])
def test_verdicts_on_longer_texts(loops):
    rng = np.random.default_rng(loops)
    reasons = set()
    for size in (100, 400, 1600):
        text = " ".join(f"{word:04d}" for word in rng.integers(0, size, size))
        text = f"{text} {(text[:60] + ' ') * loops}"
        document = Document(text=text, id="")
        assert OURS.filter(document) == THEIRS.filter(document)
        reasons.add(str(OURS.filter(document)))
    assert len(reasons) > (loops > 0)


def test_thresholds_are_passed_on():
    document = Document(text="a line that comes twice\n" * 3 + "and one that does not\n", id="")
    assert Repetition().filter(document) == (False, "dup_line_frac")
    lenient = {"dup_line_frac": None, "dup_line_char_frac": None, "dup_para_frac": None, "dup_para_char_frac": None}
    assert Repetition(**lenient, top_n_grams=(), dup_n_grams=((4, 0.5),)).filter(document) is True
    assert Repetition(**lenient, top_n_grams=(), dup_n_grams=((4, 0.1),)).filter(document)[1] == "duplicated_4_n_grams"
