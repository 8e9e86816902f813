import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.vlm.packing import IGNORED, Rows, Sample, first_fit
from adapt.vlm.template import Tokens


def sample(length, learnt=(), place=None, picture=None, tokens=3, tag=0, start=10):
    marks = np.zeros(length, bool)
    marks[list(learnt)] = True
    return Sample.of(Tokens(np.arange(start, start + length), marks, place), picture, tokens, tag)


def test_a_picture_has_room_where_the_template_places_it():
    found = sample(5, learnt=(2, 3, 4), place=1, picture="key")
    assert found.ids.tolist() == [10, 0, 0, 0, 11, 12, 13, 14]
    assert found.shown.tolist() == [False, True, True, True, False, False, False, False]
    assert found.targets.tolist() == [IGNORED, IGNORED, IGNORED, IGNORED, 12, 13, 14, IGNORED]
    assert found.learnt == 3


def test_the_first_word_of_a_caption_is_learnt_from_the_picture():
    found = sample(3, learnt=(1, 2), place=1, picture="key")
    assert found.targets.tolist() == [IGNORED, IGNORED, IGNORED, 11, 12, IGNORED]


def test_without_its_picture_there_is_no_room_either():
    found = sample(3, learnt=(1, 2), place=1, picture=None)
    assert found.ids.tolist() == [10, 11, 12]
    assert found.targets.tolist() == [11, 12, IGNORED]
    assert not found.shown.any()


def test_what_is_cut_off_is_not_learnt():
    found = sample(6, learnt=(2, 3, 4, 5))
    assert found.cut(4).ids.tolist() == [10, 11, 12, 13]
    assert found.cut(4).targets.tolist() == [IGNORED, 12, 13, IGNORED]
    assert found.targets.tolist() == [IGNORED, 12, 13, 14, 15, IGNORED]


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(30, 50))
def test_every_one_is_in_one_row_and_none_overflows(lengths, context):
    rows = first_fit(lengths, context)
    assert sorted(each for row in rows for each in row) == list(range(len(lengths)))
    assert all(sum(lengths[each] for each in row) <= context for row in rows)
    # a row is only begun when nothing before it had room: any two rows together would overflow
    totals = [sum(lengths[each] for each in row) for row in rows]
    assert all(a + lengths[row[0]] > context for row, a in zip(rows[1:], totals, strict=False))


def test_first_fit_is_that():
    assert first_fit([5, 3, 2, 5, 4], 9) == [[0, 4], [3, 1], [2]]
    with pytest.raises(ValueError, match="10 tokens"):
        first_fit([10], 9)


def test_rows_hold_what_was_packed_and_padding_learns_nothing():
    first, second, third = sample(3, (1, 2), tag=1), sample(4, (3,), 2, "a", 2, 2, 20), sample(2, (1,), start=40)
    rows = Rows.of([[first, third], [second]])
    assert rows.ids.tolist() == [[10, 11, 12, 40, 41, 0], [20, 21, 0, 0, 22, 23]]
    assert rows.positions.tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]
    assert rows.targets.tolist() == [
        [11, 12, IGNORED, 41, IGNORED, IGNORED],
        [IGNORED, IGNORED, IGNORED, IGNORED, 23, IGNORED],
    ]
    assert rows.shown.tolist() == [[False] * 6, [False, False, True, True, False, False]]
    assert rows.tags.tolist() == [[1, 1, 1, 0, 0, 0], [2] * 6]
    assert rows.pictures == ("a",)


def test_no_rows_are_one_of_padding():
    rows = Rows.of([])
    assert rows.ids.shape == (1, 1)
    assert (rows.targets == IGNORED).all()
    assert rows.pictures == ()
