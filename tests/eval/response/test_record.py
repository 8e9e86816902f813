"""What `landscape.json` holds for a plot, against the surface itself, one mixture at a time."""

import json

import numpy as np
import pytest
from toy_printed import grid

from eval.response import record
from eval.response.optimum import Optimum, optimum
from eval.response.proposals import propose
from eval.response.replicates import Runs
from eval.response.response import respond
from eval.response.surface import fit, leave_one_out
from eval.stats.margins import t_quantile


@pytest.fixture(scope="module")
def done():
    surface = fit(grid())
    best = optimum(surface)
    return surface, best, record.of_surface(surface, leave_one_out(grid()), best)


def test_the_raster_is_the_surface_point_by_point(done):
    surface, best, found = done
    raster = found["raster"]
    first, second = raster["axes"]
    reach = t_quantile(surface.df, 0.05)
    for row, column in ((0, 0), (3, 17), (20, 5), (10, 10)):
        at = np.array([first[column], second[row]])
        value, error = surface.predict(at[None])[0], surface.standard_error(at[None])[0]
        assert raster["value"][row][column] == pytest.approx(value, abs=1e-4)
        assert raster["low"][row][column] == pytest.approx(value - reach * error, abs=1e-4)
        assert raster["high"][row][column] == pytest.approx(value + reach * error, abs=1e-4)
        excess = raster["excess"][row][column]
        assert (
            best.excess(at[None])[0] > 0
            if excess is None
            else excess == pytest.approx(best.excess(at[None])[0], abs=1e-4)
        )
    # every cell that reaches into the hull has all its corners, so that a line of nought ends at the hull or beyond
    known, inside = (np.array(raster[each], dtype=object) for each in ("excess", "inside"))
    known = known != None  # noqa: E711
    for y in range(len(second) - 1):
        for x in range(len(first) - 1):
            if inside[y : y + 2, x : x + 2].any():
                assert known[y : y + 2, x : x + 2].all()
    assert not known.all()
    assert np.shape(raster["value"]) == np.shape(raster["inside"]) == (len(second), len(first))


def test_a_thin_hull_has_a_raster_of_no_more_points_than_any_other(monkeypatch):
    """A band one point wide: its box holds fifty times as much as it."""
    looked = []
    excess = Optimum.excess
    monkeypatch.setattr(Optimum, "excess", lambda self, shares: looked.append(len(shares)) or excess(self, shares))
    along = np.repeat(np.linspace(0.1, 0.9, 5), 3)
    shares = np.stack([along, along + np.tile([-0.01, 0, 0.01], 5)], axis=1)
    runs = Runs.of(shares, 30 + 4 * along - 3 * along**2 + 0.1 * np.random.default_rng(0).standard_normal(15))
    surface = fit(runs)
    raster = record.of_surface(surface, leave_one_out(runs), optimum(surface, points=40, draws=200))["raster"]
    size = np.prod([len(each) for each in raster["axes"]])
    assert size <= record.LARGEST
    assert sum(looked) == sum(each is not None for row in raster["excess"] for each in row) < size / 5
    assert [each[end] for each in raster["axes"] for end in (0, -1)] == pytest.approx([0.1, 0.9, 0.09, 0.91])


def test_inside_is_what_the_corners_of_the_runs_enclose(done):
    """By Delaunay's triangles instead of facets; corners go round once."""
    from scipy.spatial import Delaunay

    raster = done[2]["raster"]
    triangles = Delaunay(grid().shares)
    for y, row in zip(raster["axes"][1], raster["inside"], strict=True):
        for x, inside in zip(raster["axes"][0], row, strict=True):
            assert inside == bool(triangles.find_simplex([x, y], tol=1e-6) >= 0)
    corners = np.array(raster["hull"])
    sides = np.roll(corners, -1, axis=0) - corners
    turns = sides[:, 0] * np.roll(sides[:, 1], -1) - sides[:, 1] * np.roll(sides[:, 0], -1)
    assert (turns > 0).all()


def test_the_border_of_what_may_be_the_optimum_is_where_the_excess_is_nought(done):
    _, best, found = done
    excess = best.excess(best.grid)
    clear = np.abs(best.worse_at_least) > 1e-4
    assert ((excess <= 0) == (best.worse_at_least <= 0))[clear | (best.worse_at_least == 0)].all()
    assert excess[best.worse_at_least <= 0].min() < -0.5  # it falls on inside, so that a line of nought can be drawn
    assert found["optimum"]["part"] == pytest.approx((best.worse_at_least <= 0).mean())
    assert found["optimum"]["region"]["visual"] == [best.region[:, 1].min(), best.region[:, 1].max()]


def test_an_optimum_is_settled_where_all_that_may_be_it_lies_inside(done):
    """Against the border walked along: no mixture on it may be the optimum."""
    _, best, found = done
    corners = np.array(found["raster"]["hull"])
    along = np.linspace(0, 1, 15)[:, None, None]
    border = ((1 - along) * corners + along * np.roll(corners, -1, axis=0)).reshape(-1, 2)
    assert (best.excess(border) > 0).all()
    assert found["optimum"]["settled"]
    x = np.repeat([0, 0.25, 0.5, 0.75, 1], 2)
    runs = Runs.of(x, 30 + 4 * x + 0.3 * np.random.default_rng(0).standard_normal(10))
    rising = optimum(fit(runs))
    assert rising.holds([1.0])
    assert not record.of_surface(fit(runs), leave_one_out(runs), rising)["optimum"]["settled"]


def test_points_are_the_runs_by_mixture_and_all_is_json(done):
    shares = np.array([[0.5, 0.1], [0.6, 0.2], [0.5, 0.1]])
    scores = np.array([30.0, 32.0, 31.0])
    points = record.of_points(Runs.of(shares, scores), shares, scores)
    assert points == [
        {"shares": [0.5, 0.1], "mean": 30.5, "runs": [30.0, 31.0]},
        {"shares": [0.6, 0.2], "mean": 32.0, "runs": [32.0]},
    ]
    surface, best, found = done
    further = record.of_proposal(propose(surface, 3, optimum=best), {"code": 0.0}, "web")
    for each in further["mixtures"]:
        assert sum(each.values()) == pytest.approx(100)
        assert each["code"] == 0
    response = record.of_response(respond(grid(), "visual"))
    assert json.loads(json.dumps([found, further, response], allow_nan=False)) == [found, further, response]


def test_a_single_share_has_a_raster_of_one_row_and_three_have_none():
    x = np.repeat([0, 0.25, 0.5, 0.75, 1], 2)
    noise = 0.1 * np.random.default_rng(0).standard_normal(10)
    runs = Runs.of(x, 30 + 4 * x - 3 * x**2 + noise, ["visual"])
    surface = fit(runs)
    raster = record.of_surface(surface, leave_one_out(runs), optimum(surface))["raster"]
    assert raster["value"] == pytest.approx(surface.predict(np.array(raster["axes"][0])[:, None]), abs=1e-4)
    assert all(raster["inside"])
    three = np.random.default_rng(1).dirichlet(np.ones(4), 20)[:, :3]
    runs = Runs.of(three, three @ [1, 2, 3] + 0.1 * np.random.default_rng(2).standard_normal(20))
    surface = fit(runs)
    found = record.of_surface(surface, leave_one_out(runs), optimum(surface, points=60, draws=200))
    assert found["raster"] is None
    assert found["optimum"]["shares"].keys() == {"share 1", "share 2", "share 3"}
