"""Items of a mixture as arrays: memory-mapped shards, read in the order of the lock, each row with its pool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus import Mixture, Sampler, Windows
from corpus.tokens import read_shard


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of tokens, int64 [rows, item], and the pool each row was drawn from, int16 [rows]."""

    tokens: npt.NDArray[np.int64]
    pools: npt.NDArray[np.int16]


class Items:
    """Random access to the items of a mixture.

    Args:
        lock: an artifact with a ``mixture.lock``, or the path of one: shards are found relative to it.
        verify: hash every shard before the first item is read.

    Raises:
        PresightError: a shard is missing, short or changed (exit code 87).
    """

    def __init__(self, lock: Path, verify: bool = True) -> None:
        self.mixture = Mixture.read(lock)
        self.sampler = Sampler(self.mixture)
        described: dict[str, Any] = self.mixture.lock["tokens"]
        folder, item = self.mixture.folder("tokens"), self.mixture.item
        assert folder is not None  # a lock has tokens
        self.folder = folder
        self.windows = Windows(self.mixture, self.mixture.folder("cells"), verify)
        self.names = [pool.name for pool in self.mixture.pools]
        self.sources = [pool["source"] for pool in self.mixture.lock["pools"]]
        by_source: dict[str, list[npt.NDArray[Any]]] = {}  # cells of one source share its shards
        for pool in self.mixture.lock["pools"]:
            if pool["source"] not in by_source:
                shards = [read_shard(folder, shard, described["token_bytes"], verify) for shard in pool["shards"]]
                by_source[pool["source"]] = [each[: len(each) // item * item].reshape(-1, item) for each in shards]
        self.shards = [by_source[source] for source in self.sources]
        self.starts = [np.cumsum([0] + [len(shard) for shard in shards]) for shards in self.shards]

    def __len__(self) -> int:
        return len(self.sampler)

    def batch(self, start: int, stop: int) -> Batch:
        """The items start … stop − 1 of the mixture."""
        drawn = self.sampler.items(start, stop)
        tokens = np.empty((len(drawn), self.mixture.item), dtype=np.int64)
        windows = self.windows.of(drawn["pool"], drawn["position"])
        for row, (pool, window) in enumerate(zip(drawn["pool"].tolist(), windows.tolist(), strict=True)):
            shard = int(np.searchsorted(self.starts[pool], window, side="right")) - 1
            tokens[row] = self.shards[pool][shard][window - self.starts[pool][shard]]
        return Batch(tokens, drawn["pool"])
