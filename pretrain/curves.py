"""A run's curves as JSON lines, and how fast it goes."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pretrain.guard import WINDOW
from pretrain.model import FORMULA
from pretrain.monitors import Monitor, scalars
from pretrain.rolling import State

if TYPE_CHECKING:
    from pretrain.run import Run

METRICS, HELDOUT, SPEED = "metrics.jsonl", "heldout.jsonl", "log/speed.jsonl"
CHECKPOINT_SECONDS = 60.0


class Curves:
    """Appends to the curves of a run. Ranks that do not write have none.

    Args:
        out: the run's folder.
        state: of the checkpoint it goes on from: lines after it are written again.
        chief: whether this rank writes.
        watched: monitors that show what is written.
        heldout: whether held-out losses are taken.
    """

    def __init__(
        self, out: Path, state: State, chief: bool, watched: Sequence[Monitor] = (), heldout: bool = True
    ) -> None:
        self._out, self._step, self._watched = out, state.step, watched
        self._files: dict[str, Any] = {}
        if chief:
            (out / "log").mkdir(exist_ok=True)
            _keep(out / METRICS, state.step)
            names = [METRICS, SPEED]
            if heldout:
                _keep(out / HELDOUT, state.measured)
                names.append(HELDOUT)
            self._files = {name: (out / name).open("a") for name in names}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for open_one in (*self._files.values(), *self._watched):
            open_one.close()

    def write(self, name: str, line: dict[str, Any]) -> None:
        """Append a line."""
        if name in self._files:
            self._files[name].write(json.dumps(line) + "\n")
            for each in self._watched:
                each.write(line["step"], scalars(line))

    def flush(self) -> None:
        """Hand what was written to the system: a checkpoint that is marked complete counts on it."""
        for file in self._files.values():
            file.flush()

    def losses(self) -> list[float]:
        """The last losses that the checkpoint knows of, oldest first: the same on every rank."""
        last = deque((json.loads(line) for line in _lines(self._out / METRICS, self._step)), maxlen=WINDOW)
        return [line["loss"] for line in last if "loss" in line]


def _lines(path: Path, step: int) -> list[str]:
    """The lines of a curve up to a step; half a line, which a kill may leave, is none."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]


def _keep(path: Path, step: int) -> None:
    """Cut a curve back to its lines up to a step."""
    partial = path.with_suffix(".partial")
    partial.write_text("".join(_lines(path, step)))
    partial.replace(path)


@dataclass(frozen=True, slots=True)
class Speed:
    """What tokens a second are measured against.

    Attributes:
        flops: of a step, a token; None where unknown.
        peak: operations a second that one rank's device could do; None where unknown.
        source: of the peak, for people.
        ranks: how many.
    """

    flops: float | None
    peak: float | None
    source: str
    ranks: int

    def of(self, rate: float) -> dict[str, Any]:
        """Model FLOPs utilisation at so many tokens a second, with all that it stands on."""
        stands_on = {"flops_per_token": self.flops, "formula": FORMULA, "peak": self.peak, "peak_source": self.source}
        if not self.flops or not self.peak:
            return {"mfu": None, **stands_on}
        return {"mfu": rate * self.flops / (self.peak * self.ranks), **stands_on}


class Pace:
    """Tokens a second, share of the time spent waiting for data, and when to save.

    Args:
        run: whose.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._began = self._saved = time.monotonic()
        self._first, self._waited = run.state.items, 0.0

    def saving_due(self) -> bool:
        """Whether a rolling checkpoint is due."""
        return time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def stepped(self, waited: float) -> None:
        """Note a step, and the seconds it waited for its batch."""
        self._waited += waited

    def report(self, curves: Curves) -> None:
        """Write the rates since this process began."""
        run, now = self._run, time.monotonic()
        seconds = max(now - self._began, 1e-9)
        rate = (run.state.items - self._first) * run.items.mixture.item / seconds
        line = {
            "step": run.state.step,
            "seconds": seconds,
            "tokens_per_second": rate,
            "data_wait": self._waited / seconds,
        }
        curves.write(SPEED, line | run.speed.of(rate))
        self._saved = now
