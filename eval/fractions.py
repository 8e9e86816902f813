"""Data curves: what a treatment gains at every share of the training data, and how much data that is worth.

What pretraining gives shows where training data are few, and one point at all of them can miss it or overstate it. The
curve has an interval at every share; its area, over the logarithm of the share, is one number for all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from eval.compare import Arm, Compare
from eval.records import LOSSES, require_same_items
from eval.stats.intervals import crossed_margins, mean_interval
from eval.stats.margins import Floats, Interval, read_scores, require_same_shape
from eval.stats.multiplicity import holm
from presight.errors import PresightError, nearest

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's, told by any eye


class Fractions(Compare):
    """Treatment − every control along the shares of the training data, and the area between them.

    The area is the mean difference over the logarithm of the share, by trapezoids: a mean over what was measured,
    so that it is a score of every seed × item and has the interval of one. Shares (0.01 … 1) and numbers of examples
    (60 … 6000) do alike. ``deltas.json`` is as `Compare` writes it.
    """

    kind = "deltas"
    version = "1"

    fraction: str = Field("fraction", description="the axis of shares, or numbers, of the training examples")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``deltas.json`` of all comparisons, ``fractions.json``, and ``fractions.plotly.json``, a figure.

        Raises:
            PresightError: labels that are no shares, fewer than two of them, a control that lacks one; or as
                `Compare`.
        """
        super().run(out, inputs)
        curves = self._curves(self._arms(inputs))
        if not curves:
            known = {axis for each in self.scores for axis in each.labels}
            raise PresightError("fraction", f"no scores lie along {self.fraction}", nearest(self.fraction, known))
        found = {
            "along": self.along,
            "treatment": self.treatment,
            "replicate": self.replicate,
            "fraction": self.fraction,
            "level": self.level,
            "curves": [curve.record() for curve in curves],
        }
        (out / "fractions.json").write_text(json.dumps(found, indent=1))
        (out / "fractions.plotly.json").write_text(json.dumps(figure(curves, self.fraction)))
        counts = json.loads((out / "counts.json").read_text())
        (out / "counts.json").write_text(json.dumps({**counts, "curves": len(curves)}))

    def _curves(self, arms: Sequence[Arm]) -> list[CurveOf]:
        """One for each task, each control, and each place on the other axes, in the order of the scores."""
        pairs: dict[tuple[Any, ...], dict[float, tuple[Arm, Arm]]] = {}
        for treatment in arms:
            if treatment.labels.get(self.along) != self.treatment or self.fraction not in treatment.labels:
                continue
            rest = {axis: label for axis, label in treatment.labels.items() if axis not in (self.along, self.fraction)}
            for control in arms:
                name = control.labels.get(self.along, self.treatment)
                if name != self.treatment and self._meets(treatment, control):
                    place = (treatment.task, treatment.metric, name, tuple(sorted(rest.items())))
                    pairs.setdefault(place, {})[self._share(treatment.labels[self.fraction])] = treatment, control
        return [self._curve(place, dict(sorted(by_share.items()))) for place, by_share in pairs.items()]

    def _share(self, label: str) -> float:
        try:
            share = float(label)
        except ValueError:
            share = math.nan
        if not (math.isfinite(share) and share > 0):
            raise PresightError(self.fraction, f"{label!r} is no share of the data", "label it by a number above 0")
        return share

    def _curve(self, place: tuple[Any, ...], pairs: Mapping[float, tuple[Arm, Arm]]) -> CurveOf:
        task, metric, name, rest = place
        wanted = {
            self._share(each.labels[self.fraction])
            for each in self.scores
            if self.fraction in each.labels and dict(rest).items() <= dict(each.labels).items()
        }
        if missing := sorted(wanted - set(pairs)):
            problem = f"{self.along}={name} is not compared at {missing[0]:g}"
            raise PresightError(self.fraction, problem, "score both arms at every one")
        first = next(iter(pairs.values()))[0]
        both = [arm for pair in pairs.values() for arm in pair]
        for arm in both[1:]:
            require_same_items(first.first, arm.first, f"{first.labels} and {arm.labels}")
        seeds = [seed for seed in first.seeds if all(seed in arm.seeds for arm in both)]
        if not seeds:
            problem = f"{self.along}={self.treatment} and {name} share no seed over all {self.fraction}s"
            raise PresightError(f"replicate {self.replicate}", problem, "give every arm the same seeds")
        treatment, control = (np.stack([pair[side].rows(seeds) for pair in pairs.values()]) for side in (0, 1))
        curve = data_curve(tuple(pairs), treatment, control, first.clusters, self.level)
        return CurveOf(task, metric, dict(rest), self.treatment, name, len(seeds), curve)


@dataclass(frozen=True, slots=True)
class DataCurve:
    """A treatment and a control along shares of the training data, in units of the score.

    Attributes:
        shares: ascending.
        treatment, control: each arm's mean score at every share.
        gains: treatment − control at every share.
        p, p_holm: of no difference there; the second allows for the number of shares.
        area: mean gain over the logarithm of the share.
        p_area: of a mean gain of nought.
        fading: gain at the smallest share − gain at the largest.
        p_fading: of one gain at both.
    """

    shares: tuple[float, ...]
    treatment: tuple[Interval, ...]
    control: tuple[Interval, ...]
    gains: tuple[Interval, ...]
    p: tuple[float, ...]
    p_holm: tuple[float, ...]
    area: Interval
    p_area: float
    fading: Interval
    p_fading: float


def data_curve(
    shares: Sequence[float],
    treatment: ArrayLike,
    control: ArrayLike,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> DataCurve:
    """Compare two arms along shares of their training data; all intervals are over seeds × items, as `Margins`.

    Area and fading are weighted sums over shares. They are taken for every seed and item before anything else, so
    that whatever goes with a seed or an item at all shares, as it does where the data of one are among those of the
    next, is in their intervals.

    Args:
        shares: ascending, all above nought; at least two.
        treatment: scores [shares, seeds, items].
        control: scores of the same shape; rows share seeds, columns items.
        clusters: cluster ids [items].
        level: nominal coverage of each interval.

    Raises:
        PresightError: fewer than two shares, shares that do not ascend from above nought, or as `crossed_margins`.
    """
    weights = log_weights(shares)
    first, second = _tables("treatment", treatment), _tables("control", control)
    require_same_shape("treatment", first, "control", second)
    if len(first) != len(weights):
        raise PresightError("treatment", f"{len(first)} tables for {len(weights)} shares", "give one for each share")
    margins = [crossed_margins(*pair, clusters) for pair in zip(first, second, strict=True)]
    p = [each.p_value() for each in margins]
    area = crossed_margins(np.tensordot(weights, first, 1), np.tensordot(weights, second, 1), clusters)
    fading = crossed_margins(first[0] - second[0], first[-1] - second[-1], clusters)
    return DataCurve(
        shares=tuple(map(float, shares)),
        treatment=tuple(mean_interval(table, clusters, level) for table in first),
        control=tuple(mean_interval(table, clusters, level) for table in second),
        gains=tuple(each.interval(level) for each in margins),
        p=tuple(p),
        p_holm=tuple(map(float, holm(p))),
        area=area.interval(level),
        p_area=area.p_value(),
        fading=fading.interval(level),
        p_fading=fading.p_value(),
    )


def _tables(field: str, values: ArrayLike) -> Floats:
    """Scores as finite float64 [shares, seeds, items]."""
    if (array := np.asarray(values)).ndim != 3:
        raise PresightError(field, f"an array of shape {array.shape}", "give scores [shares, seeds, items]")
    return np.stack([read_scores(field, table, 2) for table in array])


def log_weights(shares: Sequence[float]) -> Floats:
    """Weights [shares] that sum to one and give the mean, by trapezoids, over the logarithm of the share.

    Raises:
        PresightError: fewer than two shares, or shares that do not ascend from above nought.
    """
    places: NDArray[np.float64] = np.asarray(shares, dtype=np.float64)
    if len(places) < 2:
        raise PresightError("shares", f"{len(places)} is no curve", "score at two shares of the data or more")
    if not (np.isfinite(places).all() and places[0] > 0 and (np.diff(places) > 0).all()):
        raise PresightError("shares", f"{list(map(float, places))} do not ascend from above 0", "sort them")
    steps = np.diff(np.log(places))
    weights: Floats = (np.append(steps, 0.0) + np.append(0.0, steps)) / (2 * steps.sum())
    return weights


@dataclass(frozen=True, slots=True)
class CurveOf:
    """The curve of one task against one control."""

    task: str
    metric: str
    labels: Mapping[str, str]
    treatment: str
    control: str
    seeds: int
    curve: DataCurve

    def sentence(self) -> str:
        """What was found, in plain English."""
        place = "; ".join(f"{axis}={label}" for axis, label in self.labels.items())
        head = f"On {self.task}" + (f" ({place})" if place else "")
        curve, better = self.curve, -1 if self.metric in LOSSES else 1
        ends = f"{curve.shares[0]:g} to {curve.shares[-1]:g}"
        area = self._shown(curve.area)
        said = f"{self.treatment} − {self.control} is {area} on average over the logarithm of the data, from {ends}"
        if not curve.area.excludes():
            said += ", which is not told from nought"
        pairs = zip(curve.shares, curve.gains, curve.p_holm, strict=True)
        gained = [f"{share:g}" for share, gain, p in pairs if p <= 1 - gain.level and better * gain.estimate > 0]
        said += f"; it gains at {', '.join(gained)}" if gained else "; at no one share a gain is established"
        if curve.fading.excludes():
            grows = "smaller" if better * curve.fading.estimate > 0 else "larger"
            said += f", and the gain is {grows} with all the data ({self._shown(curve.fading)})"
        return f"{head}, {said}."

    def _shown(self, interval: Interval) -> str:
        scale, unit = (100, "points") if self.metric == "accuracy" else (1, self.metric)
        low, middle, high = (
            f"{'−' if value < 0 else '+'}{abs(scale * value):.3g}"
            for value in (interval.low, interval.estimate, interval.high)
        )
        return f"{middle} {unit} [{low}, {high}]"

    def record(self) -> dict[str, Any]:
        """As JSON."""
        curve = asdict(self.curve)
        return {
            "task": self.task,
            "metric": self.metric,
            "labels": dict(self.labels),
            "treatment": self.treatment,
            "control": self.control,
            "n_seeds": self.seeds,
            "scores": {self.treatment: curve.pop("treatment"), self.control: curve.pop("control")},
            **curve,
            "sentence": self.sentence(),
        }


def figure(curves: Sequence[CurveOf], fraction: str) -> dict[str, Any]:
    """Plotly JSON: each curve's gain over the share of the data, on a logarithmic axis, with its limits."""
    units = sorted({"points of accuracy" if each.metric == "accuracy" else each.metric for each in curves})
    data = []
    for number, each in enumerate(curves):
        scale, colour = 100 if each.metric == "accuracy" else 1, COLOURS[number % len(COLOURS)]
        gains = [(scale * gain.low, scale * gain.estimate, scale * gain.high) for gain in each.curve.gains]
        place = ", ".join([each.task, *each.labels.values()])
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{each.treatment} − {each.control}, {place}",
                "x": list(each.curve.shares),
                "y": [middle for _, middle, _ in gains],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [high - middle for _, middle, high in gains],
                    "arrayminus": [middle - low for low, middle, _ in gains],
                },
                "line": {"color": colour},
                "customdata": [[low, high] for low, _, high in gains],
                "hovertemplate": "%{x}: %{y:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}]",
            }
        )
    return {
        "data": data,
        "layout": {
            "xaxis": {"type": "log", "title": {"text": f"{fraction} of the training data"}},
            "yaxis": {"title": {"text": ", ".join(units)}, "zeroline": True},
        },
    }
