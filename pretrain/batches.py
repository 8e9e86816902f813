"""Items of a mixture as arrays: memory-mapped shards, read in the order of the lock, each row with what it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus import Mixture, Sampler, SegmentLabels, Windows
from corpus.segments import ends
from corpus.tokens import read_shard

IGNORED = -100  # a target that is none


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the labelled segments of a row begin, int64 [segments] ascending from 0, and bool [segments, labels]."""

    starts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a mixture.

    Attributes:
        tokens: int64 [rows, item].
        pools: the pool each row was drawn from, int16 [rows].
        positions: int64 [rows, item], from 0 in every document; None where documents are not kept apart.
        segments: of each row; empty without labels.
    """

    tokens: npt.NDArray[np.int64]
    pools: npt.NDArray[np.int16]
    positions: npt.NDArray[np.int64] | None = None
    segments: tuple[Segments, ...] = ()

    def targets(self) -> npt.NDArray[np.int64]:
        """The next token of each, int64 [rows, item]; none at a row's end, nor across documents kept apart."""
        found = np.full_like(self.tokens, IGNORED)
        found[:, :-1] = self.tokens[:, 1:]
        if self.positions is not None:
            found[:, :-1][self.positions[:, 1:] == 0] = IGNORED
        return found


class Items:
    """Random access to the items of a mixture.

    Args:
        lock: an artifact with a ``mixture.lock``, or the path of one: shards are found relative to it.
        verify: hash every shard before the first item is read.
        documents: keep documents apart: rows come with positions.
        labels: a labels artifact of the same tokens: rows come with their segments' labels.

    Raises:
        PresightError: a shard is missing, short or changed, or labels belong to other tokens (exit code 87).
    """

    def __init__(self, lock: Path, verify: bool = True, documents: bool = False, labels: Path | None = None) -> None:
        self.mixture = Mixture.read(lock)
        self.sampler = Sampler(self.mixture)
        described: dict[str, Any] = self.mixture.lock["tokens"]
        folder, item = self.mixture.folder("tokens"), self.mixture.item
        assert folder is not None  # a lock has tokens
        self.folder = folder
        self.windows = Windows(self.mixture, self.mixture.folder("cells"), verify)
        self.names = [pool.name for pool in self.mixture.pools]
        self.sources = [pool["source"] for pool in self.mixture.lock["pools"]]
        shards = {
            pool["source"]: pool["shards"] for pool in self.mixture.lock["pools"]
        }  # cells of a source share them
        found = {
            source: [
                read_shard(folder, shard, described["token_bytes"], verify)[: shard["tokens"] // item * item]
                for shard in each
            ]
            for source, each in shards.items()
        }
        self.paths = [[shard["path"] for shard in shards[source]] for source in self.sources]
        self.shards = [[shard.reshape(-1, item) for shard in found[source]] for source in self.sources]
        self.starts = [np.cumsum([0] + [len(shard) for shard in each]) for each in self.shards]
        self.ends = {
            source: [ends(folder / shard["path"], shard["tokens"]) for shard in each]
            for source, each in shards.items()
            if documents
        }
        self.labelled = SegmentLabels(labels, folder) if labels else None
        self.labels = self.labelled.names if self.labelled else ()

    def __len__(self) -> int:
        return len(self.sampler)

    def batch(self, start: int, stop: int) -> Batch:
        """The items start … stop − 1 of the mixture."""
        item = self.mixture.item
        drawn = self.sampler.items(start, stop)
        tokens = np.empty((len(drawn), item), dtype=np.int64)
        positions = np.empty_like(tokens) if self.ends else None
        segments = []
        windows = self.windows.of(drawn["pool"], drawn["position"])
        for row, (pool, window) in enumerate(zip(drawn["pool"].tolist(), windows.tolist(), strict=True)):
            shard = int(np.searchsorted(self.starts[pool], window, side="right")) - 1
            at = int(window - self.starts[pool][shard])
            tokens[row] = self.shards[pool][shard][at]
            if positions is not None:
                positions[row] = _positions(self.ends[self.sources[pool]][shard], at * item, item)
            if self.labelled:
                segments.append(Segments(*self.labelled.within(self.paths[pool][shard], at * item, (at + 1) * item)))
        return Batch(tokens, drawn["pool"], positions, tuple(segments))

    def batches(self, bounds: list[tuple[int, int]]) -> Iterator[tuple[Batch, float]]:
        """The batches of some ranges of items, each made while the one before is in use, with the seconds waited."""
        if not bounds:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
            coming = thread.submit(self.batch, *bounds[0])
            for after in [*bounds[1:], None]:
                began = time.perf_counter()
                batch = coming.result()
                waited = time.perf_counter() - began
                if after:
                    coming = thread.submit(self.batch, *after)
                yield batch, waited


def _positions(ends: npt.NDArray[Any], start: int, length: int) -> npt.NDArray[np.int64]:
    """Positions of a window of a shard, int64 [length]: from 0 at its start, and again where a document begins."""
    first, last = np.searchsorted(ends, (start, start + length - 1), side="right").tolist()
    begins = np.concatenate([[0], np.asarray(ends[first:last], dtype=np.int64) - start])
    at = np.arange(length)
    return at - begins[np.searchsorted(begins, at, side="right") - 1]
