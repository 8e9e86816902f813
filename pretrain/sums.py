"""What a step's losses come to, by the pool and by the labels of the text they were made on."""

from __future__ import annotations

from typing import Any

import numpy as np

from pretrain.batches import Batch


class Sums:
    """Losses of a step, added up by pool and by label: one vector, so that ranks need exchange nothing else.

    Args:
        pools: how many.
        labels: how many.
    """

    def __init__(self, pools: int, labels: int) -> None:
        self._pools = pools
        self.vector = np.zeros(3 * pools + 2 * labels)

    @property
    def _by_pool(self) -> Any:
        return self.vector[: 3 * self._pools].reshape(3, -1)  # items, loss, tokens predicted

    @property
    def _by_label(self) -> Any:
        return self.vector[3 * self._pools :].reshape(2, -1)  # loss, tokens predicted

    def add(self, batch: Batch, part: slice, losses: Any, counted: Any) -> None:
        """Add rows of a batch: float64 [rows, item] and which positions predict, bool [rows, item]."""
        pools = batch.pools[part]
        if not len(pools):  # a row that stood in for none
            return
        for row, values in enumerate((np.ones(len(pools)), losses.sum(axis=1), counted.sum(axis=1))):
            np.add.at(self._by_pool[row], pools, values)
        for segments, loss, count in zip(batch.segments[part], losses, counted, strict=False):
            for row, values in enumerate((loss, count)):
                self._by_label[row] += np.add.reduceat(values.astype(np.float64), segments.starts) @ segments.labels

    @property
    def loss(self) -> float:
        """Mean over the tokens predicted."""
        return float(self._by_pool[1].sum() / self._by_pool[2].sum())

    def pools(self, names: list[str]) -> dict[str, tuple[int, float, int]]:
        """Items, summed loss, tokens predicted of the pools that were read."""
        return {
            name: (int(items), float(loss), int(tokens))
            for name, items, loss, tokens in zip(names, *self._by_pool, strict=True)
            if items
        }

    def by_source(self, names: list[str]) -> dict[str, float]:
        """Mean loss of each pool that was read."""
        return {name: loss / tokens for name, (_, loss, tokens) in self.pools(names).items() if tokens}

    def by_label(self, names: tuple[str, ...]) -> dict[str, float]:
        """Mean loss over the tokens whose segment has the label."""
        return {name: loss / count for name, loss, count in zip(names, *self._by_label, strict=True) if count}
