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
from pretrain.engine import Optimizer
from pretrain.model import shape
from pretrain.schedule import Name

if TYPE_CHECKING:
    from pretrain.batches import Items
    from pretrain.interruption import Interruption
    from pretrain.rolling import Checkpoint, Rolling
    from pretrain.run import Course, Spike

STATE = "state"  # of a link that others go on from: optimizer and all, as DeepSpeed keeps it


class Train(Stage):
    """Pretraining on a mixture: from fresh weights, a checkpoint, or on from where a run that kept its state ended.

    Runs of one seed start from the same bytes as ``Init``'s. A series of budgets is a chain: a trunk of ``stable``
    links that keep their state, and a ``decay`` off it for each budget.
    """

    kind = "checkpoint"
    version = "2"
    own_process = True
    parallel = True

    mixture: Annotated[Stage, Needs("mixture")]
    start: Annotated[Stage, Needs("checkpoint")] | None = Field(
        None, description="weights to begin with; where it kept its state, the run goes on from there"
    )
    until: int | None = Field(None, ge=1, description="tokens of the mixture to stop at; default: all of it")
    model: str = Field("1m", description="a size of the table in pretrain/model.py; not used with a start")
    learning_rate: float = Field(3e-3, gt=0, description="at its peak")
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
    spikes: Literal["stop", "skip"] = Field(
        "stop", exclude=True, description="at a loss beyond six sigma: stop, or roll back and leave the step out"
    )
    micro_batch: int | None = Field(
        None, exclude=True, description="items at once, a rank; default as many as there are"
    )
    zero: Literal[0, 1, 2, 3] = Field(1, exclude=True, description="DeepSpeed's ZeRO stage")
    offload: bool = Field(False, exclude=True, description="keep the optimizer in the host's memory")
    checkpointing: bool = Field(False, exclude=True, description="recompute activations in the backward pass")
    compiled: bool = Field(False, exclude=True, description="torch.compile: half a minute at the start")

    def estimate(self) -> Cost:
        """Tokens that are read and the arithmetic they take."""
        whole = self.mixture.estimate().tokens
        first = self.start.until or 0 if self.start is not None and self._goes_on(self.start) else 0  # type: ignore[attr-defined]
        tokens = max(0, min(self.until or whole, whole) - first)
        flops = self.flops(vocabulary(self), getattr(self.mixture, "item", 256))
        return Cost(tokens=tokens, flops=tokens * (flops or 0.0))

    def flops(self, vocabulary: int, context: int) -> float | None:
        """Floating-point operations of a training step, per token; None for a start that has no size of ours."""
        first = self
        while isinstance(first.start, Train):
            first = first.start
        named = first.model if first.start is None else getattr(first.start, "model", None)
        return None if named is None else shape(named).flops(vocabulary, context)

    def arithmetic(self) -> str:
        """The way its arithmetic is cut up: last bits depend on it."""
        world = ranks()[1]
        micro = self.micro_batch or self.batch // world
        also = [name for name in ("checkpointing", "compiled", "offload") if getattr(self, name)]
        return "/".join([way(world, self.batch // (micro * world), self.dtype, self.zero), *also])

    def warmup_steps(self, steps: int) -> int:
        """Steps of the warm-up, of so many."""
        return round(self.warmup * steps) if self.warmup < 1 else round(self.warmup)

    def _goes_on(self, start: Stage) -> bool:
        """Whether a start is a run on this very mixture whose items we go on with."""
        return isinstance(start, Train) and start.keep_state and start.mixture == self.mixture

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Train, or go on from the last complete rolling checkpoint."""
        from pretrain import engine
        from pretrain.batches import Items
        from pretrain.interruption import Interruption
        from pretrain.rolling import Rolling, read
        from pretrain.run import Spike

        rank, world = ranks()
        items = Items(inputs["mixture"], verify=rank == 0, documents=self.documents, labels=inputs.get("labels"))
        self._check(items, self.micro_batch or self.batch // world, world)
        begun = read(inputs["start"] / STATE) if "start" in inputs else None
        course = self._course(items, begun)
        rolling = Rolling(scratch(out) / "rolling", rank, world, self.zero)
        with Interruption().watched() as interruption:
            engine.begin()
            while True:
                try:
                    self._attempt(out, inputs, items, course, begun, rolling, interruption)
                    break
                except Spike as spike:
                    self._leave_out(spike, rolling)
        if rank == 0:
            for path in (items.folder / "tokenizer").iterdir():
                shutil.copyfile(path, out / path.name)

    def _attempt(
        self,
        out: Path,
        inputs: Mapping[str, Path],
        items: Items,
        course: Course,
        begun: Checkpoint | None,
        rolling: Rolling,
        interruption: Interruption,
    ) -> None:
        """Make the engine, load what there is to go on from, and run to the end."""
        from pretrain import engine, peaks
        from pretrain.curves import Speed
        from pretrain.heldout import Heldout
        from pretrain.loss import Objective
        from pretrain.rolling import State, write
        from pretrain.run import Run

        world = rolling.world
        micro = self.micro_batch or self.batch // world
        model = self._model(items, inputs)
        if self.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        clip = 0.0 if self.optimizer == "muon" else self.clip
        resolved = engine.configuration(self.batch, micro, self.zero, self.dtype, clip, world, self.offload)
        found = rolling.newest() or begun
        place = rolling.prepare(found) if found else None
        universal = bool(found and place != found.folder)
        if universal:
            resolved["checkpoint"] = {"load_universal": True}
        made = engine.engine(Objective(model), resolved, self.learning_rate, self.decay, self.optimizer)
        if rolling.rank == 0:
            # no payload: how the arithmetic is cut into micro-batches and shards is not what the run is
            (out / "log").mkdir(exist_ok=True)
            (out / "log" / "deepspeed.json").write_text(json.dumps(resolved, indent=1, sort_keys=True))
        if place:
            engine.load(made, place, universal)
        if self.compiled:
            made.compile()
        state = found.state if found else State()
        if found is begun and begun is not None:  # what the run before counted is on its own ledger
            state = State(step=begun.state.step, items=course.first)
        state.skipped = rolling.left_out()
        heldout = Heldout.read(items.folder, items.mixture.item, self.heldout_items)
        peak = peaks.peak(self.dtype)
        speed = Speed(self.flops(model.config.vocab_size, items.mixture.item), peak.flops, peak.source, world)
        run = Run(self, out, items, heldout, made, course, rolling, state, interruption, speed)
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

    def _check(self, items: Items, micro: int, world: int) -> None:
        """Refuse what cannot be run, in one sentence."""
        if not micro or self.batch % (micro * world):
            ranks = f" of each of {world} ranks" if world > 1 else ""
            raise PresightError(
                "micro_batch", f"{micro}{ranks} does not divide the batch of {self.batch}", "give a divisor"
            )
        if self.dtype == "bf16" and self.zero == 0:
            raise PresightError("zero", "0 cannot accumulate the gradients of bf16 in fp32", "give 1, 2 or 3")
        if self.optimizer == "muon" and self.dtype == "bf16" and self.zero == 1:
            raise PresightError("zero", "1 has no Muon in bf16", "give 2")
        if self.schedule == "decay" and self.start is None:
            raise PresightError("start", "is not given, but decay is a branch", "name a run that kept its state")
        if self.schedule == "stable" and 0 < self.warmup < 1:
            problem = f"{self.warmup} is a share of the steps, and a trunk does not know how many it will have"
            raise PresightError("warmup", problem, "give steps: 1 or more, or 0")
        item, step = items.mixture.item, self.batch * items.mixture.item
        if self.until is not None and self.until > len(items) * item:
            raise PresightError(
                "until", f"{self.until} tokens of a mixture of {len(items) * item}", "raise the mixture's budget"
            )
        if self.keep_state and ((self.until or len(items) * item) % step):
            problem = f"{self.until or len(items) * item} tokens are no whole number of steps of {step}"
            raise PresightError("until", problem, f"give a multiple of {step}")

    def _course(self, items: Items, begun: Checkpoint | None) -> Course:
        from pretrain.run import Course

        item = items.mixture.item
        first, before = 0, 0
        if begun is not None and self.start is not None:
            if self.schedule == "cosine":
                raise PresightError("schedule", "a cosine cannot go on from another run", "give wsd, stable or decay")
            first, before = (begun.state.items if self._goes_on(self.start) else 0), begun.state.step
        elif self.schedule == "decay":
            raise PresightError("start", "kept no state to go on from", "give it keep_state: true")
        last = len(items) if self.until is None else -(-self.until // item)
        if last <= first:
            raise PresightError(
                "until", f"{last * item} tokens are read before it begins", f"give over {first * item}"
            )
        return Course(first, last, self.batch, before)

    def _model(self, items: Items, inputs: Mapping[str, Path]) -> Any:
        """Fresh weights of a named size, or those of the start, whose tokenizer must be the mixture's."""
        from pretrain.model import configuration, initialise

        size, end = words(items.folder / "tokenizer")
        if self.start is None:
            return initialise(configuration(self.model, size, items.mixture.item, end), self.seed)
        import torch
        from transformers import AutoModelForCausalLM

        if vocabulary_of(inputs["start"]) != vocabulary_of(items.folder / "tokenizer"):
            problem = "its words are not those that the mixture was tokenised with"
            raise PresightError("start", problem, "tokenise with the tokenizer of the checkpoint")
        return AutoModelForCausalLM.from_pretrained(inputs["start"], dtype=torch.float32)


def way(ranks: int, accumulation: int, dtype: str, zero: int) -> str:
    """The name of a way to cut up the arithmetic of a step."""
    return f"ranks={ranks}/accumulation={accumulation}/{dtype}/zero={zero}"


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


def vocabulary_of(folder: Path) -> dict[str, int]:
    """The words of the tokenizer in a folder, by their spelling."""
    from transformers import AutoTokenizer

    found: dict[str, int] = AutoTokenizer.from_pretrained(folder).get_vocab()
    return found
