"""A recipe's graph handed to SLURM: what is neither done nor under way, each job after those it waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from presight import owner
from presight.assembly import dump
from presight.errors import PresightError
from presight.executor import needed
from presight.expansion import Graph
from presight.stage import ShardedStage
from presight.store import Store
from slurm import queue
from slurm.jobs import Job, Limits, Place, Task, arrange, tasks
from slurm.ledger import Ledger, Submitted, condition
from slurm.profile import resources
from slurm.script import Setting, text

GOING = ("running", "pending", "waiting", "held")


@dataclass(slots=True)
class Submission:
    """What a submission did.

    Attributes:
        jobs: submitted now (or that would be, in a dry run), by the name of their script.
        scripts: their texts.
        done: stages found made.
        going: tasks that were under way already.
        left: tasks that wait for room in the queue: another submission takes them.
        failed: tasks that ended badly and what stands on them; ``retry`` takes them.
        full: what SLURM said when it took no more.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    done: int = 0
    going: int = 0
    left: int = 0
    failed: list[Task] = field(default_factory=list)
    full: str = ""


def submit(
    graph: Graph,
    store: Store,
    setting: Setting,
    until: str | None = None,
    retry: Iterable[str] | None = None,
    arguments: dict[str, Any] | None = None,
    dry: bool = False,
) -> Submission:
    """Submit what a recipe needs and is neither made nor under way.

    Args:
        graph: the recipe's, settled: its data are here.
        store: of the jobs.
        setting: what their scripts share.
        until: only this stage and what it stands on.
        retry: names of stages whose failures are tried again; all of them where it is empty; None: of none.
        arguments: how this submission was asked for, for those that watch it.
        dry: only say what would be submitted.

    Raises:
        PresightError: SLURM refuses.
    """
    with owner.hold(setting.folder / ".owner"):
        ledger = Ledger.read(setting.folder)
        entries = {} if dry else queue.queue()
        ledger.adopt(entries)
        todo, found = needed(graph.targets(until), store)
        every = tasks(todo, store, graph.titles())
        result = Submission(done=len(found))
        wanted, live = _sorted(every, ledger, entries, None if retry is None else set(retry), result)
        limits = queue.limits(setting.profile.requeue) if not dry else Limits(corresponding=setting.profile.requeue)
        jobs = arrange(wanted, live, limits)
        room = setting.profile.max_submit or len(wanted)
        room -= sum(entry.live for entry in entries.values()) if setting.profile.max_submit else 0
        if not dry:
            _describe(graph, every, store, ledger, entries, setting)
            ledger.arguments = arguments or {}
        ids: dict[str, str] = {}
        for handle, job in enumerate(jobs):
            if room <= 0:
                break
            part = job.first(room)
            number = 1 + max((each.number for each in ledger.jobs), default=0) + (handle if dry else 0)
            name = f"{number:04d}-{job.name}"
            script = text(part, name, setting, _lead(part, ledger, setting))
            if not dry:
                try:
                    ids[f"#{handle}"] = _send(part, number, name, script, part.dependency(ids), ledger, setting)
                except queue.Full as full:
                    result.full = str(full)
                    break
            result.jobs[name], result.scripts[name] = part, script
            room -= len(part.tasks)
            if len(part.tasks) < len(job.tasks):
                break
        if ledger.jobs and not dry:
            ledger.write()
        result.left = len(wanted) - sum(len(job.tasks) for job in result.jobs.values())
        return result


def _sorted(
    every: list[Task],
    ledger: Ledger,
    entries: dict[str, queue.Entry],
    retry: set[str] | None,
    result: Submission,
) -> tuple[list[Task], dict[str, Place]]:
    """Tasks to submit, and where those are that are under way; failures and what stands on them are left."""
    places = ledger.places()
    gone = [str(places[t.key]) for t in every if t.key in places and str(places[t.key]) not in entries]
    accounted = queue.accounted(gone)
    wanted: list[Task] = []
    live: dict[str, Place] = {}
    blocked: set[str] = set()
    for task in every:
        place = places.get(task.key)
        how = condition(place, entries.get(str(place)), ledger.history(task.key), accounted.get(str(place), ""))
        if how == "held" and _again(task, retry):
            queue.command("scontrol", "release", str(place))
        if how in GOING and place:
            live[task.key] = place
            result.going += 1
        elif blocked.intersection(task.parents) or (how == "failed" and not _again(task, retry)):
            blocked.add(task.key)
            result.failed.append(task)
        else:
            wanted.append(task)
    return wanted, live


def _again(task: Task, retry: set[str] | None) -> bool:
    return retry is not None and (not retry or task.name in retry)


def _lead(job: Job, ledger: Ledger, setting: Setting) -> int:
    """Seconds of warning: three times the longest save of the same stages here, and no less than the profile's."""
    keys = {key for each in ledger.jobs if each.name == job.name for key in each.tasks.values()}
    saving = max((ledger.history(key).saving for key in keys), default=0)
    return max(setting.profile.lead, 3 * saving)


def _describe(
    graph: Graph,
    every: list[Task],
    store: Store,
    ledger: Ledger,
    entries: dict[str, queue.Entry],
    setting: Setting,
) -> None:
    """Write down the stages: documents for the jobs, and what is shown of them; what the recipe left is dropped."""
    going = {key.partition(".")[0] for key, place in ledger.places().items() if _live(entries, place)}
    before, names = ledger.stages, {task.stage.fingerprint: task.name for task in every}
    ledger.stages = {fingerprint: about for fingerprint, about in before.items() if fingerprint in going}
    for each in reversed(graph.instances):
        stage, name = each.stage, each.stage.fingerprint
        if name not in names and not store.find(stage):
            continue
        shards = before.get(name, {}).get("shards", stage.shards() if isinstance(stage, ShardedStage) else 0)
        about = {"title": each.title, "kind": stage.kind, "tokens": stage.estimate().tokens, "shards": shards}
        ledger.stages = {name: about} | {key: value for key, value in ledger.stages.items() if key != name}
        if name in names:
            granted = resources(stage, setting.profile, names[name])
            path = setting.folder / "stages" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(dump(stage.changed(resources=granted)), indent=1))
            partial.replace(path)


def _live(entries: dict[str, queue.Entry], place: Place) -> bool:
    entry = entries.get(str(place))
    return entry is not None and entry.live


def _send(job: Job, number: int, name: str, script: str, dependency: str, ledger: Ledger, setting: Setting) -> str:
    """Submit one job: written down before, so that a kill in between loses none."""
    path = setting.folder / "jobs" / f"{name}.sbatch"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    indexed = {"" if index is None else str(index): task.key for index, task in job.tasks.items()}
    record = Submitted(
        number, job.name, f"jobs/{name}.sbatch", indexed, None, dependency, str(setting.code), time.time()
    )
    ledger.jobs.append(record)
    ledger.write()
    (setting.folder / "events").mkdir(exist_ok=True)
    try:
        record.id = queue.sbatch(path, *([f"--dependency={dependency}"] if dependency else []))
    except (PresightError, queue.Full):
        ledger.jobs.remove(record)
        ledger.write()
        raise
    for key, place in record.places().items():
        note(setting.folder, key, "submitted", str(place))
    ledger.write()
    return record.id


def note(folder: Path, key: str, event: str, job: str, *words: str) -> None:
    """Add a line to the history of a task."""
    with (folder / "events" / key).open("a") as file:
        file.write(" ".join((event, job, "0", str(int(time.time())), *words)) + "\n")


def anew(folder: Path, job: str, key: str, restarts: int, hold: bool = False, exclude: str = "") -> str:
    """Let another job go on for one that is ending, where the site has no requeue; called by that job.

    Those that wait for the old one wait for the new one as well. The old one then ends well.

    Args:
        folder: of the submission.
        job: the one that is ending, ``17`` or ``17_3``.
        key: of its task.
        restarts: how often that may be.
        hold: let a person release it.
        exclude: a node to leave out, beside those that were.

    Returns:
        the new job.

    Raises:
        PresightError: SLURM refuses, or it was done too often.
    """
    with owner.hold(folder / ".anew"):
        ledger = Ledger.read(folder)
        followed = ledger.history(key).followed
        if len(followed) >= restarts:
            raise PresightError("restarts", f"went on {restarts} times", "raise it in the profile, or see the log")
        first = job
        while olds := [old for old, new in followed if new == first]:
            first = olds[0]
        number, _, index = first.partition("_")
        script = next(each.script for each in ledger.jobs if each.id == number)
        left_out = queue.scontrol(queue.command("scontrol", "--oneliner", "show", "job", job)).get("ExcNodeList", "")
        nodes = ",".join(filter(None, ("" if left_out == "(null)" else left_out, exclude)))
        options = [f"--array={index}"] if index else []
        options += [f"--exclude={nodes}"] if nodes else []
        options += ["--hold"] if hold else []
        new = queue.sbatch(folder / script, *options) + (f"_{index}" if index else "")
        for entry in queue.queue().values():
            if entry.live and queue.names(entry.dependency, job):
                given = queue.rewired(entry.dependency, new)
                queue.command("scontrol", "update", f"JobId={entry.job}", f"Dependency={given}")
        note(folder, key, "followed", job, new)
        return new
