import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.mixing.families import Bound, Cell, quotas, solve
from corpus.mixing.shortage import Request
from presight.errors import PresightError

# per cent of the segments of six sources that are reasoning, and visual (see_before_seeing §3)
TABLE = {
    "web": (10.0, 26.9),
    "encyclopedia": (3.4, 12.4),
    "academia": (83.3, 5.3),
    "literature": (9.1, 33.5),
    "math": (92.9, 8.0),
    "code": (97.3, 3.7),
}


def sixteen_ways(supply=1_000_000):
    """Cells of the six sources, as if the families were independent within each."""
    cells = []
    for source, (reasoning, visual) in TABLE.items():
        for has in itertools.product([False, True], repeat=2):
            part = np.prod([p / 100 if h else 1 - p / 100 for p, h in zip((reasoning, visual), has, strict=True)])
            names = frozenset(name for name, h in zip(("reasoning", "visual"), has, strict=True) if h)
            cells.append(Cell(source, names, round(supply * part)))
    return cells


def of(cells, *families, source=None):
    return np.array([set(families) <= c.families and source in (None, c.source) for c in cells])


def test_every_point_of_the_grid_is_met_exactly_and_neighbours_are_near():
    cells, items = sixteen_ways(), 29_296
    grid = {}
    for reasoning, visual in itertools.product(range(50, 86, 5), range(5, 31, 5)):
        asked = {"reasoning": reasoning / 100, "visual": visual / 100}
        found = solve(cells, families=asked, items=items, max_epochs=1)
        grid[reasoning, visual] = found.shares
        for family, share in asked.items():
            assert found.shares[of(cells, family)].sum() == pytest.approx(share, abs=1e-12)
            assert abs(found.quotas[of(cells, family)].sum() - share * items) < 1
        assert found.quotas.sum() == items
        assert np.abs(found.quotas - found.shares * items).max() < 1
    for (r, v), shares in grid.items():
        for after in ((r + 5, v), (r, v + 5)):
            if after in grid:  # five points of a marginal move few more than those that they must
                assert 0.0499 < np.abs(grid[after] - shares).sum() / 2 < 0.075


def test_shares_move_in_proportion_to_the_step():
    cells = sixteen_ways(3_000)  # some cells are at their caps

    def at(share):
        return solve(cells, families={"reasoning": 0.6, "visual": share}, items=8_000, max_epochs=1).shares

    big, small = np.abs(at(0.17) - at(0.15)).sum(), np.abs(at(0.152) - at(0.15)).sum()
    assert small < 0.15 * big < 0.15 * 0.05


def test_overlaps_and_sources_are_kept_and_priced():
    cells = sixteen_ways()
    asked = {"reasoning": 0.6, "visual": 0.3}
    free = solve(cells, families=asked, items=10_000, max_epochs=1)
    both = of(cells, "reasoning", "visual")
    assert free.shares[both].sum() > 0.05
    less = solve(
        cells,
        families=asked,
        overlaps={("visual", "reasoning"): Bound(0, 0.03)},
        sources={"web": 0.4, "code": (0.1, 0.2)},
        items=10_000,
        max_epochs={source: 1.0 for source in TABLE},
    )
    assert less.shares[both].sum() == pytest.approx(0.03, abs=1e-12)
    assert less.quotas[both].sum() <= 300
    assert less.quotas[of(cells, source="web")].sum() == 4_000
    assert 1_000 <= less.quotas[of(cells, source="code")].sum() <= 2_000
    assert less.divergence > free.divergence > 0
    assert less.prices["overlaps.reasoning&visual"] < 0
    assert set(less.prices) == {
        "families.reasoning",
        "families.visual",
        "overlaps.reasoning&visual",
        "sources.code",
        "sources.web",
    }
    assert solve(cells, families=asked, overlaps={"visual&reasoning": 0.03}, items=9, max_epochs=1).quotas.sum() == 9


def test_caps_bind_by_name_and_price():
    cells = [
        Cell("web", frozenset(), 900),
        Cell("web", frozenset({"visual"}), 90),
        Cell("art", frozenset({"visual"}), 9),
    ]
    free = solve(cells, families={}, items=90, max_epochs=1)
    assert free.shares == pytest.approx(np.array([900, 90, 9]) / 999, abs=1e-12)
    assert (free.prices, free.divergence) == ({}, pytest.approx(0, abs=1e-12))
    found = solve(cells, families={"visual": 0.5}, items=120, max_epochs={"web": 0.5, "art": 2.5})
    assert found.quotas.tolist() == [60, 45, 15]
    assert found.binding == "web/visual"
    assert found.prices["max_epochs.web/visual"] > 0
    assert solve(cells, families={}, items=99, max_epochs=1, used=[900, 0, 0]).quotas.tolist() == [0, 90, 9]


def test_natural_proportions_may_be_given():
    cells = [Cell("web", frozenset(), 900), Cell("art", frozenset({"visual"}), 90)]
    assert solve(cells, families={}, items=10, max_epochs=1, natural=[1, 4]).quotas.tolist() == [2, 8]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_quotas_are_whole_within_one_and_do_not_depend_on_the_order(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    families = "abc"[: data.draw(st.integers(1, 3))]
    cells = [
        Cell(f"s{s}", frozenset(chosen), int(10 ** rng.uniform(0, 5)))
        for s in range(data.draw(st.integers(1, 5)))
        for k in range(len(families) + 1)
        for chosen in itertools.combinations(families, k)
    ]
    supply = np.array([cell.supply for cell in cells])
    items, epochs = data.draw(st.integers(1, 10**4)), float(np.round(rng.uniform(0.5, 20), 2))
    target = np.minimum(supply * epochs // 1, items * rng.dirichlet(np.ones(len(cells))))
    shares = {f: round(float(target[of(cells, f)].sum() / items), 3) for f in families}
    asked = {
        f: share if rng.random() < 0.6 else Bound(0.9 * share, min(1, share + 0.01)) for f, share in shares.items()
    }
    sources = {"s0": round(float(target[of(cells, source="s0")].sum() / items), 2)} if rng.random() < 0.5 else {}
    try:
        found = solve(cells, families=asked, sources=sources, items=items, max_epochs=epochs)
    except PresightError:
        return
    assert found.quotas.dtype == np.int64
    assert found.quotas.sum() == items
    assert np.abs(found.quotas - found.shares * items).max() < 1
    assert (found.quotas <= np.floor(supply * epochs + 1e-9)).all()
    for name, share in [*asked.items(), *sources.items()]:
        low, high = share if isinstance(share, tuple) else (share, share)
        members = of(cells, name) if name in families else of(cells, source=name)
        assert found.shares[members].sum() == pytest.approx(np.clip(found.shares[members].sum(), low, high), abs=1e-12)
        if len(families) < 3:  # with three, a rounding that keeps every request need not exist
            assert low * items - 1 < found.quotas[members].sum() < high * items + 1
    order = rng.permutation(len(cells))
    other = solve([cells[c] for c in order], families=asked, sources=sources, items=items, max_epochs=epochs)
    assert other.quotas.tolist() == found.quotas[order].tolist()
    assert other.shares.tolist() == found.shares[order].tolist()
    assert other.binding == found.binding


def rounded(shares, items, requests):
    """The slow twin: every choice of cells to round up, the nearest that keeps each request within one item."""
    exact = shares * items
    base = np.floor(exact + 1e-9)
    best, nearest = None, np.inf
    for chosen in itertools.combinations(range(len(shares)), int(items - base.sum())):
        trial = base.copy()
        trial[list(chosen)] += 1
        kept = all(abs(trial[r.members].sum() - r.low * items) < 1 - 1e-9 for r in requests)
        if kept and (np.abs(trial - exact) < 1 - 1e-9).all() and np.abs(trial - exact).sum() < nearest - 1e-9:
            best, nearest = trial, np.abs(trial - exact).sum()
    return best, nearest


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 50))
def test_rounding_is_the_nearest_that_keeps_the_requests(seed, items):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(8, 0.7))
    requests = []
    for f in range(3):
        members = (np.arange(8) >> f) % 2 == 1
        share = float(shares[members].sum())
        requests.append(Request(f"families.{f}", str(f), members, frozenset(str(f)), share, share))
    found = quotas(shares, items, requests)
    best, distance = rounded(shares, items, requests)
    assert found.sum() == items
    if best is not None:
        assert all(abs(found[r.members].sum() - r.low * items) < 1 for r in requests)
        assert np.abs(found - shares * items).sum() == pytest.approx(distance, abs=0.01)


def test_bounds_are_kept_strictly_where_whole_numbers_allow():
    members = np.array([False, True, True])
    low = Request("families.a", "a", members, frozenset("a"), 0.53, 1.0)
    assert quotas(np.array([0.47, 0.3, 0.23]), 10, [low])[members].sum() == 6
    tight = Request("families.a", "a", members, frozenset("a"), 0.53, 0.55)
    assert quotas(np.array([0.46, 0.3, 0.24]), 10, [tight])[members].sum() in (5, 6)


def test_ties_go_to_the_earlier_and_no_requests_mean_largest_remainder():
    assert quotas(np.full(3, 1 / 3), 4, []).tolist() == [2, 1, 1]
    cells = [Cell(s, frozenset(f), 100) for s in "ba" for f in ([], ["x"])]
    assert solve(cells, families={"x": 0.5}, items=6, max_epochs=1).quotas.tolist() == [1, 1, 2, 2]
    assert quotas(np.full(4, 0.25), 3, []).tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"families": {"visul": 0.1}}, "families.visul"),
        ({"families": {"visual": 15}}, "families.visual"),
        ({"families": {"visual": Bound(0.2, 0.1)}}, "families.visual"),
        ({"families": {"visual": float("nan")}}, "families.visual"),
        ({"sources": {"wbe": 0.1}}, "sources.wbe"),
        ({"overlaps": {("visual", "maths"): 0.1}}, "overlaps.maths&visual"),
        ({"items": 0}, "items"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"max_epochs": {"web": 1}}, "max_epochs.academia"),
        ({"natural": [1, 2]}, "natural"),
        ({"cells": []}, "cells"),
        ({"cells": [Cell("web", frozenset(), 1)] * 2}, "cells"),
        ({"cells": [Cell("web", frozenset(), -1)]}, "cells.web/none"),
    ],
)
def test_faults_are_one_sentence_that_names_the_field(options, field):
    with pytest.raises(PresightError) as refused:
        solve(**{"cells": sixteen_ways(), "families": {}, "items": 10, "max_epochs": 1} | options)
    assert refused.value.field == field
    assert refused.value.mend
    assert ". " not in str(refused.value)
