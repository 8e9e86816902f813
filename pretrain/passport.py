"""The numerics passport: which ways of cutting up the arithmetic give the same bits on this machine."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from presight.assembly import dump
from presight.console import progress
from presight.errors import PresightError
from presight.stage import Needs, Stage, scratch
from presight.store import Store
from pretrain.train import Train, way

PASSPORT = "passport.json"


class Passport(Stage):
    """Trains a small model for a few steps in every way that is asked for, and sorts the ways by what came out.

    Runs within one class are bitwise equal: same losses, same weights. Between classes, a difference of two results
    may be the arithmetic's alone; ``distance`` says how large that was in a loss.
    """

    kind = "passport"
    version = "2"

    mixture: Annotated[Stage, Needs("mixture")]
    model: str = Field("tiny", description="a size of the table in pretrain/model.py")
    batch: int = Field(16, ge=2, description="items a step")
    steps: int = Field(10, ge=1, description="of each canary")
    ranks: tuple[int, ...] = Field((1, 2), description="numbers of processes to try")
    accumulation: tuple[int, ...] = Field((1, 2), description="micro-batches a step to try")
    dtypes: tuple[Literal["fp32", "bf16"], ...] = Field(("fp32", "bf16"), description="arithmetics to try")
    zero: tuple[Literal[0, 1, 2, 3], ...] = Field((0, 1, 2, 3), description="ZeRO stages to try")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Run the canaries, one after another; those that an interrupted run finished are not run again."""
        item = json.loads((inputs["mixture"] / "mixture.lock").read_text())["item"]
        found: dict[str, dict[str, Any]] = {}
        for world, parts, dtype, zero in progress(list(self._ways()), "canaries"):
            canary = Train(
                mixture=self.mixture,
                model=self.model,
                batch=self.batch,
                until=self.steps * self.batch * item,
                dtype=dtype,
                zero=zero,
                micro_batch=self.batch // (world * parts),
                milestones=2,
                heldout_items=1,
            )
            name = way(world, parts, dtype, zero)
            place = Store(scratch(out) / name.replace("/", ",") / "store")
            found[name] = _read(place, canary) or _fly(place, canary, inputs["mixture"], world)
        base = next(iter(found.values()))["losses"]
        classes: dict[str, list[str]] = {}
        for name, each in found.items():
            classes.setdefault(each["digest"], []).append(name)
        ways = {
            name: {
                "digest": each["digest"],
                "losses": each["losses"],
                "distance": max(abs(a - b) for a, b in zip(each["losses"], base, strict=True)),
            }
            for name, each in found.items()
        }
        document = {"model": self.model, "steps": self.steps, "classes": list(classes.values()), "ways": ways}
        (out / PASSPORT).write_text(json.dumps(document, indent=1))
        (out / "counts.json").write_text(json.dumps({"ways": len(ways), "classes": len(classes)}))

    def _ways(self) -> Any:
        for world, parts, dtype, zero in itertools.product(self.ranks, self.accumulation, self.dtypes, self.zero):
            if self.batch % (world * parts):
                raise PresightError(
                    "batch", f"{self.batch} items cannot be cut into {world} ranks × {parts}", "give a multiple"
                )
            if dtype == "fp32" or zero:  # stage 0 cannot accumulate the gradients of bf16 in fp32
                yield world, parts, dtype, zero


def comparable(passport: Mapping[str, Any] | None, numerics: set[str]) -> bool:
    """Whether runs may be compared to the last digit: made in one way, or in ways of one class of a passport.

    Args:
        passport: as ``passport.json`` has it.
        numerics: as the runs' cards have them.
    """
    if len(numerics) < 2:
        return True
    surroundings = {each.partition("/ranks=")[0] for each in numerics}
    ways = {"ranks=" + each.partition("/ranks=")[2] for each in numerics}
    return len(surroundings) == 1 and any(ways <= set(each) for each in (passport or {}).get("classes", []))


def _fly(store: Store, canary: Train, mixture: Path, world: int) -> dict[str, Any]:
    """Run a canary in processes of its own."""
    target = store.path(canary.mixture)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink():
        target.symlink_to(mixture)
    file = store.root / "canary.json"
    file.write_text(json.dumps(dump(canary)))
    command = ["-m", "presight", "stage", str(file), "--root", str(store.root.parent)]
    if world > 1:
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world), *command]
    known = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    surroundings = {name: value for name, value in os.environ.items() if name not in known}
    done = subprocess.run(
        [sys.executable, "-P", *command], env=surroundings, capture_output=True, text=True, check=False
    )
    found = _read(store, canary)
    if found is None:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise PresightError("canary", f"{file} ended with {done.returncode} ({said[-1]})", f"presight stage {file}")
    return found


def _read(store: Store, canary: Train) -> dict[str, Any] | None:
    """Losses and a digest of losses and weights; None before it was run."""
    made = store.find(canary)
    if made is None:
        return None
    losses = [json.loads(line)["loss"] for line in (made.path / "metrics.jsonl").read_text().splitlines()]
    content = json.dumps(losses).encode() + (made.path / "model.safetensors").read_bytes()
    return {"losses": losses, "digest": hashlib.sha256(content).hexdigest()[:16]}
