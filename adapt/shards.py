"""Batches of a split by random access: the order is a pure function of seed, epoch and position."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt import examples, records
from adapt.examples import Example, Examples
from presight.errors import PresightError, nearest

HELD = 2**31  # bytes of decoded examples that are kept: small sets are decoded once

Rows = npt.NDArray[np.int64]


class Shards:
    """A split of an ``examples`` artifact, in training order for ever or once in its own.

    Training reads the epochs' permutations as one endless sequence, cut into batches of ``batch``: each epoch gives
    every example once, all batches are full, and a batch may reach over the end of an epoch. What comes next follows
    from ``(seed, epoch, position)``, so that these counters are all there is to save: neither ranks nor workers nor a
    shuffle buffer are part of it, and a run may continue with another batch size or on another number of ranks.

    Args:
        folder: the artifact.
        split: ``train``, ``validation`` or ``test``.
        batch: examples of a batch, over all ranks.
        seed: of the order.
        epoch: where to begin: permutations before.
        position: examples of that epoch before.
        rank: which share of each batch to give: every ``ranks``-th example.
        ranks: shares there are.

    Raises:
        PresightError: the artifact has no such split, the split is empty, or a batch cannot be shared out evenly.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        batch: int = 64,
        seed: int = 0,
        epoch: int = 0,
        position: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.folder, self.split, self.batch, self.seed = folder, split, batch, seed
        self.rank, self.ranks = rank, ranks
        self._described = examples.index(folder)
        if split not in self._described["splits"]:
            raise PresightError("split", f"{folder} has no {split!r}", nearest(split, self._described["splits"]))
        self._names: list[str] = self._described["splits"][split]["shards"]
        self._places = _places(folder, split, self._described["splits"][split]["items"])
        if not len(self):
            raise PresightError(f"{folder}/{split}", "holds no examples", "give it some")
        if batch < 1 or ranks < 1 or batch % ranks or not 0 <= rank < ranks:
            problem = f"{batch} cannot be shared out evenly to rank {rank} of {ranks}"
            raise PresightError("batch", problem, "make it a multiple of ranks")
        self._files: dict[tuple[int, int], int] = {}
        self._held: dict[int, Example] = {}
        self._held_bytes = 0
        self._order: tuple[int, Rows] = (-1, np.empty(0, np.int64))
        self._go_to(epoch, position)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def classes(self) -> list[str]:
        """Names, by label."""
        return list(self._described["classes"])

    def state(self) -> dict[str, int]:
        """What ``resume`` needs to continue with the batch that comes next."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position, "examples": len(self)}

    def resume(self, state: dict[str, int]) -> None:
        """Continue where ``state`` was taken; batch size and ranks may differ from then.

        Raises:
            PresightError: it was taken of other data or of another order.
        """
        for name, here in (("seed", self.seed), ("examples", len(self))):
            if state[name] != here:
                raise PresightError(name, f"was {state[name]} when the state was saved and is {here}", "keep it")
        self._go_to(state["epoch"], state["position"])

    def _go_to(self, epoch: int, position: int) -> None:
        if epoch < 0 or not 0 <= position < len(self):
            problem = f"epoch {epoch}, example {position} is no place in a split of {len(self)}"
            raise PresightError("position", problem, "give an epoch from 0 and a position below the split's length")
        self.epoch, self.position = epoch, position

    def order(self, epoch: int) -> Rows:
        """The rows of an epoch [N] in its order: every row once."""
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self))
        return self._order[1]

    def next_rows(self) -> Rows:
        """Advance by one batch; its rows [batch], of all ranks."""
        taken: list[Rows] = []
        missing = self.batch
        while missing:
            part = self.order(self.epoch)[self.position : self.position + missing]
            taken.append(part)
            missing -= len(part)
            self.epoch, self.position = divmod(self.epoch * len(self) + self.position + len(part), len(self))
        return np.concatenate(taken)

    def __iter__(self) -> Iterator[Examples]:
        """This rank's share of one batch after another, without end; ``state`` already points behind the one given."""
        while True:
            yield self.read(self.next_rows()[self.rank :: self.ranks])

    def once(self, readers: int = 1, reader: int = 0) -> Iterator[Examples]:
        """Every example once, in the order of the shards, in batches of at most ``batch``: for evaluation.

        Several readers (ranks × workers) get whole shards each, which reads files from front to back.

        Raises:
            PresightError: there are fewer shards than readers, so that some would wait for nothing.
        """
        if not 0 <= reader < readers <= len(self._names):
            problem = f"{len(self._names)} shards cannot occupy reader {reader} of {readers}"
            raise PresightError(
                f"{self.folder}/{self.split}", problem, "use fewer workers or ranks, or smaller shards"
            )
        mine = np.flatnonzero(self._places[:, 0] % readers == reader)
        given = 0
        for start in range(0, len(mine), self.batch):
            batch = self.read(mine[start : start + self.batch])
            given += len(batch)
            yield batch
        assert given == len(mine)

    def read(self, rows: Rows) -> Examples:
        """The examples of these rows, at least one, in this order.

        Raises:
            PresightError: a record is damaged (exit code 87).
        """
        return examples.stacked([self._example(int(row)) for row in rows], self._described)

    def _example(self, row: int) -> Example:
        if row in self._held:
            return self._held[row]
        shard, offset, size = (int(value) for value in self._places[row])
        try:
            key, members = records.unpack(os.pread(self._file(shard), size, offset))
            if int(key) != row:
                raise ValueError(f"record {key} stands where {row} should")
            example = examples.decode(members, self._described)
        except Exception as error:
            problem = f"cannot be read ({self._names[shard]}, record {row}: {error})"
            raise examples.damaged(self.folder, self.split, problem) from error
        if self._held_bytes + example.data.nbytes <= HELD:
            self._held[row] = example
            self._held_bytes += example.data.nbytes
        return example

    def _file(self, shard: int) -> int:
        key = os.getpid(), shard  # a forked worker opens its own
        if key not in self._files:
            self._files[key] = os.open(self.folder / self._names[shard], os.O_RDONLY)
        return self._files[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}, "_held": {}, "_held_bytes": 0}

    def __del__(self) -> None:
        for (process, _), number in getattr(self, "_files", {}).items():
            if process == os.getpid():
                os.close(number)


def _places(folder: Path, split: str, items: int) -> Rows:
    try:
        places: Rows = np.load(folder / examples.places(split), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise examples.damaged(folder, split, f"has no readable {examples.places(split)} ({error})") from error
    if places.shape != (items, 3):
        raise examples.damaged(folder, split, f"has places of {len(places)} examples where its index says {items}")
    return places
