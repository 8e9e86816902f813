import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_printed import grid, printed

from eval.response.feasible import Feasible
from eval.response.replicates import Runs
from eval.response.surface import fit, leave_one_out, terms
from presight.errors import PresightError

SHARED = Path(__file__).parents[4] / "shared" / "papers" / "see_before_seeing.json"


def hill(shares, top=(0.6, 0.2), height=30.0):
    return height - 40 * (shares[:, 0] - top[0]) ** 2 - 90 * (shares[:, 1] - top[1]) ** 2


def scattered(seed, n=25, k=2, sd=0.3, score=hill, repeated=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 0.9, (n, k))
    x[:, 1:] *= 0.4
    x = np.concatenate([x, x[: n // 3]] if repeated else [x])
    return x, score(x) + sd * rng.standard_normal(len(x))


def test_the_papers_grid_gives_the_figures_that_were_recomputed_from_it():
    surface = fit(grid())
    assert surface.r2 == pytest.approx(0.79, abs=0.005)
    assert surface.sd == pytest.approx(0.25, abs=0.005)
    peak = surface.peak()
    assert peak.shares == pytest.approx([0.66, 0.164], abs=0.005)
    assert (peak.place, peak.form, peak.extrapolated) == ("inside", "maximum", False)
    errors = leave_one_out(grid())
    assert errors["quadratic"] < 0.6 * errors["constant"] < 0.6 * errors["linear"]


def test_the_printed_tables_here_are_those_in_the_notes():
    if not SHARED.is_file():
        pytest.skip("the notes on the paper are not beside this checkout")
    panels = json.loads(SHARED.read_text())["fig3_proportions"]
    for name, panel in (("average", "AVG"), ("vision-centric", "VC")):
        found = {}
        for row, column, value in printed(f"curves {name}"):
            found.setdefault(row, []).append((float(column), value))
        expected = {**panels["panels"][f"{panel}_reasoning"], **panels["panels"][f"{panel}_visual"]}
        assert found == {row: list(zip(panels["x"], values, strict=True)) for row, values in expected.items()}


def test_coefficients_errors_and_r2_are_those_of_least_squares_over_runs():
    x, y = scattered(0, repeated=1)
    surface = fit(Runs.of(x, y))
    design = surface.terms(x)
    beta, *_ = np.linalg.lstsq(design, y, rcond=None)
    assert surface.coefficients == pytest.approx(beta)
    left = y - design @ beta
    assert surface.r2 == pytest.approx(1 - left @ left / ((y - y.mean()) ** 2).sum())
    assert surface.adjusted_r2 == pytest.approx(1 - (left @ left / (len(y) - 6)) / y.var(ddof=1))
    pure = sum(y[(x == each).all(axis=1)].var() * 2 for each in x[:8])
    assert surface.sd == pytest.approx(np.sqrt(pure / 8))
    at = np.array([[0.3, 0.2]])
    row = surface.terms(at)[0]
    assert surface.predict(at)[0] == pytest.approx(row @ beta)
    se = surface.sd * np.sqrt(row @ np.linalg.inv(design.T @ design) @ row)
    assert surface.standard_error(at)[0] == pytest.approx(se)


def test_known_noise_weighs_runs_by_its_inverse_square():
    x, y = scattered(1)
    sd = np.random.default_rng(2).uniform(0.1, 2, len(y))
    surface = fit(Runs.of(x, y, noise=sd))
    design = surface.terms(x)
    beta, *_ = np.linalg.lstsq(design / sd[:, None], y / sd, rcond=None)
    assert surface.coefficients == pytest.approx(beta)
    assert surface.noise.source == "given" or surface.lack_of_fit.p < 0.05


@pytest.mark.parametrize("order", ["constant", "linear", "quadratic"])
def test_leave_one_out_is_what_refitting_without_each_mixture_gives(order):
    x, y = scattered(3, repeated=1)
    errors, weights = [], []
    for mixture in np.unique(x, axis=0):
        out = (x == mixture).all(axis=1)
        rest = fit(Runs.of(x[~out], y[~out]), order)
        errors.append(y[out].mean() - rest.predict(mixture[None])[0])
        weights.append(out.sum())
    assert leave_one_out(Runs.of(x, y))[order] == pytest.approx(
        np.sqrt(np.average(np.square(errors), weights=weights))
    )


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_the_highest_point_is_that_of_a_fine_grid(seed, k):
    """Brute-force twin: hills, saddles and bowls over random polytopes; as high as the grid, and feasible."""
    rng = np.random.default_rng(seed)
    feasible = Feasible.hull(rng.uniform(0.1, 0.9, (k + 4, k)))
    x = rng.uniform(0, 1, (40, k))
    surface = fit(Runs.of(x, x[:, 0] + 0.01 * rng.standard_normal(40)))
    surfaces = rng.standard_normal((5, len(surface.coefficients)))
    at, value, _ = surface.highest(surfaces, feasible)
    sides = [np.linspace(0, 1, 61 if k < 3 else 25)] * k
    lattice = np.array(list(itertools.product(*sides)))
    lattice = np.concatenate([lattice[feasible.contains(lattice)], feasible.vertices])
    brute = surfaces @ surface.terms(lattice).T
    assert feasible.contains(at).all()
    assert value == pytest.approx((surface.terms(at) * surfaces).sum(axis=1))
    assert (value >= brute.max(axis=1) - 1e-9).all()


def test_what_is_no_optimum_is_said_to_be_none():
    names = ["reasoning", "visual"]

    def peak(score, feasible=None):
        return fit(Runs.of(*scattered(4, sd=1e-6, score=score), names)).peak(feasible)

    top = peak(hill)
    assert (top.place, top.form) == ("inside", "maximum")
    assert "60.0 % reasoning, 20.0 % visual" in top.sentence(names)
    square = Feasible.hull([[0.2, 0.1], [0.5, 0.1], [0.2, 0.3], [0.5, 0.3]])
    cut = peak(hill, square)
    assert cut.place == "edge"
    assert cut.shares == pytest.approx([0.5, 0.2], abs=1e-4)
    assert "not an optimum of its own" in cut.sentence(names)
    corner = peak(lambda x: hill(x, (0.9, 0.9)), square)
    assert corner.place == "corner"
    saddle = peak(lambda x: (x[:, 0] - 0.4) ** 2 - (x[:, 1] - 0.2) ** 2, square)
    assert (saddle.place, saddle.form) == ("edge", "saddle")
    assert "the surface is a saddle" in saddle.sentence(names)
    bowl = peak(lambda x: -hill(x, (0.4, 0.2)), square)
    assert (bowl.place, bowl.form) == ("corner", "minimum")
    beyond = peak(lambda x: hill(x, (0.97, 0.2)), Feasible.hull([[0.1, 0], [1, 0], [1, 0.5], [0.1, 0.5]]))
    assert beyond.extrapolated
    assert "extrapolated" in beyond.sentence(names)


def test_lack_of_fit_is_tested_against_repeats_and_then_counts_as_noise():
    def wavy(x):
        return hill(x) + 2 * np.sin(25 * x[:, 0])

    good = fit(Runs.of(*scattered(5, sd=0.2, repeated=1)))
    bad = fit(Runs.of(*scattered(5, sd=0.2, score=wavy, repeated=1)))
    assert good.lack_of_fit.p > 0.05
    assert good.noise.source == "8 repeats"
    assert bad.lack_of_fit.p < 0.001
    assert bad.noise.source == "residuals"
    assert bad.sd > 3 * good.sd


def test_terms_are_one_then_shares_then_products():
    x = np.array([[2.0, 3.0, 5.0]])
    assert terms(x, "quadratic").tolist() == [[1, 2, 3, 5, 4, 6, 10, 9, 15, 25]]
    assert terms(x, "linear").tolist() == [[1, 2, 3, 5]]


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(20, 600))
@settings(max_examples=30, deadline=None)
def test_a_grid_fills_its_region_and_has_its_corners(seed, k, points):
    feasible = Feasible.hull(np.random.default_rng(seed).uniform(0, 1, (k + 3, k)))
    found = feasible.grid(points)
    assert feasible.contains(found, 1e-6).all()
    assert len(found) < 40 * points + len(feasible.vertices) + 60
    for corner in feasible.vertices:
        assert np.abs(found - corner).max(axis=1).min() < 1e-8


def test_what_determines_no_surface_is_refused():
    x, y = scattered(6)
    with pytest.raises(PresightError, match="leave one out"):
        fit(Runs.of(np.column_stack([x[:, 0], 1 - x[:, 0]]), y))
    with pytest.raises(PresightError, match="5 mixtures"):
        fit(Runs.of(x[:5], y[:5]))
    assert set(leave_one_out(Runs.of(x[:5], y[:5]))) == {"constant", "linear"}
    with pytest.raises(PresightError, match="span no region"):
        Feasible.hull([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]])
    with pytest.raises(PresightError, match="no shares"):
        Feasible.hull([[10, 20], [30, 10], [5, 5]])
    with pytest.raises(PresightError, match="constant"):
        fit(Runs.of(x, y), "constant").peak()
    with pytest.raises(PresightError, match="cubic"):
        fit(Runs.of(x, y), "cubic")
    with pytest.raises(PresightError, match="feasible"):
        fit(Runs.of(x, y)).peak(Feasible.hull([0.1, 0.5]))
