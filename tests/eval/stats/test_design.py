"""What a mean of means is worth: plain arithmetic, simulation; how many seeds show an effect."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.stats.design import detectable, effective_items, seeds_to_see
from eval.vision.strata import Stratum, combined
from presight.errors import PresightError

SIZES = (30, 600)  # of two benchmarks that count alike


def test_a_plain_mean_is_worth_its_items():
    assert effective_items([1], [57]) == pytest.approx(57)
    assert effective_items([0.2] * 5, [40] * 5) == pytest.approx(200)
    assert effective_items([30 / 630, 600 / 630], SIZES) == pytest.approx(630)  # counted by items
    assert effective_items([1, 1], SIZES) == pytest.approx(4 / (1 / 30 + 1 / 600))


@given(st.lists(st.tuples(st.floats(0.01, 10), st.integers(1, 10_000)), min_size=1, max_size=20))
def test_it_is_worth_no_more_than_all_and_a_part_at_least_its_own_share(parts):
    weights, counts = zip(*parts, strict=True)
    found = effective_items(weights, counts)
    assert found <= sum(counts) * (1 + 1e-9)  # Cauchy and Schwarz
    assert found >= min(counts) * (1 - 1e-9)
    assert found == pytest.approx(effective_items([3 * each for each in weights], counts))
    share = sum(weights)
    assert found == pytest.approx(1 / sum((w / share) ** 2 / n for w, n in parts))  # its slow twin


@pytest.mark.parametrize(
    ("weights", "counts"), [([1], [1, 2]), ([0, 0], [3, 3]), ([], []), ([1, 1], [5, 0]), ([-1, 2], [5, 5])]
)
def test_what_has_no_worth(weights, counts):
    with pytest.raises(PresightError, match="weights"):
        effective_items(weights, counts)


def experiments(effect, seeds, count, item_sd=1.0, seed_sd=0.05):
    """Margins of differences between two arms on two benchmarks that count alike; items are as hard for every seed."""
    rng = np.random.default_rng(7)
    for _ in range(count):
        shift = effect + seed_sd * rng.standard_normal((seeds, 1))
        tables = [shift + item_sd * rng.standard_normal((1, size)) for size in SIZES]
        yield combined([Stratum(table, None, 0.5, np.zeros_like(table)) for table in tables])


def test_the_variance_of_a_mean_of_means_is_that_of_its_worth():
    worth = effective_items([1, 1], SIZES)
    seen = [margins.estimate for margins in experiments(0.0, 1, 4000, seed_sd=0.0)]
    assert np.var(seen) == pytest.approx(1 / worth, rel=0.08)  # standard error 2.2 %
    assert np.var(seen) > 2 / sum(SIZES)  # counted alike it would be five times too small


def test_the_smallest_detectable_effect_of_a_mean_of_means_is_seen_four_times_in_five():
    def power(items):
        effect = detectable(items, 3, 1.0, 0.05, 0.95, 0.8)
        return np.mean([margins.interval().excludes() for margins in experiments(effect, 3, 600)])

    assert 0.72 <= power(int(effective_items([1, 1], SIZES))) <= 0.9  # standard error 0.016
    assert power(sum(SIZES)) < 0.65  # which counts all items alike, and promises too much


@pytest.mark.parametrize("effect", [0.02, 0.03, 0.05, 0.2])
def test_the_fewest_seeds_are_found_one_by_one(effect):
    found = seeds_to_see(effect, 20_000, item_sd=0.6, seed_sd=0.02)
    slow = next(n for n in range(1, 101) if detectable(20_000, n, 0.6, 0.02, 0.95, 0.8) <= effect)
    assert found == slow > 1
    assert seeds_to_see(-effect, 20_000, item_sd=0.6, seed_sd=0.02) == found


def test_where_no_number_of_seeds_helps():
    assert seeds_to_see(0.01, 100, item_sd=0.6, seed_sd=0.001) is None  # items alone are too few
    assert seeds_to_see(0.001, 10**7, item_sd=0.1, seed_sd=0.05) is None  # more than a hundred
    assert seeds_to_see(0.1, 10_000, item_sd=0.6, seed_sd=0.0) == 1
    assert seeds_to_see(0.05, 1300, item_sd=0.59, seed_sd=0.0) == 1  # with two seeds the interval is longer
