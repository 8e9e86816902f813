"""Compare arms item by item: the deltas that everything else reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from eval.design import Assumed, Design
from eval.records import KINDS, Result, require_same_items, results
from presight.errors import PresightError, nearest
from presight.stage import Labelled, Needs, Stage


class Compare(Stage):
    """Differences between a treatment and every control along one axis, paired by items and by seeds.

    A control that does not depend on an axis (random weights on the mixture) is compared with every label of it.
    """

    kind = "deltas"
    version = "2"

    scores: tuple[Annotated[Labelled, Needs(*KINDS)], ...] = Field(
        description="$scores[*]: of items classified, questions answered, language tasks, bits a byte"
    )
    treatment: str = Field(description="a label of the axis `along`")
    along: str = Field("weights", description="the axis that is compared")
    replicate: str = Field("init", description="the axis of seeds: the unit of replication")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")
    expected: float | None = Field(
        None,
        exclude=True,
        description="the difference that is expected, in points; plan says whether it could be seen",
    )
    assumed: Assumed = Field(Assumed(), exclude=True, description="of the scores, by plan; it changes no result")

    @field_validator("expected")
    @classmethod
    def _some(cls, value: float | None) -> float | None:
        if value == 0:
            raise ValueError("0 is no difference to look for: leave it out")
        return value

    def design(self) -> str | None:
        """The smallest effect this comparison could detect, what it assumes, whether that sees what is expected."""
        counts = sorted({each.stage.estimate().items for each in self.scores} - {0})
        if not counts or (planned := self._planned()) is None:
            return None
        line = planned.sentence({f"{items} items": items for items in counts})
        if self.expected is None:
            return line
        places = {items: f"on {items} items" * (len(counts) > 1) for items in counts}
        return "; ".join([line, *(planned.verdict(self.expected, items, where) for items, where in places.items())])

    def _planned(self) -> Design | None:
        """The design, if the scores have seeds."""
        seeds = len({each.labels.get(self.replicate) for each in self.scores} - {None})
        return Design(seeds, self.along, self.level, self.assumed) if seeds else None

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Group, pair, compare; every arm and every difference with its interval."""
        from eval.stats.deltas import holm

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
        """One for each task and metric at each place on the axes."""
        groups: dict[tuple[Any, ...], dict[str, tuple[str, Result]]] = {}
        for index, each in enumerate(self.scores):
            labels = dict(each.labels)
            seed = labels.pop(self.replicate, "-")
            for result in results(inputs[f"scores[{index}]"]):
                arm = groups.setdefault((tuple(sorted(labels.items())), result.task, result.metric), {})
                if seed in arm:
                    problem = f"{labels}, {self.replicate} {seed}, are given twice"
                    raise PresightError("scores", problem, "label them apart")
                arm[seed] = (each.stage.fingerprint, result)
        return [Arm.of(dict(labels), seeds) for (labels, _, _), seeds in groups.items()]

    def _meets(self, treatment: Arm, control: Arm) -> bool:
        """Whether they differ along the compared axis alone."""
        rest = [axis for axis in treatment.labels if axis != self.along]
        return (
            (treatment.task, treatment.metric) == (control.task, control.metric)
            and all(control.labels.get(axis, treatment.labels[axis]) == treatment.labels[axis] for axis in rest)
            and set(control.labels) <= set(treatment.labels)
        )

    def _delta(self, treatment: Arm, control: Arm) -> dict[str, Any]:
        from eval.stats.deltas import prior_delta

        seeds = [seed for seed in treatment.seeds if seed in control.seeds]
        if not seeds:
            raise PresightError(
                f"replicate {self.replicate}",
                f"{treatment.labels} and {control.labels} share no seed",
                "give both arms the same seeds",
            )
        require_same_items(treatment.first, control.first, f"{treatment.labels} and {control.labels}")
        delta = prior_delta(
            treatment.rows(seeds),
            control.rows(seeds),
            task=treatment.task,
            trained=treatment.facts.get("trained", ""),
            treatment_name=self.treatment,
            control_name=control.labels[self.along],
            along=self.along,
            labels={axis: label for axis, label in treatment.labels.items() if axis != self.along},
            metric=treatment.metric,
            clusters=treatment.clusters,
            level=self.level,
        )
        return {**delta.to_json(), "sentence": delta.sentence(), "established": delta.established}


@dataclass(frozen=True, slots=True)
class Arm:
    """The scores of one arm on one task: a row for each seed, items in one order."""

    labels: dict[str, str]
    task: str
    metric: str
    seeds: list[str]
    items: tuple[str, ...]
    clusters: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]  # [seeds, items]
    fingerprints: list[str]
    known: list[Mapping[str, Any]]  # facts of each seed's result
    first: Result

    @classmethod
    def of(cls, labels: dict[str, str], seeds: Mapping[str, tuple[str, Result]]) -> Arm:
        """The arm of these results, by seed."""
        order = sorted(seeds)
        found = [seeds[seed][1] for seed in order]
        first = found[0]
        for each in found[1:]:
            require_same_items(first, each, f"the seeds of {labels}")
        scores = np.stack([each.scores for each in found])
        artifacts = [seeds[seed][0] for seed in order]
        known = [each.facts for each in found]
        return cls(
            labels, first.task, first.metric, order, first.items, first.clusters, scores, artifacts, known, first
        )

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of the task, by the first seed."""
        return self.known[0]

    def rows(self, seeds: list[str]) -> npt.NDArray[np.float64]:
        """The scores of these seeds."""
        return self.scores[[self.seeds.index(seed) for seed in seeds]]

    def record(self, level: float) -> dict[str, Any]:
        """The arm's mean score with its interval, and where it comes from."""
        from eval.stats.deltas import mean_interval

        interval = mean_interval(self.scores, clusters=self.clusters, level=level)
        rates = {facts["learning_rate"] for facts in self.known if facts.get("learning_rate") is not None}
        return {
            "labels": self.labels,
            "task": self.task,
            "modality": self.facts.get("modality", ""),
            "trained": self.facts.get("trained", ""),
            "metric": self.metric,
            "mean": asdict(interval),
            "per_seed": self.scores.mean(1).tolist(),
            "seeds": self.seeds,
            "chance": self.facts.get("chance"),
            "n_items": len(self.items),
            "n_clusters": len(set(self.clusters.tolist())),
            "learning_rates": sorted(rates),
            "edge": any(facts.get("edge", False) for facts in self.known),
            "scores": self.fingerprints,
        }
