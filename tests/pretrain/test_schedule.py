import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pretrain.schedule import learning_rate, milestones


def cosine(step, steps, warmup, peak, final):
    return learning_rate("cosine", step, steps, warmup=warmup, decay=0, peak=peak, final=final)


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


whole = st.tuples(st.integers(2, 300), st.floats(0, 0.3), st.floats(0.01, 0.99), st.floats(0, 1))


def rate(name, step, steps, warmup, decay, final):
    return learning_rate(name, step, steps, warmup=warmup, decay=decay, peak=1.0, final=final)


@given(whole)
def test_a_trunk_and_a_branch_are_a_wsd_run_cut_in_two(plan):
    steps, share, cooldown, final = plan
    decay, warmup = max(1, round(cooldown * steps)), round(share * steps)
    assume(warmup <= steps - decay)
    trunk = steps - decay
    expected = [rate("wsd", step, steps, warmup, decay, final) for step in range(steps)]
    parts = [rate("stable", step, trunk, warmup, 0, final) for step in range(trunk)]
    parts += [rate("decay", step, decay, 0, 0, final) for step in range(decay)]
    assert parts == pytest.approx(expected, abs=1e-15)
    assert expected[-1] == pytest.approx(final)
    assert all(a >= b for a, b in zip(expected[warmup:], expected[warmup + 1 :], strict=False))


@given(whole, st.integers(1, 500))
def test_a_trunk_does_not_know_how_long_it_is(plan, more):
    steps, share, _, final = plan
    warmup = round(share * steps)
    for step in range(steps):
        assert rate("stable", step, steps, warmup, 0, final) == rate("stable", step, steps + more, warmup, 0, final)
