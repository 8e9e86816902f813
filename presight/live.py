"""A walk through a graph as people see it: bars in a terminal, a line a stage in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from presight import console
from presight.executor import Display, Failure, Task, needed
from presight.expansion import Graph
from presight.stage import ShardedStage
from presight.store import Store


@contextmanager
def settling() -> Iterator[None]:
    """Show the progress of what happens before the first stage: downloads and hashing."""
    if sys.stderr.isatty():
        with console.foreground("looking at the data"):
            yield
        return
    last = ""

    def line(done: float, total: float | None, what: str) -> None:
        nonlocal last
        if what != last:
            last = what
            console.say(what)

    console.report_to(line)
    try:
        yield
    finally:
        console.report_to(None)


class Live(Display):
    """Draws a walk; used as a context manager around it."""

    def __init__(self, graph: Graph, store: Store, until: str | None) -> None:
        self.titles = graph.titles()
        todo, found = needed(graph.targets(until), store)
        self.total = sum(
            1 + (len(store.missing_shards(each)) if isinstance(each, ShardedStage) else 0) for each in todo
        )
        self.done = 0
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.bars: Any = console.bars() if sys.stderr.isatty() and todo else None
        self.drawn: dict[Task, Any] = {}
        if todo:
            console.say(f"{graph.recipe.name}: {len(todo)} stages to make, {len(found)} found")

    def __enter__(self) -> Live:
        if self.bars:
            self.bars.start()
            self.overall = self.bars.add_task("all", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bars:
            self.bars.stop()

    @property
    def seconds(self) -> float:
        """Since the walk began."""
        return time.monotonic() - self.began

    def begin(self, task: Task) -> None:
        """Draw a bar."""
        if self.bars:
            from rich.markup import escape

            self.drawn[task] = self.bars.add_task(escape(self._title(task)), total=None)

    def advance(self, task: Task, event: dict[str, Any]) -> None:
        """Move it."""
        if event["event"] == "waiting":
            owner = event["owner"]
            console.say(
                f"{self._title(task)} is being made by process {owner.get('pid')} on {owner.get('host')}; waiting"
            )
        elif self.bars and task in self.drawn:
            from rich.markup import escape

            name = f"{escape(self._title(task))} [dim]{escape(event['what'])}"
            self.bars.update(self.drawn[task], completed=event["done"], total=event["total"], description=name)

    def end(self, task: Task, seconds: float, failure: Failure | None) -> None:
        """Replace it by a line."""
        with self.lock:
            self.done += 1
            mark = "✗" if failure else "✓"
            line = f"{mark} [{self.done}/{self.total}] {self._title(task)}  {console.clock(seconds)}"
            if self.bars:
                self.bars.remove_task(self.drawn.pop(task))
                self.bars.update(self.overall, completed=self.done)
                self.bars.console.print(line, markup=False, highlight=False)
            else:
                console.say(line)

    def _title(self, task: Task) -> str:
        title = self.titles.get(task.stage.fingerprint, task.stage.tag())
        return title if task.shard is None else f"{title} part {task.shard + 1}"
