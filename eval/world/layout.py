"""Where things stand in a scene, and which split an arrangement is of. Lengths are shares of the picture's side.

A slot is a square. What will stand in it has no say in where it is: swapping two objects gives a scene just as
probable, so that no question about place or size can be answered from the names in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from eval.world.truth import SPLITS

GAP = 0.02  # between slots that may not touch
LARGEST = (0.6, 0.52, 0.48, 0.42, 0.36, 0.32, 0.3)  # side of a slot, by how many there are
SMALLEST = 0.18
SHARES = (0.7, 0.1, 0.2)  # of all arrangements, by split
INSIDE = 0.6  # share of an object that a close view must show, or nobody would know it
GRID = 4  # cells a side, by which places are told apart


class Slot(NamedTuple):
    """A square by its centre, from the left and from the top, and its side."""

    x: float
    y: float
    side: float

    @property
    def cell(self) -> tuple[int, int, int]:
        """Its place and size, coarsely."""
        return int(self.x * GRID), int(self.y * GRID), int(math.log2(max(self.side, SMALLEST) / SMALLEST))

    def clear_of(self, other: Slot, gap: float = GAP) -> bool:
        """Whether the two do not come closer than the gap."""
        reach = (self.side + other.side) / 2 + gap
        return abs(self.x - other.x) >= reach or abs(self.y - other.y) >= reach


def scattered(order: np.random.Generator, count: int, largest: float = 1.0) -> list[Slot]:
    """So many slots anywhere in the picture, of any size, none too near to another.

    Args:
        order: of the draw.
        count: slots.
        largest: side, if less than goes with their number.
    """
    most = min(largest, LARGEST[min(count, len(LARGEST)) - 1])
    while True:
        found: list[Slot] = []
        for side in np.sort(np.exp(order.uniform(math.log(SMALLEST), math.log(most), count)))[::-1].tolist():
            for _ in range(40):
                slot = Slot(*_anywhere(order, side), side)
                if all(slot.clear_of(other) for other in found):
                    found.append(slot)
                    break
        if len(found) == count:
            return [found[place] for place in order.permutation(count)]
        most = max(0.95 * most, SMALLEST)  # a crowd must be small


def lone(order: np.random.Generator) -> list[Slot]:
    """One slot of middling size."""
    side = float(order.uniform(0.4, 0.8))
    return [Slot(*_anywhere(order, side), side)]


def overlapping(order: np.random.Generator) -> tuple[Slot, Slot]:
    """Two slots, the one behind first, that share part of their area."""
    while True:
        behind, front = (
            Slot(*_anywhere(order, side), side) for side in np.exp(order.uniform(math.log(0.34), math.log(0.56), 2))
        )
        reach = (behind.side + front.side) / 2
        if 0.25 * reach <= math.hypot(behind.x - front.x, behind.y - front.y) <= 0.8 * reach:
            return behind, front


def close(order: np.random.Generator, fraction: float, fill: Callable[[Slot], tuple[float, float]]) -> Slot:
    """One slot whose object covers about that share of the picture; it may reach beyond the edge.

    Args:
        order: of the draw.
        fraction: share asked for; less comes, where an object has too odd a shape.
        fill: of a slot, the share of the picture that its object covers, and the share of the object that is inside.
    """
    shift = order.uniform(-1, 1, 2)

    def slot(side: float) -> Slot:
        free = max(0.0, 1 - side) / 2 if side < 1 else 0.1 * (side - 1)
        return Slot(float(0.5 + shift[0] * free), float(0.5 + shift[1] * free), side)

    low, high = SMALLEST, 2.0
    for _ in range(10):
        middle = (low + high) / 2
        covered, inside = fill(slot(middle))
        low, high = (middle, high) if covered < fraction and inside > INSIDE else (low, middle)
    return slot(low)


def _anywhere(order: np.random.Generator, side: float) -> tuple[float, float]:
    x, y = order.uniform(side / 2, 1 - side / 2, 2).tolist()
    return x, y


def digest(*parts: object) -> str:
    """What an arrangement is known by."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def split_of(layout: str, seed: int) -> str:
    """The split that an arrangement is of, by its digest: no other split ever shows it."""
    place = int(hashlib.sha256(f"{seed}/{layout}".encode()).hexdigest()[:12], 16) / 16**12
    bounds: npt.NDArray[np.float64] = np.cumsum(SHARES)
    return SPLITS[min(int(np.searchsorted(bounds, place, side="right")), len(SPLITS) - 1)]


def identity(names: Sequence[str], slots: Sequence[Slot]) -> str:
    """The digest of objects and where they stand.

    Objects of several names are known by their names alone, wherever they stand: these and no others are together in
    one split only. One object, or several of one name, are known by the name, their number and their places.
    """
    if len(set(names)) > 1:
        return digest(sorted(set(names)))
    return digest(names[0], sorted(slot.cell for slot in slots))
