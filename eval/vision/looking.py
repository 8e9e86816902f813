"""One figure under several conditions: what of it is guessed, what language gives, and what is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eval.compare import Arm
from eval.records import require_same_items
from eval.stats.deltas import PriorDelta
from eval.stats.margins import Floats, Margins
from eval.vision.strata import Stratum, combined

# What each difference says: the first condition less the second.
CONTRASTS = {
    "image use, over a blank": ("right", "blank"),
    "image use, over a wrong picture": ("right", "wrong"),
    "image use, over no picture": ("right", "none"),
    "use of forms, over phases at random": ("right", "scrambled"),
    "presence of a blank, over no picture": ("blank", "none"),
    "distraction by a wrong picture": ("none", "wrong"),
}
UNSEEN = ("none", "blank")  # conditions that tell nothing: what is answered here is made up
SAID = ("answer", "abstained", "nothing")  # what replies do, as `eval.vision.sheet` has it

SHARES = ("accuracy", "score", "anls")  # metrics of which a mean over tasks says something

Shares = Mapping[str, Floats]  # by seed, shares of the replies to each item that do what `SAID` lists [items, 3]


@dataclass(frozen=True, slots=True)
class Part:
    """A task of one arm under several conditions.

    Attributes:
        arms: scores, by condition.
        said: what replies do, by condition; none where there are no replies.
        chance: what guessing is worth.
    """

    arms: Mapping[str, Arm]
    said: Mapping[str, Shares]

    @property
    def first(self) -> Arm:
        """The arm of any condition: task, items and clusters are the same in all of them."""
        return next(iter(self.arms.values()))

    @property
    def chance(self) -> float:
        """What guessing is worth."""
        return float(self.first.facts.get("chance") or 0.0)


@dataclass(frozen=True, slots=True)
class Looking:
    """A figure: a task, or a weighted mean of several.

    Attributes:
        name: as it is reported.
        level: task, benchmark, group or overall.
        labels: of the arm on the axes other than that of conditions.
        weights: task, and what it counts; they add up to one.
        parts: the tasks.
        along: the axis of conditions.
        coverage: of the intervals.
    """

    name: str
    level: str
    labels: Mapping[str, str]
    weights: Mapping[str, float]
    parts: Mapping[str, Part]
    along: str
    coverage: float

    @property
    def conditions(self) -> list[str]:
        """Those that all of its tasks were asked under."""
        return sorted(set.intersection(*(set(self.parts[task].arms) for task in self.weights)))

    @property
    def chance(self) -> float:
        """What guessing is worth."""
        return sum(weight * self.parts[task].chance for task, weight in self.weights.items())

    def record(self) -> dict[str, Any]:
        """As ``blindness.json`` has it."""
        first, conditions = self.parts[next(iter(self.weights))].first, self.conditions
        pairs = {name: pair for name, pair in CONTRASTS.items() if set(pair) <= set(conditions) and self.seeds(*pair)}
        seen = [name for name in UNSEEN if name in conditions]
        return {
            "labels": dict(self.labels),
            "task": self.name,
            "level": self.level,
            "group": first.facts.get("group", "") if self.level == "task" else "",
            "metric": first.metric,
            "tasks": list(self.weights),
            "chance": self.chance,
            "items": sum(len(self.parts[task].first.items) for task in self.weights),
            "seeds": {name: self.seeds(name) for name in conditions},
            "means": {name: asdict(self.margins(name).interval(self.coverage)) for name in conditions},
            "priors": {name: self.prior(name) for name in seen},
            "contrasts": [{"name": name, **self.contrast(*pair)} for name, pair in pairs.items()],
            "unseen": {
                name: self.unseen(name) for name in seen if "right" in conditions and self.seeds("right", name)
            },
            "said": {name: self.replies(name) for name in conditions},
        }

    def seeds(self, *conditions: str) -> list[str]:
        """Seeds that all tasks were asked with under all of these."""
        arms = [self.parts[task].arms[name] for task in self.weights for name in conditions]
        return [seed for seed in arms[0].seeds if all(seed in arm.seeds for arm in arms)]

    def margins(self, condition: str, less: str | None = None) -> Margins:
        """Margins of the figure, or of its difference to that of another condition on the same items and seeds."""
        seeds = self.seeds(condition) if less is None else self.seeds(condition, less)
        return self._combined(
            {task: part.arms[condition].rows(seeds) for task, part in self.parts.items()},
            {task: part.arms[less].rows(seeds) for task, part in self.parts.items()} if less else None,
        )

    def prior(self, condition: str) -> dict[str, Any]:
        """The figure less that of guessing: what language, or habit, gives."""
        margins, chance = self.margins(condition), self.chance
        interval = margins.interval(self.coverage)
        moved = {name: getattr(interval, name) - chance for name in ("estimate", "low", "high")}
        return {**asdict(interval), **moved, "p": margins.p_value(chance)}

    def contrast(self, first: str, second: str) -> dict[str, Any]:
        """A difference between conditions, as `Compare` writes one.

        Raises:
            PresightError: other items, or the same asked in another way.
        """
        seeds = self.seeds(first, second)
        arms = [self.parts[task].arms for task in self.weights]
        for each in arms:
            require_same_items(each[first].first, each[second].first, f"{first} and {second} of {dict(self.labels)}")
        margins = self.margins(first, second)
        gained = np.stack([each[first].rows(seeds).mean(1) - each[second].rows(seeds).mean(1) for each in arms])
        delta = PriorDelta(
            task=self.name,
            trained=arms[0][first].facts.get("trained", ""),
            treatment=first,
            control=second,
            along=self.along,
            labels=dict(self.labels),
            metric=arms[0][first].metric,
            n_items=sum(len(each[first].items) for each in arms),
            n_clusters=sum(len(set(each[first].clusters.tolist())) for each in arms),
            n_seeds=len(seeds),
            estimate=margins.estimate,
            interval=margins.interval(self.coverage),
            these_models=margins.items_only().interval(self.coverage),
            p=margins.p_value(),
            mde=margins.detectable(self.coverage),
            per_seed=tuple(map(float, np.array(list(self.weights.values())) @ gained)),
        )
        return {**delta.to_json(), "sentence": delta.sentence(), "established": delta.established}

    def unseen(self, condition: str) -> dict[str, Any] | None:
        """The share of what is above chance with the right picture that is there without it: a ratio, linearised.

        None where the right picture does not lift the figure above chance: there is nothing to have a share of.
        """
        seeds = self.seeds("right", condition)
        right, other = (
            {task: part.arms[name].rows(seeds) - part.chance for task, part in self.parts.items()}
            for name in ("right", condition)
        )
        above = self._combined(right)
        if above.interval(self.coverage).low <= 0:
            return None
        share = self._combined(other).estimate / above.estimate
        moved = {task: share + (other[task] - share * right[task]) / above.estimate for task in self.parts}
        return asdict(self._combined(moved).interval(self.coverage))

    def replies(self, condition: str) -> dict[str, Any] | None:
        """Shares of replies that answer, decline, or say nothing; `hallucinated`: that answer what cannot be seen."""
        said = {task: part.said.get(condition, {}) for task, part in self.parts.items()}
        seeds = [seed for seed in self.seeds(condition) if all(seed in each for each in said.values())]
        if not seeds:
            return None
        found: dict[str, Any] = {}
        for place, name in enumerate(SAID):
            tables = {task: np.stack([each[seed][:, place] for seed in seeds]) for task, each in said.items()}
            found[name] = asdict(self._combined(tables).interval(self.coverage))
        return found | ({"hallucinated": found["answer"]} if condition in UNSEEN else {})

    def _combined(self, tables: Mapping[str, Floats], less: Mapping[str, Floats] | None = None) -> Margins:
        """Margins of the weighted mean of tables [seeds, items], a table a task."""
        return combined(
            [
                Stratum(tables[task], self.parts[task].first.clusters, weight, less[task] if less else None)
                for task, weight in self.weights.items()
            ]
        )


def lookings(labels: Mapping[str, str], parts: Sequence[Part], along: str, coverage: float) -> list[Looking]:
    """All figures of one arm: its tasks, benchmarks of several parts, groups, and all of them.

    Args:
        labels: of the arm.
        parts: its tasks; of a task several metrics may be there.
        along: the axis of conditions.
        coverage: of the intervals.
    """
    from eval.vision.figures import rows

    found = [
        Looking(part.first.task, "task", labels, {part.first.task: 1.0}, {part.first.task: part}, along, coverage)
        for part in parts
    ]
    shares: dict[str, Part] = {}
    for part in parts:
        if part.first.metric in SHARES:
            shares.setdefault(part.first.task, part)
    if len(shares) > 1:
        figures, _ = rows({task: part.first for task, part in shares.items()}, {}, partial=True)
        for row in figures:
            own = {task: shares[task] for task in row.weights}
            if len(own) > 1:
                found.append(Looking(row.name, row.level, labels, row.weights, own, along, coverage))
    return [each for each in found if len(each.conditions) > 1]
