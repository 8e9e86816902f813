"""Where the items of a mixture lie: a pool's positions as windows of its source's token shards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.mixing.permutation import Streams
from corpus.mixture import Lock, Mixture
from presight.errors import EXIT_DATA, PresightError

Numbers = npt.NDArray[np.int64]
RESTORE = "restore it, or delete its artifact and run again"


class Windows:
    """Windows of the pools of a mixture.

    Position p of a source's pool is the p-th window of ``item`` tokens of its shards in order; what a shard has left
    over at its end is not used. A cell's pool goes through the cell's list of windows. A pool that was cut, to be
    repeated as often as in a longer run, holds the first windows of a keyed order of all of them.

    Args:
        lock: a mixture or its lock.
        cells: the folder that the lock's lists lie in; needed where it has cells.
        verify: hash the lists.

    Raises:
        PresightError: a list is missing, short or changed (exit code 87).
    """

    def __init__(self, lock: Lock, cells: Path | None = None, verify: bool = True) -> None:
        self.mixture = Mixture.of(lock)
        self._pools: list[dict[str, Any]] = self.mixture.lock["pools"]
        self._lists = [
            _read(pool["positions"], cells, verify) if "positions" in pool else None for pool in self._pools
        ]
        names = [f"{pool['name']}/all" for pool in self._pools]
        self._order = Streams(self.mixture.seed, names, [pool.get("of", pool["supply"]) for pool in self._pools])

    def of(self, pool: npt.NDArray[np.int16], position: Numbers) -> Numbers:
        """The windows of some items, each a count of ``item`` tokens from its source's start: int64 [n]."""
        window = np.asarray(position, dtype=np.int64).copy()
        for number in np.unique(pool).tolist():
            mine = pool == number
            if "of" in self._pools[number]:
                window[mine] = self._order.draw(pool[mine], window[mine])[1].astype(np.int64)
            if (positions := self._lists[number]) is not None:
                window[mine] = positions[window[mine]]
        return window


def _read(described: dict[str, Any], folder: Path | None, verify: bool) -> npt.NDArray[Any]:
    if folder is None:
        raise PresightError("cells", "has no folder, but the mixture has pools by label", "give the lock's path")
    path = folder / described["path"]
    size = described["items"] * described["bytes"]
    if not path.exists() or path.stat().st_size != size:
        found = f"{path.stat().st_size} bytes" if path.exists() else "no file"
        raise PresightError(str(path), f"has {found} where {size} are expected", RESTORE, EXIT_DATA)
    if verify:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != described["sha256"]:
                raise PresightError(str(path), "has other bytes than the lock names", RESTORE, EXIT_DATA)
    return np.memmap(path, dtype=f"<u{described['bytes']}", mode="r")
