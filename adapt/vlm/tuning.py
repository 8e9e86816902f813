"""One tuning: the loop, and what it writes down."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adapt.vlm.conversations import TAGS
from adapt.vlm.packing import IGNORED
from adapt.vlm.samples import Samples, Share
from presight.console import Track
from presight.errors import EXIT_DIVERGED, PresightError
from pretrain import curves, engine
from pretrain.curves import METRICS, SPEED, Curves
from pretrain.interruption import Interruption, going_on
from pretrain.rolling import Rolling, State
from pretrain.schedule import learning_rate

if TYPE_CHECKING:
    from adapt.vlm.model import VisionLanguageModel
    from adapt.vlm.norms import Norms
    from adapt.vlm.tune import Tune

NAMES = tuple(tag or "untagged" for tag in TAGS)


@dataclass(slots=True)
class Tuning:
    """A tuning in progress, on one of its ranks.

    Attributes:
        stage: its settings.
        out: the artifact's folder.
        samples: what is read.
        engine: DeepSpeed's, around an `adapt.vlm.objective.Objective`.
        rolling: its checkpoints.
        state: how far it is; its ledger counts what was read, by name.
        interruption: whether it is to give way.
    """

    stage: Tune
    out: Path
    samples: Samples
    engine: Any
    rolling: Rolling
    state: State
    interruption: Interruption
    _clock: Clock = field(init=False)

    @property
    def steps(self) -> int:
        """Of the whole tuning."""
        return self.stage.epochs * self.samples.steps

    def run(self) -> None:
        """Run to the end.

        Raises:
            PresightError: a signal came, and it was saved (85); or a loss is no number (88).
        """
        rank, world = self.rolling.rank, self.rolling.world
        track = Track(self.steps, "tuning")
        track.advance(self.state.step)
        self.engine.train()
        self._clock = Clock(self.state)
        ahead = range(self.state.step, self.steps)
        with Curves(self.out, self.state, rank == 0, heldout=False) as written:
            began = time.monotonic()
            for share in self.samples.shares(ahead, rank, world, self.stage.micro_batch):
                self._clock.waited += time.monotonic() - began
                line, stopping, saving = self._step(share)
                written.write(METRICS, line)
                track.advance()
                if stopping and self.state.step < self.steps:
                    written.flush()
                    self.rolling.save(self.engine, self.state)
                    raise going_on(self.state.step, self.rolling.folder)
                if saving and self.state.step < self.steps:
                    written.flush()
                    self.rolling.save(self.engine, self.state)
                    written.write(SPEED, self._clock.line(self.state))
                began = time.monotonic()
            written.write(SPEED, self._clock.line(self.state))
        read, planned = self.state.items, self.stage.epochs * len(self.samples.conversations)
        if read != planned:
            raise PresightError("data", f"{read} samples were read where {planned} were planned", "report this fault")

    def _step(self, share: Share) -> tuple[dict[str, Any], bool, bool]:
        """One optimizer step: its line of metrics, and whether any rank was told to stop, or the first is to save."""
        state, rate = self.state, self._rate()
        sums, norm = np.zeros((2, len(TAGS))), None
        if share.learnt:
            sums = self._backward(share, rate)
        flags = [float(self.interruption.came), float(self._clock.saving_due() and self.rolling.rank == 0)]
        found = engine.agreed(np.concatenate([sums.ravel(), flags]))
        sums = found[:-2].reshape(2, -1)  # losses and tokens by tag, of all ranks
        state.step, state.items = state.step + 1, state.items + share.counts["samples"]
        for name, count in share.counts.items():
            state.ledger[name] = [state.ledger.get(name, [0])[0] + count]
        line: dict[str, Any] = {
            "step": state.step,
            "samples": state.items,
            "tokens": state.ledger.get("tokens", [0])[0],
            "learning_rate": rate,
        }
        if not share.learnt:
            return line | {"skipped": True}, bool(found[-2]), bool(found[-1])
        loss = float(sums[0].sum() / sums[1].sum())
        if not math.isfinite(loss):
            newest = self.rolling.newest()
            good = f"the last good checkpoint is {newest.folder}" if newest else "there is no checkpoint yet"
            raise PresightError(
                "loss", f"is {loss} at step {state.step}", f"{good}; lower learning_rate", EXIT_DIVERGED
            )
        if self.rolling.zero == 0:
            norm = engine.whole_norm(self.engine)
        self.engine.step()
        norm = engine.gradient_norm(self.engine) if norm is None else norm
        tags = zip(NAMES, *sums, strict=True)
        by_tag = {name: float(total / tokens) for name, total, tokens in tags if tokens}
        line |= {"loss": loss, "loss_by_tag": by_tag, "tokens_learnt": share.learnt, "gradient_norm": norm}
        return line, bool(found[-2]), bool(found[-1])

    def _backward(self, share: Share, rate: float) -> Any:
        """Forward and backward; losses and tokens learnt by tag on this rank, float64 [2, tags].

        The loss is the mean over all tokens that the step learns, on whatever rank and in whatever part of its rows.
        """
        import torch

        device = self.engine.device
        # dropout, where an LM has some, is drawn anew after a kill as it would have been without
        torch.manual_seed((self.stage.seed * 1_000_003 + self.state.step) * self.rolling.world + self.rolling.rank)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        sums = np.zeros((2, len(TAGS)))
        weight = self.rolling.world / share.learnt  # DeepSpeed means over ranks
        for place, (rows, features) in enumerate(share.parts):
            # steps differ in rows, so it is we who say which part is a step's last
            self.engine.set_gradient_accumulation_boundary(place == len(share.parts) - 1)
            arrays = rows.ids, rows.shown, features, rows.targets, rows.positions
            given = [torch.from_numpy(each).to(device) for each in arrays]
            total, losses = self.engine(*given, weight, bool(rows.pictures))
            self.engine.backward(total)
            tags = rows.tags[rows.targets != IGNORED]
            sums[0] += np.bincount(tags, losses.double().cpu().numpy(), len(TAGS))
            sums[1] += np.bincount(tags, minlength=len(TAGS))
        return sums

    def _rate(self) -> float:
        stage, steps = self.stage, self.steps
        warmup = round(stage.warmup * steps)
        rate, final = stage.learning_rate, stage.final
        return learning_rate("cosine", self.state.step, steps, warmup=warmup, decay=0, peak=rate, final=final)

    def close(self, **more: int) -> None:
        """Write what was read, by the rank that writes."""
        if self.rolling.rank == 0:
            counts = {name: int(value[0]) for name, value in sorted(self.state.ledger.items())}
            (self.out / "counts.json").write_text(json.dumps({"steps": self.state.step, **counts, **more}))


def save(made: Any, out: Path, norms: Norms) -> None:
    """Write projector and description by rank 0; what ZeRO 3 has parted is gathered first, by all ranks."""
    import deepspeed
    import torch

    model: VisionLanguageModel = made.module.model
    with deepspeed.zero.GatheredParameters(list(model.projector.parameters())):
        if torch.distributed.get_rank() == 0:
            model.save_projector(out)
            model.attachment.write(out, norms=norms.after(model))
    torch.distributed.barrier()


class Clock:
    """How fast it goes, and when to save.

    Args:
        state: where this process begins.
    """

    def __init__(self, state: State) -> None:
        self._began = self._saved = time.monotonic()
        self._first = self._tokens(state)
        self.waited = 0.0

    def _tokens(self, state: State) -> float:
        return state.ledger.get("tokens", [0])[0]

    def saving_due(self) -> bool:
        """Whether a rolling checkpoint is due."""
        return time.monotonic() - self._saved > curves.CHECKPOINT_SECONDS

    def line(self, state: State) -> dict[str, Any]:
        """The rates since this process began."""
        self._saved = now = time.monotonic()
        seconds = max(now - self._began, 1e-9)
        rate = (self._tokens(state) - self._first) / seconds
        return {
            "step": state.step,
            "seconds": seconds,
            "tokens_per_second": rate,
            "data_wait": self.waited / seconds,
        }
