"""Stages small enough to see through, for tests of the spine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from presight.console import progress
from presight.errors import PresightError
from presight.stage import Cost, FrozenMap, Labelled, Needs, ShardedStage, Stage, scratch


class Number(Stage):
    """Publishes a number."""

    kind = "number"
    value: float = 0.0
    shares: FrozenMap[str, float] = FrozenMap()

    def estimate(self) -> Cost:
        return Cost(tokens=10, flops=1e6)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        (out / "number.json").write_text(json.dumps(self.value + sum(self.shares.values())))
        (out / "counts.json").write_text(json.dumps({"numbers": 1}))


class Add(Stage):
    """Publishes the sum of two numbers, counting its steps in scratch."""

    kind = "number"
    left: Annotated[Stage, Needs("number")]
    right: float | Annotated[Stage, Needs("number")] = 1.0
    pause: float = 0.0
    steps: int = 1

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        work = scratch(out)
        for step in progress(range(self.steps), "adding"):
            mark = work / f"step-{step}"
            if mark.exists():
                continue
            time.sleep(self.pause)
            mark.touch()
            with (out / "log-of-steps").open("a") as file:
                file.write(f"{step}\n")
        right = read(inputs["right"]) if "right" in inputs else float(self.right)
        (out / "number.json").write_text(json.dumps(read(inputs["left"]) + right))


class Total(Stage):
    """Publishes the sum of gathered numbers."""

    kind = "total"
    numbers: tuple[Annotated[Labelled, Needs("number")], ...]

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        total = {
            ",".join(f"{k}={v}" for k, v in each.labels.items()): read(inputs[f"numbers[{index}]"])
            for index, each in enumerate(self.numbers)
        }
        (out / "total.json").write_text(json.dumps(total, sort_keys=True))


class Fault(Stage):
    """Fails in the way it is told to."""

    kind = "number"
    how: str = "user"
    once: str | None = None

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        (out / "half-written").write_text("x" * 10)
        if self.how == "user":
            raise PresightError("toys.how", "'user' is a fault", "choose another")
        if self.how == "full":
            raise OSError(28, "No space left on device", str(out / "half-written"))
        if self.how == "die":
            os._exit(9)
        raise RuntimeError("something inside broke")


class Squares(ShardedStage):
    """Publishes squares, a file a shard."""

    kind = "squares"
    count: int = 4
    pause: float = 0.0

    def shards(self) -> int:
        return self.count

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        time.sleep(self.pause)
        (out / f"{shard}.txt").write_text(str(shard * shard))

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        total = sum(int((out / f"{shard}.txt").read_text()) for shard in range(self.count))
        (out / "number.json").write_text(str(total))


def read(folder: Path) -> float:
    return float(json.loads((folder / "number.json").read_text()))
