import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.stats.deltas import (
    Interval,
    PriorDelta,
    crossed_interval,
    mean_interval,
    minimum_detectable_effect,
    paired_bootstrap,
    paired_item_sd,
    prior_delta,
)
from eval.stats.intervals import crossed_bootstrap, crossed_margins
from presight.errors import PresightError

BENCHMARK = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "coverage.py"))
NAMES = dict(task="images", trained="norms", treatment_name="text", control_name="random", along="weights")
LABELS = {"mixture": "vision", "data": "images"}


def arms(seed: int, seeds: int = 4, items: int = 60, gain: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    hard = rng.uniform(0.1, 0.9, items)
    return (rng.random((seeds, items)) < hard + gain).astype(float), (rng.random((seeds, items)) < hard).astype(float)


def close(interval: Interval, low: float, high: float, tolerance: float = 1e-9) -> None:
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=tolerance)


# --- paired bootstrap --------------------


def slow_bootstrap(d, clusters, level, draws, seed):
    """Draw clusters by name, gather their items, average; then stretch the percentile limits."""
    from scipy import stats

    rng, names = np.random.default_rng(seed), np.unique(clusters)
    means = []
    for _ in range(draws):
        items = np.concatenate([d[clusters == name] for name in rng.choice(names, len(names))])
        means.append(items.mean())
    sizes = np.array([(clusters == name).sum() for name in names])
    df = sizes.sum() ** 2 / (sizes**2).sum() - 1
    tail, n = (1 - level) / 2, len(names)
    stretch = stats.t.isf(tail, df) / stats.norm.isf(tail) * math.sqrt(n / (n - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return d.mean() + stretch * (low - d.mean()), d.mean() + stretch * (high - d.mean())


@pytest.mark.parametrize("clustered", [False, True])
def test_bootstrap_agrees_with_a_loop(clustered):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, 40), rng.normal(0, 1, 40)
    clusters = rng.integers(0, 12, 40) if clustered else None
    slow = slow_bootstrap(a - b, np.arange(40) if clusters is None else clusters, 0.9, 4000, seed=1)
    close(paired_bootstrap(a, b, clusters, level=0.9, draws=20_000), *slow, tolerance=0.03)


def test_bootstrap_of_right_or_wrong_scores_is_near_the_t_interval():
    from scipy import stats

    (a,), (b,) = arms(1, seeds=1, items=500)
    d = a - b
    t = stats.t.interval(0.95, 499, d.mean(), stats.sem(d))
    close(paired_bootstrap(a, b), *t, tolerance=0.004)


def test_bootstrap_ignores_the_order_of_items_and_the_names_of_clusters():
    (a,), (b,) = arms(2, seeds=1)
    clusters, order = np.arange(60) // 5, np.random.default_rng(0).permutation(60)
    named = np.array([f"image {k}" for k in clusters])
    assert paired_bootstrap(a, b, clusters) == paired_bootstrap(a[order], b[order], named[order])


def test_bootstrap_answer_depends_on_the_seed_and_not_on_the_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    whole = paired_bootstrap(a, b, draws=500)
    assert paired_bootstrap(a, b, draws=500, seed=1) != whole
    monkeypatch.setattr("eval.stats.intervals._CHUNK", 400)
    assert paired_bootstrap(a, b, draws=500) == whole


@pytest.mark.parametrize("clustered", [False, True])
def test_bootstrap_coverage_with_few_units(clustered):
    rng, hits, runs = np.random.default_rng(5), 0, 500
    clusters = np.repeat(np.arange(12), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 8, 8]) if clustered else None
    for run in range(runs):
        d = rng.normal(size=12)[clusters] + rng.normal(size=46) if clustered else rng.normal(size=10)
        hits += not paired_bootstrap(d, 0 * d, clusters, draws=400, seed=run).excludes()
    assert 0.92 <= hits / runs <= 0.98


# --- seeds × items --------------------


def slow_margins(d):
    """Sums of squares by explicit loops over the two-way table."""
    seeds, items = d.shape
    grand = d.mean()
    ss_seed = sum(items * (d[s].mean() - grand) ** 2 for s in range(seeds))
    ss_item = sum(seeds * (d[:, i].mean() - grand) ** 2 for i in range(items))
    ss_residual = sum(
        (d[s, i] - d[s].mean() - d[:, i].mean() + grand) ** 2 for s in range(seeds) for i in range(items)
    )
    table = seeds * items
    return (
        ss_seed / (seeds - 1) / table,
        ss_item / (items - 1) / table,
        ss_residual / (seeds - 1) / (items - 1) / table,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(2, 9), st.integers(0, 10**6))
def test_margins_are_the_mean_squares_of_the_two_way_table(seeds, items, seed):
    d = np.random.default_rng(seed).normal(size=(seeds, items))
    margins = crossed_margins(d, 0 * d)
    assert (margins.seed, margins.item, margins.residual) == pytest.approx(slow_margins(d))
    together = crossed_margins(np.repeat(d, 3, axis=1), np.zeros((seeds, 3 * items)), np.repeat(np.arange(items), 3))
    assert (together.seed, together.item, together.residual) == pytest.approx(slow_margins(d))
    assert together.item_df == pytest.approx(items - 1)


def test_cluster_margin_is_the_jackknife_variance():
    rng = np.random.default_rng(0)
    d, clusters = rng.normal(size=(1, 30)), np.repeat(np.arange(6), [1, 2, 3, 5, 8, 11])
    without = [d[0, clusters != name].mean() for name in range(6)]
    expected = 5 / 6 * sum((mean - d.mean()) ** 2 for mean in without)
    assert crossed_margins(d, 0 * d, clusters).item == pytest.approx(expected)


def test_variance_is_unbiased_for_known_components():
    rng = np.random.default_rng(0)
    tables = 0.3 * rng.normal(size=(4000, 3, 1)) + rng.normal(size=(4000, 1, 8)) + 0.5 * rng.normal(size=(4000, 3, 8))
    found = np.mean([(m.seed, m.item, m.residual) for m in (crossed_margins(d, 0 * d) for d in tables)], axis=0)
    residual = 0.25 / 24
    assert found == pytest.approx([0.09 / 3 + residual, 1 / 8 + residual, residual], rel=0.05)


def test_one_margin_alone_gives_the_t_interval():
    from scipy import stats

    rng = np.random.default_rng(0)
    items = rng.normal(size=(1, 20))
    one = crossed_interval(items, 0 * items)
    close(one, *stats.t.interval(0.95, 19, items.mean(), stats.sem(items[0])))
    assert one.method == "items only: one seed"
    close(crossed_interval(np.repeat(items, 3, axis=0), np.zeros((3, 20))), one.low, one.high)
    seeds = rng.normal(size=(4, 1))
    both = crossed_interval(np.repeat(seeds, 20, axis=1), np.zeros((4, 20)))
    close(both, *stats.t.interval(0.95, 3, seeds.mean(), stats.sem(seeds[:, 0])))
    assert both.method == "seeds × items"
    assert crossed_margins(items, 0 * items).p_value() == pytest.approx(stats.ttest_1samp(items[0], 0).pvalue)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 10**6), st.booleans())
def test_symmetries(seeds, items, seed, clustered):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, seeds, items))
    clusters = rng.integers(0, 9, items) if clustered else None
    if clusters is not None:
        clusters[:2] = 0, 1
    found = crossed_interval(a, b, clusters)
    close(crossed_interval(b, a, clusters), -found.high, -found.low)
    order, rows = rng.permutation(items), rng.permutation(seeds)
    shuffled = None if clusters is None else clusters[order]
    close(crossed_interval(a[rows][:, order], b[rows][:, order], shuffled), found.low, found.high)
    close(crossed_interval(3 * a + 2, 3 * b, clusters), 3 * found.low + 2, 3 * found.high + 2)
    items_only = crossed_margins(a, b, clusters).items_only().interval()
    assert items_only.half_width <= found.half_width * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(2, 30), st.integers(0, 10**6), st.floats(0.01, 0.99), st.floats(-1, 1))
def test_p_and_interval_tell_the_same_story(seeds, items, seed, level, shift):
    d = np.random.default_rng(seed).normal(shift, 1, size=(seeds, items))
    margins = crossed_margins(d, 0 * d)
    p = margins.p_value()
    assert 0 <= p <= 1
    if abs(p - (1 - level)) > 1e-6:
        assert margins.interval(level).excludes() == (p < 1 - level)


def test_p_survives_overwhelming_evidence():
    d = np.random.default_rng(0).normal(5, 1, (1, 2000))
    assert crossed_margins(d, 0 * d).p_value() == 0


@pytest.mark.parametrize(("seeds", "most"), [(2, 1.0), (3, 0.99), (8, 0.975)])
@pytest.mark.parametrize(("seed_sd", "item_sd", "residual_sd"), [(0.05, 1, 0.5), (0.3, 1, 1), (1, 0.3, 1)])
def test_coverage_over_seeds_and_items(seeds, most, seed_sd, item_sd, residual_sd):
    rng, runs = np.random.default_rng(1), 600
    hits = 0
    for _ in range(runs):
        effects = seed_sd * rng.normal(size=(seeds, 1)) + item_sd * rng.normal(size=(1, 50))
        d = effects + residual_sd * rng.normal(size=(seeds, 50))
        hits += not crossed_interval(d, 0 * d).excludes()
    assert 0.93 <= hits / runs <= most


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_coverage_of_right_or_wrong_scores(seeds):
    rng, runs, hits = np.random.default_rng(2), 500, 0
    for _ in range(runs):
        ability = np.clip(0.03 * rng.normal(size=(seeds, 1)), -0.09, 0.09)
        chance = 0.3 + rng.uniform(-0.2, 0.2, (1, 100))
        tilt = rng.uniform(-0.05, 0.05, (1, 100))
        treatment = rng.random((seeds, 100)) < chance + ability / 2 + tilt
        control = rng.random((seeds, 100)) < chance - ability / 2 - tilt
        hits += not crossed_interval(treatment, control).excludes()
    assert hits / runs >= 0.93


def test_items_alone_do_not_cover_when_seeds_vary():
    rng, runs, hits = np.random.default_rng(3), 300, 0
    for _ in range(runs):
        d = 0.5 * rng.normal(size=(3, 1)) + rng.normal(size=(3, 100))
        hits += not crossed_margins(d, 0 * d).items_only().interval().excludes()
    assert hits / runs < 0.6


def test_scores_without_variation_are_not_certainty():
    same = np.ones((2, 50))
    found = crossed_interval(same, same)
    close(found, -(1 - 0.05 ** (1 / 50)), 1 - 0.05 ** (1 / 50))
    assert not found.excludes()
    assert "no variation" in found.method
    assert crossed_margins(same, same).p_value() == 1
    assert not crossed_interval(np.ones((1, 3)), np.zeros((1, 3))).excludes()
    certain = crossed_margins(np.ones((1, 6)), np.zeros((1, 6)))
    assert certain.interval().excludes()
    assert certain.p_value() == pytest.approx(0.5**6)
    close(mean_interval(np.ones((1, 20))), 0.05 ** (1 / 20), 1)
    assert paired_bootstrap([1] * 6, [0] * 6).low == pytest.approx(certain.interval().low)
    close(crossed_interval(np.full((2, 5), 0.25), np.zeros((2, 5))), 0.25, 0.25)
    assert crossed_margins(np.full((2, 5), 0.25), np.zeros((2, 5))).p_value() == 0


def test_mean_interval_is_that_against_nought_and_stays_a_share():
    treatment, _ = arms(0)
    close(mean_interval(treatment), *(getattr(crossed_interval(treatment, 0 * treatment), k) for k in ("low", "high")))
    assert mean_interval([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]).high == 1


def test_two_seeds_give_the_longer_of_the_two_t_intervals():
    from scipy import stats

    rng = np.random.default_rng(0)
    for seed_sd in (0.01, 1.0):
        d = seed_sd * rng.normal(size=(2, 1)) + rng.normal(size=(1, 30)) + 0.1 * rng.normal(size=(2, 30))
        over_seeds = stats.t.isf(0.025, 1) * stats.sem(d.mean(axis=1))
        over_items = stats.t.isf(0.025, 29) * stats.sem(d.mean(axis=0))
        assert crossed_interval(d, 0 * d).half_width == pytest.approx(max(over_seeds, over_items))


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01])
@pytest.mark.parametrize("ratio", [0.0, 0.02, 0.1, 0.5, 1, 3, 10, 100])
def test_two_seeds_keep_their_error_rate_at_every_level(alpha, ratio):
    from scipy import stats

    # Items known well and of variance 1, seeds of variance `ratio` estimated with one degree of freedom.
    seeds = ratio * stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, 1)
    half = np.maximum(stats.t.isf(alpha / 2, 1) * np.sqrt(seeds), stats.norm.isf(alpha / 2))
    error = (2 * stats.norm.sf(half / math.sqrt(1 + ratio))).mean()
    assert error <= 1.035 * alpha
    if alpha == 0.05:
        assert error >= 0.02


@pytest.mark.parametrize("clustered", [False, True])
def test_margins_of_another_size_are_those_it_has(clustered):
    rng, small, large = np.random.default_rng(0), [], []
    for _ in range(1500):
        seeds, items = 0.5 * rng.normal(size=(6, 1)), rng.normal(size=(1, 24))
        d = seeds + items + rng.normal(size=(6, 24))
        if clustered:
            d = np.repeat(d, 2, axis=1)
        names = np.arange(d.shape[1]) // 2 if clustered else None
        large.append(crossed_margins(d, 0 * d, names))
        part = d[:3, : d.shape[1] // 2]
        small.append(crossed_margins(part, 0 * part, None if names is None else names[: part.shape[1]]))
    mean = [np.mean([(m.seed, m.item, m.residual) for m in each], axis=0) for each in (small, large)]
    grown = replace(small[0], seed=mean[0][0], item=mean[0][1], residual=mean[0][2]).resized(6, 24)
    assert (grown.seed, grown.item, grown.residual) == pytest.approx(mean[1], rel=0.08)
    assert (grown.seed_df, grown.item_df, grown.count) == (5, 23, 24)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 20), st.integers(0, 10**6), st.floats(-1, 1), st.booleans())
def test_p_of_another_mean_is_that_of_shifted_scores(seeds, items, seed, null, same):
    d = np.zeros((seeds, items)) if same else np.random.default_rng(seed).normal(size=(seeds, items))
    found = crossed_margins(d + 0.37, 0 * d).p_value(null)  # a shift to 0 or 1 would make scores right or wrong
    assert found == pytest.approx(crossed_margins(d + 0.37 - null, 0 * d).p_value(), abs=1e-9)


def test_p_of_another_mean_without_variation_is_the_level_that_reaches_it():
    margins = crossed_margins(np.ones((2, 20)), np.ones((2, 20)))
    for null in (-0.3, 0.1, 0.4):
        p = margins.p_value(null)
        assert abs(null) == pytest.approx(margins.interval(1 - p).high)
    assert margins.p_value(2.0) == 0


# --- bootstrap over seeds and items --------------------


@pytest.mark.parametrize("clustered", [False, True])
def test_crossed_bootstrap_agrees_with_a_loop(clustered):
    from scipy import stats

    rng = np.random.default_rng(0)
    d = 0.3 * rng.normal(size=(6, 1)) + rng.normal(size=(1, 40)) + 0.2 * rng.normal(size=(6, 40))
    names = np.arange(40) // 4 if clustered else np.arange(40)
    units, moved = len(set(names.tolist())), []
    reach = stats.norm.isf(0.05)
    for_seeds = stats.t.isf(0.05, 5) / reach * math.sqrt(6 / 5)
    for_items = stats.t.isf(0.05, units - 1) / reach * math.sqrt(units / (units - 1))
    for _ in range(4000):
        rows = d[rng.integers(0, 6, 6)].mean()
        drawn = np.concatenate([d[:, names == name] for name in rng.integers(0, units, units)], axis=1).mean()
        moved.append(for_seeds * (rows - d.mean()) + for_items * (drawn - d.mean()))
    low, high = d.mean() + np.quantile(moved, [0.05, 0.95])
    close(crossed_bootstrap(d, 0 * d, names if clustered else None, level=0.9), low, high, tolerance=0.03)


def test_crossed_bootstrap_is_near_the_closed_form():
    rng = np.random.default_rng(1)
    for seed_sd, item_sd in ((0.3, 1.0), (0.02, 1.0), (1.0, 0.3)):
        d = seed_sd * rng.normal(size=(8, 1)) + item_sd * rng.normal(size=(1, 300)) + 0.3 * rng.normal(size=(8, 300))
        drawn, closed = crossed_bootstrap(d, 0 * d), crossed_interval(d, 0 * d)
        assert drawn.half_width == pytest.approx(closed.half_width, rel=0.12)
        assert drawn.estimate == closed.estimate


def test_crossed_bootstrap_of_scores_that_do_not_vary_is_the_rule_of_three():
    same = np.ones((5, 30))
    found, closed = crossed_bootstrap(same, same), crossed_interval(same, same)
    close(found, closed.low, closed.high)
    assert "no variation" in found.method


def test_crossed_bootstrap_covers():
    rng, hits = np.random.default_rng(3), 0
    for run in range(300):
        d = 0.15 * rng.normal(size=(8, 1)) + rng.normal(size=(1, 40)) + 0.3 * rng.normal(size=(8, 40))
        hits += not crossed_bootstrap(d, 0 * d, draws=400, seed=run).excludes()
    assert 0.92 <= hits / 300 <= 0.99


@pytest.mark.parametrize("seeds", [2, 3, 8])
@pytest.mark.parametrize("noise", ["seed none", "item dominates", "both", "seed dominates"])
@pytest.mark.parametrize("scores", ["normal", "right or wrong", "clustered"])
def test_coverage_grid(scores, noise, seeds):
    found = BENCHMARK["coverage"](scores, noise, seeds, runs=150)
    assert found >= 0.89  # three standard errors of 150 runs below 0.945
    if noise == "seed dominates":
        assert found < 1


# --- detectable effects --------------------


def noncentral_power(effect, se, df):
    from scipy import stats

    edge = stats.t.isf(0.025, df)
    return stats.nct.sf(edge, df, effect / se) + stats.nct.cdf(-edge, df, effect / se)


def test_detectable_effect_of_one_margin_is_the_noncentral_t():
    one = minimum_detectable_effect(30, item_sd=0.5)
    assert noncentral_power(one, 0.5 / math.sqrt(30), 29) == pytest.approx(0.8, abs=2e-3)
    runs = minimum_detectable_effect(10**9, 4, item_sd=0.5, seed_sd=0.02)
    assert noncentral_power(runs, 0.02 / 2, 3) == pytest.approx(0.8, abs=2e-3)
    assert minimum_detectable_effect(10_000, item_sd=0.5) == pytest.approx(0.005 * (1.95996 + 0.84162), rel=1e-3)


@pytest.mark.parametrize(("lasting", "fresh"), [(0.5, 0.0), (0.0, 0.5), (0.35, 0.357)])
def test_detectable_effect_is_seen_as_often_as_promised(lasting, fresh):
    rng, runs = np.random.default_rng(0), 600
    effect = minimum_detectable_effect(80, 3, item_sd=0.5, seed_sd=0.03)
    seen = 0
    for _ in range(runs):
        d = effect + 0.03 * rng.normal(size=(3, 1)) + lasting * rng.normal(size=(1, 80))
        d = d + fresh * rng.normal(size=(3, 80))
        seen += crossed_interval(d, 0 * d).excludes()
    assert seen / runs >= 0.76
    if not lasting:  # the worse case here, so the promise is tight
        assert seen / runs <= 0.84


def test_detectable_effect_moves_the_right_way():
    base = minimum_detectable_effect(500, 4, item_sd=0.5, seed_sd=0.01)
    assert minimum_detectable_effect(1000, 4, item_sd=0.5, seed_sd=0.01) < base
    assert minimum_detectable_effect(500, 8, item_sd=0.5, seed_sd=0.01) < base
    assert minimum_detectable_effect(500, 4, item_sd=0.5, seed_sd=0.03) > base
    assert minimum_detectable_effect(500, 4, item_sd=0.5, seed_sd=0.01, power=0.9) > base
    assert minimum_detectable_effect(500, item_sd=0.5, seed_sd=0.01) == math.inf
    assert minimum_detectable_effect(500, item_sd=0.0) == 0


def test_paired_item_sd_by_enumeration():
    accuracy, correlation = 0.3, 0.4
    both = accuracy**2 + correlation * accuracy * (1 - accuracy)
    law = {0: 1 - 2 * (accuracy - both), 1: accuracy - both, -1: accuracy - both}
    assert sum(law.values()) == pytest.approx(1)
    assert paired_item_sd(accuracy, correlation) ** 2 == pytest.approx(sum(p * d * d for d, p in law.items()))
    assert paired_item_sd(0.5, 1) == 0


# --- the record --------------------


@pytest.mark.parametrize("seeds", [1, 2, 4])
def test_prior_delta_gathers_the_same_numbers(seeds):
    treatment, control = arms(0, seeds)
    clusters = np.arange(60) // 3
    found = prior_delta(treatment, control, labels=LABELS, clusters=clusters, **NAMES)
    assert (found.n_items, found.n_clusters, found.n_seeds) == (60, 20, seeds)
    assert found.estimate == pytest.approx(treatment.mean() - control.mean())
    assert found.per_seed == pytest.approx((treatment - control).mean(axis=1))
    assert found.interval == crossed_interval(treatment, control, clusters)
    alone = crossed_interval((treatment - control).mean(axis=0)[None], np.zeros((1, 60)), clusters)
    close(found.these_models, alone.low, alone.high)
    assert found.established == (found.p < 0.05) == found.interval.excludes()
    assert 0 < found.mde < math.inf
    assert PriorDelta.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_sentences():
    treatment, control = arms(0, seeds=5, items=2000, gain=0.1)
    found = prior_delta(treatment, control, labels=LABELS, **NAMES)
    assert found.established
    assert found.sentence() == (
        "On images (norms trained; mixture=vision; data=images), weights=text scores "
        f"{100 * found.estimate:.1f} points of accuracy above weights=random (95 % interval "
        f"+{100 * found.interval.low:.1f} to +{100 * found.interval.high:.1f}; 5 seeds × 2000 items)."
    )
    assert "below" in prior_delta(control, treatment, labels=LABELS, **NAMES).sentence()
    unsure = prior_delta(*arms(3, seeds=2, items=20, gain=0), labels={}, clusters=np.arange(20) // 2, **NAMES)
    assert "is not established" in unsure.sentence()
    assert "in 10 clusters" in unsure.sentence()
    assert "Two seeds" in unsure.sentence()
    one = prior_delta(*arms(0, seeds=1, items=2000), labels={}, **NAMES)
    assert "1 seed × 2000 items" in one.sentence()
    assert "these two models only" in one.sentence()
    loss = prior_delta(treatment + 3, control, labels={}, metric="nats", **NAMES)
    assert "of nats above" in loss.sentence()


def test_records_that_are_not_ours_are_refused():
    record = prior_delta(*arms(0), labels=LABELS, **NAMES).to_json()
    with pytest.raises(PresightError, match="mde"):
        PriorDelta.from_json({k: v for k, v in record.items() if k != "mde"})
    with pytest.raises(PresightError, match="surprise"):
        PriorDelta.from_json(record | {"surprise": 1})
    with pytest.raises(PresightError, match="malformed"):
        PriorDelta.from_json(record | {"interval": 3})


# --- faults --------------------

good = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: paired_bootstrap([1, 2], [1, 2, 3]), "same items"),
        (lambda: paired_bootstrap([1], [0]), "at least two"),
        (lambda: paired_bootstrap([], []), "none of them empty"),
        (lambda: paired_bootstrap([1, np.nan], [0, 0]), "not finite"),
        (lambda: paired_bootstrap([1, 0], [0, 1], draws=5), "draws"),
        (lambda: paired_bootstrap(["a", "b"], [0, 0]), "numbers"),
        (lambda: crossed_interval(good, good[:1]), "control"),
        (lambda: crossed_interval(good[0], good[0]), "seeds, items"),
        (lambda: crossed_interval(good[:, :1], good[:, :1]), "at least two"),
        (lambda: crossed_interval(good, good, [0, 1]), "one id per item"),
        (lambda: crossed_interval(good, good, [0, 0, 0]), "clusters"),
        (lambda: crossed_interval(good, good, [0, 1, np.nan]), "an id"),
        (lambda: crossed_interval(good, good, level=95), "level"),
        (lambda: mean_interval(good, level=0), "level"),
        (lambda: minimum_detectable_effect(1, item_sd=1), "two items"),
        (lambda: minimum_detectable_effect(10, 0, item_sd=1), "one seed"),
        (lambda: minimum_detectable_effect(10, item_sd=-1), "item_sd"),
        (lambda: minimum_detectable_effect(10, item_sd=1, power=0.01), "power"),
        (lambda: paired_item_sd(1.5, 0), "accuracy"),
        (lambda: paired_item_sd(0.5, 2), "correlation"),
        (lambda: prior_delta(good + 60, good, labels={}, **NAMES), "percentages"),
        (lambda: crossed_bootstrap(np.zeros((4, 9)), np.zeros((4, 9))), "crossed_interval"),
        (lambda: crossed_bootstrap(np.zeros((5, 9)), np.zeros((5, 9)), draws=9), "draws"),
        (lambda: crossed_margins(good[:1], good[:1]).resized(2, 3), "one seed"),
    ],
)
def test_faults_name_themselves(call, words):
    with pytest.raises(PresightError, match=words):
        call()
