import numpy as np
import pytest
from toy_printed import grid

from eval.response.feasible import Feasible
from eval.response.optimum import _Contrasts, optimum
from eval.response.replicates import Runs
from eval.response.surface import fit
from presight.errors import PresightError

SHARES = grid().shares


def simulated(truth, seed, sd=0.25, known=False, repeats=1):
    x = np.tile(SHARES, (repeats, 1))
    y = truth(x) + sd * np.random.default_rng(seed).standard_normal(len(x))
    return fit(Runs.of(x, y, ["reasoning", "visual"], sd if known else None))


def hill(x):
    return 32.5 - 26 * (x[:, 0] - 0.66) ** 2 - 20 * (x[:, 0] - 0.66) * (x[:, 1] - 0.16) - 60 * (x[:, 1] - 0.16) ** 2


def ramp(x):
    """Highest at a corner of what was run, (0.85, 0.15)."""
    return 30 + 10 * x[:, 0] + 8 * x[:, 1] - 20 * (x[:, 1] - 0.2) ** 2


def test_the_papers_grid_gives_the_intervals_that_were_recomputed_from_it_and_a_wider_region():
    done = optimum(fit(grid()))
    reasoning, visual = done.marginals
    assert (reasoning.low, reasoning.high) == pytest.approx((0.62, 0.69), abs=0.01)
    assert (visual.low, visual.high) == pytest.approx((0.15, 0.18), abs=0.006)
    assert done.region[:, 0].min() < reasoning.low < reasoning.high < done.region[:, 0].max()
    assert done.holds([0.65, 0.15])
    assert not done.holds([0.85, 0.15])
    assert "62–69 %" in done.sentence()
    assert done.inside > 0.99


@pytest.mark.parametrize(("truth", "best"), [(hill, (0.66, 0.16)), (ramp, (0.85, 0.15))])
def test_the_region_holds_the_true_optimum_as_often_as_it_says_inside_and_at_a_corner(truth, best):
    runs, held, points = 250, 0, Feasible.hull(SHARES).grid(150)
    for seed in range(runs):
        surface = simulated(truth, seed)
        held += _Contrasts.of(surface, points, 0.95, seed).against(surface.terms([best])[0, 1:])[0] <= 0
    assert held / runs >= 0.92  # nominal 0.95 or more; the standard error is 0.014


@pytest.mark.parametrize("resampling", ["parametric", "residual", "wild"])
def test_marginal_intervals_hold_an_inner_optimum_about_as_often_as_they_say(resampling):
    runs, held = 50, np.zeros(2)
    for seed in range(runs):
        marginals = optimum(simulated(hill, seed), draws=300, points=10, resampling=resampling).marginals
        held += [each.low <= true <= each.high for each, true in zip(marginals, (0.66, 0.16), strict=True)]
    assert (held / runs >= (0.82 if resampling == "residual" else 0.86)).all()


def test_what_is_surely_not_much_worse_is_not_much_worse():
    runs, wrong, found = 40, 0, 0
    for seed in range(runs):
        done = optimum(simulated(hill, seed), draws=100, points=40)
        good = done.not_worse_than(0.4)
        found += len(good)
        wrong += len(good) > 0 and bool((hill(good) < 32.5 - 0.4).any())
    assert found > 5 * runs
    assert wrong / runs <= 0.1  # nominal 0.05 or less


def test_limits_are_those_of_all_pairs_looked_at_one_by_one():
    surface = simulated(hill, 3)
    done = optimum(surface, points=12, draws=100, level=0.9)
    errors = _Contrasts.of(surface, done.grid, 0.9, 0).noise.T @ np.linalg.cholesky(surface.covariance[1:, 1:]).T
    terms = surface.terms(done.grid)
    laws, gains, ses = {}, {}, {}
    for x in range(len(terms)):
        for z in range(len(terms)):
            if x != z:
                apart = terms[z] - terms[x]
                gains[x, z] = apart @ surface.coefficients
                ses[x, z] = np.sqrt(apart @ surface.covariance @ apart)
                laws[x, z] = errors @ apart[1:] / ses[x, z]
    every = np.sort(np.max(list(laws.values()), axis=0))[900]
    for x in range(len(terms)):
        others = [z for z in range(len(terms)) if z != x]
        own = np.sort(np.maximum(np.max([laws[x, z] for z in others], axis=0), 0))[900]
        least = max(0.0, *(gains[x, z] - own * ses[x, z] for z in others))
        most = max(0.0, *(gains[x, z] + every * ses[x, z] for z in others))
        assert done.worse_at_least[x] == pytest.approx(least, abs=1e-4)
        assert done.worse_at_most[x] == pytest.approx(most, abs=1e-3)
        assert done.holds(done.grid[x]) == (least <= 0) or abs(least) < 1e-4


def test_more_runs_and_known_noise_narrow_the_region():
    once, thrice = (optimum(simulated(hill, 5, repeats=n), points=200) for n in (1, 3))
    assert len(thrice.region) < 0.7 * len(once.region)
    assert thrice.marginals[0].method.startswith("parametric")
    assert once.marginals[0].method.startswith("residual")
    assert optimum(simulated(hill, 5, known=True)).marginals[0].method.startswith("parametric")


def test_an_edge_optimum_is_said_to_be_one():
    done = optimum(simulated(ramp, 0))
    assert done.inside < 0.5
    assert done.peak.place != "inside"
    assert "highest on the border" in done.sentence()
    assert "not an optimum of its own" in done.sentence()


def test_one_share_and_a_stated_region_work_alike():
    x = np.repeat(np.linspace(0, 1, 6), 2)
    y = 30 - 8 * (x - 0.4) ** 2 + 0.1 * np.random.default_rng(0).standard_normal(12)
    done = optimum(fit(Runs.of(x, y)), Feasible.hull([0.0, 0.3]))
    assert done.peak.place == "corner"
    assert done.peak.shares == pytest.approx([0.3])
    assert done.region.max() <= 0.3 + 1e-9


def test_what_cannot_be_resampled_is_refused():
    x, y = SHARES[:6], hill(SHARES[:6])
    rng = np.random.default_rng(0)
    x = x + 0.02 * rng.random(x.shape)
    with pytest.raises(PresightError, match="repeat some mixtures"):
        optimum(fit(Runs.of(x, y)))
    with pytest.raises(PresightError, match="jackknife"):
        optimum(simulated(hill, 0), resampling="jackknife")
    with pytest.raises(PresightError, match="draws"):
        optimum(simulated(hill, 0), draws=10)
    with pytest.raises(PresightError, match="level"):
        optimum(simulated(hill, 0), level=95)
