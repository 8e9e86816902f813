"""Which item comes i-th: a pure function of the mixture's lock, so there is nothing to build, shuffle or checkpoint.

Order is a rotation (``corpus.mixing.rotation``), content a keyed permutation per pool and epoch
(``corpus.mixing.permutation``). The answer for item i does not depend on how the calls are cut: ranks, workers and
restarts do not change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import index

import numpy as np
import numpy.typing as npt

from corpus.mixing.permutation import Streams
from corpus.mixing.rotation import BLOCK, Rotation
from corpus.mixture import Lock, Mixture
from presight.errors import PresightError

ITEM = np.dtype([("pool", np.int16), ("epoch", np.int32), ("position", np.int64)], align=True)


class Sampler:
    """The order and content of a mixture.

    A mixture has one rotation, or one for each phase of its curriculum; draws of a pool are counted on from phase to
    phase, so that nothing is read twice before all of it was read once.

    Args:
        lock: a mixture, its lock, or the path of one.
    """

    def __init__(self, lock: Lock) -> None:
        self.mixture = mixture = Mixture.of(lock)
        pools = mixture.pools
        self._streams = Streams(mixture.seed, [pool.name for pool in pools], [pool.supply for pool in pools])
        self._rotations = [
            Rotation(phase["quotas"], phase["step"]) for phase in mixture.lock["phases"] if phase["items"]
        ]
        self._starts = np.cumsum([0] + [len(each) for each in self._rotations])  # item at which each phase begins
        quotas = np.array([each.quotas for each in self._rotations]).reshape(len(self._rotations), len(pools))
        self._before = np.cumsum(quotas, axis=0) - quotas  # draws of each pool in earlier phases [phases, pools]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def drawn(self, count: int) -> npt.NDArray[np.int64]:
        """Draws of each pool among the first ``count`` items, exact, in O(pools · log items): int64[pools]."""
        self._check(count, count)
        phase = min(int(np.searchsorted(self._starts, count, side="right")) - 1, len(self._rotations) - 1)
        return self._before[phase] + self._rotations[phase].drawn(index(count) - int(self._starts[phase]))

    def pools(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """The pool of each of the items start … stop − 1, an index into the lock's pools: int16[stop − start]."""
        self._check(start, stop)
        out = np.empty(index(stop) - index(start), dtype=np.int16)
        for part, pool in self._blocks(start, stop):
            out[part] = pool
        return out

    def items(self, start: int, stop: int) -> npt.NDArray[np.void]:
        """The items start … stop − 1 as records of pool, epoch and position within the pool: ITEM[stop − start]."""
        self._check(start, stop)
        out = np.empty(index(stop) - index(start), dtype=ITEM)
        drawn = self.drawn(start)
        for part, pool in self._blocks(start, stop):
            block = out[part]
            block["pool"] = pool
            # The items of a pool, kept in their order, take its next draws.
            taken = np.bincount(pool, minlength=len(drawn))
            first = np.cumsum(taken) - taken
            k = np.empty(len(pool), dtype=np.int64)
            k[np.argsort(pool, kind="stable")] = np.repeat(drawn - first, taken) + np.arange(len(pool))
            block["epoch"], block["position"] = self._streams.draw(pool, k)
            drawn = drawn + taken
        return out

    def _blocks(self, start: int, stop: int) -> Iterator[tuple[slice, npt.NDArray[np.int16]]]:
        """The items start … stop − 1 block by block: place in the answer, and pool of each."""
        at = index(start)
        while at < index(stop):
            phase = int(np.searchsorted(self._starts, at, side="right")) - 1
            end = min(index(stop), at + BLOCK, int(self._starts[phase + 1]))
            pool = self._rotations[phase].pools(at - int(self._starts[phase]), end - at)
            yield slice(at - index(start), end - index(start)), pool
            at = end

    def _check(self, start: int, stop: int) -> None:
        if not 0 <= index(start) <= index(stop) <= len(self):
            raise PresightError(
                "mixture", f"items {start} to {stop} were asked of {len(self)}", "compile it with a larger budget"
            )
