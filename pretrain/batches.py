"""Items of a mixture as arrays: memory-mapped shards, read in the order of the lock, each row with its pool."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus import Mixture, Sampler, Windows
from presight.errors import EXIT_DATA, PresightError


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of tokens, int64 [rows, item], and the pool each row was drawn from, int16 [rows]."""

    tokens: npt.NDArray[np.int64]
    pools: npt.NDArray[np.int16]


class Shard:
    """A run of items in one file."""

    def __init__(self, path: Path, tokens: int, sha256: str, token_bytes: int, item: int, verify: bool) -> None:
        if not path.exists() or path.stat().st_size != tokens * token_bytes:
            found = path.stat().st_size if path.exists() else "no file"
            raise PresightError(
                str(path),
                f"is not the shard of the lock: {tokens * token_bytes} bytes are expected, {found} found",
                "restore it, or delete its artifact and run again",
                EXIT_DATA,
            )
        if verify:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise PresightError(
                        str(path),
                        "has other bytes than the lock names",
                        "restore it, or delete its artifact and run again",
                        EXIT_DATA,
                    )
        dtype = {2: "<u2", 4: "<u4"}[token_bytes]
        self.items = tokens // item
        self.data = np.memmap(path, dtype=dtype, mode="r")[: self.items * item].reshape(self.items, item)


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
        place = lock if lock.is_dir() else lock.parent
        self.folder = (place / described["directory"]).resolve()
        cells: dict[str, Any] | None = self.mixture.lock.get("cells")
        self.windows = Windows(self.mixture, (place / cells["directory"]).resolve() if cells else None, verify)
        self.names = [pool.name for pool in self.mixture.pools]
        self.sources = [pool["source"] for pool in self.mixture.lock["pools"]]
        by_source: dict[str, list[Shard]] = {}  # cells of one source share its shards
        for pool in self.mixture.lock["pools"]:
            if pool["source"] not in by_source:
                by_source[pool["source"]] = [
                    Shard(
                        self.folder / shard["path"],
                        shard["tokens"],
                        shard["sha256"],
                        described["token_bytes"],
                        self.mixture.item,
                        verify,
                    )
                    for shard in pool["shards"]
                ]
        self.shards = [by_source[source] for source in self.sources]
        self.starts = [np.cumsum([0] + [shard.items for shard in shards]) for shards in self.shards]

    def __len__(self) -> int:
        return len(self.sampler)

    def batch(self, start: int, stop: int) -> Batch:
        """The items start … stop − 1 of the mixture."""
        drawn = self.sampler.items(start, stop)
        tokens = np.empty((len(drawn), self.mixture.item), dtype=np.int64)
        windows = self.windows.of(drawn["pool"], drawn["position"])
        for row, (pool, window) in enumerate(zip(drawn["pool"].tolist(), windows.tolist(), strict=True)):
            shard = int(np.searchsorted(self.starts[pool], window, side="right")) - 1
            tokens[row] = self.shards[pool][shard].data[window - self.starts[pool][shard]]
        return Batch(tokens, drawn["pool"])
