"""Checkpoints that a run goes on from: complete or absent, the last of them kept, readable at another world size."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from presight.errors import PresightError

COMPLETE = "COMPLETE"  # written last; what a run knows of itself, as JSON
SKIPPED = "skipped.json"
_UNWRITTEN = re.compile("inline_container|PytorchStreamWriter")  # all that torch says of a disk that is full


@dataclass(slots=True)
class State:
    """What a run knows of itself beside weights and optimizer.

    Attributes:
        step: optimizer steps done, those of the runs it started from included.
        items: items of the mixture passed.
        ledger: by pool, items read, sum of their mean losses, tokens predicted.
        skipped: steps left out for their loss.
        measured: the last step whose held-out losses were taken in full; -1 before any.
    """

    step: int = 0
    items: int = 0
    ledger: dict[str, list[float]] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)
    measured: int = -1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    state: State
    world: int
    zero: int


class Rolling:
    """A folder of checkpoints, ``step-…/``, of which the newest complete one counts.

    Args:
        folder: to hold them.
        rank: only 0 marks and prunes.
        world: ranks.
        zero: stage.
    """

    def __init__(self, folder: Path, rank: int, world: int, zero: int) -> None:
        self.folder, self.rank, self.world, self.zero = folder, rank, world, zero

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint; None without one."""
        marks = sorted(self.folder.glob(f"step-*/{COMPLETE}"))
        return read(marks[-1].parent) if marks else None

    def save(self, engine: Any, state: State) -> None:
        """Write a checkpoint by all ranks, mark it complete, then drop the ones before it."""
        tag = f"step-{state.step:010d}"
        if read(self.folder / tag):
            return  # nothing was learnt since, and a whole checkpoint is not written over
        write(engine, self.folder, tag, state, self.world, self.zero, self.rank)
        if self.rank == 0:
            for other in (*self.folder.glob("step-*"), *self.folder.glob("universal-*")):
                if other.name != tag:
                    shutil.rmtree(other)

    def leave_out(self, step: int) -> None:
        """Remember a step to leave out, beyond what a kill can take away; all ranks together."""
        if self.rank == 0:
            partial = self.folder / f"{SKIPPED}.partial"
            partial.write_text(json.dumps(sorted({*self.left_out(), step})))
            partial.replace(self.folder / SKIPPED)
        _barrier()

    def left_out(self) -> list[int]:
        """Steps to leave out."""
        path = self.folder / SKIPPED
        return json.loads(path.read_text()) if path.exists() else []

    def prepare(self, found: Checkpoint) -> Path:
        """What to load ``found`` from at this world size: its folder, or a conversion of it beside it.

        DeepSpeed's ZeRO refuses another number of ranks; its universal format, made here by rank 0, does not.

        Raises:
            PresightError: the ZeRO stage changed in a way that no conversion covers.
        """
        both = {found.zero, self.zero}
        if found.zero != self.zero and not both <= {1, 2}:
            raise PresightError(
                "zero",
                f"{self.zero}, but the checkpoint in {found.folder} is of stage {found.zero}",
                "go on with that",
            )
        if (found.world, found.zero) == (self.world, self.zero):
            return found.folder
        if found.zero == 0:
            return found.folder  # every rank holds everything
        target = self.folder / f"universal-{found.folder.name}"
        if self.rank == 0 and not (target / COMPLETE).exists():
            shutil.rmtree(target, ignore_errors=True)
            command = [sys.executable, "-P", "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
            command += ["--input_folder", str(found.folder), "--output_folder", str(target)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                raise PresightError(
                    str(found.folder),
                    f"could not be converted for {self.world} ranks ({said[-1]})",
                    f"go on with {found.world} ranks",
                )
            (target / COMPLETE).touch()
        _barrier()
        return target


def write(engine: Any, folder: Path, tag: str, state: State, world: int, zero: int, rank: int) -> None:
    """Write a checkpoint by all ranks, without what is frozen; its mark, by rank 0, when every file is there."""
    if rank == 0:
        (folder / tag / COMPLETE).unlink(missing_ok=True)  # what is written over is not whole meanwhile
    _barrier()
    try:
        engine.save_checkpoint(str(folder), tag=tag, exclude_frozen_parameters=True)
    except RuntimeError as error:
        if not _UNWRITTEN.search(str(error)):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / tag)) from error
    _barrier()
    if rank == 0:
        known = {name: getattr(state, name) for name in State.__dataclass_fields__}
        partial = folder / tag / f"{COMPLETE}.partial"
        partial.write_text(json.dumps({"state": known, "world": world, "zero": zero}))
        partial.replace(folder / tag / COMPLETE)
    _barrier()


def read(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder; None where it is not complete."""
    path = folder / COMPLETE
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    return Checkpoint(folder, State(**found["state"]), found["world"], found["zero"])


def _barrier() -> None:
    import torch.distributed

    torch.distributed.barrier()
