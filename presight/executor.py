"""The local executor: walks a graph in spawned, persistent workers, as many as the cores allow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from presight.assembly import dump, topological
from presight.stage import ShardedStage, Stage
from presight.store import Store
from presight.worker import log_file

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Failure:
    """A stage that could not be made."""

    stage: Stage
    problem: str
    code: int
    log: Path | None = None


@dataclass(slots=True)
class Outcome:
    """What a walk did."""

    ran: list[Stage] = field(default_factory=list)
    reused: list[Stage] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    skipped: list[Stage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker does in one go: a stage, or a shard of it."""

    stage: Stage
    shard: int | None = None


class Display:
    """Told what happens; the console draws it, tests record it."""

    def begin(self, task: Task) -> None:
        """A worker took the task."""

    def advance(self, task: Task, event: dict[str, Any]) -> None:
        """A progress or waiting event of the task."""

    def end(self, task: Task, seconds: float, failure: Failure | None) -> None:
        """The task is over."""


class Worker:
    """A worker process, started on first use and again when it dies or retires."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.process: subprocess.Popen[str] | None = None
        self.threads = 0

    def run(self, task: Task, notify: Callable[[dict[str, Any]], None]) -> Failure | None:
        """Run a task to its end, passing its events on."""
        process = self._started(task.stage.resources.threads)
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"store": str(self.store.root.resolve()), "stage": dump(task.stage), "shard": task.shard}
        log = log_file(self.store, task.stage, task.shard)
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "done":
                    return None
                if event["event"] == "failed":
                    return Failure(task.stage, event["problem"], event["code"], log if event["code"] == 1 else None)
                notify(event)
        except BrokenPipeError:
            pass
        finally:
            if type(task.stage).own_process or process.poll() is not None:
                self.stop()
        code = process.wait()
        self.process = None
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        mend = " (9 is often the kernel, out of memory)" if code == -9 else ""
        return Failure(task.stage, f"its process {how}{mend}", max(code, 1), log)

    def _started(self, threads: int) -> subprocess.Popen[str]:
        if self.process is not None and (threads != self.threads or self.process.poll() is not None):
            self.stop()
        if self.process is None:
            environment = {
                **os.environ,
                **dict.fromkeys(THREAD_VARIABLES, str(threads)),
                "TOKENIZERS_PARALLELISM": "false",
            }
            self.threads = threads
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "presight", "worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                text=True,
            )
        return self.process

    def stop(self, at_once: bool = False) -> None:
        """End the process: politely, by closing its pipe, or at once."""
        process, self.process = self.process, None  # first: an interrupt and the end of a task may both come here
        if process is None:
            return
        if at_once:
            process.terminate()
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def needed(targets: Iterable[Stage], store: Store) -> tuple[list[Stage], list[Stage]]:
    """The stages to run, inputs first, and those found whole; what stands behind a found one is not asked for."""
    todo: list[Stage] = []
    found: dict[str, Stage] = {}
    seen: set[str] = set()

    def visit(stage: Stage) -> None:
        if stage.fingerprint in seen:
            return
        seen.add(stage.fingerprint)
        if store.find(stage):
            found[stage.fingerprint] = stage
            return
        for parent in stage.inputs().values():
            visit(parent)
        todo.append(stage)

    for target in targets:
        visit(target)
    return todo, list(found.values())


def execute(targets: list[Stage], store: Store, jobs: int | None = None, display: Display | None = None) -> Outcome:
    """Make the targets and all they stand on.

    A failure stops what stands on it; the rest goes on. Workers × threads never exceeds the cores unless ``jobs`` says
    so: two processes of two threads on two cores are several times slower than two of one.

    Args:
        targets: stages to make.
        store: where they go.
        jobs: workers; default cores // threads of the widest stage.
        display: told what happens.
    """
    display = display or Display()
    todo, found = needed(targets, store)
    outcome = Outcome(reused=found)
    if not todo:
        return outcome
    widest = max(stage.resources.threads for stage in todo)
    jobs = jobs or max(1, len(os.sched_getaffinity(0)) // widest)
    height = _heights(todo)
    blocked = {stage.fingerprint: _open_inputs(stage, todo) for stage in todo}
    shards = {s.fingerprint: store.missing_shards(s) for s in todo if isinstance(s, ShardedStage)}
    left = {name: len(missing) for name, missing in shards.items()}
    dead: set[str] = set()
    workers: SimpleQueue[Worker] = SimpleQueue()
    every = [Worker(store) for _ in range(jobs)]
    for worker in every:
        workers.put(worker)

    def run(task: Task) -> Failure | None:
        worker = workers.get()
        began = time.monotonic()
        failure = None
        try:
            display.begin(task)
            failure = worker.run(task, lambda event: display.advance(task, event))
            return failure
        finally:
            display.end(task, time.monotonic() - began, failure)
            workers.put(worker)

    def tasks_of(stage: Stage) -> list[Task]:
        if left.get(stage.fingerprint):
            return [Task(stage, shard) for shard in shards[stage.fingerprint]]
        return [Task(stage)]

    pool = ThreadPoolExecutor(jobs)
    running: dict[Future[Failure | None], Task] = {}
    ready = [task for stage in todo if not blocked[stage.fingerprint] for task in tasks_of(stage)]
    at_once = True
    try:
        while ready or running:
            ready.sort(key=lambda task: -height[task.stage.fingerprint])
            while ready and len(running) < jobs:
                task = ready.pop(0)
                if task.stage.fingerprint not in dead:
                    running[pool.submit(run, task)] = task
            if not running:
                continue
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                name, failure = task.stage.fingerprint, future.result()
                if failure:
                    if name not in dead:
                        outcome.failures.append(failure)
                    dead.add(name)
                elif task.shard is not None:
                    left[name] -= 1
                    if not left[name] and name not in dead:
                        ready.append(Task(task.stage))
                else:
                    outcome.ran.append(task.stage)
                    for stage in todo:
                        if name in blocked[stage.fingerprint]:
                            blocked[stage.fingerprint].discard(name)
                            if not blocked[stage.fingerprint]:
                                ready.extend(tasks_of(stage))
        at_once = False
    finally:
        for worker in every:
            worker.stop(at_once)
        pool.shutdown(wait=True)
    over = {stage.fingerprint for stage in outcome.ran} | dead
    outcome.skipped = [stage for stage in todo if stage.fingerprint not in over]
    return outcome


def _open_inputs(stage: Stage, todo: list[Stage]) -> set[str]:
    names = {each.fingerprint for each in todo}
    return {parent.fingerprint for parent in stage.inputs().values()} & names


def _heights(todo: list[Stage]) -> dict[str, int]:
    """Length of the longest chain that waits for each stage: longest first keeps the workers busy to the end."""
    height = {stage.fingerprint: 0 for stage in todo}
    for stage in reversed(topological(todo)):
        for parent in stage.inputs().values():
            if parent.fingerprint in height and stage.fingerprint in height:
                height[parent.fingerprint] = max(height[parent.fingerprint], height[stage.fingerprint] + 1)
    return height


def describe(failure: Failure, title: str) -> str:
    """A failure in one sentence."""
    where = f"; its log is {failure.log}" if failure.log else ""
    return f"{title}: {failure.problem.rstrip('.')}{where}."
