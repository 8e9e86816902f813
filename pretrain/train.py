"""Pretrain an LM on a mixture with DeepSpeed; the result is a transformers checkpoint with its curves and ledger."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from presight.errors import EXIT_DIVERGED, PresightError
from presight.ranks import ranks
from presight.stage import Cost, Needs, Stage, scratch
from pretrain.course import STATE, Course, beginning, check
from pretrain.engine import Optimizer
from pretrain.model import shape
from pretrain.monitors import Name as Monitors
from pretrain.schedule import Name
from pretrain.search import chosen
from pretrain.vocabulary import vocabulary, vocabulary_of, words

if TYPE_CHECKING:
    from pretrain.batches import Items
    from pretrain.interruption import Interruption
    from pretrain.rolling import Checkpoint, Rolling
    from pretrain.run import Spike

MODEL_BYTES, STATE_BYTES = 4, 12  # a parameter: of a published model, and of a state to go on from in float32


class Train(Stage):
    """Pretraining on a mixture: from fresh weights, a checkpoint, or on from where a run that kept its state ended.

    Runs of one seed start from the same bytes as ``Init``'s. A series of budgets is a chain: a trunk of ``stable``
    links that keep their state, and a ``decay`` off it for each budget.
    """

    kind = "checkpoint"
    version = "3"
    own_process = True
    parallel = True

    mixture: Annotated[Stage, Needs("mixture")]
    start: Annotated[Stage, Needs("checkpoint")] | None = Field(
        None, description="weights to begin with; where it kept its state, the run goes on from there"
    )
    start_at: int | None = Field(None, ge=1, description="tokens of a start with keep_every; default: its end")
    until: int | None = Field(None, ge=1, description="tokens of the mixture to stop at; default: all of it")
    model: str = Field("1m", description="a size of the table in pretrain/model.py; not used with a start")
    learning_rate: Annotated[float, Field(gt=0)] | Annotated[Stage, Needs("rate")] = Field(
        3e-3, description="at its peak: a number, or a search's choice"
    )
    seed: int = Field(0, ge=0, description="of the initial weights: the unit of replication")
    batch: int = Field(16, ge=1, description="items a step, over all ranks")
    optimizer: Optimizer = Field("adamw", description="muon: orthogonalised steps for the matrices of the blocks")
    schedule: Name = Field("cosine", description="cosine | wsd | stable (a trunk) | decay (a branch off one)")
    warmup: float = Field(0.05, ge=0, description="share of the steps; from 1 on, steps")
    cooldown: float = Field(0.2, gt=0, lt=1, description="share of the steps in which wsd comes down")
    final: float = Field(0.1, ge=0, le=1, description="last learning rate, as a share of the peak")
    decay: float = Field(0.1, ge=0, description="weight decay of matrices")
    clip: float = Field(1.0, ge=0, description="gradient norm; 0 is none; Muon's updates are never clipped")
    dtype: Literal["fp32", "bf16"] = Field("fp32", description="of weights and arithmetic")
    documents: bool = Field(False, description="no token sees another document, or is predicted across its end")
    labels: Annotated[Stage, Needs("labels")] | None = Field(
        None, description="labels of the same tokens: the loss is taken by label, too"
    )
    heldout_items: int = Field(12, ge=1, description="items of each source that the held-out loss is taken on")
    milestones: int = Field(7, ge=2, description="log-spaced times at which it is taken")
    keep_milestones: bool = Field(False, description="keep the model at each of them, under milestones/<tokens>")
    keep_state: bool = Field(False, description="keep what another run needs to go on from the end of this one")
    keep_every: int | None = Field(
        None, ge=1, description="tokens between checkpoints that are kept with their state, under checkpoints/<tokens>"
    )
    spikes: Literal["stop", "skip"] = Field(
        "stop", exclude=True, description="at a loss beyond six sigma: stop, or roll back and leave the step out"
    )
    monitors: tuple[Monitors, ...] = Field((), exclude=True, description="tensorboard | wandb: show the curves there")
    micro_batch: int | None = Field(
        None, exclude=True, description="items at once, a rank; default as many as there are"
    )
    zero: Literal[0, 1, 2, 3] = Field(1, exclude=True, description="DeepSpeed's ZeRO stage")
    offload: bool = Field(False, exclude=True, description="keep the optimizer in the host's memory")
    checkpointing: bool = Field(False, exclude=True, description="recompute activations in the backward pass")
    compiled: bool = Field(False, exclude=True, description="torch.compile of its layers: half a minute at the start")

    def estimate(self) -> Cost:
        """Tokens that are read, the arithmetic they take, and the disk that the models and their states fill."""
        whole = self.mixture.estimate().tokens
        tokens = max(0, min(self.until or whole, whole) - self.first(whole))
        size = self.size()
        if size is None:
            return Cost(tokens=tokens)
        words, model = vocabulary(self), shape(size)
        each, parameters = model.flops(words, getattr(self.mixture, "item", 256)), model.parameters(words)
        state = parameters * (STATE_BYTES + (2 if self.dtype == "bf16" else 0))
        models = 1 + (self.milestones if self.keep_milestones else 0)
        states = int(self.keep_state)
        if self.keep_every:
            models, states = models + tokens // self.keep_every, states + tokens // self.keep_every
        disk = models * MODEL_BYTES * parameters + states * state
        # one rolling checkpoint is kept until the next is whole
        return Cost(tokens=tokens, flops=tokens * each, disk=disk, working=2 * state)

    def first(self, whole: int) -> int:
        """Tokens of the mixture that the run it goes on from has read, of ``whole``."""
        if self.start is None or not self.goes_on(self.start):
            return 0
        return self.start_at or self.start.until or whole  # type: ignore[attr-defined]

    def size(self) -> str | None:
        """The size that it begins with, of the table; None for a start from elsewhere."""
        first = self
        while isinstance(first.start, Train):
            first = first.start
        return first.model if first.start is None else getattr(first.start, "model", None)

    def arithmetic(self) -> str:
        """The way its arithmetic is cut up: last bits depend on it."""
        world = ranks()[1]
        micro = self.micro_batch or self.batch // world
        also = [name for name in ("checkpointing", "compiled", "offload") if getattr(self, name)]
        return "/".join([way(world, self.batch // (micro * world), self.dtype, self.zero), *also])

    def warmup_steps(self, steps: int) -> int:
        """Steps of the warm-up, of so many."""
        return round(self.warmup * steps) if self.warmup < 1 else round(self.warmup)

    def goes_on(self, start: Stage) -> bool:
        """Whether a start is a run on this very mixture whose items we go on with."""
        kept = isinstance(start, Train) and bool(start.keep_every if self.start_at else start.keep_state)
        return kept and start.mixture == self.mixture  # type: ignore[attr-defined]

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Train, or go on from the last complete rolling checkpoint."""
        from pretrain import engine, node
        from pretrain.batches import Items
        from pretrain.interruption import Interruption
        from pretrain.rolling import Rolling, read
        from pretrain.run import Spike

        rank, world = ranks()
        items = Items(inputs["mixture"], verify=rank == 0, documents=self.documents, labels=inputs.get("labels"))
        check(self, items, self.micro_batch or self.batch // world, world)
        start = beginning(self, inputs)
        begun = read(start / STATE) if start else None
        course = Course.of(self, items, begun)
        rolling = Rolling(scratch(out) / "rolling", rank, world, self.zero)
        with Interruption().watched() as interruption:
            engine.begin()
            node.examine(self.resources.gpus)
            while True:
                try:
                    self._attempt(out, inputs, items, course, start, begun, rolling, interruption)
                    break
                except Spike as spike:
                    self._leave_out(spike, rolling)
                except RuntimeError as error:
                    if fault := node.fault(error):
                        raise fault from error
                    raise
        if rank == 0:
            for path in (items.folder / "tokenizer").iterdir():
                shutil.copyfile(path, out / path.name)

    def _attempt(
        self,
        out: Path,
        inputs: Mapping[str, Path],
        items: Items,
        course: Course,
        start: Path | None,
        begun: Checkpoint | None,
        rolling: Rolling,
        interruption: Interruption,
    ) -> None:
        """Make the engine, load what there is to go on from, and run to the end."""
        from pretrain import engine, peaks
        from pretrain.curves import Speed
        from pretrain.heldout import Heldout
        from pretrain.loss import Objective
        from pretrain.model import flops
        from pretrain.rolling import State, write
        from pretrain.run import Run

        world = rolling.world
        micro = self.micro_batch or self.batch // world
        model = self._model(items, inputs, start)
        if self.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        clip = 0.0 if self.optimizer == "muon" else self.clip
        resolved = engine.configuration(self.batch, micro, self.zero, self.dtype, clip, world, self.offload)
        found = rolling.newest() or begun
        place = rolling.prepare(found) if found else None
        universal = bool(found and place != found.folder)
        if universal:
            resolved["checkpoint"] = {"load_universal": True}
        rate = chosen(self.learning_rate, inputs)
        made = engine.engine(Objective(model), resolved, rate, self.decay, self.optimizer)
        if rolling.rank == 0:
            # no payload: how the arithmetic is cut into micro-batches and shards is not what the run is
            (out / "log").mkdir(exist_ok=True)
            (out / "log" / "deepspeed.json").write_text(json.dumps(resolved, indent=1, sort_keys=True))
        if place:
            engine.load(made, place, universal)
        if self.compiled:
            engine.compile_layers(made)
        state = found.state if found else State()
        if found is begun and begun is not None:  # what the run before counted is on its own ledger
            state = State(step=begun.state.step, items=course.first)
        state.skipped = rolling.left_out()
        heldout = Heldout.read(items.folder, items.mixture.item, self.heldout_items)
        peak = peaks.peak(self.dtype)
        speed = Speed(flops(model, items.mixture.item), peak.flops, peak.source, world)
        run = Run(self, rate, out, items, heldout, made, course, rolling, state, interruption, speed)
        run.train()
        if self.keep_state:
            write(made, out, STATE, run.state, world, self.zero, rolling.rank)
        engine.save(made, out)

    def _leave_out(self, spike: Spike, rolling: Rolling) -> None:
        """Roll back behind a step, which will be left out; or stop.

        The engine is made anew: part of the step's gradient is in its accumulators, and no stage gives it back.

        Raises:
            PresightError: that is not the policy, or there is nothing to roll back to (exit code 88).
        """
        found = rolling.newest()
        if self.spikes == "stop" or found is None:
            good = f"the last good checkpoint is {found.folder}" if found else "there is no checkpoint yet"
            mend = f"{good}; lower learning_rate, or leave the step out with spikes: skip"
            raise PresightError("loss", f"{spike.fault} at step {spike.step + 1}", mend, EXIT_DIVERGED) from None
        rolling.leave_out(spike.step)

    def _model(self, items: Items, inputs: Mapping[str, Path], start: Path | None) -> Any:
        """Fresh weights of a named size, or those of the start, whose tokenizer must be the mixture's."""
        from pretrain.model import configuration, initialise

        size, end = words(items.folder / "tokenizer")
        if start is None:
            return initialise(configuration(self.model, size, items.mixture.item, end), self.seed)
        import torch
        from transformers import AutoModelForCausalLM

        if vocabulary_of(inputs["start"]) != vocabulary_of(items.folder / "tokenizer"):
            problem = "its words are not those that the mixture was tokenised with"
            raise PresightError("start", problem, "tokenise with the tokenizer of the checkpoint")
        return AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)


def way(ranks: int, accumulation: int, dtype: str, zero: int) -> str:
    """The name of a way to cut up the arithmetic of a step."""
    return f"ranks={ranks}/accumulation={accumulation}/{dtype}/zero={zero}"
