"""Discrete tokens in place of patches: a codebook by k-means, whose codes get an embedding table of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.patches import Floats
from presight.errors import PresightError

Codes = npt.NDArray[np.int64]
SAMPLE = 20_000  # training patches that a codebook is learnt from, at most
ROUNDS = 25
_CHUNK = 2**24  # distances held at once: 64 MB


def spectra(patches: Floats) -> Floats:
    """Log magnitude spectra [N, T, W/2 + 1] of waveform patches [N, T, W], through a Hann window.

    Two patches of one sound differ in phase; codes of waveforms would tell little but phases apart. (The first units
    of HuBERT, Hsu et al. 2021, are k-means codes of spectral features, too.)
    """
    width = patches.shape[-1]
    window = np.hanning(width + 2)[1:-1].astype(np.float32)
    magnitude = np.abs(np.fft.rfft(patches * window, axis=-1))
    return np.log(magnitude + 1e-3 * np.sqrt(width)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Codebook:
    """Centres [K, W]; a vector's code is the number of the nearest one."""

    centres: Floats

    @classmethod
    def of(cls, vectors: Floats, size: int, seed: int) -> Codebook:
        """Learn ``size`` centres from vectors [M, W]: k-means++ seeds (Arthur and Vassilvitskii 2007), then Lloyd's.

        Of many vectors a sample is taken. A centre that nothing is near to moves to the vector furthest from its own.

        Raises:
            PresightError: fewer distinct vectors than codes.
        """
        order = np.random.default_rng(seed)
        if len(vectors) > SAMPLE:
            vectors = vectors[np.sort(order.choice(len(vectors), SAMPLE, replace=False))]
        points = np.asarray(vectors, dtype=np.float64)
        centres = np.empty((size, points.shape[1]))
        centres[0] = points[order.integers(len(points))]
        distance = ((points - centres[0]) ** 2).sum(1)
        for row in range(1, size):
            if not distance.any():
                problem = f"{size} codes of {row} distinct patches"
                raise PresightError("codebook", problem, "ask for fewer codes, or give more examples")
            centres[row] = points[order.choice(len(points), p=distance / distance.sum())]
            distance = np.minimum(distance, ((points - centres[row]) ** 2).sum(1))
        codes = np.full(len(points), -1)
        for _ in range(ROUNDS):
            found, distance = _nearest(points, centres)
            counts = np.bincount(found, minlength=size)
            for empty in np.flatnonzero(counts == 0):
                far = int(np.where(counts[found] > 1, distance, -1.0).argmax())
                counts[found[far]] -= 1
                found[far], distance[far], counts[empty] = empty, 0.0, 1
            if (found == codes).all():
                break
            codes = found
            sums = np.zeros_like(centres)
            np.add.at(sums, codes, points)
            centres = sums / counts[:, None]
        return cls(centres.astype(np.float32))

    def __call__(self, vectors: npt.NDArray[Any]) -> Codes:
        """Codes [..., ] of vectors [..., W]."""
        flat = vectors.reshape(-1, vectors.shape[-1])
        return _nearest(flat.astype(np.float64), self.centres.astype(np.float64))[0].reshape(vectors.shape[:-1])


def _nearest(points: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]) -> tuple[Codes, npt.NDArray[Any]]:
    """Number of the nearest centre, the first of equals, and the squared distance to it."""
    lengths = (centres**2).sum(1)
    step = max(1, _CHUNK // (8 * len(centres)))
    codes, distances = np.empty(len(points), np.int64), np.empty(len(points))
    for start in range(0, len(points), step):
        part = points[start : start + step]
        table = lengths - 2 * part @ centres.T
        codes[start : start + step] = best = table.argmin(1)
        distances[start : start + step] = table[np.arange(len(part)), best] + (part**2).sum(1)
    return codes, distances.clip(min=0.0)
