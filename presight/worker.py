"""A worker: runs the stages it is handed over a pipe, one after another, each with its own log."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from presight import assembly, console, stage
from presight.card import LOG
from presight.errors import PresightError
from presight.store import Store


def main() -> None:
    """Serve requests on standard input until it closes; answer events on standard output, a JSON object a line.

    A request is ``{"store", "stage": dump, "shard": n or null}``. The parent may die: the stage in hand is finished
    and published, then the closed pipe ends this process.
    """
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))  # the executor, interrupted as well, says so
    requests = os.fdopen(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what libraries print belongs to the log

    def answer(**event: Any) -> None:
        try:
            answers.write(json.dumps(event) + "\n")
        except BrokenPipeError:
            console.report_to(None)

    console.report_to(lambda done, total, what: answer(event="progress", done=done, total=total, what=what))
    for line in requests:
        request = json.loads(line)
        try:
            work(request, lambda owner: answer(event="waiting", owner=owner))
            answer(event="done")
        except PresightError as error:
            answer(event="failed", problem=str(error), code=error.code)
        except Exception as error:
            answer(event="failed", problem=f"{type(error).__name__}: {error}", code=1)


def work(request: dict[str, Any], waiting: Any) -> None:
    """Do one request: a stage, or one shard of it."""
    store, todo = Store(Path(request["store"])), assembly.load(request["stage"])
    shard = request["shard"]
    if store.find(todo):  # another process made it meanwhile: begin no work folder
        return
    with logged(log_file(store, todo, shard)):
        if shard is None:
            store.perform(todo, waiting)
        else:
            assert isinstance(todo, stage.ShardedStage)
            store.perform_shard(todo, shard, waiting)


def log_file(store: Store, todo: stage.Stage, shard: int | None) -> Path:
    """Where the output of a stage at work goes; it is published with the artifact."""
    return store.work(todo) / "payload" / LOG / ("run.log" if shard is None else f"shard-{shard:05d}.log")


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Append standard output and error to ``path``; a traceback ends there too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = os.dup(1), os.dup(2)
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    except Exception:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
