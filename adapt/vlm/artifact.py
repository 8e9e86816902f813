"""The format ``vlm``: an LM's checkpoint, a projector, and how an encoder is attached by them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from presight.errors import PresightError

Interface = Literal["plain", "matched"]

DESCRIPTION, PROJECTOR, LANGUAGE = "vlm.json", "projector.safetensors", "language"
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
CHECKPOINT = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")  # what a causal LM and its tokenizer are in
OURS = ("card.json", "counts.json", "ledger.json")  # and what a stage may have written beside them


@dataclass(frozen=True, slots=True)
class Attachment:
    """How an encoder is attached to an LM: the content of ``vlm.json``.

    Attributes:
        tokens: of a picture.
        width: of the encoder's features.
        grid: of the encoder's features.
        encoder: what it is, pinned.
        modality: image or sound.
        template: how turns are written, a name of `Template`.
        interface: ``matched``: a norm behind the projector.
        seed: of the projector.
    """

    tokens: int
    width: int
    grid: tuple[int, int]
    encoder: str
    modality: str
    template: str
    interface: Interface = "plain"
    seed: int = 0

    @classmethod
    def read(cls, folder: Path) -> Attachment:
        """Of a ``vlm`` artifact.

        Raises:
            PresightError: it is none.
        """
        if not (folder / DESCRIPTION).exists():
            raise PresightError(str(folder), "holds no LM with an encoder attached", "give an artifact of kind vlm")
        found = json.loads((folder / DESCRIPTION).read_text())
        known = {name: found[name] for name in cls.__dataclass_fields__ if name in found}
        return cls(**{**known, "grid": tuple(found["grid"])})

    def write(self, out: Path, **more: Any) -> None:
        """Into an artifact, with what else is to be known."""
        (out / DESCRIPTION).write_text(json.dumps({**asdict(self), **more}, indent=1))


def link(checkpoint: Path, out: Path, weights: bool = True) -> None:
    """Put the files of a causal LM and its tokenizer into another folder, weights as hard links where that can be.

    Args:
        checkpoint: their folder.
        out: the other.
        weights: or the tokenizer alone.
    """
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted({path for pattern in CHECKPOINT for path in checkpoint.glob(pattern)}):
        if path.name in OURS or not (weights or not any(path.match(pattern) for pattern in WEIGHTS)):
            continue
        place(path, out / path.name)


def place(path: Path, target: Path) -> None:
    """Put a file elsewhere: a hard link where it holds weights and the disk allows it, else a copy."""
    target.unlink(missing_ok=True)
    if path.suffix == ".safetensors":
        try:
            os.link(path.resolve(), target)
            return
        except OSError:
            pass
    shutil.copyfile(path, target)
