"""Batches within a budget of tokens: the longest first, half as large once memory runs out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from presight.errors import PresightError

Item = TypeVar("Item")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Load:
    """What an item asks of a forward pass: rows of that many tokens each."""

    length: int
    rows: int = 1


class TokenBudget:
    """Tokens, padding included, that a forward pass may hold; remembers what memory has shown to be too much.

    Attributes:
        tokens: the budget now. Give one budget to all calls on a model, and none tries again what has failed before.
    """

    def __init__(self, tokens: int) -> None:
        if tokens < 1:
            raise PresightError("tokens", f"{tokens} is no budget", "allow at least one token a batch")
        self.tokens = tokens

    def map(
        self,
        run: Callable[[list[Item]], Sequence[Result]],
        items: Sequence[Item],
        load: Callable[[Item], Load],
    ) -> list[Result]:
        """Results of `run`, called with batches of items, in the order of the items.

        Where a batch exhausts memory, the budget becomes half of what that batch held, and what is left is batched
        anew. Batches come largest first: memory fails, if it does, at the start.

        Args:
            run: gives one result for each item of a batch, in order.
            items: in any order.
            load: rows and their length for an item; a batch is padded to its longest.

        Raises:
            PresightError: an item alone is more than memory holds, or `run` gives too few or too many results.
        """
        loads, found = [load(item) for item in items], dict[int, Result]()
        while len(found) < len(items):
            left = [place for place in range(len(items)) if place not in found]
            for each in plan([loads[place] for place in left], self.tokens):
                batch = [left[place] for place in each]
                results = _attempt(run, [items[place] for place in batch])
                if results is None:
                    self._halve([loads[place] for place in batch])
                    break
                if len(results) != len(batch):
                    raise PresightError("batch", f"{len(results)} results for {len(batch)} items", "give one for each")
                found.update(zip(batch, results, strict=True))
        return [found[place] for place in range(len(items))]

    def _halve(self, batch: Sequence[Load]) -> None:
        if len(batch) == 1:
            alone = f"one item of {batch[0].rows} rows × {batch[0].length} tokens"
            raise PresightError("memory", f"exhausted by {alone}", "shorten it, or take a larger device")
        held = tokens_of(batch)
        self.tokens = max(1, held // 2)
        logger.warning("out of memory at %d tokens a batch; going on with %d", held, self.tokens)


def plan(loads: Sequence[Load], budget: int) -> list[list[int]]:
    """Places of the items, batch by batch: longest first, each batch filled as far as the budget of tokens goes.

    An item that is above the budget by itself stands alone. Of equals, the earlier item comes first.
    """
    batches: list[list[int]] = []
    longest = rows = 0
    for place in sorted(range(len(loads)), key=lambda place: (-loads[place].length, -loads[place].rows, place)):
        if not batches or longest * (rows + loads[place].rows) > budget:
            batches.append([])
            longest, rows = loads[place].length, 0
        batches[-1].append(place)
        rows += loads[place].rows
    return batches


def tokens_of(loads: Sequence[Load]) -> int:
    """Tokens of a batch, all rows padded to the longest."""
    return max(load.length for load in loads) * sum(load.rows for load in loads)


def _attempt(run: Callable[[list[Item]], Sequence[Result]], batch: list[Item]) -> Sequence[Result] | None:
    """What `run` gives, or None where memory ran out."""
    try:
        return run(batch)
    except RuntimeError as error:
        if not _memory_is_out(error):
            raise
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()  # out of the handler, since the error's frames held tensors; nothing without CUDA
    return None


def _memory_is_out(error: RuntimeError) -> bool:
    """CUDA's error is a RuntimeError of its own; the allocator of the CPU, and some back ends, only say so."""
    said = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in said or "can't allocate memory" in said
