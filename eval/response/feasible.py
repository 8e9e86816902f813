"""What can be mixed: a convex region of shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.stats.margins import Floats
from presight.errors import PresightError


@dataclass(frozen=True, slots=True)
class Feasible:
    """What can be mixed: a convex polytope of shares.

    Attributes:
        vertices: its corners [v, k].
        normals, offsets: its facets, ``normals @ x <= offsets``; [f, k] and [f].
    """

    vertices: Floats
    normals: Floats
    offsets: Floats

    @classmethod
    def hull(cls, points: ArrayLike) -> Feasible:
        """The convex hull of mixtures, or of the corners of a stated polygon: [n, k], fractions from 0 to 1.

        Raises:
            PresightError: points outside 0 to 1, or all on one line (plane, …).
        """
        from scipy.spatial import ConvexHull, QhullError

        x = np.asarray(points, dtype=np.float64)
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or not ((x >= 0) & (x <= 1)).all():
            raise PresightError("feasible", f"points of shape {x.shape} are no shares from 0 to 1", "give [n, k]")
        if x.shape[1] == 1:
            low, high = float(x.min()), float(x.max())
            if low == high:
                raise PresightError("feasible", f"a single share, {low:g}", "give two different ones")
            return cls(np.array([[low], [high]]), np.array([[-1.0], [1.0]]), np.array([-low, high]))
        try:
            found = ConvexHull(x)
        except (QhullError, ValueError) as error:
            mend = "mix points that span every share; of shares that sum to one, leave one out"
            raise PresightError("feasible", f"{len(x)} points span no region of {x.shape[1]} shares", mend) from error
        facets = np.unique(np.round(found.equations, 9), axis=0)
        return cls(x[found.vertices], facets[:, :-1], -facets[:, -1])

    def contains(self, points: Floats, tolerance: float = 1e-7) -> NDArray[np.bool_]:
        """Which of `points` [n, k] lie within: [n]."""
        return np.asarray((points @ self.normals.T <= self.offsets + tolerance).all(axis=1))

    def axes(self, points: float) -> list[Floats]:
        """Round shares along each axis, as many as make a lattice with about so many points within."""
        low, high = self.vertices.min(axis=0), self.vertices.max(axis=0)
        k = len(low)
        probe = low + (high - low) * np.random.default_rng(0).random((4000, k))
        step = float((np.prod(high - low) * max(self.contains(probe).mean(), 1e-3) / points) ** (1 / k))
        nice = np.array([1, 2, 2.5, 5, 10]) * 10.0 ** math.floor(math.log10(step))
        step = float(nice[np.argmin(np.abs(np.log(nice / step)))])
        return [
            np.arange(math.ceil(a / step - 1e-9), math.floor(b / step + 1e-9) + 1) * step
            for a, b in zip(low, high, strict=True)
        ]

    def grid(self, points: int = 500) -> Floats:
        """About so many points that fill it evenly, on round shares where that is fine enough, and its corners."""
        lattice = np.stack(np.meshgrid(*self.axes(points), indexing="ij"), axis=-1).reshape(-1, self.vertices.shape[1])
        return np.unique(np.round(np.concatenate([lattice[self.contains(lattice)], self.vertices]), 9), axis=0)
