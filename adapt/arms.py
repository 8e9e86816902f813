"""Arms: which part is trained, on which weights, in what structure, and what the inputs may still say.

An arm is a place on four axes, and all but one of them should be held fixed in a comparison:

* *trained*: ``head`` (projection and LM as they are), ``input`` (projection and head), ``norms`` (these, the LM's
  norms and learned positions: a frozen pretrained transformer, Lu et al. 2021), ``lora`` (``input`` and low-rank
  updates), ``full``;
* *weights*, by the checkpoint: text, random (`pretrain.Init`, or `pretrain.Checkpoint` with ``fresh``),
  `StatsMatched`, `Permuted`;
* *structure*: the LM, one block of it, or no LM at all;
* *shuffled*: the inputs as they are, patches in another order, or labels dealt out anew.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from adapt.patches import Shuffled
from presight import index
from presight.errors import PresightError
from presight.stage import Cost, Needs, Stage

Trained = Literal["head", "input", "norms", "lora", "full"]
Split = Literal["train", "validation", "test"]

PRESETS: dict[str, dict[str, Any]] = {
    "fpt": {"trained": "norms", "readout": "last", "interface": "orthogonal"},
}
# what two stages must share to be of one arm; model, data and seed are theirs to vary
ARM = (
    *("trained", "rank", "structure", "layers", "bidirectional", "readout", "interface", "head"),
    *("codebook", "codec_content", "levels", "shuffled", "patch", "precision"),
)


class Adaptation(Stage):
    """A raw-input classifier on a checkpoint: what it is made of and what of it is trained."""

    preset: Literal["fpt"] | None = Field(
        None, exclude=True, description="fpt: a frozen pretrained transformer; orthogonal, last token, norms trained"
    )
    model: Annotated[Stage, Needs("checkpoint")]
    data: Annotated[Stage, Needs("examples")]
    trained: Trained = Field(
        "norms", description="head; input: + projection; norms: + the LM's norms and positions; lora; full"
    )
    rank: int = Field(8, ge=1, description="of lora's updates")
    structure: Literal["lm", "block", "mlp"] = Field("lm", description="all of it, its first block, or no LM")
    layers: int | None = Field(None, ge=1, description="the LM's first so many blocks; default all")
    bidirectional: bool = Field(False, description="tokens see those after them, too")
    readout: Literal["mean", "last", "attention"] = Field("mean", description="over tokens")
    interface: Literal["matched", "orthogonal"] = Field("matched", description="inputs made as long as text, or not")
    head: Literal["linear", "knn"] = Field("linear", description="what scores; knn: neighbours of the embedding")
    codebook: int | None = Field(None, ge=2, description="so many discrete tokens in place of patches")
    codec: Path | None = Field(None, exclude=True, description="folder of an audio codec: its codes for patches")
    codec_content: str = Field("", description="digest of that folder; filled in")
    levels: int = Field(1, ge=1, description="of the codec's quantisers, the first so many, one token each")
    shuffled: Shuffled = Field("none", description="order: of all alike; patches: of each; labels: of training")
    epochs: int = Field(4, ge=1, description="passes over the training examples")
    steps: int | None = Field(None, ge=1, description="of the optimizer, at least: more passes where examples are few")
    items: int | None = Field(None, ge=1, description="training examples used; default all")
    fraction: float | None = Field(None, gt=0, le=1, description="share of the training examples used, instead")
    seed: int = Field(0, ge=0, description="of projection, head and order")
    projection: int | None = Field(None, ge=0, description="seed of projection and codebook, to share them over seeds")
    patch: int | None = Field(None, ge=1, description="side in pixels or length in samples")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the backbone's arithmetic")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        """A preset is its fields."""
        if not isinstance(given, dict) or given.get("preset") not in PRESETS:
            return given
        meant = PRESETS[given["preset"]]
        for name, value in meant.items():
            if given.get(name, value) != value:
                raise ValueError(f"preset {given['preset']} sets {name} to {value!r}: leave one of them out")
        return {**given, **meant, "preset": None}

    @model_validator(mode="after")
    def _consistent(self) -> Adaptation:
        if self.items is not None and self.fraction is not None:
            raise ValueError("items and fraction both say how many examples are used: leave one out")
        if self.head == "knn" and self.trained == "head":
            raise ValueError("knn leaves a frozen arm nothing to train: eval.Probe with method knn scores it")
        if self.structure == "mlp" and self.readout == "last":
            raise ValueError("without an LM the last token knows of no other: read out the mean or by attention")
        if self.structure != "lm" and self.layers is not None:
            raise ValueError(f"layers are of an LM, structure is {self.structure}: leave one out")
        if self.codec is not None and (self.codebook is not None or self.patch is not None):
            other = "codebook" if self.codebook is not None else "patch"
            raise ValueError(f"codec and {other} both say what the tokens are: leave one out")
        if self.codec is None and self.levels > 1:
            raise ValueError("levels are of a codec, and none is named")
        return self

    def settle(self, fetch: bool) -> Stage:
        """Learn the codec's content."""
        if self.codec is None or self.codec_content:
            return self
        return self.changed(codec_content=index.content(self.codec.expanduser()))

    @property
    def arm(self) -> dict[str, Any]:
        """What makes it this arm, apart from weights, data and seeds."""
        return {name: getattr(self, name) for name in ARM}

    def used(self, available: int) -> int:
        """Training examples used of those there are: the first ones, whose order is a draw already."""
        if self.fraction is not None:
            return max(1, round(self.fraction * available))
        return min(self.items or available, available)

    def passes(self, examples: int) -> int:
        """Passes over so many training examples: ``epochs``, or as many more as make ``steps`` steps."""
        from adapt.fitting import BATCH

        return max(self.epochs, math.ceil((self.steps or 0) / math.ceil(examples / BATCH)))

    def cost(self, fits: int, scored: int) -> Cost:
        """Arithmetic of some fits and of scoring; of a frozen arm features are taken once, forward only."""
        sizes = sizes_of(self.data)
        examples, once = self.used(sizes["train"]), (sizes["validation"] + scored) / 3
        each = example_flops(self.model, self.data, self.layers if self.structure == "lm" else 1)
        if self.trained == "head":
            return Cost(flops=(examples / 3 + once) * each, items=scored)
        passes = fits * (self.passes(examples) * examples + sizes["validation"] / 3) + scored / 3
        return Cost(flops=passes * each, items=scored)

    def task(self, folder: Path, *splits: Split) -> Any:
        """The data as this arm meets them, with the training split and those named.

        Raises:
            PresightError: files of the codec changed, or as `Task.load`.
        """
        from adapt import examples
        from adapt.task import Task

        codec = self._codec()
        train = self.used(int(examples.index(folder)["splits"]["train"]["items"]))
        limits: dict[str, int | None] = {"train": train, **dict.fromkeys(splits)}
        return Task.load(folder, self.patch, limits, self.shuffled, self.codebook, self.input_seed, codec, self.levels)

    def _codec(self) -> Path | None:
        """The codec's folder, if it still is what it was when the stage was planned."""
        if self.codec is None:
            return None
        folder = self.codec.expanduser()
        if index.content(folder) != self.codec_content:
            raise PresightError("codec", f"the files of {folder} changed since it was planned", "run again")
        return folder

    @property
    def input_seed(self) -> int:
        """Seed of projection, codebook and shuffling."""
        return self.seed if self.projection is None else self.projection

    def classifier(self, checkpoint: Path, task: Any) -> Any:
        """The model, frozen as the arm says.

        Raises:
            PresightError: more tokens than the LM has positions, or as `backbones.load` and `backbones.add_lora`.
        """
        import torch

        from adapt import backbones
        from adapt.raw import RawInputClassifier

        backbone = backbones.load(checkpoint, self.structure, self.layers, self.bidirectional, self.seed)
        room = min((each.num_embeddings for each in backbones.positions(backbone)), default=task.tokens)
        if task.tokens > room:
            problem = f"{task.tokens} tokens an example, but the model has {room} positions"
            raise PresightError("patch", problem, "give larger patches or shorter clips")
        if self.trained == "lora":
            backbones.add_lora(backbone, self.rank, self.seed)
        model = RawInputClassifier(
            backbone,
            task.width,
            len(task.classes),
            self.seed,
            readout=self.readout,
            interface=self.interface,
            codes=task.codes is not None,
            projection=self.projection,
            precision=self.precision,
        )
        freeze(model, self.trained)
        return model.to("cuda" if self.resources.gpus and torch.cuda.is_available() else "cpu")


def freeze(model: Any, trained: Trained) -> list[str]:
    """Leave only what ``trained`` names trainable; the names of what trains are returned.

    ``head``: the read-out. ``input``: projection, its norm and the read-out. ``norms``: these, the LM's own norms and
    its learned positions. ``lora``: ``input`` and the low-rank updates. ``full``: all but the unused text embeddings.

    Args:
        model: a `RawInputClassifier`.
        trained: what to train.

    Raises:
        PresightError: lora without `backbones.add_lora`.
    """
    from adapt.backbones import positions

    text = {id(parameter) for parameter in model.backbone.get_input_embeddings().parameters()}
    small = [module for module in model.backbone.modules() if "norm" in type(module).__name__.lower()]
    small += positions(model.backbone)
    norms = {id(parameter) for module in small for parameter in module.parameters(recurse=False)}
    own = ("head.", "pool.") if trained == "head" else ("head.", "pool.", "project.", "norm.")
    found = []
    for name, parameter in model.named_parameters():
        if name.startswith("backbone."):
            chosen = {"norms": id(parameter) in norms, "lora": "lora_" in name, "full": True}.get(trained, False)
            parameter.requires_grad = chosen and id(parameter) not in text
        else:
            parameter.requires_grad = name.startswith(own)
        if parameter.requires_grad:
            found.append(name)
    if trained == "lora" and not any("lora_" in name for name in found):
        raise PresightError("trained", "lora, but the model has no low-rank updates", "add_lora to it first")
    return found


def trains(model: Any) -> str:
    """What trains, for people: ``trains head, project, norm: 12,345 of 1,234,567 parameters``."""
    parts: dict[str, None] = {}
    count = total = 0
    for name, parameter in model.named_parameters():
        total += parameter.numel()
        if parameter.requires_grad:
            parts[name.partition(".")[0]] = None
            count += parameter.numel()
    return f"trains {', '.join(parts)}: {count:,} of {total:,} parameters"


def sizes_of(data: Stage) -> dict[str, int]:
    """Examples of each split, for estimates: as the data's stage says, else a thousand."""
    return {"train": 1000, "validation": 1000, "test": 1000, **getattr(data, "sizes", {})}


def example_flops(model: Stage, data: Stage, layers: int | None = None) -> float:
    """Arithmetic of one example through the LM, or its first blocks, and back; the output embedding is not used."""
    from pretrain import SHAPES

    size: object = model
    while isinstance(size, Stage) and not hasattr(size, "shape"):
        size = getattr(size, "model", "1m")
    shape = getattr(size, "shape", None) or SHAPES.get(str(size), SHAPES["1m"])
    shape = replace(shape, layers=min(layers or shape.layers, shape.layers))
    tokens = getattr(data, "tokens", 50)
    return float(tokens * shape.flops(0, tokens))
