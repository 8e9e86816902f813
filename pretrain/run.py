"""One training run: the loop, and what it writes down."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from presight.console import Track
from presight.errors import PresightError
from pretrain import engine
from pretrain.batches import IGNORED, Batch, Items
from pretrain.course import CHECKPOINTS, STATE, Course
from pretrain.curves import HELDOUT, METRICS, Curves, Pace, Speed
from pretrain.guard import Guard
from pretrain.interruption import Interruption, going_on
from pretrain.monitors import Monitor, monitors
from pretrain.rolling import Rolling, State, read, write
from pretrain.schedule import learning_rate, milestones
from pretrain.sums import Sums

if TYPE_CHECKING:
    from pretrain.heldout import Heldout
    from pretrain.train import Train


class Spike(Exception):
    """A loss that the guard finds fault with."""

    def __init__(self, step: int, fault: str) -> None:
        super().__init__(fault)
        self.step, self.fault = step, fault


@dataclass(slots=True)
class Run:
    """A run in progress, on one of its ranks; ``peak`` is its highest learning rate."""

    stage: Train
    peak: float
    out: Path
    items: Items
    heldout: Heldout
    engine: Any
    course: Course
    rolling: Rolling
    state: State
    interruption: Interruption
    speed: Speed
    guard: Guard = field(default_factory=Guard)

    @property
    def chief(self) -> bool:
        """Whether this rank writes."""
        return self.rolling.rank == 0

    def train(self) -> None:
        """Run to the end.

        Raises:
            Spike: the loss of a step is not to be trusted; the step was not taken.
            PresightError: a signal came, and it was saved (85); what was read is not what was planned.
        """
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
            self._pause(curves, due)
            rank, world = self.rolling.rank, self.rolling.world
            ahead = [course.bounds(step, rank, world) for step in range(self.state.step, end)]
            for batch, waited in self.items.batches(ahead):
                line, stopping, saving = self._step(batch, pace.saving_due())
                curves.write(METRICS, line)
                track.advance()
                pace.stepped(waited)
                if stopping and self.state.step < end:
                    self._give_way(curves)
                self._pause(curves, due)
                if saving and self.state.step < end:
                    curves.flush()
                    self.rolling.save(self.engine, self.state)
                    pace.report(curves)
            pace.report(curves)
        self._close()

    def _curves(self) -> Curves:
        """The curves, cut back to what the checkpoint knows; the guard learns the losses that led up to it."""
        watched: list[Monitor] = []
        if self.chief and self.stage.monitors:
            name, fields = self.stage.fingerprint, self.stage.identity()
            watched = monitors(self.stage.monitors, self.out / "log", self.state.step, name, fields)
        curves = Curves(self.out, self.state, self.chief, watched)
        self.guard = Guard(curves.losses())
        return curves

    def _step(self, batch: Batch, saving: bool) -> tuple[dict[str, Any], bool, bool]:
        """One optimizer step: its line of metrics, and whether any rank was told to stop, or is due to save."""
        state, names = self.state, self.items.names
        stop = self.course.bounds(state.step)[1]
        rate = self._rate()
        sums = Sums(len(names), len(self.items.labels))
        skipped = state.step in state.skipped
        norm, told = (None, self._agree(sums, saving)) if skipped else self._learn(batch, rate, sums, saving)
        state.step, state.items = state.step + 1, stop
        line: dict[str, Any] = {"step": state.step, "tokens": stop * self.items.mixture.item, "learning_rate": rate}
        if skipped:
            return line | {"skipped": True}, *told
        for name, seen in sums.pools(names).items():
            state.ledger[name] = [a + b for a, b in zip(state.ledger.get(name, [0, 0.0, 0]), seen, strict=True)]
        line |= {"loss": sums.loss, "loss_by_source": sums.by_source(names)}
        if self.items.labels:
            line["loss_by_label"] = sums.by_label(self.items.labels)
        return line | {"gradient_norm": norm}, *told

    def _rate(self) -> float:
        """Learning rate of the step that comes; a branch counts its own steps, all else those of its trunk as well."""
        stage, course = self.stage, self.course
        own = stage.schedule == "decay"
        steps = course.steps + (0 if own else course.before)
        return learning_rate(
            stage.schedule,
            self.state.step - (course.before if own else 0),
            steps,
            warmup=stage.warmup_steps(steps),
            decay=round(stage.cooldown * steps),
            peak=self.peak,
            final=stage.final,
        )

    def _learn(self, batch: Batch, rate: float, sums: Sums, saving: bool) -> tuple[float | None, tuple[bool, bool]]:
        """Forward, backward and, if the loss is to be trusted, the step; its gradient's norm, what ranks were told.

        The loss is the mean over all tokens that the step predicts, on whatever rank and in whatever micro-batch.
        """
        import torch

        device, world, item = self.engine.device, self.rolling.world, self.items.mixture.item
        targets = batch.targets()
        if batch.positions is None:  # whole rows: all but the first token of each
            start, stop = self.course.bounds(self.state.step)
            predicted = float((stop - start) * (item - 1))
        else:
            predicted = float(engine.agreed([float((targets != IGNORED).sum())])[0])
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        micro = self.engine.train_micro_batch_size_per_gpu()
        accumulation = self.engine.gradient_accumulation_steps()
        for index in range(accumulation):
            part = slice(index * micro, (index + 1) * micro)
            tokens, goals, places = batch.tokens[part], targets[part], batch.positions
            if not len(tokens):  # DeepSpeed counts micro-batches and means over ranks: a row of weight 0 stands in
                tokens, goals, places = np.zeros((1, item), dtype=np.int64), np.full((1, item), IGNORED), None
            x, y = torch.from_numpy(tokens).to(device), torch.from_numpy(goals).to(device)  # [B, L]
            weights = torch.full(x.shape, accumulation * world / predicted, device=device)
            positions = None if places is None else torch.from_numpy(places[part]).to(device)
            total, losses = self.engine(x, y, weights, positions)
            self.engine.backward(total)
            sums.add(batch, part, losses.double().cpu().numpy(), goals != IGNORED)
            if index == accumulation - 1:
                told = self._agree(sums, saving)
                if fault := self.guard.fault(sums.loss):
                    raise Spike(self.state.step, fault)
                norm = engine.whole_norm(self.engine) if self.rolling.zero == 0 else None
            self.engine.step()
        if self.stage.optimizer == "muon":
            return None, told  # it would be that of the updates
        return (engine.gradient_norm(self.engine) if norm is None else norm), told

    def _agree(self, sums: Sums, saving: bool) -> tuple[bool, bool]:
        """Add up over the ranks what they saw, and whether one of them was told to stop, or the first is to save."""
        flags = [float(self.interruption.came), float(saving and self.chief)]
        found = engine.agreed(np.concatenate([sums.vector, flags]))
        sums.vector = found[:-2]
        return bool(found[-2]), bool(found[-1])

    def _pause(self, curves: Curves, due: set[int]) -> None:
        """What is done between two steps: held-out losses at those that are due, and checkpoints that are kept."""
        if self.state.step in due:
            self._look(curves)
        every, tokens = self.stage.keep_every, self.state.items * self.items.mixture.item
        if not every or tokens % every or self.state.step == self.course.before:
            return
        folder = self.out / CHECKPOINTS / f"{tokens:015d}"
        if read(folder / STATE) is None:
            engine.save(self.engine, folder)
            write(self.engine, folder, STATE, self.state, self.rolling.world, self.rolling.zero, self.rolling.rank)

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
