"""A graph cut into jobs: arrays of equal stages and of shards, with exactly the graph's edges between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from presight.stage import ShardedStage, Stage
from presight.store import Store


@dataclass(frozen=True, slots=True)
class Task:
    """What one job, or one task of an array, does: a stage, a shard of it, or the end of a sharded one.

    Attributes:
        key: the stage's fingerprint, with ``.3`` for its fourth shard: as its owner file is named.
        name: of the stage in the recipe.
        title: its name and place on the axes.
        stage: what to run.
        shard: of a sharded stage; None for all else.
        parents: keys of the tasks that come before it, among those to run.
    """

    key: str
    name: str
    title: str
    stage: Stage
    shard: int | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a task is: a job, and the index within it where it is an array."""

    job: str
    index: int | None = None

    def __str__(self) -> str:
        return self.job if self.index is None else f"{self.job}_{self.index}"


@dataclass(frozen=True, slots=True)
class Job:
    """One call of sbatch.

    Attributes:
        name: that of its stages in the recipe.
        tasks: by array index; the one of a job that is no array has the index None.
        afterok: jobs, or tasks of arrays (else the whole of it), that must all have ended well.
        aftercorr: arrays whose task of the same index must have ended well.
    """

    name: str
    tasks: dict[int | None, Task]
    afterok: tuple[Place, ...] = ()
    aftercorr: tuple[str, ...] = ()

    @property
    def array(self) -> bool:
        """Whether it is one."""
        return None not in self.tasks

    def first(self, count: int) -> Job:
        """The same with no more than so many tasks."""
        return replace(self, tasks=dict(list(self.tasks.items())[:count]))

    def places(self, job: str) -> dict[str, Place]:
        """Where its tasks are once it has a name."""
        return {task.key: Place(job, index) for index, task in self.tasks.items()}

    def dependency(self, ids: Mapping[str, str]) -> str:
        """What sbatch takes after ``--dependency=``, its jobs named by ``ids`` where they are not their own."""
        after = [str(replace(place, job=ids.get(place.job, place.job))) for place in self.afterok]
        parts = [":".join(("afterok", *after))] if after else []
        return ",".join([*parts, *(f"aftercorr:{ids.get(each, each)}" for each in self.aftercorr)])


@dataclass(frozen=True, slots=True)
class Limits:
    """What a site allows.

    Attributes:
        array: tasks of an array, and the largest index in it plus one.
        corresponding: whether edges between tasks of one index are wanted.
    """

    array: int = 1001
    corresponding: bool = True


def tasks(todo: Sequence[Stage], store: Store, titles: Mapping[str, str]) -> list[Task]:
    """The tasks of stages to run, inputs first; shards that are done are left out."""
    names = {stage.fingerprint for stage in todo}
    found = []
    for stage in todo:
        key, title = stage.fingerprint, titles[stage.fingerprint]
        name = title.partition("[")[0]
        before = tuple(dict.fromkeys(p.fingerprint for p in stage.inputs().values() if p.fingerprint in names))
        shards = [
            Task(f"{key}.{shard}", name, f"{title} part {shard + 1}", stage, shard, before)
            for shard in (store.missing_shards(stage) if isinstance(stage, ShardedStage) else ())
        ]
        found += [*shards, Task(key, name, title, stage, None, tuple(each.key for each in shards) or before)]
    return found


@dataclass(slots=True)
class _Group:
    tasks: dict[int | None, Task]
    corresponding: tuple[str, ...] = field(default=())


def arrange(given: Sequence[Task], live: Mapping[str, Place], limits: Limits) -> list[Job]:
    """Cut tasks into as few jobs as keep exactly the edges between them.

    Tasks of one name at one depth of the graph may share an array. They do where all wait for the same tasks
    (``afterok``), or each for the task of its own index in another array (``aftercorr``).

    Args:
        given: tasks, inputs first.
        live: where earlier submitted tasks are, that these may wait for.
        limits: the site's.

    Returns:
        jobs, each after those it waits for; a job's name in ``Place`` is its position here, as ``#3``.
    """
    places: dict[str, Place] = dict(live)
    jobs: list[Job] = []
    whole: dict[str, set[int | None]] = {}
    for place in live.values():
        whole.setdefault(place.job, set())  # an earlier job is named task by task: some of it may have failed
    for batch in _batches(given):
        for group in _groups(batch, places, limits.corresponding):
            for part in _parts(group, limits.array):
                handle = f"#{len(jobs)}"
                first = next(iter(part.tasks.values()))
                varying = set(part.corresponding)
                after = {places[key] for key in first.parents if places[key].job not in varying}
                jobs.append(Job(first.name, part.tasks, _shortened(after, whole), part.corresponding))
                whole[handle] = set(part.tasks)
                places |= jobs[-1].places(handle)
    return jobs


def _batches(given: Sequence[Task]) -> Iterator[list[Task]]:
    """Tasks of one name and kind at one depth, shallowest first: none of them waits for another."""
    depth: dict[str, int] = {}
    batches: dict[tuple[int, str, str], list[Task]] = {}
    for task in given:
        depth[task.key] = 1 + max((depth[key] for key in task.parents if key in depth), default=-1)
        shards_of = "" if task.shard is None else task.stage.fingerprint
        batches.setdefault((depth[task.key], task.name, shards_of), []).append(task)
    for key in sorted(batches, key=lambda each: each[0]):
        yield batches[key]


def _groups(batch: list[Task], places: Mapping[str, Place], corresponding: bool) -> Iterator[_Group]:
    by_jobs: dict[frozenset[str], list[Task]] = {}
    for task in batch:
        by_jobs.setdefault(frozenset(places[key].job for key in task.parents), []).append(task)
    for part in by_jobs.values():
        waits = {task.key: frozenset(places[key] for key in task.parents) for task in part}
        indices = {task.key: _index(waits[task.key], waits.values()) for task in part} if corresponding else {}
        alike: dict[frozenset[Place], list[Task]] = {}
        for task in part:
            alike.setdefault(waits[task.key], []).append(task)
        layers: dict[int, dict[int | None, Task]] = {}
        if indices and None not in indices.values():
            seen: Counter[int | None] = Counter()
            for task in part:
                index = indices[task.key]
                layers.setdefault(seen[index], {})[index] = task
                seen[index] += 1
        if layers and len(layers) < len(alike):
            varying = _varying(waits.values())
            yield from (_Group(layer, varying if len(layer) > 1 else ()) for layer in layers.values())
        else:
            yield from (_Group(dict(enumerate(each))) for each in alike.values())


def _varying(waits: Iterable[frozenset[Place]]) -> tuple[str, ...]:
    """Jobs of which not all wait for the same tasks."""
    every = list(waits)
    common = frozenset.intersection(*every)
    return tuple(sorted({place.job for each in every for place in each - common}))


def _index(own: frozenset[Place], every: Iterable[frozenset[Place]]) -> int | None:
    """The one index at which a task waits in each job where others wait for other tasks; None without one."""
    varying = _varying(every)
    found = [place.index for place in own if place.job in varying]
    return found[0] if len(found) == len(varying) and len(set(found)) == 1 else None


def _parts(group: _Group, largest: int) -> Iterator[_Group]:
    """No array is larger than the site allows, and one task is none."""
    every = list(group.tasks.items())
    if len(every) == 1:
        yield _Group({None: every[0][1]})
    elif group.corresponding:
        yield group
    else:
        for start in range(0, len(every), largest):
            part = [task for _, task in every[start : start + largest]]
            yield _Group(dict(enumerate(part)) if len(part) > 1 else {None: part[0]})


def _shortened(after: set[Place], whole: Mapping[str, set[int | None]]) -> tuple[Place, ...]:
    """All the tasks of a job are the job."""
    by_job: dict[str, set[int | None]] = {}
    for place in after:
        by_job.setdefault(place.job, set()).add(place.index)
    found: list[Place] = []
    for job, indices in by_job.items():
        known = whole.get(job)
        found += [Place(job)] if known and indices == known else [Place(job, index) for index in indices]
    return tuple(sorted(found, key=lambda place: (place.job, -1 if place.index is None else place.index)))
