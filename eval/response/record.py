"""What is found of a response as plain dicts, lists and finite numbers: all that a plot or a table of it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.response.feasible import Feasible
from eval.response.optimum import POINTS, Optimum
from eval.response.proposals import Proposal
from eval.response.replicates import Runs, Test
from eval.response.response import Response
from eval.response.surface import Surface
from eval.stats.margins import Floats, Interval, t_quantile

RASTER = {1: 80, 2: POINTS}  # about as many points within the hull, of two shares those that the optimum is tested on
LARGEST = 2500  # points of a raster: a hull that fills little of its box has coarser ones


def of_points(runs: Runs, shares: Floats, scores: Floats) -> list[dict[str, Any]]:
    """Each mixture with its mean and its runs, which are at `shares` [runs, k] and have `scores` [runs]."""
    same: Any = (np.abs(shares[:, None] - runs.shares) < 1e-8).all(axis=2)  # [runs, m]
    return [
        {"shares": row.tolist(), "mean": float(mean), "runs": scores[same[:, place]].tolist()}
        for place, (row, mean) in enumerate(zip(runs.shares, runs.means, strict=True))
    ]


def of_response(found: Response) -> dict[str, Any]:
    """The verdict on one share and what it rests on; slopes are for a whole share."""
    return {
        "verdict": found.verdict,
        "more_runs": found.more_runs,
        "low": found.low,
        "high": found.high,
        "early": _limits(found.early),
        "late": _limits(found.late),
        "p_change": found.p_change,
        "p_bend": found.p_bend,
        "p_peak": found.p_peak,
        "noise": {"sd": finite(found.noise[0]), "source": found.noise[1]},
        "sentence": found.sentence(),
    }


def of_surface(surface: Surface, errors: Mapping[Any, float], best: Optimum) -> dict[str, Any]:
    """How a surface fits, whether it predicts, its optimum with what may be it, and itself on a raster.

    Args:
        surface: quadratic.
        errors: of `eval.leave_one_out`.
        best: optimum of the surface.
    """
    names, region, peak = surface.runs.names, best.region, best.peak
    ends = zip(region.min(axis=0).tolist(), region.max(axis=0).tolist(), strict=True)
    return {
        "r2": finite(surface.r2),
        "adjusted_r2": finite(surface.adjusted_r2),
        "noise": {"sd": finite(surface.sd), "source": surface.noise.source, "df": finite(surface.df)},
        "lack_of_fit": _test(surface.lack_of_fit),
        "leave_one_out": {key: finite(each) for key, each in errors.items()},
        "predicts": bool(errors["quadratic"] < errors["constant"]),
        "optimum": {
            "shares": dict(zip(names, peak.shares.tolist(), strict=True)),
            "place": peak.place,
            "form": peak.form,
            "value": peak.value,
            "inside": best.inside,
            "intervals": {name: [each.low, each.high] for name, each in zip(names, best.marginals, strict=True)},
            "region": dict(zip(names, map(list, ends), strict=True)),
            "part": len(region) / len(best.grid),
            "settled": _clear_of_border(surface, best),
            "sentence": best.sentence(),
        },
        "raster": _raster(surface, best) if len(names) in RASTER else None,
    }


def of_proposal(found: Proposal, held: Mapping[str, float], rest: str) -> dict[str, Any]:
    """Mixtures to run next, in per cent, and what they are expected to do."""
    return {
        "mixtures": found.mixtures(held, rest),
        "shares": found.shares.tolist(),
        "repeats": found.repeats,
        "criterion": found.criterion,
        "before": found.before,
        "after": found.after,
        "sentence": found.sentence(),
    }


def finite(value: float) -> float | None:
    """A number that JSON knows, or None."""
    return value if math.isfinite(value) else None


def _clear_of_border(surface: Surface, best: Optimum) -> bool:
    """Whether all that may be the optimum lies inside the hull of the runs, a step of the grid off its border."""
    hull = Feasible.hull(surface.runs.shares)
    step = max(float(np.diff(each).max(initial=0)) for each in hull.axes(POINTS))
    return bool((best.region @ hull.normals.T <= hull.offsets - step + 1e-9).all())


def _raster(surface: Surface, best: Optimum) -> dict[str, Any]:
    """The surface on a lattice of round shares, from the lowest to the highest that were run.

    Returns:
        `axes`: shares along each; `value`, `low` and `high`: the surface and its limits, each mixture by itself;
        `inside`: whether it lies in the hull of the runs; `excess`: as `Optimum.excess`, None further than a step from
        the hull; all [second share, first share], of one share [share]. `hull`: corners of the hull, in order.
    """
    hull = Feasible.hull(surface.runs.shares)
    axes = _axes(hull, surface.runs.shares)
    points = np.stack([each.T.ravel() for each in np.meshgrid(*axes, indexing="ij")], axis=1)
    value = surface.predict(points)
    reach = t_quantile(surface.df, 1 - best.level) * surface.standard_error(points)
    size = tuple(len(each) for each in reversed(axes))
    # Each of these takes a test over the whole grid. What the hull touches lies between points a step off it at most.
    near = hull.contains(points, math.hypot(*(float(np.diff(each).max()) for each in axes)))
    excess: Any = np.full(len(points), None)
    excess[near] = np.round(best.excess(points[near]), 4).tolist()

    def laid(values: Any) -> Any:
        return np.round(values, 4).reshape(size).tolist()

    return {
        "axes": [each.tolist() for each in axes],
        "value": laid(value),
        "low": laid(value - reach),
        "high": laid(value + reach),
        "inside": hull.contains(points).reshape(size).tolist(),
        "excess": excess.reshape(size).tolist(),
        "hull": hull.vertices.tolist(),
    }


def _axes(hull: Feasible, shares: Floats) -> list[Floats]:
    """Round shares along each axis and the ends of what was run, so coarse that the raster is not too large."""
    points: float = RASTER[shares.shape[1]]
    ends = np.stack([shares.min(axis=0), shares.max(axis=0)], axis=1)
    while True:
        lattice = zip(hull.axes(points), ends, strict=True)
        axes = [np.unique(np.round(np.concatenate(each), 9)) for each in lattice]
        if math.prod(len(each) for each in axes) <= LARGEST:
            return axes
        points /= 2


def _limits(interval: Interval) -> dict[str, float]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _test(found: Test | None) -> dict[str, float | None] | None:
    return None if found is None else {"statistic": finite(found.statistic), "df": finite(found.df), "p": found.p}
