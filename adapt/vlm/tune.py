"""The stages of a multimodal model: a projector aligned with an LM, then both tuned to follow instructions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from adapt.vlm.cost import cost, language
from presight.console import say
from presight.errors import PresightError
from presight.ranks import ranks
from presight.stage import Cost, Labelled, Needs, Stage, scratch

if TYPE_CHECKING:
    from adapt.vlm.model import VisionLanguageModel
    from adapt.vlm.norms import Norms
    from adapt.vlm.samples import Choice, Samples, Shelf
    from pretrain.interruption import Interruption

Ability = Literal["perception", "reasoning", "other"]


def _several(given: Any) -> Any:
    """One stage where several may stand."""
    return (given,) if isinstance(given, Stage | Labelled) else given


_Said = Annotated[Stage | Labelled, Needs("conversations")]
_Encoded = Annotated[Stage | Labelled, Needs("features")]
Said = Annotated[tuple[_Said, ...], Field(min_length=1), BeforeValidator(_several)]
Encoded = Annotated[tuple[_Encoded, ...], Field(min_length=1), BeforeValidator(_several)]
PerhapsEncoded = Annotated[tuple[_Encoded, ...], BeforeValidator(_several)]


class Tune(Stage):
    """What alignment and instruction share: data in an order, rows, a schedule, DeepSpeed.

    The loss of a step is the mean over the tokens that it learns. A killed run goes on from its last rolling
    checkpoint as if nothing had been.
    """

    kind = "vlm"
    version = "2"
    own_process = True
    parallel = True
    tunes: ClassVar[bool] = False  # the LM itself

    data: Said = Field(description="conversations: one artifact, or a list")
    learning_rate: float = Field(1e-3, gt=0, description="at its peak")
    warmup: float = Field(0.06, ge=0, lt=1, description="share of the steps")
    final: float = Field(0.0, ge=0, le=1, description="last learning rate of the cosine, as a share of the peak")
    epochs: int = Field(1, ge=1, description="passes over the data")
    batch: int = Field(512, ge=1, description="conversations a step, over all ranks")
    context: int = Field(2048, ge=8, description="tokens of a row of conversations; of one, what is over is cut off")
    items: int | None = Field(None, ge=1, description="conversations used; smaller choices are part of larger ones")
    fraction: float | None = Field(None, gt=0, le=1, description="share of the conversations used, instead")
    seed: int = Field(0, ge=0, description="of the order, and of a fresh projector")
    decay: float = Field(0.0, ge=0, description="weight decay of matrices")
    clip: float = Field(1.0, ge=0, description="gradient norm; 0 is none")
    dtype: Literal["fp32", "bf16"] = Field("fp32", description="of weights and arithmetic")
    micro_batch: int = Field(1, ge=1, exclude=True, description="rows at once, a rank")
    zero: Literal[0, 1, 2, 3] = Field(1, exclude=True, description="DeepSpeed's ZeRO stage")
    offload: bool = Field(False, exclude=True, description="keep the optimizer in the host's memory")
    checkpointing: bool = Field(False, exclude=True, description="recompute activations in the backward pass")

    @model_validator(mode="after")
    def _consistent(self) -> Tune:
        if self.items is not None and self.fraction is not None:
            raise ValueError("items and fraction both say how many conversations are used: leave one out")
        if self.dtype == "bf16" and self.zero == 0:
            raise ValueError("zero 0 cannot accumulate the gradients of bf16 in fp32: give 1, 2 or 3")
        return self

    def estimate(self) -> Cost:
        """Conversations that are read, their tokens, and the arithmetic and disk of an LM of a named size."""
        known = sum(_stage(each).estimate().items for each in self.data)
        used = known if self.fraction is None else round(self.fraction * known)
        items = self.epochs * (min(used or self.items, self.items) if self.items else used)
        return cost(self, items, trained=self.tunes, shown=self.shows())

    def size(self) -> str | None:
        """The size of the LM, of the table of shapes; None for another."""
        return language(self)

    def arithmetic(self) -> str:
        """The way its arithmetic is cut up: last bits depend on it."""
        also = [name for name in ("checkpointing", "offload") if getattr(self, name)]
        return "/".join([f"ranks={ranks()[1]}/rows={self.micro_batch}/{self.dtype}/zero={self.zero}", *also])

    def shows(self) -> bool:
        """Whether pictures are shown."""
        return True

    def choice(self) -> Choice:
        """Which conversations are read."""
        raise NotImplementedError

    def begun(self, inputs: Mapping[str, Path], features: Shelf | None) -> VisionLanguageModel:
        """The model that it begins with, frozen where it is not trained."""
        raise NotImplementedError

    def finish(self, out: Path, inputs: Mapping[str, Path], made: Any, norms: Norms) -> None:
        """Write the model; all ranks come here."""
        raise NotImplementedError

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Tune, or go on from the last complete rolling checkpoint.

        Raises:
            PresightError: data, features, model and settings do not go together; a signal came (exit code 85); the
                node is bad (86); a loss is no number (88).
        """
        from pretrain import engine, node
        from pretrain.interruption import Interruption

        with Interruption().watched() as interruption:
            engine.begin()
            node.examine(self.resources.gpus)
            try:
                self._tune(out, inputs, interruption)
            except RuntimeError as error:
                if fault := node.fault(error):
                    raise fault from error
                raise

    def _tune(self, out: Path, inputs: Mapping[str, Path], interruption: Interruption) -> None:
        from adapt.arms import trains
        from adapt.vlm.norms import Norms
        from adapt.vlm.objective import Objective, try_packing
        from adapt.vlm.samples import Shelf
        from adapt.vlm.tuning import Tuning
        from pretrain import engine
        from pretrain.rolling import Rolling, State

        rank, world = ranks()
        rolling = Rolling(scratch(out) / "rolling", rank, world, self.zero)
        folders = _folders(inputs, "features")
        features = Shelf.of(folders) if folders else None
        model = self.begun(inputs, features)
        samples, left_out = self._samples(model, inputs, features)
        norms, module = Norms.of(model, samples), Objective(model)
        if rank == 0:
            try_packing(module, samples.texts())
            say(trains(model))
            say(norms.sentence())
        if self.checkpointing:
            model.language.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # rows differ in number from step to step: DeepSpeed is told when a step ends, and counts nothing itself
        resolved = engine.configuration(world, 1, self.zero, self.dtype, self.clip, world, self.offload)
        found = rolling.newest()
        place = rolling.prepare(found) if found else None
        universal = bool(found and place != found.folder)
        if universal:
            resolved["checkpoint"] = {"load_universal": True}
        made = engine.engine(module, resolved, self.learning_rate, self.decay)
        if rank == 0:
            (out / "log").mkdir(exist_ok=True)
            (out / "log" / "deepspeed.json").write_text(json.dumps(resolved, indent=1, sort_keys=True))
        if place:
            engine.load(made, place, universal)
        state = found.state if found else State()
        tuning = Tuning(self, out, samples, made, rolling, state, interruption)
        tuning.run()
        self.finish(out, inputs, made, norms)
        tuning.close(**left_out)

    def _samples(
        self, model: VisionLanguageModel, inputs: Mapping[str, Path], features: Shelf | None
    ) -> tuple[Samples, Mapping[str, int]]:
        """What is read, and how many conversations are left out for what."""
        import numpy as np

        from adapt.vlm.samples import Samples

        conversations, left_out = self.choice().of(_folders(inputs, "data"))
        if not self.shows():
            features = None
        elif features is None and any(each.picture is not None for each in conversations):
            problem = "none are given, but the data speak of pictures"
            raise PresightError("features", problem, "give those of adapt.Encode, or blind: true")
        positions = getattr(model.language.config.get_text_config(), "max_position_embeddings", None)
        limit = min(self.context, positions or self.context)
        places = model.grid[0] * model.grid[1]
        blank = np.zeros((1, places, model.attachment.width), dtype=np.float16)
        rest = (self.batch, self.seed, features, blank)
        return Samples(conversations, model.template, model.tokens, self.context, limit, *rest), left_out


class Align(Tune):
    """Train a projector alone, on what is said of pictures: the LM learns nothing, and stays as it is, bit by bit.

    The encoder is frozen, too, and not even there: its features were taken once.
    """

    model: Annotated[Stage, Needs("checkpoint")]
    features: Encoded = Field(description="of the pictures that the data speak of, by one encoder")
    tokens: int = Field(576, ge=1, description="of a picture, whatever the encoder's grid; a square, unless of sounds")
    interface: Literal["plain", "matched"] = Field(
        "plain", description="matched: a norm behind the projector, pictures' tokens made as long as text's"
    )
    template: Literal["caption", "plain", "chat"] = Field("caption", description="caption: nothing is asked")

    def choice(self) -> Choice:
        """Those with a picture: the others would teach the projector nothing."""
        from adapt.vlm.samples import Choice

        return Choice(items=self.items, fraction=self.fraction, pictured=True)

    def begun(self, inputs: Mapping[str, Path], features: Shelf | None) -> VisionLanguageModel:
        """The LM frozen, with a fresh projector."""
        from adapt.vlm.artifact import Attachment
        from adapt.vlm.model import VisionLanguageModel, side

        assert features is not None
        first = features.artifacts[0]
        grid = (int(first.grid[0]), int(first.grid[1]))
        side(self.tokens, grid)
        known = (self.tokens, first.width, grid, first.encoder, first.modality)
        attachment = Attachment(*known, self.template, self.interface, self.seed)
        model = VisionLanguageModel.attached(inputs["model"], attachment)
        model.language.requires_grad_(False)
        return model

    def finish(self, out: Path, inputs: Mapping[str, Path], made: Any, norms: Norms) -> None:
        """Write the projector; link the LM."""
        from adapt.vlm.artifact import LANGUAGE, link
        from adapt.vlm.tuning import save

        save(made, out, norms)
        if ranks()[0] == 0:
            link(inputs["model"], out / LANGUAGE)


class Instruct(Tune):
    """Train projector and LM on conversations with and without pictures.

    ``blind`` withholds all pictures: the LM learns the answers from text alone, and the projector stays as it is. A
    blind pass before the normal one is the paper's blind instruction tuning: ``start`` the second from the first.
    """

    tunes = True

    start: Annotated[Stage, Needs("vlm")]
    features: PerhapsEncoded = Field(
        (), description="of the pictures that the data speak of, by the encoder of the start"
    )
    learning_rate: float = Field(4e-5, gt=0, description="at its peak")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps")
    blind: bool = Field(False, description="withhold the pictures, and leave the projector as it is")
    without: tuple[Ability, ...] = Field((), description="abilities whose conversations are left out")
    template: Literal["plain", "chat"] = Field("plain", description="chat: the tokenizer's own")

    def shows(self) -> bool:
        """Unless blind."""
        return not self.blind

    def choice(self) -> Choice:
        """All but those that train what is left out."""
        from adapt.vlm.samples import Choice

        return Choice(self.without, self.items, self.fraction)

    def begun(self, inputs: Mapping[str, Path], features: Shelf | None) -> VisionLanguageModel:
        """The start's model; blind, its projector frozen."""
        from adapt.vlm.model import VisionLanguageModel

        model = VisionLanguageModel.load(inputs["start"])
        if features is not None:
            features.match(model.attachment)
        model.projector.requires_grad_(not self.blind)
        return model.with_template(self.template)

    def finish(self, out: Path, inputs: Mapping[str, Path], made: Any, norms: Norms) -> None:
        """Write the LM, and the projector, which a blind pass leaves as it was."""
        from adapt.vlm.artifact import LANGUAGE, PROJECTOR, link, place
        from adapt.vlm.tuning import save
        from pretrain import engine

        engine.save(made, out / LANGUAGE, made.module.model.language)
        save(made, out, norms)
        if ranks()[0] == 0:
            link(inputs["start"] / LANGUAGE, out / LANGUAGE, weights=False)
            if self.blind:
                place(inputs["start"] / PROJECTOR, out / PROJECTOR)


def _stage(given: Stage | Labelled) -> Stage:
    return given.stage if isinstance(given, Labelled) else given


def _folders(inputs: Mapping[str, Path], name: str) -> list[Path]:
    """The artifacts of a field that holds several, in order."""
    found = [key for key in inputs if key.partition("[")[0] == name]
    return [inputs[key] for key in sorted(found, key=lambda key: int(key[len(name) + 1 : -1]))]
