"""Which figures benchmarks add up to: each benchmark out of its parts, each group, and all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol

from eval.vision.suite import GROUPS, PAPER, PART, suite
from eval.vision.suite import groups as paper_groups
from presight.errors import PresightError

OVERALL = "all groups"
ALIKE = ", levels alike"  # of a benchmark whose levels count by their questions: the other mean


def average(groups: Mapping[str, float], sizes: Mapping[str, int] | None = None) -> float:
    """The mean over all benchmarks, out of the means of their groups.

    Args:
        groups: mean of each.
        sizes: benchmarks of each; none given: the paper's 4, 4, 3 and 5, so (4·G + 4·K + 3·O + 5·V) / 16.

    Raises:
        PresightError: a group has no mean.
    """
    counted = sizes or {group: len(paper_groups()[group]) for group in PAPER}
    if missing := [group for group in counted if group not in groups]:
        raise PresightError("groups", f"{', '.join(missing)} have no mean", "measure their benchmarks first")
    return sum(groups[group] * size for group, size in counted.items()) / sum(counted.values())


class Task(Protocol):
    """What is read of a task that was scored, or will be."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of it; its `group`."""

    @property
    def items(self) -> Sized:
        """What is scored."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: of a benchmark, a group, or all.

    Attributes:
        name: as it is reported.
        level: benchmark, group or overall.
        weights: task, and what it counts.
    """

    name: str
    level: str
    weights: Mapping[str, float]


def rows(
    arms: Mapping[str, Task], benchmarks: Mapping[str, tuple[str, ...]], partial: bool = False
) -> tuple[list[Row], dict[str, list[str]]]:
    """The figures that these tasks allow, and what is missing of the others, by group.

    Args:
        arms: one for each task.
        benchmarks: of each group; none named: the paper's, and the groups that the questions name.
        partial: whether what is there of a group may stand for it.

    Raises:
        PresightError: no group is whole.
    """
    wanted, there, missing = _wanted(arms, benchmarks), _benchmarks(arms), dict[str, list[str]]()
    found = [row for name in there for row in _of_benchmark(name, arms)]
    whole: dict[str, list[str]] = {}
    groups = []
    for group, names in wanted.items():
        lacking = [said for name in names for said in _lacking(name, there)]
        own = [name for name in names if name in there]
        if lacking and not (partial and own):
            missing[group] = lacking
            continue
        whole[group] = own
        title = _title(group, len(own), len(names))
        groups.append(Row(title, "group", _alike([_of_benchmark(name, arms)[0].weights for name in own])))
    if not groups:
        said = "; ".join(f"{group} without {', '.join(names)}" for group, names in missing.items())
        raise PresightError("benchmarks", f"no group is whole: {said}", "give their scores, or set partial")
    counted = [group for group in wanted if benchmarks or group in PAPER]
    if len(counted) > 1 and (partial or not set(counted) & set(missing)):
        every = [name for group in counted for name in whole.get(group, ())]
        total = sum(len(wanted[group]) for group in counted)
        title = _title(OVERALL, len(every), total)
        groups.append(Row(title, "overall", _alike([_of_benchmark(name, arms)[0].weights for name in every])))
    return found + groups, missing


def _title(name: str, there: int, wanted: int) -> str:
    """A figure's name, with how much of it is there where that is not all: ``General (1 of 4)``."""
    return f"{name} ({there} of {wanted})" if there < wanted else name


def figure_name(title: str) -> str:
    """The name that a figure has when all of it is there."""
    return title.partition(" (")[0]


def there_of(title: str) -> str:
    """How much of a figure is there, where that is not all: ``1 of 4``."""
    return title.partition(" (")[2].removesuffix(")")


def _wanted(arms: Mapping[str, Task], benchmarks: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The benchmarks of each group that there should be."""
    if benchmarks:
        return dict(benchmarks)
    there, known = _benchmarks(arms), paper_groups()
    papers = {group: names for group, names in known.items() if set(names) & set(there)}
    if set(papers) & set(PAPER):
        papers |= {group: known[group] for group in PAPER}
    others: dict[str, tuple[str, ...]] = {}
    for name, tasks in there.items():
        if name not in suite().benchmarks:
            group = str(arms[tasks[0]].facts.get("group") or name)
            others[group] = (*others.get(group, ()), name)
    order = [*GROUPS, *others]
    every = {group: (*papers.get(group, ()), *others.get(group, ())) for group in dict.fromkeys(order)}
    return {group: names for group, names in every.items() if names}


def _benchmarks(arms: Mapping[str, Task]) -> dict[str, list[str]]:
    """The tasks of each benchmark: itself, or its parts."""
    found: dict[str, list[str]] = {}
    for task in arms:
        found.setdefault(task.partition(PART)[0], []).append(task)
    return found


def _lacking(name: str, there: Mapping[str, Sequence[str]]) -> list[str]:
    """What of a benchmark is not there: nothing, itself, or parts that it is known to have."""
    if name not in there:
        return [name]
    known = suite().benchmarks.get(name)
    return [
        f"{name}{PART}{part}" for part in (known.parts if known else ()) if f"{name}{PART}{part}" not in there[name]
    ]


def _of_benchmark(name: str, arms: Mapping[str, Task]) -> list[Row]:
    """A benchmark's figure; of one whose levels count by their questions also the mean of its levels."""
    tasks = _benchmarks(arms)[name]
    known = suite().benchmarks.get(name)
    by_items = known.weighting == "items" if known else arms[tasks[0]].facts.get("group") == "Existence"
    alike = Row(name, "benchmark", {task: 1 / len(tasks) for task in tasks})
    if not by_items or len(tasks) == 1:
        return [alike]
    total = sum(len(arms[task].items) for task in tasks)
    weighted = {task: len(arms[task].items) / total for task in tasks}
    return [Row(name, "benchmark", weighted), Row(name + ALIKE, "benchmark", alike.weights)]


def _alike(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of means."""
    return {task: weight / len(parts) for part in parts for task, weight in part.items()}
