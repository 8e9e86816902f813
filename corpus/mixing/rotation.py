"""The order of a mixture: a rotation ``r = step·i mod n`` that spreads every interval of [0, n) evenly over time.

The deviation of an interval's hits from its share grows with the partial quotients of ``step / n``, so a step whose
continued fraction is almost all ones, like the golden ratio's, keeps every prefix of every mixture near its shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

BLOCK = 2**15  # items worked on at once: the intermediate arrays stay in the cache
# Products step·i stay below 2**62 up to here.
MAX_ITEMS = 2**31
_CANDIDATES = 1000  # searched on either side of n / golden ratio
_GOLDEN = (1 + 5**0.5) / 2

Integers = npt.NDArray[np.int64]


def golden_step(n: int) -> int:
    """The step, coprime to ``n``, whose continued fraction has the smallest sum of quotients near n / golden ratio.

    Ties go to the step nearest n / golden ratio, then to the smaller one, so that the answer depends on ``n`` alone.
    """
    if not 1 <= n <= MAX_ITEMS:
        raise ValueError(f"a rotation has 1 to {MAX_ITEMS} items, not {n}")
    centre = round(n / _GOLDEN)
    steps = np.arange(max(1, centre - _CANDIDATES), min(n, centre + _CANDIDATES + 1), dtype=np.int64)
    if n <= 2 or not steps.size:
        return 1
    total, high, low = np.zeros_like(steps), np.full_like(steps, n), steps.copy()
    while (live := low > 0).any():  # Euclid on all candidates at once
        quotient = high[live] // low[live]
        total[live] += quotient
        high[live], low[live] = low[live], high[live] - quotient * low[live]
    total[high != 1] = np.iinfo(np.int64).max  # not coprime: would miss items
    return int(steps[np.lexsort((steps, abs(steps - centre), total))[0]])


def floor_sum(count: int, modulus: int, slope: int, offset: Integers) -> Integers:
    """Sum over j < ``count`` of (slope·j + offset) // modulus for each offset, in O(log modulus): int64[offsets].

    Full periods are taken out of slope and offset; what remains are lattice points under a line, counted again with
    the axes exchanged, as in Euclid's algorithm: its quotients are those of slope and modulus, whatever the offset.
    Exact where no argument is negative or over ``MAX_ITEMS`` and the slope is at most the modulus.
    """
    total, width = np.zeros_like(offset), np.full_like(offset, count)
    while width.any():
        turns, slope = divmod(slope, modulus)
        more, offset = np.divmod(offset, modulus)
        total += (width - 1) * width // 2 * turns + width * more
        width, offset = np.divmod(slope * width + offset, modulus)
        slope, modulus = modulus, slope
    return total


def hits_below(bounds: Integers, count: int, n: int, step: int) -> Integers:
    """For each bound in [0, n]: how many of the rotation's first ``count`` residues lie below it; int64[bounds]."""
    # [r < c] = ⌊x/n⌋ − ⌊(x − c)/n⌋ for x = step·j, r = x mod n; one n is added to keep both numerators positive.
    sums = floor_sum(count, n, step, n - np.concatenate([[0], bounds]))
    return sums[0] - sums[1:]


class Rotation:
    """The order of one phase: pool p owns residues bounds[p] … bounds[p + 1] − 1.

    Args:
        quotas: items of each pool.
        step: of the rotation, as :func:`golden_step` finds it.
    """

    def __init__(self, quotas: Sequence[int], step: int) -> None:
        self.quotas, self.step = list(quotas), step
        self._bounds = np.cumsum([0, *quotas])
        self._items = int(self._bounds[-1])

    def __len__(self) -> int:
        return self._items

    def drawn(self, count: int) -> Integers:
        """Items of each pool among the first ``count``: int64[pools]."""
        return np.diff(hits_below(self._bounds, count, self._items, self.step))

    def pools(self, start: int, length: int) -> npt.NDArray[np.int16]:
        """The pool of each of ``length`` ≤ BLOCK items from ``start`` on: int16[length]."""
        residue = self._stride[:length] + start * self.step % self._items
        residue -= self._items * (residue >= self._items)
        return np.searchsorted(self._bounds[1:], residue, side="right").astype(np.int16)

    @cached_property
    def _stride(self) -> Integers:
        """Residues of a block that starts at 0."""
        return np.arange(BLOCK) * self.step % self._items
