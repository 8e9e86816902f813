"""The paper's figures: the mean of each group of benchmarks and of all of them, compared between arms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field

from eval.compare import Arm, Compare
from eval.records import require_same_items
from eval.stats.margins import Margins
from eval.vision.figures import OVERALL, Row, figure_name, rows
from eval.vision.sizes import Size, sizes
from eval.vision.strata import Stratum, combined
from presight.console import say
from presight.errors import PresightError, nearest
from presight.stage import FrozenMap

FILE = "groups.json"


class Groups(Compare):
    """Means over groups of benchmarks, and over all, and their differences along one axis, paired by items and seeds.

    A benchmark is the mean of its questions, or of its parts where it has some (``MME: count``); a group is the mean
    of its benchmarks, whatever their sizes. Intervals are those of a stratified mean, seeds crossed with items. Where
    a benchmark is missing its group has no figure, unless `partial` says that what is there may stand for it.
    """

    kind = "deltas"
    version = "1"

    benchmarks: FrozenMap[str, tuple[str, ...]] = Field(
        FrozenMap(), description="group: its benchmarks; none named: the paper's, and the groups that questions name"
    )
    partial: bool = Field(False, description="take the mean of what is there of a group, and say so in its name")
    each: bool = Field(False, description="also compare every benchmark by itself, in the same family of tests")
    of: str = Field(OVERALL, exclude=True, description="the figure whose difference is expected; for plan")

    def design(self) -> str | None:
        """As `Compare`, of every figure: a mean of means is worth the items of a plain mean that is as sure.

        Where the questions cannot say beforehand what they are, all count alike.
        """
        from eval.stats.design import effective_items

        places: dict[frozenset[tuple[str, str]], dict[str, Size]] = {}
        for each in self.scores:
            place = frozenset((axis, label) for axis, label in each.labels.items() if axis != self.replicate)
            places.setdefault(place, {}).update(sizes(each.stage))
        first, *others = places.values() or [{}]
        tasks = {task: size for task, size in first.items() if all(task in other for other in others)}
        if not tasks or (planned := self._planned()) is None:
            return super().design()
        try:
            found, _ = rows(tasks, self.benchmarks, self.partial)
        except PresightError:
            return None  # the run says why
        worth = {
            row.name: max(2, round(effective_items(row.weights.values(), [tasks[task].count for task in row.weights])))
            for row in sorted(found, key=lambda row: row.level != "overall")
            if row.level != "benchmark" or self.each
        }
        alike: dict[int, list[str]] = {}
        for name, items in worth.items():
            alike.setdefault(items, []).append(name)
        line = planned.sentence(
            {f"{' / '.join(names)} (worth {items:,} items)": items for items, names in alike.items()}
        )
        if self.expected is None:
            return line
        own = [items for name, items in worth.items() if figure_name(name) == self.of]
        if not own:
            known = [figure_name(name) for name in worth]
            return f"{line}; a difference of {self.of} is expected, which is no figure here: {nearest(self.of, known)}"
        return f"{line}; {planned.verdict(self.expected, own[0], f'of {self.of}')}"

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``groups.json``, and ``deltas.json`` as `Compare` does, each group being a task.

        Raises:
            PresightError: benchmarks are missing, scores are no shares, or as `Compare`.
        """
        from eval.stats.multiplicity import holm

        places = self._places(self._arms(inputs))
        known = {labels[self.along] for labels, _ in places if self.along in labels}
        if self.treatment not in known:
            problem = f"no scores are labelled {self.treatment!r}"
            raise PresightError("treatment", problem, nearest(self.treatment, known))
        tasks = [name for name in places[0][1] if all(name in arms for _, arms in places)]
        figures, missing = rows({name: places[0][1][name] for name in tasks}, self.benchmarks, self.partial)
        arms = [_record(row, labels, own, self.level) for labels, own in places for row in figures]
        shown = [row for row in figures if self.each or row.level != "benchmark"]
        deltas = [self._of_row(row, treatment, control) for treatment, control in self._pairs(places) for row in shown]
        for delta, adjusted in zip(deltas, holm([delta["p"] for delta in deltas]), strict=True):
            delta["p_holm"] = float(adjusted)
        for group, lacking in missing.items():
            say(f"{group}: no figure without {', '.join(lacking)}; give their scores, or set partial")
        names = {row.name for row in shown}
        found = {
            "along": self.along,
            "treatment": self.treatment,
            "replicate": self.replicate,
            "arms": [arm for arm in arms if arm["task"] in names],
            "deltas": deltas,
        }
        told = {"rows": [asdict(row) for row in figures], "missing": missing, "arms": arms}
        (out / "deltas.json").write_text(json.dumps(found, indent=1))
        (out / FILE).write_text(json.dumps(told, indent=1))
        (out / "counts.json").write_text(
            json.dumps({"arms": len(places), "rows": len(figures), "deltas": len(deltas)})
        )

    def _places(self, arms: Sequence[Arm]) -> list[tuple[dict[str, str], dict[str, Arm]]]:
        """The tasks at each place on the axes, with the seeds that all of them have."""
        found: dict[tuple[tuple[str, str], ...], dict[str, Arm]] = {}
        for arm in arms:
            if arm.scores.min() < 0 or arm.scores.max() > 1:
                problem = f"{arm.metric} of {arm.task} is no share, so that its mean with others says nothing"
                raise PresightError("scores", problem, "leave it out of the groups")
            own = found.setdefault(tuple(sorted(arm.labels.items())), {})
            if arm.task in own:
                problem = f"{arm.labels} have two metrics of {arm.task}: {own[arm.task].metric} and {arm.metric}"
                raise PresightError("scores", problem, "give one of them")
            own[arm.task] = arm
        return [(dict(labels), own) for labels, own in found.items()]

    def _pairs(self, places: Sequence[tuple[dict[str, str], dict[str, Arm]]]) -> Iterator[tuple[Any, Any]]:
        found = [
            (treatment, control)
            for treatment in places
            if treatment[0].get(self.along) == self.treatment
            for control in places
            if control[0].get(self.along, self.treatment) != self.treatment
            and all(control[0].get(axis, label) == label for axis, label in treatment[0].items() if axis != self.along)
            and set(control[0]) <= set(treatment[0])
        ]
        if not found:
            mend = f"give scores of another label of {self.along}, or name another axis"
            raise PresightError("treatment", f"{self.treatment!r} meets no control along {self.along}", mend)
        yield from found

    def _of_row(
        self,
        row: Row,
        treatment: tuple[dict[str, str], dict[str, Arm]],
        control: tuple[dict[str, str], dict[str, Arm]],
    ) -> dict[str, Any]:
        """The difference of a figure between two places, as `Compare` writes one."""
        from eval.stats.deltas import PriorDelta

        (labels, own), (others, other) = treatment, control
        seeds = _seeds([*(own[task] for task in row.weights), *(other[task] for task in row.weights)])
        if not seeds:
            problem = f"{labels} and {others} share no seed in all tasks of {row.name}"
            raise PresightError(f"replicate {self.replicate}", problem, "give both arms the same seeds")
        for task in row.weights:
            require_same_items(own[task].first, other[task].first, f"{labels} and {others}")
        margins = _margins(row, own, seeds, other)
        first = own[next(iter(row.weights))]
        delta = PriorDelta(
            task=row.name,
            trained=first.facts.get("trained", ""),
            treatment=self.treatment,
            control=others[self.along],
            along=self.along,
            labels={axis: label for axis, label in labels.items() if axis != self.along},
            metric="accuracy",
            n_items=sum(len(own[task].items) for task in row.weights),
            n_clusters=sum(len(set(own[task].clusters.tolist())) for task in row.weights),
            n_seeds=len(seeds),
            estimate=margins.estimate,
            interval=margins.interval(self.level),
            these_models=margins.items_only().interval(self.level),
            p=margins.p_value(),
            mde=margins.detectable(self.level),
            per_seed=tuple(_margins(row, own, [seed], other).estimate for seed in seeds),
        )
        return {**delta.to_json(), "sentence": delta.sentence(), "established": delta.established}


def _seeds(arms: Sequence[Arm]) -> list[str]:
    """The seeds that all of them have."""
    return [seed for seed in arms[0].seeds if all(seed in arm.seeds for arm in arms)]


def _margins(row: Row, own: Mapping[str, Arm], seeds: list[str], other: Mapping[str, Arm] | None = None) -> Margins:
    return combined(
        [
            Stratum(own[task].rows(seeds), own[task].clusters, weight, other[task].rows(seeds) if other else None)
            for task, weight in row.weights.items()
        ]
    )


def _record(row: Row, labels: Mapping[str, str], own: Mapping[str, Arm], level: float) -> dict[str, Any]:
    """A figure at one place, in the form of an arm's record."""
    arms = {task: own[task] for task in row.weights}
    seeds = _seeds(list(arms.values()))
    if not seeds:
        raise PresightError("scores", f"tasks of {row.name} at {labels} share no seed", "score them with the same")
    first = next(iter(arms.values()))
    chances = [arm.facts.get("chance") for arm in arms.values()]
    known = [chance for chance in chances if chance is not None]
    weighted = sum(weight * chance for weight, chance in zip(row.weights.values(), known, strict=False))
    return {
        "labels": dict(labels),
        "task": row.name,
        "level": row.level,
        "modality": first.facts.get("modality", ""),
        "trained": first.facts.get("trained", ""),
        "metric": "accuracy",
        "mean": asdict(_margins(row, arms, seeds).interval(level)),
        "per_seed": [_margins(row, arms, [seed]).estimate for seed in seeds],
        "seeds": seeds,
        "chance": weighted if len(known) == len(chances) else None,
        "n_items": sum(len(arm.items) for arm in arms.values()),
        "n_clusters": sum(len(set(arm.clusters.tolist())) for arm in arms.values()),
        "learning_rates": [],
        "edge": False,
        "scores": sorted({name for arm in arms.values() for name in arm.fingerprints}),
    }
