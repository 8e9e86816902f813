"""How many questions of each task there will be, as far as that is known before any is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from presight.stage import Labelled, Stage

if TYPE_CHECKING:
    from eval.vision.benchmarks import Benchmark
    from eval.world.questions import SceneQuestions


OPTIONS = 4  # that a question is turned through, where nobody says


@dataclass(frozen=True, slots=True)
class Size:
    """A task to come, as `eval.vision.figures.rows` reads one.

    Attributes:
        group: of questions that it is in.
        count: of what is scored once, at most.
    """

    group: str
    count: int

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of the task."""
        return {"group": self.group}

    @property
    def items(self) -> range:
        """As many as there will be."""
        return range(self.count)


def sizes(stage: Stage) -> dict[str, Size]:
    """The tasks that a stage will score; none where it, or any of what it asks, cannot say before it has run.

    Numbers are the largest there can be: a world may serve fewer questions than are asked for. Parts of a benchmark
    are taken for equally large, and a benchmark whose number nobody states for the smallest known of its group.
    """
    from eval.vision.examination import Examination

    if not isinstance(stage, Examination):
        return {}
    found: dict[str, Size] = {}
    for each in stage.questions:
        own = _asked(each.stage if isinstance(each, Labelled) else each)
        if not own:
            return {}
        found |= own
    return {
        task: Size(size.group, min(size.count, stage.limit or size.count))
        for task, size in found.items()
        if not stage.tasks or task in stage.tasks
    }


def _asked(stage: Stage) -> dict[str, Size]:
    """The tasks of a stage that makes questions."""
    from eval.vision.benchmarks import Benchmark
    from eval.vision.existence import Existence
    from eval.world.questions import SceneQuestions

    if isinstance(stage, Benchmark):
        return _of_benchmark(stage)
    if isinstance(stage, Existence):
        from eval.vision.existence import GROUP, TASK
        from eval.vision.levels import BUCKETS

        return {f"{TASK}: {level}": Size(GROUP, stage.items) for level in BUCKETS}
    return _of_world(stage) if isinstance(stage, SceneQuestions) else {}


def _of_benchmark(stage: Benchmark) -> dict[str, Size]:
    from eval.vision.suite import PART, suite

    entry = stage.entry
    known = [each.items for each in suite().benchmarks.values() if each.group == entry.group and each.items]
    count = entry.items or min(known, default=0)
    count = min(count, stage.limit) if stage.limit else count
    columns = entry.columns
    turns = len(columns.options) if isinstance(columns.options, tuple) else OPTIONS
    together = 2 if columns.pair else turns if columns.circle else 1  # are scored as one
    tasks = [f"{stage.name}{PART}{part}" for part in entry.parts] or [stage.name]
    return {task: Size(entry.group, max(1, count // together // len(tasks))) for task in tasks}


def _of_world(stage: SceneQuestions) -> dict[str, Size]:
    from eval.world import hearing, tasks
    from eval.world.asking import NOVEL
    from eval.world.world import World

    world = stage.world
    held_out = isinstance(world, World) and stage.split == "test" and stage.novel and world.novel > 0
    asked = tasks.TASKS if isinstance(world, World) else hearing.TASKS
    served = {
        name: task.group
        for name, task in asked.items()
        if not isinstance(world, World) or task.group in world.groups
        if not stage.groups or task.group in stage.groups
    }
    return {
        name + ending: Size(group, stage.items)
        for name, group in served.items()
        for ending in ("", NOVEL)[: 1 + held_out]
    }
