"""Images and waveforms as token sequences: non-overlapping patches, standardised by the training split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError

Floats = npt.NDArray[np.float32]
Shuffled = Literal["none", "order", "patches", "labels"]

SECONDS = 0.025  # of a waveform's patch, unless one is given
SIDE = 4  # of an image's patch, in pixels, likewise


def image_patches(images: npt.NDArray[Any], size: int) -> Floats:
    """Cut pixels [N, H, W] or [N, H, W, C] into [N, (H/size)·(W/size), size·size·C], row by row.

    Raises:
        PresightError: the size does not divide height and width.
    """
    if images.ndim == 3:
        images = images[..., None]
    n, height, width, channels = images.shape
    if height % size or width % size:
        raise PresightError("patch", f"{size} does not divide {height} × {width} pixels", "give a divisor of both")
    grid = images.reshape(n, height // size, size, width // size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(n, -1, size * size * channels).astype(np.float32)


def wave_patches(waves: npt.NDArray[Any], size: int) -> Floats:
    """Cut samples [N, T] into [N, T // size, size]; what is left at the end is dropped."""
    n, length = waves.shape
    if length < size:
        raise PresightError("patch", f"{size} samples are longer than a clip of {length}", "give a shorter patch")
    return waves[:, : length // size * size].reshape(n, -1, size).astype(np.float32)


def patch_order(shuffled: Shuffled, count: int, tokens: int, seed: int, split: str) -> npt.NDArray[np.int64] | None:
    """The order [N or 1, T] that patches are read in, or None: as they lie.

    ``order`` is one permutation for all examples of all splits: nothing is lost, but neighbours are no neighbours any
    more. ``patches`` is one of its own for each example: where a patch lay is lost.

    Args:
        shuffled: which.
        count: examples N of the split.
        tokens: patches T of an example.
        seed: of the permutations.
        split: name; with ``patches`` every split has permutations of its own.
    """
    if shuffled == "order":
        return np.random.default_rng(seed).permutation(tokens)[None]
    if shuffled == "patches":
        rows = np.broadcast_to(np.arange(tokens), (count, tokens))
        return np.random.default_rng([seed, *split.encode()]).permuted(rows, axis=1)
    return None


@dataclass(frozen=True, slots=True)
class Standardiser:
    """Subtracts the mean and divides by the deviation of all training values."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, parts: Iterable[Floats]) -> Standardiser:
        """Learn from patches of the training split, part by part: their float64 sums are merged."""
        count, mean, squares = 0, 0.0, 0.0
        for part in parts:
            size, own = part.size, float(part.mean(dtype=np.float64))
            squares += float(part.var(dtype=np.float64)) * size + (own - mean) ** 2 * count * size / (count + size)
            mean += (own - mean) * size / (count + size)
            count += size
        return cls(mean, max((squares / count) ** 0.5, 1e-6))

    def __call__(self, patches: Floats) -> Floats:
        """Standardised patches."""
        return ((patches - self.mean) / self.deviation).astype(np.float32)
