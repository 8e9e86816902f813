"""Where artifacts live: ``store/<kind>/<fingerprint>/``, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from presight import card as cards
from presight import owner
from presight.errors import PresightError
from presight.stage import ShardedStage, Stage

WORK = ".work"
OWNERS = ".owners"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A whole artifact: its folder and its card."""

    path: Path
    card: dict[str, Any]


class Store:
    """Artifacts under one folder, and the work in progress towards them.

    ``.work/<fingerprint>/payload`` is filled by the stage and renamed into place; ``scratch`` beside it holds what
    only the work needs. Both survive kills, so that a rerun continues. Nothing outside ``.work`` is ever half-written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, stage: Stage) -> Path:
        """Where the artifact of a stage is, or will be."""
        return self.root / stage.kind / stage.fingerprint

    def find(self, stage: Stage) -> Artifact | None:
        """The whole artifact of a stage, looked up by fingerprint, or None."""
        path = self.path(stage)
        card = cards.read(path)
        return Artifact(path, card) if card else None

    def artifacts(self) -> Iterator[Artifact]:
        """Every whole artifact."""
        for path in sorted(self.root.glob("[!.]*/*")):
            if card := cards.read(path):
                yield Artifact(path, card)

    def work(self, stage: Stage) -> Path:
        """The deterministic work folder of a stage."""
        return self.root / WORK / stage.fingerprint

    def owner_file(self, name: str) -> Path:
        """The owner file of a stage (its fingerprint) or of one of its shards (``fingerprint.3``)."""
        return self.root / OWNERS / name

    def perform(self, stage: Stage, waiting: Callable[[dict[str, Any]], None] | None = None) -> Artifact:
        """Run one stage in this process and publish it; what is done already is returned as it is."""
        if found := self.find(stage):
            return found
        with _disk(self.work(stage)), owner.hold(self.owner_file(stage.fingerprint), waiting):
            if found := self.find(stage):
                shutil.rmtree(self.work(stage), ignore_errors=True)  # another made it meanwhile
                return found
            started, clock = time.time(), time.monotonic()
            attempts = self._attempt(stage)
            done = self.work(stage) / "complete"
            if not done.exists():
                out, inputs = self._places(stage)
                if isinstance(stage, ShardedStage):
                    self._finish(stage, out, inputs)
                else:
                    stage.run(out, inputs)
                done.touch()
            return self._publish(stage, started, time.monotonic() - clock, attempts)

    def assist(self, stage: Stage) -> None:
        """Run a stage as one rank of many, beside the first, which ``perform``s it: nothing is published here."""
        if not self.find(stage):
            with _disk(self.work(stage)):
                stage.run(*self._places(stage))

    def perform_shard(
        self, stage: ShardedStage, shard: int, waiting: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Run one shard of a stage in this process; a shard that is done is not run again."""
        done = self._shard_mark(stage, shard)
        with _disk(self.work(stage)), owner.hold(self.owner_file(f"{stage.fingerprint}.{shard}"), waiting):
            if done.exists() or self.find(stage):
                return
            out, inputs = self._places(stage)
            stage.run_shard(shard, out, inputs)
            done.parent.mkdir(parents=True, exist_ok=True)
            done.touch()

    def missing_shards(self, stage: ShardedStage) -> list[int]:
        """Shards still to run."""
        return [shard for shard in range(stage.shards()) if not self._shard_mark(stage, shard).exists()]

    def _shard_mark(self, stage: Stage, shard: int) -> Path:
        return self.work(stage) / "shards" / f"{shard:05d}"

    def _finish(self, stage: ShardedStage, out: Path, inputs: dict[str, Path]) -> None:
        for shard in self.missing_shards(stage):
            self.perform_shard(stage, shard)
        stage.finish(out, inputs)

    def _places(self, stage: Stage) -> tuple[Path, dict[str, Path]]:
        inputs = {}
        for field, parent in stage.inputs().items():
            found = self.find(parent)
            if found is None:
                raise PresightError(
                    f"{stage.tag()}.{field}",
                    f"its input {parent.kind}/{parent.fingerprint} is not in {self.root}, or not whole",
                    "run the recipe, which makes it",
                )
            inputs[field] = found.path
        out = self.work(stage) / "payload"
        out.mkdir(parents=True, exist_ok=True)
        return out, inputs

    def _attempt(self, stage: Stage) -> int:
        """Count this attempt; the count is on the card."""
        path = self.work(stage) / "attempts"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(owner.record()) + "\n")
        return len(path.read_text().splitlines())

    def _publish(self, stage: Stage, started: float, seconds: float, attempts: int) -> Artifact:
        work, target = self.work(stage), self.path(stage)
        out = work / "payload"
        for path in cards.payload(out):
            _flush(path)
        card = cards.write(stage, out, started, seconds, attempts)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # not whole, or `find` had seen it: set the broken one aside, never overwrite it
            target.rename(self.root / WORK / f"broken-{stage.fingerprint}-{time.time_ns()}")
        # What says that the payload is done goes before it does: a kill in between must not vouch for an empty one.
        shutil.rmtree(work / "scratch", ignore_errors=True)
        shutil.rmtree(work / "shards", ignore_errors=True)
        (work / "complete").unlink()
        out.rename(target)
        _flush(target.parent)
        shutil.rmtree(work, ignore_errors=True)
        return Artifact(target, card)


@contextmanager
def _disk(work: Path) -> Iterator[None]:
    """A full disk is the user's to mend, and costs nothing but a rerun."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise PresightError(
            str(error.filename or work), error.strerror or "the disk is full", "free space and run again: work is kept"
        ) from error


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
