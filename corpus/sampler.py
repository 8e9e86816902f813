"""Which item comes i-th: a pure function of the mixture's lock, so there is nothing to build, shuffle or checkpoint.

Order is a rotation (``corpus.rotation``), content a keyed permutation per pool and epoch (``corpus.permutation``).
The answer for item i does not depend on how the calls are cut: ranks, workers and restarts do not change it.
"""

from __future__ import annotations

from operator import index

import numpy as np
import numpy.typing as npt

from corpus.mixture import Lock, Mixture
from corpus.permutation import Streams
from corpus.rotation import hits_below
from presight.errors import PresightError

ITEM = np.dtype([("pool", np.int16), ("epoch", np.int32), ("position", np.int64)], align=True)
_BLOCK = 2**15  # items worked on at once: the intermediate arrays stay in the cache


class Sampler:
    """The order and content of a mixture.

    Args:
        lock: a mixture, its lock, or the path of one.
    """

    def __init__(self, lock: Lock) -> None:
        self.mixture = mixture = Mixture.of(lock)
        pools = mixture.pools
        self._bounds = np.cumsum([0] + [pool.quota for pool in pools])  # pool p owns residues bounds[p] : bounds[p+1]
        self._streams = Streams(mixture.seed, [pool.name for pool in pools], [pool.supply for pool in pools])
        self._items, self._step = mixture.items, mixture.step
        self._stride = np.arange(_BLOCK) * self._step % self._items  # residues of a block that starts at 0

    def __len__(self) -> int:
        return self._items

    def drawn(self, count: int) -> npt.NDArray[np.int64]:
        """Draws of each pool among the first ``count`` items, exact, in O(pools · log items): int64[pools]."""
        self._check(count, count)
        return np.diff(hits_below(self._bounds.tolist(), index(count), self._items, self._step))

    def pools(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """The pool of each of the items start … stop − 1, an index into the lock's pools: int16[stop − start]."""
        self._check(start, stop)
        out = np.empty(index(stop) - index(start), dtype=np.int16)
        for at in range(0, len(out), _BLOCK):
            out[at : at + _BLOCK] = self._block(start + at, min(_BLOCK, len(out) - at))
        return out

    def items(self, start: int, stop: int) -> npt.NDArray[np.void]:
        """The items start … stop − 1 as records of pool, epoch and position within the pool: ITEM[stop − start]."""
        self._check(start, stop)
        out = np.empty(index(stop) - index(start), dtype=ITEM)
        drawn = self.drawn(start)
        for at in range(0, len(out), _BLOCK):
            block = out[at : at + _BLOCK]
            block["pool"] = pool = self._block(start + at, len(block))
            # The items of a pool, kept in their order, take its next draws.
            taken = np.bincount(pool, minlength=len(drawn))
            first = np.cumsum(taken) - taken
            k = np.empty(len(pool), dtype=np.int64)
            k[np.argsort(pool, kind="stable")] = np.repeat(drawn - first, taken) + np.arange(len(pool))
            block["epoch"], block["position"] = self._streams.draw(pool, k)
            drawn = drawn + taken
        return out

    def _block(self, start: int, length: int) -> npt.NDArray[np.int16]:
        residue = self._stride[:length] + index(start) * self._step % self._items
        residue -= self._items * (residue >= self._items)
        return np.searchsorted(self._bounds[1:], residue, side="right").astype(np.int16)

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= index(start) <= index(stop) <= self._items:
            raise PresightError(
                "mixture", f"items {start} to {stop} were asked of {self._items}", "compile it with a larger budget"
            )
