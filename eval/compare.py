"""Compare arms item by item: the deltas that everything else reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from presight.errors import PresightError, nearest
from presight.stage import Labelled, Needs, Stage


class Compare(Stage):
    """Differences between a treatment and every control along one axis, paired by items and by seeds.

    A control that does not depend on an axis (random weights on the mixture) is compared with every label of it.
    """

    kind = "deltas"
    version = "1"

    scores: tuple[Annotated[Labelled, Needs("scores")], ...] = Field(description="$scores[*]")
    treatment: str = Field(description="a label of the axis `along`")
    along: str = Field("weights", description="the axis that is compared")
    replicate: str = Field("init", description="the axis of seeds: the unit of replication")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")

    def design(self) -> str | None:
        """The smallest effect this comparison could detect, and the variances it assumes."""
        from eval.stats import minimum_detectable_effect, paired_item_sd

        seeds = len({each.labels.get(self.replicate) for each in self.scores} - {None})
        if not seeds:
            return None
        lines = []
        for items in sorted({each.stage.estimate().items for each in self.scores} - {0}):
            spread = paired_item_sd(0.5, 0.3)
            effect = minimum_detectable_effect(items, seeds, item_sd=spread, seed_sd=0.02, level=self.level)
            lines.append(f"{items} items: {100 * effect:.1f} points")
        assumed = "accuracy 0.5, item correlation 0.3, s.d. between seeds 2 points, power 0.8"
        return (
            f"smallest detectable effect with {seeds} seed{'s' * (seeds > 1)}: {', '.join(lines)} (assumed: {assumed})"
        )

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Group, pair, compare; every arm and every difference with its interval."""
        from eval.stats import holm

        arms = self._arms(inputs)
        known = {arm.labels[self.along] for arm in arms if self.along in arm.labels}
        if self.treatment not in known:
            raise PresightError(
                "treatment", f"no scores are labelled {self.treatment!r}", nearest(self.treatment, known)
            )
        deltas = [
            self._delta(treatment, control)
            for treatment in arms
            if treatment.labels.get(self.along) == self.treatment
            for control in arms
            if control.labels.get(self.along, self.treatment) != self.treatment and self._meets(treatment, control)
        ]
        if not deltas:
            mend = f"give scores of another label of {self.along}, or name another axis"
            raise PresightError("treatment", f"{self.treatment!r} meets no control along {self.along}", mend)
        for delta, adjusted in zip(deltas, holm([delta["p"] for delta in deltas]), strict=True):
            delta["p_holm"] = float(adjusted)
        found = {
            "along": self.along,
            "treatment": self.treatment,
            "replicate": self.replicate,
            "arms": [arm.record(self.level) for arm in arms],
            "deltas": deltas,
        }
        (out / "deltas.json").write_text(json.dumps(found, indent=1))
        (out / "counts.json").write_text(json.dumps({"arms": len(arms), "deltas": len(deltas)}))

    def _arms(self, inputs: Mapping[str, Path]) -> list[Arm]:
        groups: dict[tuple[tuple[str, str], ...], dict[str, tuple[str, Path]]] = {}
        for index, each in enumerate(self.scores):
            labels = dict(each.labels)
            seed = labels.pop(self.replicate, "-")
            arm = groups.setdefault(tuple(sorted(labels.items())), {})
            if seed in arm:
                raise PresightError(
                    "scores", f"{labels}, {self.replicate} {seed}, are given twice", "label them apart"
                )
            arm[seed] = (each.stage.fingerprint, inputs[f"scores[{index}]"])
        return [Arm.read(dict(labels), seeds) for labels, seeds in groups.items()]

    def _meets(self, treatment: Arm, control: Arm) -> bool:
        """Whether they differ along the compared axis alone."""
        rest = [axis for axis in treatment.labels if axis != self.along]
        return (
            treatment.task == control.task
            and all(control.labels.get(axis, treatment.labels[axis]) == treatment.labels[axis] for axis in rest)
            and set(control.labels) <= set(treatment.labels)
        )

    def _delta(self, treatment: Arm, control: Arm) -> dict[str, Any]:
        from eval.stats import prior_delta

        seeds = [seed for seed in treatment.seeds if seed in control.seeds]
        if not seeds:
            raise PresightError(
                f"replicate {self.replicate}",
                f"{treatment.labels} and {control.labels} share no seed",
                "give both arms the same seeds",
            )
        if treatment.items != control.items:
            raise PresightError(
                "scores", f"{treatment.labels} and {control.labels} scored other items", "use one dataset"
            )
        delta = prior_delta(
            treatment.rows(seeds),
            control.rows(seeds),
            task=treatment.task,
            trained=treatment.record_of["trained"],
            treatment_name=self.treatment,
            control_name=control.labels[self.along],
            along=self.along,
            labels={axis: label for axis, label in treatment.labels.items() if axis != self.along},
            metric=treatment.record_of["metric"],
            clusters=treatment.clusters,
            level=self.level,
        )
        return {**delta.to_json(), "sentence": delta.sentence(), "established": delta.established}


@dataclass(frozen=True, slots=True)
class Arm:
    """The scores of one arm: one row of 0/1 per seed, items in one order."""

    labels: dict[str, str]
    task: str
    seeds: list[str]
    items: list[str]
    clusters: npt.NDArray[Any]
    correct: npt.NDArray[np.float64]  # [seeds, items]
    record_of: dict[str, Any]
    fingerprints: list[str]
    records: list[dict[str, Any]]

    @classmethod
    def read(cls, labels: dict[str, str], seeds: Mapping[str, tuple[str, Path]]) -> Arm:
        """Read the score records of an arm's seeds."""
        import pyarrow.parquet

        order = sorted(seeds)
        tables = [pyarrow.parquet.read_table(seeds[seed][1] / "items.parquet").sort_by("item") for seed in order]
        records = [json.loads((seeds[seed][1] / "scores.json").read_text()) for seed in order]
        items = tables[0]["item"].to_pylist()
        if any(table["item"].to_pylist() != items for table in tables):
            raise PresightError("scores", f"the seeds of {labels} scored different items", "use one dataset")
        correct = np.stack([table["correct"].to_numpy().astype(np.float64) for table in tables])
        clusters = np.array(tables[0]["cluster"].to_pylist())
        return cls(
            labels,
            records[0]["task"],
            order,
            items,
            clusters,
            correct,
            records[0],
            [seeds[seed][0] for seed in order],
            records,
        )

    def rows(self, seeds: list[str]) -> npt.NDArray[np.float64]:
        """The scores of these seeds."""
        return self.correct[[self.seeds.index(seed) for seed in seeds]]

    def record(self, level: float) -> dict[str, Any]:
        """The arm's accuracy with its interval, and where it comes from."""
        from eval.stats import mean_interval

        interval = mean_interval(self.correct, clusters=self.clusters, level=level)
        return {
            "labels": self.labels,
            "task": self.task,
            "modality": self.record_of["modality"],
            "trained": self.record_of["trained"],
            "metric": self.record_of["metric"],
            "accuracy": {
                "estimate": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "level": interval.level,
                "method": interval.method,
            },
            "per_seed": self.correct.mean(1).tolist(),
            "seeds": self.seeds,
            "chance": self.record_of["chance"],
            "n_items": len(self.items),
            "n_clusters": len(set(self.clusters.tolist())),
            "learning_rates": sorted({record["learning_rate"] for record in self.records}),
            "edge": any(record["edge"] for record in self.records),
            "scores": self.fingerprints,
        }
