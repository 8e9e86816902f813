import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import segments
from presight.errors import PresightError

lengths = st.lists(st.integers(0, 40), max_size=12)


def slow_cut(lengths, longest):
    bounds, at = [0], 0
    for length in lengths:
        end = at + length
        while at < end:
            at = min(at + longest, end)
            bounds.append(at)
    return bounds


@given(lengths, st.integers(1, 20))
def test_cutting_equals_its_slow_twin(lengths, longest):
    assert segments.cut(np.cumsum(lengths), longest).tolist() == slow_cut(lengths, longest)


@given(lengths.filter(any), st.integers(1, 20), st.integers(1, 30), st.integers(0, 2**31))
def test_means_equal_the_mean_over_tokens(lengths, longest, item, seed):
    bounds = segments.cut(np.cumsum(lengths), longest)
    scores = np.random.default_rng(seed).random((len(bounds) - 1, 2)).astype(np.float16)
    by_token = np.repeat(scores.astype(np.float64), np.diff(bounds), axis=0)
    count = len(by_token) // item
    starts = np.arange(count) * item
    expected = [by_token[start : start + item].mean(axis=0) for start in starts]
    found = segments.means(scores, bounds, starts, starts + item)
    assert found.shape == (count, 2)
    np.testing.assert_allclose(found, np.reshape(expected, (count, 2)), atol=1e-9)


def test_an_index_that_is_not_the_shards_is_refused(tmp_path):
    shard = tmp_path / "00000.ds"
    index = tmp_path / "00000.ds.index"
    np.array([3, 9], dtype="<u8").tofile(index)
    assert segments.ends(shard, 9).tolist() == [3, 9]
    with pytest.raises(PresightError, match="does not index the 10 tokens"):
        segments.ends(shard, 10)
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(PresightError, match="does not index"):
        segments.ends(shard, 9)
    index.unlink()
    with pytest.raises(PresightError, match="does not index"):
        segments.ends(shard, 9)
