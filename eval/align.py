"""Alignment as a stage: a checkpoint, vision encoders, and pictures with their captions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eval.alignment import align
from eval.features import Features, encoder_features, layer_features
from eval.neighbours import MOST_ITEMS
from presight import index
from presight.console import progress
from presight.errors import PresightError
from presight.stage import Cost, FrozenMap, Needs, Stage

_BATCH = 32  # images decoded at once


class Align(Stage):
    """Alignment of a language model with vision encoders on pairs of image and caption, beside its null.

    Pairs and encoders are the user's own and local; their content enters the identity, their place does not.
    """

    kind = "alignment"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    pairs: Path = Field(
        exclude=True, description="folder with pairs.jsonl or pairs.csv (file, caption) and the images"
    )
    encoders: FrozenMap[str, str] = Field(exclude=True, description="name: folder of a transformers vision encoder")
    items: int = Field(1024, ge=3, le=MOST_ITEMS, description="pairs, drawn from all; fewer if there are fewer")
    k: int = Field(20, ge=1, description="neighbours")
    text: Literal["mean", "last"] = Field("mean", description="a caption's features: mean over tokens, or the last")
    image: Literal["cls", "mean"] = Field("cls", description="an image's: the class token, or the mean over patches")
    clamp: float = Field(0.95, gt=0, le=1, description="quantile that values are cut to; 1: none")
    permutations: int = Field(1000, ge=19, description="draws of the null")
    seed: int = Field(0, ge=0, description="of the pairs drawn and of the null")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digests of pairs and encoders; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Index pairs and encoders."""
        if self.content:
            return self
        if not self.encoders:
            raise PresightError("encoders", "names no encoder", "write name: folder")
        return self.changed(content=FrozenMap({name: index.content(path) for name, path in self._places().items()}))

    def estimate(self) -> Cost:
        """Pairs read."""
        return Cost(items=self.items)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``alignment.json``.

        Raises:
            PresightError: files changed since they were planned, pairs or encoders that cannot be read, fewer pairs
                than neighbours, or as `layer_features`, `encoder_features` and `align`.
        """
        for name, path in self._places().items():
            if index.content(path) != self.content.get(name):
                raise PresightError(name, "its files changed since it was planned", "run again")
        folder = self.pairs.expanduser()
        known = read_pairs(folder)
        drawn = np.sort(np.random.default_rng([0xA11, self.seed]).permutation(len(known))[: self.items])
        if len(drawn) <= self.k:  # said before models are read, not after
            raise PresightError(
                "k", f"{self.k} neighbours among {len(drawn)} pairs", "ask for fewer, or give more pairs"
            )
        files, captions = zip(*(known[row] for row in drawn), strict=True)
        lm = self._captions(inputs["model"], captions)
        encoders = {name: self._images(name, folder, files) for name in sorted(self.encoders)}
        done = align(lm, encoders, self.k, clamp=self.clamp, permutations=self.permutations, seed=self.seed)
        (out / "alignment.json").write_text(json.dumps(done.to_json(), indent=1))
        (out / "counts.json").write_text(json.dumps({"pairs": done.items, "encoders": len(encoders)}))

    def _captions(self, path: Path, captions: Sequence[str]) -> Features:
        """Layers of the language model, which is let go before an encoder comes."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        model = AutoModel.from_pretrained(path, dtype=torch.float32, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        return layer_features(model, tokenizer, captions, self.text)

    def _images(self, name: str, folder: Path, files: Sequence[str]) -> Features:
        """Layers of one encoder; images are held a batch at a time."""
        import torch
        from transformers import AutoImageProcessor, AutoModel

        path = Path(self.encoders[name]).expanduser()
        try:
            encoder = AutoModel.from_pretrained(path, dtype=torch.float32, local_files_only=True)
            processor = AutoImageProcessor.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError) as error:
            mend = "save model and image processor there with save_pretrained"
            raise PresightError(f"encoders.{name}", f"transformers cannot load {path}", mend) from error
        chunks = [
            encoder_features(encoder, read_images(folder, files[start : start + _BATCH], processor), self.image)
            for start in progress(range(0, len(files), _BATCH), f"reading images with {name}")
        ]
        return np.concatenate(chunks, axis=1)

    def _places(self) -> dict[str, Path]:
        places = {"pairs": self.pairs} | {f"encoders.{name}": Path(each) for name, each in self.encoders.items()}
        return {name: path.expanduser() for name, path in places.items()}


def read_pairs(folder: Path) -> list[tuple[str, str]]:
    """File and caption of ``pairs.jsonl`` or ``pairs.csv``; of an image with several captions, the first.

    An image that came twice would be its own nearest neighbour on one side only, and no permutation keeps such pairs
    together.

    Raises:
        PresightError: neither list is there, a record lacks a key or a caption, or an image is not in the folder.
    """
    lines, table = folder / "pairs.jsonl", folder / "pairs.csv"
    if not lines.exists() and not table.exists():
        raise PresightError(str(folder), "has no pairs.jsonl or pairs.csv", "list file and caption of every pair")
    path = lines if lines.exists() else table
    there = {each.relative_to(folder).as_posix() for each in index.files(folder)}
    found: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as opened:
        try:
            rows = list(map(json.loads, filter(str.strip, opened)) if path == lines else csv.DictReader(opened))
        except (ValueError, csv.Error) as error:
            raise PresightError(str(path), f"cannot be read: {error}", "write one record a line") from error
    for number, row in enumerate(rows, 1):
        file, caption = (row.get("file"), row.get("caption")) if isinstance(row, dict) else (None, None)
        if not (isinstance(file, str) and isinstance(caption, str) and caption.strip()):
            raise PresightError(f"{path.name}, record {number}", "lacks file or caption", "give both, as text")
        if file not in there:
            raise PresightError(f"{path.name}, record {number}", f"{file!r} is not in the folder", "put it there")
        found.setdefault(file, caption)
    return list(found.items())


def read_images(folder: Path, files: Sequence[str], processor: Any) -> NDArray[np.float32]:
    """Images as an encoder's processor makes them: [n, 3, height, width].

    Raises:
        PresightError: a file is no image.
    """
    from PIL import Image

    images = []
    for file in files:
        try:
            with Image.open(folder / file) as opened:
                images.append(opened.convert("RGB"))
        except OSError as error:
            raise PresightError(file, "cannot be read as an image", "mend it, or take it off the list") from error
    return np.asarray(processor(images, return_tensors="np")["pixel_values"], np.float32)
