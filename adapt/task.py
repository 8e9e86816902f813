"""A classification task as an LM meets it: patches or codes by split, cut when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt import examples
from adapt.patches import SECONDS, SIDE, Floats, Shuffled, Standardiser, image_patches, patch_order, wave_patches
from adapt.tokens import SAMPLE, Codebook, spectra
from presight.errors import PresightError

CHUNK = 1024  # examples cut at once


@dataclass(frozen=True, eq=False, slots=True)
class Inputs:
    """What a split's examples are to the LM, read by rows as an array is: float32 [N, T, W], or codes int64 [N, T].

    Only the rows asked for are cut, so that pixels stay bytes and sounds are in memory once.
    """

    data: npt.NDArray[Any]  # uint8 [N, H, W(, 3)] or float32 [N, samples]
    size: int
    image: bool
    scale: Standardiser | None = None
    codebook: Codebook | None = None
    order: npt.NDArray[np.int64] | None = None  # [N or 1, T]
    codes: npt.NDArray[Any] | None = None  # [N, T], of a neural codec

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, T, W], or [N, T] of codes."""
        return len(self), *self[:1].shape[1:]

    def __getitem__(self, rows: Any) -> Any:
        numbers = np.arange(len(self))[rows]
        one = np.ndim(numbers) == 0
        numbers = np.atleast_1d(numbers)
        found = self._cut(numbers)
        if self.order is not None:
            order = self.order[numbers if len(self.order) > 1 else np.zeros(len(numbers), np.int64)]
            found = np.take_along_axis(found, order.reshape(*order.shape, *[1] * (found.ndim - 2)), axis=1)
        return found[0] if one else found

    def _cut(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        if self.codes is not None:
            return np.asarray(self.codes[numbers], np.int64)
        patches = (image_patches if self.image else wave_patches)(self.data[numbers], self.size)
        if self.codebook is not None:
            return self.codebook(self.vectors(patches))
        return self.scale(patches) if self.scale else patches

    def vectors(self, patches: Floats) -> Floats:
        """What a codebook codes: pixels as they are, sounds by their spectra."""
        return patches if self.image else spectra(patches)

    def parts(self) -> Iterator[Any]:
        """All rows in order, chunk by chunk."""
        for start in range(0, len(self), CHUNK):
            yield self[start : start + CHUNK]


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task by split.

    Attributes:
        modality: ``image`` or ``sound``.
        classes: names, by label.
        multilabel: whether an item may have several labels, or none.
        patches: what goes in, standardised by the training split; or codes.
        split: the examples with labels, int64 [N] or bool [N, classes].
        codes: how many there are; None: patches.
    """

    modality: str
    classes: list[str]
    multilabel: bool
    patches: dict[str, Inputs]
    split: dict[str, examples.Examples]
    codes: int | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        patch: int | None,
        limits: dict[str, int | None],
        shuffled: Shuffled = "none",
        codebook: int | None = None,
        seed: int = 0,
        codec: Path | None = None,
        levels: int = 1,
    ) -> Task:
        """Read the splits named in ``limits``; the training split, always read, sets the scale.

        Args:
            folder: an ``examples`` artifact.
            patch: a side in pixels or a length in samples; by default the examples' own, else 4 pixels or 25 ms.
            limits: examples of each split, at most; the first ones.
            shuffled: the order of patches, see `patch_order`; or ``labels``, of the training split.
            codebook: codes to learn from the training split in place of patches.
            seed: of codebook and shuffling.
            codec: folder of a neural audio codec, whose codes are read in place of patches.
            levels: of its quantisers, the first so many.

        Raises:
            PresightError: a codec for images, or as `codec.Codec`, `image_patches` and `wave_patches`.
        """
        described = examples.index(folder)
        image = described["modality"] == "image"
        size = patch or described["patch"] or (SIDE if image else round(described["rate"] * SECONDS))
        split = {name: examples.read(folder, name, limit) for name, limit in {"train": None, **limits}.items()}
        raw = {name: Inputs(each.data, size, image) for name, each in split.items()}
        codes = codebook
        if codec is not None:
            coded, codes = _coded(codec, folder, raw, described, levels)
            raw = {name: replace(each, codes=coded[name]) for name, each in raw.items()}
        elif codebook is not None:
            learnt = _codebook(raw["train"], codebook, seed)
            raw = {name: replace(each, codebook=learnt) for name, each in raw.items()}
        else:
            scale = Standardiser.of(raw["train"].parts())
            raw = {name: replace(each, scale=scale) for name, each in raw.items()}
        patches = {}
        for name, each in raw.items():
            patches[name] = replace(each, order=patch_order(shuffled, len(each), each.shape[1], seed, name))
        if shuffled == "labels":
            known = split["train"].labels
            mixed = known[np.random.default_rng(seed).permutation(len(known))]
            split["train"] = replace(split["train"], labels=mixed)
        multilabel = bool(described["multilabel"])
        return cls(described["modality"], described["classes"], multilabel, patches, split, codes)

    @property
    def width(self) -> int:
        """Values of a patch, or how many codes there are."""
        return self.codes or self.patches["train"].shape[2]

    @property
    def tokens(self) -> int:
        """Patches, or codes, of an example."""
        return self.patches["train"].shape[1]

    def items(self, split: str) -> Items:
        """What is scored: the examples, or the recordings that they were cut from."""
        found = self.split[split]
        extras = found.extras or ({},) * len(found)
        names = [str(extra.get("clip", item)) for extra, item in zip(extras, found.items, strict=True)]
        first: dict[str, int] = {}
        for name in names:
            first.setdefault(name, len(first))
        group = np.array([first[name] for name in names])
        rows = np.unique(group, return_index=True)[1]
        return Items(tuple(first), tuple(found.clusters[row] for row in rows), found.labels[rows], group)


@dataclass(frozen=True, eq=False, slots=True)
class Items:
    """The items of a split: names, clusters, labels [items], and the item that each example belongs to [N]."""

    names: tuple[str, ...]
    clusters: tuple[str, ...]
    labels: npt.NDArray[Any]
    group: npt.NDArray[np.int64]

    def mean(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Means over an item's examples [items, …] of values [N, …]; every example is read once, every item scored.

        Raises:
            AssertionError: values of another number of examples, or an item without any.
        """
        assert len(values) == len(self.group)
        counts = np.bincount(self.group, minlength=len(self.names))
        assert len(counts) == len(self.names)
        assert counts.all()
        totals = np.zeros((len(self.names), *values.shape[1:]))
        np.add.at(totals, self.group, values)
        return totals / counts.reshape(-1, *[1] * (values.ndim - 1))


def _codebook(raw: Inputs, size: int, seed: int) -> Codebook:
    """Of the training split's patches; of many examples an even choice gives them."""
    rows = np.unique(np.linspace(0, len(raw) - 1, min(len(raw), SAMPLE)).astype(int))
    vectors = raw.vectors(raw[rows]) if len(rows) else raw[:0]
    return Codebook.of(vectors.reshape(-1, vectors.shape[-1]), size, seed)


def _coded(
    folder: Path, data: Path, raw: dict[str, Inputs], described: dict[str, Any], levels: int
) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The codes of every split by a neural codec, and how many different ones there may be."""
    from adapt import codec

    if described["modality"] != "sound":
        raise PresightError("codec", f"codes sounds, and these are {described['modality']}s", "leave it out")
    found, name, rate = codec.Codec.load(folder), codec.key(folder, data, levels), int(described["rate"])
    coded = {split: codec.kept(name, split, found, each.data, rate, levels) for split, each in raw.items()}
    return coded, found.size * levels
