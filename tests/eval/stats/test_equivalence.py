import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.stats.equivalence import equivalence, seeds_needed
from eval.stats.intervals import crossed_interval, crossed_margins
from eval.stats.margins import Margins
from presight.errors import PresightError


def difference(rng, seeds, items, mean=0.0, seed_sd=0.0, item_sd=1.0, residual_sd=0.5):
    d = mean + seed_sd * rng.normal(size=(seeds, 1)) + item_sd * rng.normal(size=(1, items))
    return d + residual_sd * rng.normal(size=(seeds, items))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(3, 40), st.integers(0, 10**6), st.floats(-1, 1), st.floats(0.01, 2))
def test_verdicts_are_read_off_the_intervals(seeds, items, seed, mean, margin):
    d = difference(np.random.default_rng(seed), seeds, items, mean)
    found, inner, outer = (
        equivalence(d, 0 * d, margin),
        crossed_interval(d, 0 * d, level=0.9),
        crossed_interval(d, 0 * d),
    )
    assert (found.interval.low, found.interval.high) == pytest.approx((inner.low, inner.high))
    if max(abs(found.p - 0.05), abs(found.p_difference - 0.05)) > 1e-6:
        within = -margin < inner.low and inner.high < margin
        expected = "equivalent" if within else "different" if outer.excludes() else "unresolved"
        assert found.verdict == expected


def test_p_of_one_seed_is_that_of_two_one_sided_t_tests():
    from scipy import stats

    d = difference(np.random.default_rng(0), 1, 40, mean=0.1)
    lower = stats.ttest_1samp(d[0], -0.4, alternative="greater").pvalue
    upper = stats.ttest_1samp(d[0], 0.4, alternative="less").pvalue
    assert equivalence(d, 0 * d, 0.4).p == pytest.approx(max(lower, upper))
    outside = difference(np.random.default_rng(0), 1, 40, mean=1.0)
    assert equivalence(outside, 0 * outside, 0.4).p == pytest.approx(
        stats.ttest_1samp(outside[0], 0.4, alternative="less").pvalue
    )


@pytest.mark.parametrize("seeds", [1, 2, 3, 8])
@pytest.mark.parametrize(("seed_sd", "item_sd"), [(0.0, 1.0), (0.1, 0.5), (0.5, 0.3)])
def test_arms_a_margin_apart_are_rarely_called_equivalent(seeds, seed_sd, item_sd):
    rng, wrong, runs = np.random.default_rng(0), 0, 400
    for _ in range(runs):
        d = difference(rng, seeds, 50, mean=0.6, seed_sd=seed_sd * (seeds > 1), item_sd=item_sd)
        inner = crossed_interval(d, 0 * d, level=0.9)
        wrong += inner.low > -0.6 and inner.high < 0.6
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_a_difference_within_the_margin_is_equivalent_though_it_is_established():
    d = difference(np.random.default_rng(0), 4, 5000, mean=0.1)
    found = equivalence(d, 0 * d, 0.3)
    assert found.p_difference < 0.05
    assert found.verdict == "equivalent"
    assert equivalence(d, 0 * d, 0.05).verdict == "different"
    assert "equivalent within ±0.3" in found.sentence()
    assert "differ" in equivalence(d, 0 * d, 0.05).sentence()


def test_seeds_needed_resolve_as_often_as_promised():
    # Components as they are: residual and seed noise alone, so that more seeds do help.
    margins = Margins(0.0, 0.12**2 / 3 + 1 / 120, 1 / 120 + 0.3**2 / 40, 1 / 120, 2, 39, 40)
    needed = seeds_needed(margins, 0.25)
    assert needed is not None
    assert seeds_needed(margins, 0.25, most_seeds=needed) == needed
    assert seeds_needed(margins, 0.25, most_seeds=needed - 1) is None
    rng, runs, told = np.random.default_rng(0), 500, np.zeros(2)
    for _ in range(runs):
        d = difference(rng, needed, 40, seed_sd=0.12, item_sd=0.3, residual_sd=1)
        inner = crossed_interval(d, 0 * d, level=0.9)
        told += inner.low > -0.25 and inner.high < 0.25, crossed_interval(d + 0.25, 0 * d).excludes()
    assert (told / runs >= 0.75).all()
    assert (told / runs).min() <= 0.88  # and not with many to spare


def test_unresolved_comparisons_say_how_many_more_seeds():
    d = difference(np.random.default_rng(1), 3, 400, seed_sd=0.2, item_sd=0.3)
    found = equivalence(d, 0 * d, 0.15)
    assert found.verdict == "unresolved"
    assert found.more_seeds is not None
    assert found.more_seeds + 3 == seeds_needed(crossed_margins(d, 0 * d), 0.15)
    assert f"{found.more_seeds} more seed" in found.sentence()
    assert equivalence(d, 0 * d, 0.15, most_seeds=found.more_seeds + 2).more_seeds is None
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["interval"]["level"] == pytest.approx(0.9)


def test_no_number_of_seeds_makes_up_for_too_few_items():
    d = difference(np.random.default_rng(0), 3, 20, item_sd=1.0, residual_sd=0.01)
    found = equivalence(d, 0 * d, 0.3)
    assert (found.verdict, found.more_seeds) == ("unresolved", None)
    assert "no affordable number" in found.sentence()


def test_one_seed_cannot_say_how_many_more():
    d = difference(np.random.default_rng(0), 1, 20)
    found = equivalence(d, 0 * d, 0.3)
    assert (found.verdict, found.more_seeds) == ("unresolved", None)
    assert "one seed" in found.sentence()


def test_a_wider_margin_needs_no_more_seeds():
    d = difference(np.random.default_rng(1), 3, 400, seed_sd=0.2, item_sd=0.3)
    margins = crossed_margins(d, 0 * d)
    needed = [seeds_needed(margins, margin) for margin in (0.15, 0.2, 0.3, 0.6)]
    assert needed == sorted(needed, reverse=True)


def test_scores_without_variation_are_equivalent_only_within_the_rule_of_three():
    same = np.ones((3, 100))
    reach = 1 - 0.1 ** (1 / 100)
    assert equivalence(same, same, 1.01 * reach).verdict == "equivalent"
    found = equivalence(same, same, 0.99 * reach)
    assert (found.verdict, found.more_seeds) == ("unresolved", None)
    assert equivalence(same, same, 2.0).p == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: equivalence(np.zeros((2, 3)), np.zeros((2, 3)), 0), "margin"),
        (lambda: equivalence(np.zeros((2, 3)), np.zeros((2, 3)), math.nan), "margin"),
        (lambda: equivalence(np.zeros((2, 3)), np.zeros((2, 4)), 1), "same items"),
        (lambda: equivalence(np.zeros((2, 3)), np.zeros((2, 3)), 1, level=0.4), "above 0.5"),
        (lambda: seeds_needed(crossed_margins(np.eye(3), np.zeros((3, 3))), 1, power=0.01), "power"),
    ],
)
def test_faults_name_themselves(call, words):
    with pytest.raises(PresightError, match=words):
        call()
