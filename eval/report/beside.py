"""What of ours stands at the places of a figure of the paper: values with intervals, differences, ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eval.report.paper import PAIR, Figure, Key, key, number
from eval.stats.margins import Interval, t_quantile
from eval.vision.figures import figure_name, there_of

if TYPE_CHECKING:
    from eval.report.evidence import Comparison, Evidence

NEIGHBOURS, RANKS = "mutual nearest neighbours", "rank correlation"  # groups that are no scores of arms
FEWEST = 4  # places, for a rank correlation to have an interval


@dataclass(frozen=True, slots=True)
class Mark:
    """A value of ours, as it is shown, with its interval where it has one, and what it is made of."""

    task: str
    value: float
    limits: tuple[float, float] | None
    seeds: int
    items: int
    card: str
    accuracy: bool

    @property
    def part(self) -> str:
        """How much of its group is there, where some is missing: ``1 of 4``."""
        return there_of(self.task)

    @property
    def ends(self) -> tuple[float, float]:
        """Its interval; the value itself where it has none."""
        return self.limits or (self.value, self.value)


@dataclass(frozen=True, slots=True)
class Gain:
    """What a place of ours has over the reference, as it is shown, with the limits of the comparison that says so.

    `seeds` is how many that has; none where nothing was compared.
    """

    value: float
    limits: tuple[float, float] | None = None
    seeds: int = 0

    def holds(self, value: float) -> bool:
        """Whether there is an interval, and the value lies in it."""
        return self.limits is not None and self.limits[0] <= value <= self.limits[1]

    @property
    def excludes(self) -> bool:
        """Whether there is an interval, and it leaves 0 out."""
        return self.limits is not None and not self.holds(0.0)

    @property
    def established(self) -> bool:
        """Whether it also speaks of more than these models."""
        return self.excludes and self.seeds > 1


class Beside:
    """What of ours stands at the places of a figure.

    Attributes:
        marks: by curve, group, and label along the axis.
        partner: of each of our curves the paper's at the same place; none where only the axis is shared.
        reference: the label that differences are from.
    """

    def __init__(self, figure: Figure, evidence: Evidence) -> None:
        self.figure, self.evidence = figure, evidence
        found: dict[Key, list[tuple[str, str, Mark]]] = {}
        for labels, group, extra, mark in _marks(figure, evidence):
            placed = self._placed({**labels, **extra})
            if placed is not None:
                found.setdefault(placed[0], []).append((group, placed[1], mark))
        found = {curve: part for curve, part in found.items() if {at for _, at, _ in part} & set(figure.order)}
        self.marks: dict[Key, dict[str, dict[str, Mark]]] = {}
        whole = [one for one in found if not any(set(one) < set(other) for other in found)]
        for curve in whole:  # what an axis does not reach stands on all curves along it
            for own in sorted(found, key=len, reverse=True):  # its own first
                if set(own) <= set(curve):
                    for group, at, mark in found[own]:
                        self.marks.setdefault(curve, {}).setdefault(group, {}).setdefault(at, mark)
        self.partner = {curve: self._partner(curve) for curve in self.marks}
        self._compared: dict[tuple[Key, str, str, str], Comparison] = {}
        for pair, comparison in self._comparisons():
            self._compared.setdefault(pair, comparison)
        self.reference = "" if figure.itself else self._reference()

    def order(self, group: str) -> list[str]:
        """The labels that the paper or ours has of a group, the paper's first; numbers in their order."""
        theirs = [
            at for at in self.figure.order if any(group in each.get(at, {}) for each in self.figure.curves.values())
        ]
        ours = [at for curve in self.marks.values() for at in curve.get(group, {})]
        every = list(dict.fromkeys([*theirs, *ours]))
        return sorted(every, key=lambda at: number(at) or 0.0) if self.figure.numeric else every

    def published(self, curve: Key, group: str, at: str) -> float | None:
        """The paper's value."""
        return self.figure.curves.get(curve, {}).get(at, {}).get(group)

    def published_gain(self, curve: Key, group: str, at: str) -> float | None:
        """The paper's, over the reference."""
        here = self.published(curve, group, at)
        if self.figure.itself or here is None:
            return here
        there = self.published(curve, group, self.reference)
        return None if there is None or at == self.reference else here - there

    def gain(self, curve: Key, group: str, at: str) -> Gain | None:
        """Ours, over the reference; where the figure's values are what is compared, the value itself."""
        marks = self.marks.get(curve, {}).get(group, {})
        if at not in marks:
            return None
        if self.figure.itself:
            return Gain(marks[at].value, marks[at].limits, marks[at].items)
        if at == self.reference or self.reference not in marks:
            return None
        for pair, sign in (((at, self.reference), 1), ((self.reference, at), -1)):
            found = self._compared.get((curve, group, *pair))
            if found is not None:
                scale, interval = sign * found.scale, found.delta.interval
                low, high = sorted((scale * interval.low, scale * interval.high))
                return Gain(scale * found.delta.estimate, (low, high), found.delta.n_seeds)
        return Gain(marks[at].value - marks[self.reference].value)

    def stands(self, curve: Key, group: str, at: str) -> bool:
        """Whether a point is no mere guess: the reference, and what is established to differ from it."""
        gain = self.gain(curve, group, at)
        return at == self.reference or (gain is not None and gain.established)

    @property
    def pairs(self) -> list[tuple[Key | None, Key | None]]:
        """Our curves with the paper's at the same place, then what the paper has alone."""
        alone = [(None, curve) for curve in self.figure.curves if curve not in self.partner.values()]
        return [*self.partner.items(), *alone]

    def among(self, group: str | None = None) -> list[Mark]:
        """All values of ours, or those of a group."""
        return [
            mark
            for curve in self.marks.values()
            for name, points in curve.items()
            if group in (None, name)
            for mark in points.values()
        ]

    def _placed(self, labels: Mapping[str, str]) -> tuple[Key, str] | None:
        """The curve of labels of ours and where they stand along it; None where that is no place of the figure."""
        own = {**labels, **{axis: self.figure.named(labels[axis]) for axis in self.figure.place if axis in labels}}
        if self.figure.source and self.figure.axis not in own:
            for lock in self.evidence.mixtures:
                if lock.labels and all(labels.get(axis) == value for axis, value in lock.labels.items()):
                    share = sum(p["realised"] for p in lock.lock["pools"] if p["name"] == self.figure.source)
                    own = {axis: value for axis, value in own.items() if axis not in lock.labels}
                    own |= {axis: self.figure.source for axis in self.figure.place if axis != self.figure.axis}
                    own[self.figure.axis] = f"{100 * share:.3g}"
                    break
        at = own.pop(self.figure.axis, None)
        if at is None or (self.figure.numeric and number(at) is None):
            return None
        fixed = [axis for axis in self.figure.place if axis not in (self.figure.axis, *self.figure.free)]
        theirs = {tuple(dict(curve)[axis] for axis in fixed) for curve in self.figure.curves}
        return (key(own), at) if tuple(own.get(axis) for axis in fixed) in theirs else None

    def _partner(self, curve: Key) -> Key | None:
        own = key({axis: value for axis, value in curve if axis in self.figure.place})
        return own if own in self.figure.curves else None

    def _comparisons(self) -> Iterator[tuple[tuple[Key, str, str, str], Comparison]]:
        """Comparisons along the axis: curve, group, treatment, control."""
        for family in self.evidence.families:
            for each in family.comparisons:
                delta = each.delta
                group, extra = _group(self.figure, delta.task, delta.metric)
                labels = {**delta.labels, **extra}
                one, two = (self._placed({**labels, delta.along: side}) for side in (delta.treatment, delta.control))
                if group and one and two and one[0] == two[0] and one[1] != two[1]:
                    yield (one[0], group, one[1], two[1]), each

    def _reference(self) -> str:
        """What most comparisons are with, if the paper has it; else the first label that both have."""
        order = self.figure.order
        with_it = {at: sum(at in pair[2:] for pair in self._compared) for at in order}
        if any(with_it.values()):
            return max(order, key=lambda at: with_it[at])
        ours = {at for curve in self.marks.values() for group in curve.values() for at in group}
        return next((at for at in order if at in ours), order[0])


def _marks(figure: Figure, evidence: Evidence) -> Iterator[tuple[Mapping[str, str], str, dict[str, str], Mark]]:
    """Values of ours that are of the figure's groups: labels, group, what else tells them apart, value."""
    for arm in (arm for family in evidence.families for arm in family.arms):  # one may have labels of its own in each
        record, scale = arm.record, arm.scale
        group, extra = _group(figure, record["task"], record["metric"])
        if group:
            low, value, high = (scale * record["mean"][end] for end in ("low", "estimate", "high"))
            size = len(record["seeds"]), record["n_items"]
            mark = Mark(record["task"], value, (low, high), *size, arm.card, record["metric"] == "accuracy")
            yield record["labels"], group, extra, mark
    if NEIGHBOURS in figure.groups:
        places: dict[Key, list[tuple[float, int, str]]] = {}
        for each in evidence.alignments:
            labels = {axis: value for axis, value in each.labels.items() if axis not in evidence.replicates}
            shared = (each.record["estimate"], each.record["items"], each.card)
            places.setdefault(tuple(labels.items()), []).append(shared)
        for place, found in places.items():
            mean, limits = _over_seeds([share for share, *_ in found])
            mark = Mark(NEIGHBOURS, mean, limits, len(found), found[0][1], found[0][2], False)
            yield dict(place), NEIGHBOURS, {}, mark
    if RANKS in figure.groups:
        for each in evidence.structures:
            extra = {"models": each.card[:8]} if len(evidence.structures) > 1 else {}
            for found in each.record["correlations"]:
                names, own = PAIR.join(sorted(figure_name(group) for group in found["pair"])), found["spearman"]
                size = 1, len(each.record["models"])
                mark = Mark(names, own["estimate"], (own["low"], own["high"]), *size, each.card, False)
                yield {"pair": names}, RANKS, extra, mark


def _over_seeds(values: list[float]) -> tuple[float, tuple[float, float] | None]:
    """Their mean, and its t interval where there are two."""
    count, mean = len(values), sum(values) / len(values)
    if count < 2:
        return mean, None
    spread = sum((value - mean) ** 2 for value in values) / (count - 1)
    reach = t_quantile(count - 1, 0.05) * (spread / count) ** 0.5
    return mean, (mean - reach, mean + reach)


def _group(figure: Figure, task: str, metric: str) -> tuple[str, dict[str, str]]:
    """The figure's group that a task, or what is measured of it, is of; what else tells it apart. Empty: none."""
    if metric == "accuracy" and figure_name(task) in figure.groups:
        return figure_name(task), {}
    return (metric, {"task": task}) if metric in figure.groups else ("", {})


def ranks(beside: Beside, curve: Key, group: str) -> tuple[int, Interval | None]:
    """How many labels both have, and Spearman's correlation of ours with the paper's over them; none of too few.

    Its interval is over labels, each taken as it was measured: the scores' own noise, which lowers it, is not in it.
    """
    from eval.stats.correlation import correlation

    partner, marks = beside.partner[curve], beside.marks[curve].get(group, {})
    pairs = [
        (theirs, marks[at].value)
        for at in beside.figure.order
        if partner is not None and at in marks and (theirs := beside.published(partner, group, at)) is not None
    ]
    if len(pairs) < FEWEST or any(len({pair[side] for pair in pairs}) == 1 for side in (0, 1)):
        return len(pairs), None
    return len(pairs), correlation([theirs for theirs, _ in pairs], [ours for _, ours in pairs])
