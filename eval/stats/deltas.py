"""The record of a comparison: what a treatment adds over its control, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.intervals import (
    crossed_interval,
    crossed_margins,
    mean_interval,
    minimum_detectable_effect,
    paired_bootstrap,
    paired_item_sd,
)
from eval.stats.margins import Interval
from eval.stats.multiplicity import holm
from presight.errors import PresightError

__all__ = [
    "Interval",
    "PriorDelta",
    "crossed_interval",
    "holm",
    "mean_interval",
    "minimum_detectable_effect",
    "paired_bootstrap",
    "paired_item_sd",
    "prior_delta",
]


@dataclass(frozen=True, slots=True)
class PriorDelta:
    """What a treatment's scores gain over its control's on the same items with the same seeds.

    Attributes:
        task: what was scored, for instance a data set.
        trained: what adaptation trained, for instance ``norms``.
        treatment, control: the two values compared along the axis `along`.
        labels: what was held fixed, axis to value.
        metric: what a score is; ``accuracy`` is printed in percentage points.
        n_items, n_clusters, n_seeds: size of the design; without clusters, `n_clusters` is `n_items`.
        estimate: mean of treatment − control, in units of the metric.
        interval: over seeds and items; of one seed, over items only.
        these_models: over items only, the models taken as given.
        p: two-sided, of no difference; below ``1 - level`` exactly when `interval` excludes 0.
        mde: smallest effect this design would have seen with 80 % power, were the observed variances the true ones.
            A rough figure with few seeds, whose variance it takes at its word.
        per_seed: mean difference of each seed.
    """

    task: str
    trained: str
    treatment: str
    control: str
    along: str
    labels: Mapping[str, str]
    metric: str
    n_items: int
    n_clusters: int
    n_seeds: int
    estimate: float
    interval: Interval
    these_models: Interval
    p: float
    mde: float
    per_seed: tuple[float, ...]

    @property
    def established(self) -> bool:
        """Whether `interval` excludes 0; with one seed that speaks of these two models only."""
        return self.interval.excludes(0.0)

    def sentence(self) -> str:
        """The finding in plain English, with its interval and, for one or two seeds, what they cannot say."""
        context = "; ".join(
            [f"{self.trained} trained"] * bool(self.trained) + [f"{k}={v}" for k, v in self.labels.items()]
        )
        place = f"On {self.task}" + (f" ({context})" if context else "")
        treatment, control = f"{self.along}={self.treatment}", f"{self.along}={self.control}"
        unit = _UNITS.get(self.metric, f"of {self.metric.replace('_', ' ')}")
        low, high = self._signed(self.interval.low), self._signed(self.interval.high)
        clusters = f" in {self.n_clusters} clusters" if self.n_clusters != self.n_items else ""
        design = f"{self.n_seeds} seed{'s' * (self.n_seeds > 1)} × {self.n_items} items{clusters}"
        basis = f"({100 * self.interval.level:g} % interval {low} to {high}; {design})"
        if self.established:
            gap, side = self._number(abs(self.estimate)), "above" if self.estimate > 0 else "below"
            finding = f"{treatment} scores {gap} {unit} {side} {control} {basis}"
        else:
            finding = (
                f"a difference between {treatment} and {control} is not established: "
                f"{self._signed(self.estimate)} {unit} {basis}, "
                f"where a gap of {self._number(self.mde)} would be seen four times in five"
            )
        return f"{place}, {finding}.{_CAVEATS.get(self.n_seeds, '')}"

    def _number(self, value: float) -> str:
        return f"{100 * value:.1f}" if self.metric == "accuracy" else f"{value:.3g}"

    def _signed(self, value: float) -> str:
        return ("−" if value < 0 else "+") + self._number(abs(value))

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers; `from_json` reads them back without loss."""
        return asdict(self) | {"labels": dict(self.labels), "per_seed": list(self.per_seed)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PriorDelta:
        """The record that `to_json` wrote.

        Raises:
            PresightError: fields are missing, unknown or malformed.
        """
        known = {field.name for field in fields(cls)}
        if wrong := sorted(known ^ set(record)):
            raise PresightError("delta", f"missing or unknown fields: {', '.join(wrong)}", "compare the scores again")
        try:
            intervals = {name: Interval(**record[name]) for name in ("interval", "these_models")}
            parts = {"labels": dict(record["labels"]), "per_seed": tuple(map(float, record["per_seed"]))}
        except (TypeError, ValueError) as error:
            raise PresightError("delta", f"malformed: {error}", "compare the scores again") from error
        return cls(**(dict(record) | intervals | parts))


_UNITS = {"accuracy": "points of accuracy", "bits_per_byte": "bits a byte"}
_CAVEATS = {
    1: " One seed a side speaks of these two models only; what another pretraining run would give is unknown.",
    2: " Two seeds hardly show how much pretraining runs differ, so the interval is long; a third would help most.",
}


def prior_delta(
    treatment: ArrayLike,
    control: ArrayLike,
    *,
    task: str,
    trained: str,
    treatment_name: str,
    control_name: str,
    along: str,
    labels: Mapping[str, str],
    metric: str = "accuracy",
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> PriorDelta:
    """Compare two arms on the same items with the same seeds.

    Args:
        treatment: scores [seeds, items].
        control: scores [seeds, items]; rows and columns as in `treatment`.
        task: what was scored.
        trained: what adaptation trained.
        treatment_name: the treatment's value on the axis `along`.
        control_name: the control's.
        along: the axis compared.
        labels: what was held fixed.
        metric: what a score is; an accuracy must lie from 0 to 1.
        clusters: cluster ids [items].
        level: nominal coverage of both intervals.
        seed: without effect, as in `crossed_interval`.

    Raises:
        PresightError: as `crossed_interval`, or accuracies outside 0 to 1.
    """
    margins = crossed_margins(treatment, control, clusters)
    first, second = np.asarray(treatment, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if metric == "accuracy" and (min(first.min(), second.min()) < 0 or max(first.max(), second.max()) > 1):
        raise PresightError("metric", "accuracies outside 0 to 1", "give shares, not percentages, or name the metric")
    return PriorDelta(
        task=task,
        trained=trained,
        treatment=treatment_name,
        control=control_name,
        along=along,
        labels=dict(labels),
        metric=metric,
        n_items=first.shape[1],
        n_clusters=margins.count,
        n_seeds=len(first),
        estimate=margins.estimate,
        interval=margins.interval(level),
        these_models=margins.items_only().interval(level),
        p=margins.p_value(),
        mde=margins.detectable(level),
        per_seed=tuple(map(float, (first - second).mean(axis=1))),
    )
