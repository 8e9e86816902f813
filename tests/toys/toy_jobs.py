"""Stages that end as they are told to, and a cluster that is a table, for tests of submission."""

import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from presight.errors import PresightError
from presight.stage import Needs, ShardedStage, Stage
from pretrain import Train
from slurm import queue


class Word(Stage):
    """Writes its word after those that it stands on."""

    kind = "word"
    word: str
    before: tuple[Annotated[Stage, Needs("word")], ...] = ()

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        words = [(inputs[name] / "word.txt").read_text() for name in sorted(inputs)]
        (out / "word.txt").write_text(" ".join([*words, self.word]))


class Parts(ShardedStage):
    """Writes a word in parts."""

    kind = "word"
    word: str
    count: int
    before: tuple[Annotated[Stage, Needs("word")], ...] = ()

    def shards(self) -> int:
        return self.count

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        (out / f"part-{shard:03d}").write_text(f"{self.word}{shard}")

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        parts = sorted(out.glob("part-*"))
        (out / "word.txt").write_text(" ".join(part.read_text() for part in parts))


class Ends(Word):
    """Ends its n-th attempt with the n-th code, and then well; ``tries`` has a node a line."""

    codes: tuple[int, ...] = ()
    unless: str = Field("", exclude=True, description="a file with which every attempt ends well")
    sleep: float = Field(0, exclude=True, description="seconds of an attempt")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        tries = out / "log" / "tries"
        tries.parent.mkdir(exist_ok=True)
        before = len(tries.read_text().splitlines()) if tries.exists() else 0
        with tries.open("a") as file:
            file.write(os.environ.get("SLURMD_NODENAME", socket.gethostname()) + "\n")
        time.sleep(self.sleep if not before else 0)
        if before < len(self.codes) and not (self.unless and Path(self.unless).exists()):
            raise PresightError(f"word {self.word!r}", f"ends with {self.codes[before]}", "", self.codes[before])
        super().run(out, inputs)


class Shared(Word):
    """A word that many processes may run together."""

    parallel = True


class Slow(Train):
    """Pretraining that says its steps, and pauses after each."""

    pause: float = Field(0, exclude=True, description="seconds")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        from pretrain.curves import Pace

        stepped = Pace.stepped

        def paused(pace: Pace, waited: float) -> None:
            stepped(pace, waited)
            if pace._run.chief:
                print(f"step {pace._run.state.step}", flush=True)  # curves are handed on when they are saved
            time.sleep(self.pause)

        Pace.stepped = paused  # type: ignore[method-assign]
        super().run(out, inputs)


class Table:
    """What SLURM's commands would say, from a table of jobs; put in the place of ``slurm.queue.command``."""

    def __init__(self, array=1001, room=None):
        self.array, self.room = array, room
        self.entries: dict[str, queue.Entry] = {}
        self.dependencies: dict[str, str] = {}
        self.said: list[tuple[str, ...]] = []
        self.number = 0

    def __call__(self, *words):
        self.said.append(words)
        return {"sbatch": self.sbatch, "squeue": self.squeue, "scontrol": self.scontrol}.get(words[0], self.other)(
            *words
        )

    def sbatch(self, *words):
        text = Path(words[-1]).read_text()
        option = next((word for word in words if word.startswith("--array=")), None)
        array = option or next(iter(re.findall(r"^#SBATCH (--array=.*)$", text, re.MULTILINE)), "")
        indices = []
        for run in filter(None, array.removeprefix("--array=").partition("%")[0].split(",")):
            first, _, last = run.partition("-")
            indices += range(int(first), int(last or first) + 1)
        if (
            self.room is not None
            and sum(each.live for each in self.entries.values()) + max(len(indices), 1) > self.room
        ):
            raise queue.Full("Job violates accounting/QOS policy")
        self.number += 1
        dependency = next((word.partition("=")[2] for word in words if word.startswith("--dependency=")), "")
        self.dependencies[str(self.number)] = dependency
        state = ("PENDING", "Dependency" if dependency else "Priority")
        for job in [f"{self.number}_{index}" for index in indices] or [str(self.number)]:
            self.entries[job] = queue.Entry(job, *state, "N/A", dependency, words[-1])
        return f"{self.number};cluster\n"

    def squeue(self, *words):
        each = [
            f"{e.job}|{e.state}|{e.reason}|{e.start}|{e.dependency or '(null)'}|{e.script}"
            for e in self.entries.values()
        ]
        return "\n".join(each)

    def scontrol(self, *words):
        return f"MaxArraySize            = {self.array}\n" if "config" in words else ""

    def other(self, *words):
        return ""

    def becomes(self, job, state, reason=""):
        old = self.entries[job]
        self.entries[job] = queue.Entry(job, state, reason, old.start, old.dependency, old.script)
