"""Images and waveforms as token sequences: non-overlapping patches, standardised by the training split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError

Floats = npt.NDArray[np.float32]


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


@dataclass(frozen=True, slots=True)
class Standardiser:
    """Subtracts the mean and divides by the deviation of all training values."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, patches: Floats) -> Standardiser:
        """Learn from patches of the training split."""
        return cls(float(patches.mean()), max(float(patches.std()), 1e-6))

    def __call__(self, patches: Floats) -> Floats:
        """Standardised patches."""
        return ((patches - self.mean) / self.deviation).astype(np.float32)
