"""Alignment as a stage: a checkpoint, vision encoders, and pictures with their captions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from eval.alignment import pairs
from eval.alignment.features import Features, layer_features
from eval.alignment.mutual import align
from eval.alignment.neighbours import MOST_ITEMS
from eval.alignment.pairs import Pairs
from presight import index, packages
from presight.console import progress
from presight.errors import PresightError, Unavailable
from presight.stage import Cost, FrozenMap, Needs, Stage

SAMPLE = "sample"
ROLES = {"pairs": "images.emoji", "encoders": "model.vision"}  # of the packages that the sample comes from

_BATCH = 32  # images decoded at once


class Align(Stage):
    """Alignment of a language model with vision encoders on pairs of image and caption, beside its null.

    Pairs and encoders are the sample's, or the user's own and local; their content enters the identity, their place
    does not.
    """

    kind = "alignment"
    version = "2"

    model: Annotated[Stage, Needs("checkpoint")]
    pairs: Literal["sample"] | Path = Field(
        exclude=True, description="sample: emoji and their names; or a folder (see eval/pairs.py for its layouts)"
    )
    encoders: FrozenMap[str, str] = Field(
        exclude=True, description="name: sample (EfficientNet-lite0), or the folder of a transformers vision encoder"
    )
    tags: bool = Field(False, description="of the sample, captions with their keywords, not the name alone")
    items: int = Field(1024, ge=3, le=MOST_ITEMS, description="pairs, drawn from all; fewer if there are fewer")
    k: int = Field(20, ge=1, description="neighbours")
    text: Literal["mean", "last"] = Field("mean", description="a caption's features: mean over tokens, or the last")
    image: Literal["cls", "mean"] = Field(
        "cls", description="an image's: the class token, or the mean over patches; the sample encoder's are means"
    )
    clamp: float = Field(0.95, gt=0, le=1, description="quantile that values are cut to; 1: none")
    permutations: int = Field(1000, ge=19, description="draws of the null")
    seed: int = Field(0, ge=0, description="of the pairs drawn and of the null")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digests of pairs and encoders; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn the content of pairs and encoders.

        Raises:
            PresightError: no encoder; tags of pairs that have none; or a folder without files.
            Unavailable: a sample can neither be found nor fetched.
        """
        if self.content:
            return self
        if not self.encoders:
            raise PresightError("encoders", "names no encoder", "write name: sample, or name: folder")
        if self.tags and self.pairs != SAMPLE:
            raise PresightError("tags", "only the sample has them", "write them into the captions")
        places = self._places()
        roles = {name: ROLES[name.partition(".")[0]] for name, place in places.items() if place == SAMPLE}
        digests, missing = packages.digests(sorted(set(roles.values())), fetch) if roles else ({}, {})
        for error in missing.values():
            raise Unavailable(error.field, error.problem, error.mend)
        found = {
            name: digests[roles[name]] if isinstance(place, str) else index.content(place)
            for name, place in places.items()
        }
        return self.changed(content=FrozenMap(found))

    def estimate(self) -> Cost:
        """Pairs read."""
        return Cost(items=self.items)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``alignment.json``.

        Raises:
            PresightError: files changed since they were planned, pairs or encoders that cannot be read, fewer pairs
                than neighbours, or as `layer_features`, `encoder_features` and `align`.
        """
        fetched = {name: self._fetched(name, place) for name, place in self._places().items()}
        known = self._pairs(fetched["pairs"])
        rows = np.sort(np.random.default_rng([0xA11, self.seed]).permutation(len(known))[: self.items])
        drawn = known.take(rows.tolist())
        if len(drawn) <= self.k:  # said before models are read, not after
            raise PresightError(
                "k", f"{self.k} neighbours among {len(drawn)} pairs", "ask for fewer, or give more pairs"
            )
        lm = self._captions(inputs["model"], [pair.caption for pair in drawn.pairs])
        encoders = {name: self._images(name, fetched[f"encoders.{name}"], drawn) for name in sorted(self.encoders)}
        done = align(lm, encoders, self.k, clamp=self.clamp, permutations=self.permutations, seed=self.seed)
        (out / "alignment.json").write_text(json.dumps(done.to_json(), indent=1))
        (out / "counts.json").write_text(json.dumps({"pairs": done.items, "encoders": len(encoders)}))
        licences = sorted({licence for each in fetched.values() if each for licence in each.licences.values()})
        if licences:
            (out / "licences.json").write_text(json.dumps(licences))

    def _fetched(self, name: str, place: Literal["sample"] | Path) -> packages.Fetched | None:
        """The sample's data, or nothing for a folder; either is what was planned with."""
        sample = packages.fetch(ROLES[name.partition(".")[0]]) if place == SAMPLE else None
        if (sample.digest if sample else index.content(Path(place))) != self.content.get(name):
            raise PresightError(name, "its files changed since it was planned", "run again")
        return sample

    def _pairs(self, fetched: packages.Fetched | None) -> Pairs:
        return pairs.emoji(fetched, self.tags) if fetched else pairs.local(Path(self.pairs).expanduser())

    def _captions(self, path: Path, captions: Sequence[str]) -> Features:
        """Layers of the language model, which is let go before an encoder comes."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        model = AutoModel.from_pretrained(path, dtype=torch.float32, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        return layer_features(model, tokenizer, captions, self.text)

    def _images(self, name: str, fetched: packages.Fetched | None, drawn: Pairs) -> list[Features]:
        """Layers of one encoder, which may differ in width; pictures are held a batch at a time."""
        from eval.alignment import encoders

        if fetched:
            encode = encoders.sample(fetched)
        else:
            encode = encoders.folder(name, Path(self.encoders[name]).expanduser(), self.image)
        chunks = [
            encode(drawn.take(range(start, min(start + _BATCH, len(drawn)))).pictures())
            for start in progress(range(0, len(drawn), _BATCH), f"reading images with {name}")
        ]
        return [np.concatenate(layer) for layer in zip(*chunks, strict=True)]

    def _places(self) -> dict[str, Literal["sample"] | Path]:
        named = {"pairs": self.pairs} | {f"encoders.{name}": place for name, place in self.encoders.items()}
        return {name: "sample" if place == SAMPLE else Path(place).expanduser() for name, place in named.items()}
