import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.mixing.rotation import MAX_ITEMS, floor_sum, golden_step, hits_below


def quotients(n, step):
    out = []
    while step:
        out.append(n // step)
        n, step = step, n % step
    return out


def slow_floor_sum(count, modulus, slope, offset):
    """One offset, in integers of any size."""
    total = 0
    while count:
        total += (count - 1) * count // 2 * (slope // modulus) + count * (offset // modulus)
        slope, offset = slope % modulus, offset % modulus
        count, offset = divmod(slope * count + offset, modulus)
        slope, modulus = modulus, slope
    return total


@given(st.integers(0, 60), st.integers(1, 50), st.integers(0, 120), st.lists(st.integers(0, 120), max_size=5))
def test_floor_sums_count_what_a_loop_counts(count, modulus, slope, offsets):
    loop = [sum((slope * j + offset) // modulus for j in range(count)) for offset in offsets]
    assert [slow_floor_sum(count, modulus, slope, offset) for offset in offsets] == loop
    assert floor_sum(count, modulus, slope, np.array(offsets, dtype=np.int64)).tolist() == loop


@st.composite
def large(draw):
    n = draw(st.integers(1, MAX_ITEMS) | st.integers(MAX_ITEMS - 50, MAX_ITEMS))
    step = draw(st.just(golden_step(n)) | st.integers(0, n) | st.sampled_from([n, max(0, n - 1), min(1, n)]))
    offsets = draw(st.lists(st.integers(0, n) | st.sampled_from([0, n]), min_size=1, max_size=30))
    return draw(st.integers(0, n) | st.just(n)), n, step, offsets


@given(large())
def test_floor_sums_are_exact_up_to_the_largest_rotation(case):
    count, n, step, offsets = case
    exact = [slow_floor_sum(count, n, step, offset) for offset in offsets]
    assert floor_sum(count, n, step, np.array(offsets)).tolist() == exact


@given(st.integers(1, 200), st.data())
def test_hits_below_counts_what_a_loop_counts(n, data):
    step = golden_step(n)
    count, bounds = data.draw(st.integers(0, n)), data.draw(st.lists(st.integers(0, n), min_size=1, max_size=5))
    loop = [sum(step * j % n < bound for j in range(count)) for bound in bounds]
    assert hits_below(np.array(bounds), count, n, step).tolist() == loop


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 30, 210, 2310, 510510, 223092870, MAX_ITEMS - 1, MAX_ITEMS])
def test_a_step_visits_every_residue_and_has_small_quotients(n):
    step = golden_step(n)
    assert 1 <= step <= max(1, n - 1)
    assert math.gcd(step, n) == 1
    if n > 100:
        # A golden fraction alone would sum to about log n / log φ; the search must come near it.
        assert sum(quotients(n, step)) <= 1.5 * math.log(n) / math.log((1 + 5**0.5) / 2)


@given(st.integers(1, 400))
def test_the_step_is_the_best_of_all_where_all_are_searched(n):
    best = min(
        (s for s in range(1, max(2, n)) if math.gcd(s, n) == 1),
        key=lambda s: (sum(quotients(n, s)), abs(s - round(n * 2 / (1 + 5**0.5))), s),
    )
    assert golden_step(n) == best


@pytest.mark.parametrize("n", [1, 2, 50, 997, 3000])
def test_no_interval_strays_far_at_any_time(n):
    """The worst over every interval and every prefix: the widest gap of hits below c minus t·c/n, over c."""
    step, bounds = golden_step(n), np.arange(n + 1)
    excess, worst = np.zeros(n + 1), 0.0
    for t in range(n):
        excess[step * t % n + 1 :] += 1
        excess -= bounds / n
        worst = max(worst, excess.max() - excess.min())
    assert worst < 5


def test_sizes_out_of_range_are_refused():
    for n in (0, MAX_ITEMS + 1):
        with pytest.raises(ValueError, match="items"):
            golden_step(n)
