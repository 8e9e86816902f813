"""What people see while they wait: progress with rate and time left, in a terminal, a log, or through a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
Report = Callable[[float, float | None, str], None]
INTERVAL = 0.2  # seconds between reports

_report: Report | None = None


def report_to(report: Report | None) -> None:
    """Send the progress of this process to ``report(done, total, description)``; None: nowhere."""
    global _report
    _report = report


class Track:
    """A piece of work of known or unknown length."""

    def __init__(self, total: float | None, description: str) -> None:
        self.total, self.description, self.done = total, description, 0.0
        self._last = 0.0

    def advance(self, amount: float = 1.0) -> None:
        """Say that ``amount`` more is done."""
        self.done += amount
        now = time.monotonic()
        if _report and (now - self._last >= INTERVAL or self.done == self.total):
            self._last = now
            _report(self.done, self.total, self.description)


def progress(items: Iterable[T], description: str, total: float | None = None) -> Iterator[T]:
    """The items, each reported when it is done with."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    track = Track(total, description)
    for item in items:
        yield item
        track.advance()


def bars() -> Progress:
    """Progress bars with count, rate and time left, on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """What is done a second, in the work's own unit."""

        def render(self, task: Task) -> Text:
            return Text(f"{number(task.speed)}/s" if task.speed else "", style="dim")

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def foreground(title: str) -> Iterator[None]:
    """Draw this process's own progress for the duration."""
    with bars() as drawn:
        task = drawn.add_task(title, total=None)
        report_to(lambda done, total, what: drawn.update(task, completed=done, total=total, description=what))
        try:
            yield
        finally:
            report_to(None)


def say(message: str) -> None:
    """A line for people, on standard error: standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """``41 s``, ``3 min 20 s``, ``5 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """``3.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def number(count: float) -> str:
    """``400k``, ``1.3M``, ``30B``; below a thousand three digits at most."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return f"{count / limit:.3g}{unit}"
    return f"{count:.3g}"


def table(title: str, columns: list[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        drawn.add_row(*(Text(str(cell), overflow="fold") for cell in row))  # `lm[init=0]` is no markup
    console = Console()
    if not console.is_terminal:
        console.width = 180  # a pipe has no width to fit into
    console.print(drawn)
