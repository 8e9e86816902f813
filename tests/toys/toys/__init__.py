"""Stages small enough to see through, for tests of the spine."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from presight import index
from presight.console import progress
from presight.errors import PresightError, Unavailable
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
        (out / "log").mkdir(exist_ok=True)
        for step in progress(range(self.steps), "adding"):
            mark = work / f"step-{step}"
            if mark.exists():
                continue
            time.sleep(self.pause)
            with (out / "log" / "steps").open("a") as file:
                file.write(f"{step}\n")
            mark.touch()
        right = read(inputs["right"]) if "right" in inputs else float(self.right)
        (out / "number.json").write_text(json.dumps(read(inputs["left"]) + right))


class Total(Stage):
    """Publishes gathered numbers by their labels."""

    kind = "total"
    numbers: tuple[Annotated[Labelled, Needs("number")], ...]

    def design(self) -> str | None:
        return f"adds {len(self.numbers)} numbers"

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        total = {
            ",".join(f"{k}={v}" for k, v in each.labels.items()): read(inputs[f"numbers[{index}]"])
            for index, each in enumerate(self.numbers)
        }
        (out / "total.json").write_text(json.dumps(total, sort_keys=True))


class Fault(Stage):
    """Fails in the way it is told to; given a file ``once``, only while that is not there."""

    kind = "number"
    how: str = "user"
    once: str | None = Field(None, exclude=True)
    start: Annotated[Stage, Needs("number")] | None = None

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        tries = scratch(out) / "tries"
        with tries.open("a") as file:
            file.write("x")
        (out / "number.json").write_text("7")
        if self.once and Path(self.once).exists():
            (out / "counts.json").write_text(json.dumps({"tries": tries.stat().st_size}))
            return
        if self.once:
            Path(self.once).touch()
        if self.how == "user":
            raise PresightError("toys.how", "'user' is a fault", "choose another")
        if self.how == "full":
            raise OSError(28, "No space left on device", str(out / "number.json"))
        if self.how == "die":
            os._exit(9)
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("something inside broke")


class Orphan(Stage):
    """Leaves a child that holds its lock and writes into the artifact after the stage itself was killed."""

    kind = "number"
    once: str = Field(exclude=True)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        if not Path(self.once).exists():
            Path(self.once).touch()
            if os.fork() == 0:
                time.sleep(1.5)
                (out / "child").write_text("was here")
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        (out / "number.json").write_text("1" if (out / "child").exists() else "0")


class File(Stage):
    """Publishes the number in a file; its identity is the content."""

    kind = "number"
    path: str = Field("", exclude=True)
    digest: str | None = None

    def settle(self, fetch: bool) -> Stage:
        if not Path(self.path).exists():
            raise Unavailable(self.path, "is not there", "write it")
        return self.changed(digest=index.content(Path(self.path)))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        (out / "number.json").write_text(Path(self.path).read_text())


class Bag(Stage):
    """Holds a value of every type that a stage may hold."""

    kind = "bag"
    flag: bool = False
    whole: int = 0
    ratio: float = 0.5
    word: str = ""
    maybe: float | None = None
    either: int | str = 0
    words: tuple[str, ...] = ()
    shares: FrozenMap[str, float] = FrozenMap()
    deep: FrozenMap[str, tuple[int, ...]] = FrozenMap()
    anything: Any = None
    start: Annotated[Stage, Needs("number")] | None = None
    gathered: tuple[Labelled, ...] = ()
    where: Path = Field(Path("/nowhere"), exclude=True)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        (out / "bag.json").write_text(self.model_dump_json())


class Surroundings(Stage):
    """Publishes its process and the thread variables it sees."""

    kind = "surroundings"
    seed: int = 0

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        seen = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM")}
        (out / "seen.json").write_text(json.dumps({"process": os.getpid(), **seen}))


class Alone(Surroundings):
    """The same, in a process of its own."""

    own_process = True


class Squares(ShardedStage):
    """Publishes squares, a file a shard."""

    kind = "squares"
    count: int = 4
    pause: float = 0.0
    dies: int | None = Field(None, exclude=True)  # this shard kills its process, while `once` is not there
    once: str = Field("", exclude=True)

    def shards(self) -> int:
        return self.count

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        with (scratch(out) / f"runs-{shard}").open("a") as file:
            file.write("x")
        time.sleep(self.pause)
        if shard == self.dies and not Path(self.once).exists():
            (out / f"{shard}.txt").write_text("half")
            Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (out / f"{shard}.txt").write_text(str(shard * shard))

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        total = sum(int((out / f"{shard}.txt").read_text()) for shard in range(self.count))
        (out / "number.json").write_text(str(total))
        runs = [(scratch(out) / f"runs-{shard}").stat().st_size for shard in range(self.count)]
        (out / "log" / "runs.json").parent.mkdir(exist_ok=True)
        (out / "log" / "runs.json").write_text(json.dumps(runs))


def read(folder: Path) -> float:
    return float(json.loads((folder / "number.json").read_text()))
