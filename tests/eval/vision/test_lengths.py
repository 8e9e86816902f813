import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.stats.intervals import mean_interval
from eval.vision.lengths import EDGES, at_length, bins

cases = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 300)), min_size=4, max_size=40)


@given(cases, st.integers(1, 200))
def test_the_mean_of_the_values_is_the_line_at_that_length(case, reference):
    sound, words = np.array(case, float).T
    found = at_length(sound, words, reference)
    x = np.log1p(words)
    if np.ptp(x) < 1e-6:
        assert found.values.tolist() == sound.tolist()
        return
    slope, start = np.polyfit(x, sound, 1)
    assert found.values.mean() == pytest.approx(start + slope * np.log1p(reference), abs=1e-8)
    assert found.slope == pytest.approx(slope * np.log(2), abs=1e-8)


def test_the_interval_is_that_of_the_regression():
    """The spread of the values is the sandwich's standard error of the line's height, here that of the bootstrap."""
    rng = np.random.default_rng(0)
    words = np.exp(rng.normal(3, 0.8, 400)).round()
    sound = (rng.random(400) < 0.1 + 0.15 * np.log1p(words) / 2).astype(float)
    found = at_length(sound, words, 60)
    drawn = []
    for _ in range(2000):
        rows = rng.integers(0, 400, 400)
        drawn.append(at_length(sound[rows], words[rows], 60).values.mean())
    assert found.values.std(ddof=1) / 20 == pytest.approx(np.std(drawn), rel=0.08)
    assert mean_interval(found.values[None]).half_width == pytest.approx(1.966 * np.std(drawn), rel=0.08)


def test_models_that_differ_in_length_alone_are_equal_at_one_length():
    rng = np.random.default_rng(1)
    heights, plain = [], []
    for centre in (2.5, 3.5):
        words = np.exp(rng.normal(centre, 0.7, 20_000)).round()
        sound = rng.random(20_000) < np.clip(0.12 * np.log1p(words), 0, 1)
        heights.append(at_length(sound, words, 20).values.mean())
        plain.append(sound.mean())
    assert plain[1] - plain[0] > 0.1
    assert abs(heights[1] - heights[0]) < 0.01


def test_a_length_that_is_hardly_seen_is_said_to_be():
    words = np.arange(10, 50)
    sound = (words % 2).astype(float)
    assert not at_length(sound, words, 30).extrapolated
    assert at_length(sound, words, 5).extrapolated
    assert at_length(sound, words, 100).extrapolated
    assert at_length([1.0, 0.0], [7, 7], 8).extrapolated
    assert not at_length([1.0, 0.0], [7, 7], 7).extrapolated


@given(cases)
def test_bins_hold_everything_once(case):
    sound, words = np.array(case, float).T
    found = bins(sound, words)
    assert [each["words"][0] for each in found] == list(EDGES)
    assert sum(each["items"] for each in found) == len(case)
    for each in found:
        low, high = each["words"]
        inside = (words >= low) & (words <= (np.inf if high is None else high))
        assert each["items"] == inside.sum()
        assert each["sound"] == (pytest.approx(sound[inside].mean()) if inside.any() else None)
