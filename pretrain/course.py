"""What a run reads, in which steps, and where it begins: decided, and refused, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from presight.errors import PresightError

if TYPE_CHECKING:
    from pretrain.batches import Items
    from pretrain.rolling import Checkpoint
    from pretrain.train import Train

CHECKPOINTS = "checkpoints"  # kept on the way: model and state
STATE = "state"  # of a run that others go on from: optimizer and all, as DeepSpeed keeps it


@dataclass(frozen=True, slots=True)
class Course:
    """Which items of the mixture a run reads, in which steps.

    Attributes:
        first: item it begins with.
        last: item it stops before.
        batch: items a step; the last step takes what is left.
        before: steps done by the runs it goes on from.
    """

    first: int
    last: int
    batch: int
    before: int

    @property
    def steps(self) -> int:
        """How many."""
        return -(-(self.last - self.first) // self.batch)

    def bounds(self, step: int, rank: int = 0, world: int = 1) -> tuple[int, int]:
        """The items of a step (counted over all runs) that a rank reads: one stretch each, the last may be short."""
        start = self.first + (step - self.before) * self.batch
        share = self.batch // world
        mine = start + rank * share, start + (rank + 1) * share
        return min(mine[0], self.last), min(mine[1], self.last)

    @classmethod
    def of(cls, stage: Train, items: Items, begun: Checkpoint | None) -> Course:
        """The course of a run; ``begun`` is the checkpoint of another that it goes on from.

        Raises:
            PresightError: its schedule, start and budget make no run.
        """
        item = items.mixture.item
        first, before = 0, 0
        if begun is not None and stage.start is not None:
            if stage.schedule == "cosine":
                raise PresightError("schedule", "a cosine cannot go on from another run", "give wsd, stable or decay")
            first, before = (begun.state.items if stage.goes_on(stage.start) else 0), begun.state.step
        elif stage.schedule == "decay":
            raise PresightError("start", "kept no state to go on from", "give it keep_state: true")
        last = len(items) if stage.until is None else -(-stage.until // item)
        if last <= first:
            raise PresightError(
                "until", f"{last * item} tokens are read before it begins", f"give over {first * item}"
            )
        step = stage.batch * item
        if stage.keep_every and (stage.keep_every % step or first * item % step):
            problem = f"{stage.keep_every} tokens are no whole number of steps of {step} from {first * item} on"
            raise PresightError("keep_every", problem, f"give a multiple of {step}")
        if stage.keep_state and (last - first) % stage.batch:
            problem = f"{last * item} tokens are no whole number of steps of {step} from {first * item} on"
            given = f"{first * item} + a multiple" if first else "a multiple"
            raise PresightError("until", problem, f"give {given} of {step}")
        return cls(first, last, stage.batch, before)


def check(stage: Train, items: Items, micro: int, world: int) -> None:
    """Refuse what cannot be run, in one sentence."""
    if not micro or stage.batch % (micro * world):
        ranks = f" of each of {world} ranks" if world > 1 else ""
        raise PresightError(
            "micro_batch", f"{micro}{ranks} does not divide the batch of {stage.batch}", "give a divisor"
        )
    if stage.dtype == "bf16" and stage.zero == 0:
        raise PresightError("zero", "0 cannot accumulate the gradients of bf16 in fp32", "give 1, 2 or 3")
    if stage.optimizer == "muon" and stage.dtype == "bf16" and stage.zero == 1:
        raise PresightError("zero", "1 has no Muon in bf16", "give 2")
    if stage.start_at and stage.start is None:
        raise PresightError("start_at", "there is no start", "name a run with keep_every")
    if stage.schedule == "decay" and stage.start is None:
        raise PresightError("start", "is not given, but decay is a branch", "name a run that kept its state")
    if stage.schedule == "stable" and 0 < stage.warmup < 1:
        problem = f"{stage.warmup} is a share of the steps, and a trunk does not know how many it will have"
        raise PresightError("warmup", problem, "give steps: 1 or more, or 0")
    item = items.mixture.item
    if stage.until is not None and stage.until > len(items) * item:
        raise PresightError(
            "until", f"{stage.until} tokens of a mixture of {len(items) * item}", "raise the mixture's budget"
        )


def beginning(stage: Train, inputs: Mapping[str, Path]) -> Path | None:
    """The folder of the checkpoint it begins with: the start's end, or one of those it kept on the way.

    Raises:
        PresightError: no checkpoint was kept there.
    """
    if "start" not in inputs or stage.start_at is None:
        return inputs.get("start")
    kept = inputs["start"] / CHECKPOINTS
    folder = kept / f"{stage.start_at:015d}"
    if not folder.exists():
        known = ", ".join(str(int(path.name)) for path in sorted(kept.glob("*"))) or "none: give it keep_every"
        raise PresightError("start_at", f"no checkpoint was kept at {stage.start_at} tokens", f"kept: {known}")
    return folder
