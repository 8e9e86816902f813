import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.stats.intervals import crossed_interval, crossed_margins
from eval.stats.margins import Groups
from eval.stats.nested import Components, nested_delta
from presight.errors import PresightError


def table(rng, shape, pretrain=0.0, adapt=0.0, items=0.0, pretrain_items=0.0, adapt_items=0.0):
    """Scores [pretraining seeds, adaptation seeds, items] with these standard deviations."""
    runs, repeats, n = shape
    return (
        pretrain * rng.normal(size=(runs, 1, 1))
        + adapt * rng.normal(size=(runs, repeats, 1))
        + items * rng.normal(size=(1, 1, n))
        + pretrain_items * rng.normal(size=(runs, 1, n))
        + adapt_items * rng.normal(size=shape)
    )


def slow_components(d):
    """Mean squares of the nested table by explicit sums, each share of the mean's variance from their expectations."""
    runs, repeats, n = d.shape
    size, grand = d.size, d.mean()
    run, repeat, item, cell = d.mean(axis=(1, 2)), d.mean(axis=2), d.mean(axis=(0, 1)), d.mean(axis=1)
    ms_run = sum(repeats * n * (run[p] - grand) ** 2 for p in range(runs)) / (runs - 1)
    ms_repeat = sum(n * (repeat[p, a] - run[p]) ** 2 for p in range(runs) for a in range(repeats))
    ms_repeat /= runs * (repeats - 1)
    ms_item = sum(runs * repeats * (item[i] - grand) ** 2 for i in range(n)) / (n - 1)
    ms_run_item = sum(repeats * (cell[p, i] - run[p] - item[i] + grand) ** 2 for p in range(runs) for i in range(n))
    ms_run_item /= (runs - 1) * (n - 1)
    ms_rest = sum(
        (d[p, a, i] - repeat[p, a] - cell[p, i] + run[p]) ** 2
        for p in range(runs)
        for a in range(repeats)
        for i in range(n)
    ) / (runs * (repeats - 1) * (n - 1))
    shares = (ms_run - ms_repeat - ms_run_item + ms_rest, ms_repeat - ms_rest, ms_item - ms_run_item)
    return [max(share, 0) / size for share in (*shares, ms_run_item - ms_rest, ms_rest)]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(2, 3), st.integers(2, 6), st.integers(0, 10**6))
def test_components_are_those_of_the_mean_squares(runs, repeats, items, seed):
    d = table(np.random.default_rng(seed), (runs, repeats, items), 1, 1, 1, 1, 1)
    found = Components.of(d, Groups.of(items, None))
    assert list(found.shares.values()) == pytest.approx(slow_components(d))


def test_components_are_unbiased_before_they_are_cut():
    rng, sds = np.random.default_rng(0), dict(pretrain=2.0, adapt=1.5, items=3.0, pretrain_items=1.5, adapt_items=1.0)
    shape = (6, 4, 12)
    found = np.mean(
        [list(Components.of(table(rng, shape, **sds), Groups.of(12, None)).shares.values()) for _ in range(1000)],
        axis=0,
    )
    counts = np.array([6, 24, 12, 72, 288])
    assert found == pytest.approx(np.array(list(sds.values())) ** 2 / counts, rel=0.06)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(3, 20), st.integers(0, 10**6), st.booleans())
def test_one_adaptation_seed_is_the_crossed_design(runs, items, seed, clustered):
    rng = np.random.default_rng(seed)
    treatment, control = rng.normal(size=(2, runs, items))
    clusters = np.arange(items) // 2 if clustered else None
    found = nested_delta(treatment[:, None], control[:, None], clusters, level=0.9)
    assert found.interval == crossed_interval(treatment, control, clusters, level=0.9)
    margins = crossed_margins(treatment, control, clusters)
    assert (found.p, found.mde) == (margins.p_value(), margins.detectable(0.9))
    assert found.these_runs == margins.items_only().interval(0.9)


def test_one_pretraining_seed_speaks_of_itself():
    rng = np.random.default_rng(0)
    d = table(rng, (1, 4, 30), adapt=0.3, items=1, adapt_items=1)
    found, expected = nested_delta(d, 0 * d), crossed_interval(d[0], 0 * d[0])
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    assert "one pretraining seed" in found.interval.method
    assert found.components is None


@pytest.mark.parametrize("shape", [(2, 3, 40), (3, 4, 40), (6, 2, 40)])
@pytest.mark.parametrize(
    "sds",
    [
        dict(pretrain=0.3, adapt=0.2, items=1.0, pretrain_items=0.3, adapt_items=1.0),
        dict(pretrain=1.0, adapt=0.3, items=0.3, adapt_items=0.3),
        dict(adapt=0.5, items=0.3, adapt_items=0.5),
    ],
)
def test_coverage_over_both_kinds_of_seeds(shape, sds):
    rng, runs = np.random.default_rng(1), 500
    hits = 0
    for _ in range(runs):
        d = table(rng, shape, **sds).mean(axis=1)
        hits += not crossed_interval(d, 0 * d).excludes()
    assert hits / runs >= 0.925
    d = table(rng, shape, **sds)  # the interval tried above is the one that is given
    assert nested_delta(d, 0 * d).interval == crossed_interval(d.mean(axis=1), 0 * d.mean(axis=1))


def test_adaptations_counted_as_runs_do_not_cover():
    rng, runs, hits = np.random.default_rng(2), 300, 0
    for _ in range(runs):
        d = table(rng, (3, 5, 50), pretrain=0.5, adapt=0.1, items=0.5, adapt_items=0.5).reshape(15, 50)
        hits += not crossed_interval(d, 0 * d).excludes()
    assert hits / runs < 0.8


def test_these_runs_hold_the_mean_of_the_runs():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(120):
        effects = rng.normal(size=(4, 1, 1))
        d = effects + table(rng, (4, 3, 40), adapt=0.3, items=0.5, adapt_items=0.5)
        hits += not nested_delta(d, 0 * d).these_runs.excludes(float(effects.mean()))
    assert hits / 120 >= 0.9


@pytest.mark.parametrize("source", ["pretrain", "adapt", "items", "pretrain_items", "adapt_items"])
def test_the_source_of_the_noise_is_named(source):
    sds = dict.fromkeys(["pretrain", "adapt", "items", "pretrain_items", "adapt_items"], 0.01) | {source: 3.0}
    d = table(np.random.default_rng(0), (16, 6, 30), **sds)
    assert Components.of(d, Groups.of(30, None)).dominant == source


def test_without_variation_nothing_dominates():
    assert Components.of(np.ones((3, 2, 5)), Groups.of(5, None)).dominant == "none"


def test_expected_margins_of_the_same_design_are_the_ones_found():
    d = table(np.random.default_rng(0), (4, 3, 50), 5, 1, 5, 3, 1)
    components = Components.of(d, Groups.of(50, None))
    expected, found = components.margins(4, 3, 50), crossed_margins(d.mean(axis=1), 0 * d[:, 0])
    assert (expected.seed, expected.item, expected.residual) == pytest.approx((found.seed, found.item, found.residual))
    assert (expected.seed_df, expected.item_df) == (found.seed_df, found.item_df)


def test_expected_margins_of_another_design_are_those_it_has():
    sds = dict(pretrain=1.0, adapt=0.8, items=2.0, pretrain_items=0.9, adapt_items=1.0)
    counts = dict(pretrain=4, adapt=12, items=30, pretrain_items=120, adapt_items=360)
    shares = {name: sd**2 / counts[name] for name, sd in sds.items()}
    expected = Components(**shares, design=(4, 3, 30), item_df=29).margins(6, 2, 20)
    rng, found = np.random.default_rng(0), []
    for _ in range(1500):
        d = table(rng, (6, 2, 20), **sds).mean(axis=1)
        margins = crossed_margins(d, 0 * d)
        found.append((margins.seed, margins.item, margins.residual))
    assert (expected.seed, expected.item, expected.residual) == pytest.approx(np.mean(found, axis=0), rel=0.06)


def test_purchases_help_where_the_noise_is():
    rng = np.random.default_rng(0)
    runs = Components.of(
        table(rng, (4, 3, 60), pretrain=1, items=0.1, adapt_items=0.1), Groups.of(60, None)
    ).purchases()
    assert runs["one more pretraining seed"] < 0.9 * runs["as it is"]
    assert runs["twice the items"] == pytest.approx(runs["as it is"], rel=0.05)
    items = Components.of(table(rng, (4, 3, 60), pretrain=0.01, items=3), Groups.of(60, None)).purchases()
    assert items["twice the items"] < 0.8 * items["as it is"]
    assert items["one more pretraining seed"] > 0.9 * items["as it is"]
    single = Components.of(table(rng, (4, 1, 60), pretrain=1), Groups.of(60, None)).purchases()
    assert "one more adaptation seed" not in single


def test_record_is_plain():
    d = table(np.random.default_rng(0), (3, 2, 20), pretrain=1, items=1, adapt_items=1)
    record = json.loads(json.dumps(nested_delta(d, 0 * d, np.arange(20) // 2).to_json(), allow_nan=False))
    assert record["components"]["design"] == [3, 2, 10]
    assert record["components"]["dominant"] == "pretrain"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nested_delta(np.zeros((2, 3)), np.zeros((2, 3))), "adaptation seeds"),
        (lambda: nested_delta(np.zeros((2, 1, 3)), np.zeros((2, 2, 3))), "same items"),
        (lambda: nested_delta(np.zeros((2, 1, 1)), np.zeros((2, 1, 1))), "at least two"),
        (lambda: nested_delta(np.zeros((2, 1, 3)), np.zeros((2, 1, 3)), level=2), "level"),
        (lambda: Components(1, 1, 1, 1, 1, (2, 2, 9), 8).margins(1, 1, 9), "design"),
    ],
)
def test_faults_name_themselves(call, words):
    with pytest.raises(PresightError, match=words):
        call()
