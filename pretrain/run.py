"""One training run: the loop, and what it writes down."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from presight.console import Track
from presight.errors import EXIT_DIVERGED, PresightError
from presight.stage import scratch
from pretrain import engine
from pretrain.batches import IGNORED, Batch, Items
from pretrain.curves import HELDOUT, METRICS, Curves, Pace
from pretrain.guard import Guard
from pretrain.interruption import Interruption, going_on
from pretrain.rolling import Rolling, State
from pretrain.schedule import learning_rate, milestones
from pretrain.sums import Sums

if TYPE_CHECKING:
    from pretrain.heldout import Heldout
    from pretrain.train import Train

SKIPPED = "skipped.json"


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


class Spike(Exception):
    """A loss that the guard finds fault with."""

    def __init__(self, step: int, fault: str) -> None:
        super().__init__(fault)
        self.step, self.fault = step, fault


@dataclass(slots=True)
class Run:
    """A run in progress, on one of its ranks."""

    stage: Train
    out: Path
    items: Items
    heldout: Heldout
    engine: Any
    course: Course
    rolling: Rolling
    state: State
    interruption: Interruption
    flops: float | None = None  # a token
    peak: float | None = None  # operations a second, of all ranks together
    guard: Guard = field(default_factory=Guard)

    @property
    def chief(self) -> bool:
        """Whether this rank writes."""
        return self.rolling.rank == 0

    def train(self) -> None:
        """Run to the end, rolling back behind steps that are to be skipped."""
        self._skips(())
        while True:
            try:
                return self._steps()
            except Spike as spike:
                found = self.rolling.newest()
                good = f"the last good checkpoint is {found.folder}" if found else "there is no checkpoint yet"
                if self.stage.spikes == "stop" or found is None:
                    mend = f"{good}; lower learning_rate, or leave the step out with spikes: skip"
                    raise PresightError(
                        "loss", f"{spike.fault} at step {spike.step + 1}", mend, EXIT_DIVERGED
                    ) from None
                self._skips((spike.step,))
                skipped, self.state = self.state.skipped, found.state
                self._skips(tuple(skipped))
                engine.load(self.engine, found.folder, universal=False)

    def _skips(self, more: tuple[int, ...]) -> None:
        """Remember steps to leave out, beyond what a kill can take away."""
        path = scratch(self.out) / SKIPPED
        known = {*self.state.skipped, *more, *(json.loads(path.read_text()) if path.exists() else ())}
        self.state.skipped = sorted(known)
        if self.chief and known:
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(self.state.skipped))
            partial.replace(path)

    def _steps(self) -> None:
        stage, course = self.stage, self.course
        end = course.before + course.steps
        due = {course.before + step for step in milestones(course.steps, stage.milestones)}
        if self.state.step == course.before and course.before:
            self.state.measured = course.before  # by the run that this one goes on from
        with self._curves() as curves:
            track = Track(course.steps, "training")
            track.advance(self.state.step - course.before)
            pace = Pace(self)
            if stage.spikes == "skip" and self.rolling.newest() is None:
                self.rolling.save(self.engine, self.state)  # somewhere to roll back to
            if self.state.step in due:
                self._look(curves)
            rank, world = self.rolling.rank, self.rolling.world
            ahead = [course.bounds(step, rank, world) for step in range(self.state.step, end)]
            for batch, waited in self.items.batches(ahead):
                line, stopping, saving = self._step(batch, pace.saving_due())
                curves.write(METRICS, line)
                track.advance()
                pace.stepped(waited)
                if stopping and self.state.step < end:
                    self._give_way(curves)
                if self.state.step in due:
                    self._look(curves)
                if saving and self.state.step < end:
                    curves.flush()
                    self.rolling.save(self.engine, self.state)
                    pace.report(curves)
            pace.report(curves)
        self._close()

    def _curves(self) -> Curves:
        """The curves, cut back to what the checkpoint knows; the guard learns the losses that led up to it."""
        curves = Curves(self.out, self.state, self.chief)
        self.guard = Guard(curves.losses())
        return curves

    def _step(self, batch: Batch, saving: bool) -> tuple[dict[str, Any], bool, bool]:
        """One optimizer step: its line of metrics, and whether any rank was told to stop, or is due to save."""
        import torch

        stage, course, state, world = self.stage, self.course, self.state, self.rolling.world
        start, stop = course.bounds(state.step)
        rate = learning_rate(
            stage.schedule,
            state.step - (course.before if stage.schedule == "decay" else 0),
            course.steps + (0 if stage.schedule == "decay" else course.before),
            warmup=stage.warmup_steps(course.before + course.steps),
            decay=round(stage.cooldown * (course.before + course.steps)),
            peak=stage.learning_rate,
            final=stage.final,
        )
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        skipped = state.step in state.skipped
        sums = Sums(len(self.items.names), len(self.items.labels))
        targets = batch.targets()
        if not skipped:
            predicted = float((targets != IGNORED).sum())
            predicted = (
                float(engine.agreed([predicted])[0]) if batch.positions is not None else _whole(stop - start, batch)
            )
            micro, accumulation = (
                self.engine.train_micro_batch_size_per_gpu(),
                self.engine.gradient_accumulation_steps(),
            )
            for index in range(accumulation):
                part = slice(index * micro, (index + 1) * micro)
                rows = len(batch.tokens[part])
                # DeepSpeed counts micro-batches and means over ranks: one without rows goes through with weight 0
                tokens = batch.tokens[part] if rows else np.zeros((1, batch.tokens.shape[1]), dtype=np.int64)
                goals = targets[part] if rows else np.full_like(tokens, IGNORED)
                places = batch.positions[part] if batch.positions is not None and rows else None
                x, y = (torch.from_numpy(each).to(self.engine.device) for each in (tokens, goals))
                weights = torch.full(x.shape, accumulation * world / predicted, device=self.engine.device)
                total, each = self.engine(
                    x, y, weights, None if places is None else torch.from_numpy(places).to(x.device)
                )
                self.engine.backward(total)
                if rows:
                    sums.add(batch, part, each.double().cpu().numpy(), goals != IGNORED)
                if index == accumulation - 1:
                    told = self._agree(sums, saving)
                    if fault := self.guard.fault(sums.loss):
                        raise Spike(state.step, fault)
                    norm = engine.whole_norm(self.engine) if self.rolling.zero == 0 else None
                self.engine.step()
        else:
            told = self._agree(sums, saving)
        state.step, state.items = state.step + 1, stop
        line: dict[str, Any] = {"step": state.step, "tokens": stop * self.items.mixture.item, "learning_rate": rate}
        if skipped:
            return line | {"skipped": True}, *told
        for name, (count, loss, seen) in sums.pools(self.items.names).items():
            entry = state.ledger.setdefault(name, [0, 0.0, 0])
            entry[0], entry[1], entry[2] = entry[0] + count, entry[1] + loss, entry[2] + seen
        if stage.optimizer == "muon":
            norm = None  # it would be that of the updates
        elif norm is None:
            norm = engine.gradient_norm(self.engine)
        line |= {"loss": sums.loss, "loss_by_source": sums.by_source(self.items.names)}
        if self.items.labels:
            line["loss_by_label"] = sums.by_label(self.items.labels)
        return line | {"gradient_norm": norm}, *told

    def _agree(self, sums: Sums, saving: bool) -> tuple[bool, bool]:
        """Add up over the ranks what they saw, and whether one of them was told to stop, or the first is to save."""
        flags = [float(self.interruption.came), float(saving and self.chief)]
        found = engine.agreed(np.concatenate([sums.vector, flags]))
        sums.vector = found[:-2]
        return bool(found[-2]), bool(found[-1])

    def _look(self, curves: Curves) -> None:
        """Take the held-out losses, and keep the model where asked; once for a step, whatever kills come between."""
        state = self.state
        if state.measured >= state.step:
            return
        found = self.heldout.losses(self.engine.module, self.interruption.agreed)
        if found is None:
            self._give_way(curves)
            return
        tokens = state.items * self.items.mixture.item
        for source, each in found.items():
            curves.write(HELDOUT, {"step": state.step, "tokens": tokens, "source": source, **each})
        if self.stage.keep_milestones:
            folder = self.out / "milestones" / f"{tokens:015d}"
            engine.save(self.engine, folder)
        state.measured = state.step

    def _give_way(self, curves: Curves) -> None:
        """Save, and end with the exit code that asks to be started again."""
        curves.flush()
        self.rolling.save(self.engine, self.state)
        raise going_on(self.state.step, self.rolling.folder)

    def _close(self) -> None:
        """Write the ledger; what was read must be what the lock planned."""
        course, item, state = self.course, self.items.mixture.item, self.state
        planned = self.items.sampler.drawn(course.last) - self.items.sampler.drawn(course.first)
        left_out = np.zeros_like(planned)
        for step in state.skipped:
            bounds = course.bounds(step)
            left_out += self.items.sampler.drawn(bounds[1]) - self.items.sampler.drawn(bounds[0])
        pools = {}
        for pool, plan, left in zip(self.items.mixture.pools, planned.tolist(), left_out.tolist(), strict=True):
            read, total, predicted = state.ledger.get(pool.name, [0, 0.0, 0])
            if read + left != plan:
                problem = f"{read} items were read where {plan - left} were planned"
                raise PresightError(f"mixture.{pool.name}", problem, "report this fault")
            epochs = pool.epochs if plan == pool.quota else plan / pool.supply
            pools[pool.name] = {
                "items": int(read),
                "tokens": int(read) * item,
                "epochs": epochs,
                "loss": total / predicted if predicted else None,
            }
        if self.chief:
            skipped = {"skipped": state.skipped} if state.skipped else {}
            ledger = {
                "tokens": item * sum(int(read) for read, _, _ in state.ledger.values()),
                "items": [course.first, course.last],
                "pools": pools,
            }
            (self.out / "ledger.json").write_text(json.dumps(ledger | skipped, indent=1))
            counts = {"tokens": course.last * item, "steps": state.step}
            counts |= {"skipped_steps": len(state.skipped)} if skipped else {}
            (self.out / "counts.json").write_text(json.dumps(counts))


def _whole(rows: int, batch: Batch) -> float:
    """Tokens predicted by whole rows: all but the first of each."""
    return float(rows * (batch.tokens.shape[1] - 1))
