"""Pretrain an LM on a mixture with DeepSpeed; the result is a transformers checkpoint with its curves and ledger."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from presight.console import Track
from presight.errors import EXIT_DIVERGED, PresightError
from presight.stage import Cost, Needs, Stage, scratch
from pretrain.model import shape

CHECKPOINT_SECONDS = 60.0


class Train(Stage):
    """Pretraining on a mixture from fresh weights. Runs of one seed start from the same bytes as ``Init``'s."""

    kind = "checkpoint"
    version = "1"
    own_process = True

    mixture: Annotated[Stage, Needs("mixture")]
    model: str = Field("1m", description="a size of the table in pretrain/model.py")
    learning_rate: float = Field(3e-3, gt=0, description="at its peak")
    seed: int = Field(0, ge=0, description="of the initial weights: the unit of replication")
    batch: int = Field(16, ge=1, description="items a step, over all ranks")
    schedule: Literal["cosine"] = Field("cosine", description="of the learning rate, after the warm-up")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps")
    final: float = Field(0.1, ge=0, le=1, description="last learning rate, as a share of the peak")
    decay: float = Field(0.1, ge=0, description="AdamW weight decay of matrices")
    clip: float = Field(1.0, ge=0, description="gradient norm; 0 is none")
    dtype: Literal["fp32", "bf16"] = Field("fp32", description="of weights and arithmetic")
    heldout_items: int = Field(12, ge=1, description="items of each source that the held-out loss is taken on")
    milestones: int = Field(7, ge=2, description="log-spaced times at which it is taken")
    micro_batch: int | None = Field(None, exclude=True, description="items at once; the batch must be a multiple")
    zero: Literal[0, 1, 2, 3] = Field(1, exclude=True, description="DeepSpeed's ZeRO stage")

    def estimate(self) -> Cost:
        """Tokens of the mixture and the arithmetic they take."""
        tokens = self.mixture.estimate().tokens
        return Cost(
            tokens=tokens, flops=tokens * shape(self.model).flops(vocabulary(self), getattr(self.mixture, "item", 256))
        )

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Train, or go on from the last complete rolling checkpoint."""
        from pretrain import engine
        from pretrain.batches import Items
        from pretrain.heldout import Heldout
        from pretrain.model import configuration, initialise

        items = Items(inputs["mixture"])
        size, end = words(items.folder / "tokenizer")
        micro = self.micro_batch or self.batch
        if self.batch % micro:
            raise PresightError("micro_batch", f"{micro} does not divide the batch of {self.batch}", "give a divisor")
        if self.dtype == "bf16" and self.zero == 0:
            raise PresightError("zero", "0 cannot accumulate the gradients of bf16 in fp32", "give 1, 2 or 3")
        engine.begin()
        model = initialise(configuration(self.model, size, items.mixture.item, end), self.seed)
        resolved = engine.configuration(self.batch, micro, self.zero, self.dtype, self.clip)
        # no payload: how the arithmetic is cut into micro-batches and shards is not what the run is
        (out / "log").mkdir(exist_ok=True)
        (out / "log" / "deepspeed.json").write_text(json.dumps(resolved, indent=1, sort_keys=True))
        run = Run(self, out, items, Heldout.read(items.folder, items.mixture.item, self.heldout_items))
        run.engine = engine.engine(model, resolved, self.learning_rate, (0.9, 0.95), self.decay)
        run.train(micro)
        engine.save(run.engine, out)
        for path in (items.folder / "tokenizer").iterdir():
            shutil.copyfile(path, out / path.name)


@dataclass(slots=True)
class Run:
    """One training run in progress."""

    stage: Train
    out: Path
    items: Any
    heldout: Any
    engine: Any = None
    ledger: dict[str, list[float]] = field(default_factory=dict)  # pool → items, sum of their mean losses

    @property
    def steps(self) -> int:
        """Whole batches of the mixture; the last one takes what is left."""
        return math.ceil(len(self.items) / self.stage.batch)

    def train(self, micro: int) -> None:
        """Run to the end of the mixture."""
        from pretrain.schedule import cosine, milestones

        stage, metrics, curves = self.stage, self.out / "metrics.jsonl", self.out / "heldout.jsonl"
        rolling = scratch(self.out) / "rolling"
        step = self._resume(rolling)
        for path in (metrics, curves):
            _keep(path, step)
        due = set(milestones(self.steps, stage.milestones))
        log = self.out / "log" / "speed.jsonl"
        log.parent.mkdir(exist_ok=True)
        track = Track(self.steps, "training")
        track.advance(step)
        saved = began = time.monotonic()
        first = step
        with metrics.open("a") as written, curves.open("a") as measured, log.open("a") as speed:
            if step == 0:
                self._measure(measured, 0)
            while step < self.steps:
                rate = cosine(step, self.steps, round(stage.warmup * self.steps), stage.learning_rate, stage.final)
                line = self._step(step, rate, micro)
                step += 1
                written.write(json.dumps(line) + "\n")
                if step in due:
                    self._measure(measured, step)
                track.advance()
                now = time.monotonic()
                if now - saved > CHECKPOINT_SECONDS and step < self.steps:
                    for file in (written, measured):
                        file.flush()
                    self._save(rolling, step)
                    tokens = (step - first) * stage.batch * self.items.mixture.item
                    speed.write(json.dumps({"step": step, "tokens_per_second": tokens / (now - began)}) + "\n")
                    saved = time.monotonic()
            tokens = (step - first) * stage.batch * self.items.mixture.item
            seconds = time.monotonic() - began
            speed.write(json.dumps({"step": step, "tokens_per_second": tokens / seconds, "seconds": seconds}) + "\n")
        self._close()

    def _step(self, step: int, rate: float, micro: int) -> dict[str, Any]:
        """One optimizer step; the loss is the mean over the batch's predicted tokens."""
        import torch

        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        start = step * self.stage.batch
        batch = self.items.batch(start, min(start + self.stage.batch, len(self.items)))
        rows = len(batch.tokens)
        x = torch.from_numpy(batch.tokens).to(self.engine.device)  # [B, L]
        accumulation = self.engine.gradient_accumulation_steps()
        losses = []
        for index in range(accumulation):
            part = x[index * micro : (index + 1) * micro]
            # DeepSpeed counts micro-batches: where the last batch fills fewer, a row of weight 0 stands in
            each = self._row_losses(part if len(part) else x[:1])
            self.engine.backward(each.mean() * (accumulation * len(part) / rows))
            self.engine.step()
            losses.append(each.detach()[: len(part)])
        loss = torch.cat(losses).double().cpu().numpy()  # [rows]
        if not math.isfinite(float(loss.mean())):
            raise PresightError(
                "loss", f"is {loss.mean()} at step {step + 1}", "lower learning_rate, and run again", EXIT_DIVERGED
            )
        by_source = {}
        for pool in sorted(set(batch.pools.tolist())):
            chosen = loss[batch.pools == pool]
            name = self.items.names[pool]
            entry = self.ledger.setdefault(name, [0, 0.0])
            entry[0] += len(chosen)
            entry[1] += float(chosen.sum())
            by_source[name] = float(chosen.mean())
        norm = self.engine.get_global_grad_norm()
        return {
            "step": step + 1,
            "tokens": (start + rows) * self.items.mixture.item,
            "learning_rate": rate,
            "loss": float(loss.mean()),
            "loss_by_source": by_source,
            "gradient_norm": None if norm is None else float(norm),
        }

    def _row_losses(self, rows: Any) -> Any:
        """Mean loss of each row [B] over its predicted tokens; the last position predicts nothing."""
        import torch

        targets = torch.nn.functional.pad(rows[:, 1:], (0, 1), value=-100)
        logits = self.engine(input_ids=rows, use_cache=False).logits.float()  # [B, L, V]
        each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(len(rows), -1).sum(1) / (rows.shape[1] - 1)

    def _measure(self, file: Any, step: int) -> None:
        tokens = min(step * self.stage.batch, len(self.items)) * self.items.mixture.item
        for source, found in self.heldout.losses(self.engine.module).items():
            file.write(json.dumps({"step": step, "tokens": tokens, "source": source, **found}) + "\n")

    def _save(self, rolling: Path, step: int) -> None:
        """Write a rolling checkpoint, mark it complete, then drop the one before it."""
        tag = f"step-{step:08d}"
        self.engine.save_checkpoint(str(rolling), tag=tag, client_state={"step": step, "ledger": self.ledger})
        (rolling / tag / "COMPLETE").touch()
        for other in rolling.glob("step-*"):
            if other.name != tag:
                shutil.rmtree(other)

    def _resume(self, rolling: Path) -> int:
        """Steps done according to the newest complete checkpoint, which is loaded; 0 without one."""
        complete = sorted(mark.parent for mark in rolling.glob("step-*/COMPLETE"))
        if not complete:
            return 0
        _, state = self.engine.load_checkpoint(str(rolling), tag=complete[-1].name)
        self.ledger = state["ledger"]
        return int(state["step"])

    def _close(self) -> None:
        """Write the ledger; what was read must be what the lock planned."""
        item = self.items.mixture.item
        pools = {}
        for pool in self.items.mixture.pools:
            read, total = self.ledger.get(pool.name, [0, 0.0])
            if read != pool.quota:
                problem = f"{read} items were read where {pool.quota} were planned"
                raise PresightError(f"mixture.{pool.name}", problem, "report this fault")
            pools[pool.name] = {
                "items": int(read),
                "tokens": int(read) * item,
                "epochs": pool.epochs,
                "loss": total / read if read else None,
            }
        tokens = sum(each["tokens"] for each in pools.values())
        (self.out / "ledger.json").write_text(json.dumps({"tokens": tokens, "pools": pools}, indent=1))
        (self.out / "counts.json").write_text(json.dumps({"tokens": tokens, "steps": self.steps}))


def _keep(path: Path, step: int) -> None:
    """Cut a curve back to what the checkpoint knows: lines after it are written again."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.endswith("\n") and step and json.loads(line)["step"] <= step]
    path.write_text("".join(kept))


def words(folder: Path) -> tuple[int, int]:
    """Size of a tokenizer's vocabulary and its end-of-text token."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return len(tokenizer), int(tokenizer.eos_token_id)


def vocabulary(stage: Stage) -> int:
    """The size of the vocabulary that a stage stands on, for estimates; 32,768 where none is stated."""
    found = getattr(stage, "vocabulary", None)
    if isinstance(found, int):
        return found
    sizes = [vocabulary(parent) for parent in stage.inputs().values()]
    return min(sizes, default=32768)
