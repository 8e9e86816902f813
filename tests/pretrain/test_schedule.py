import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pretrain.schedule import cosine, milestones

plans = st.tuples(st.integers(1, 400), st.floats(0, 0.99), st.floats(1e-6, 1.0), st.floats(0, 1)).map(
    lambda p: (p[0], round(p[0] * p[1]), p[2], p[3])
)


def rates(plan):
    steps, warmup, peak, final = plan
    return [cosine(step, steps, warmup, peak, final) for step in range(steps)]


@given(plans)
def test_it_rises_in_equal_steps_then_only_falls(plan):
    _, warmup, peak, final = plan
    found = rates(plan)
    assert found[:warmup] == pytest.approx([peak * (i + 1) / warmup for i in range(warmup)])
    assert all(a >= b for a, b in zip(found[warmup:], found[warmup + 1 :], strict=False))
    assert all(rate > 0 or final == 0 for rate in found[:-1])
    assert max(found) <= peak * (1 + 1e-12)
    assert all(rate >= final * peak * (1 - 1e-12) for rate in found[warmup:])


@given(plans)
def test_it_meets_peak_and_end(plan):
    steps, warmup, peak, final = plan
    assume(steps - warmup >= 2)
    found = rates(plan)
    assert found[warmup] == pytest.approx(peak)
    assert found[-1] == pytest.approx(final * peak, abs=1e-12)


def test_halfway_is_the_mean_of_both_ends():
    assert cosine(50, 101, 0, 2.0, 0.1) == pytest.approx((2.0 + 0.2) / 2)
    assert cosine(25, 101, 0, 1.0, 0.0) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


@given(st.integers(0, 10**6), st.integers(1, 30))
def test_milestones(steps, count):
    found = milestones(steps, count)
    assert found == sorted(set(found))
    assert found[0] == 0
    assert len(found) <= max(count, 1)
    if count > 1:
        assert found[-1] == steps
        assert all(b <= 2 * a + 1 for a, b in pairwise(found[1:]))  # log-spaced


def test_milestones_of_round_numbers():
    assert milestones(64, 4) == [0, 16, 32, 64]
    assert milestones(3, 7) == [0, 1, 2, 3]
    assert milestones(1, 7) == [0, 1]
