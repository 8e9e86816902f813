"""Of a design that is not run yet: what a mean of means is worth in items, and how many seeds an effect takes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from eval.stats.intervals import minimum_detectable_effect
from presight.errors import PresightError

MOST_SEEDS = 100  # a side; more are no plan


def effective_items(weights: Iterable[float], counts: Iterable[int]) -> float:
    """Items whose plain mean would be as sure as ``sum(weight × mean of count items)``: ``1 / sum(weight² / count)``.

    Items are drawn for each part by itself and vary alike in all; weights are made to add up to one. Parts that count
    alike are worth as many items as they have if they are of one size, and fewer the more their sizes differ.

    Args:
        weights: of the parts, none negative.
        counts: items of each.

    Raises:
        PresightError: not a count for each weight, no weight at all, or a part without items.
    """
    shares, sizes = np.array([*weights], np.float64), np.array([*counts], np.float64)
    if shares.shape != sizes.shape or not shares.sum() > 0 or shares.min() < 0 or sizes.min() < 1:
        raise PresightError("weights", f"{len(shares)} for {len(sizes)} counts", "give parts that have items, weighed")
    return float(shares.sum() ** 2 / (shares**2 / sizes).sum())


@cache
def detectable(items: int, seeds: int, item_sd: float, seed_sd: float, level: float, power: float) -> float:
    """`minimum_detectable_effect`, remembered: a plan asks for the same designs again and again."""
    return minimum_detectable_effect(items, seeds, item_sd=item_sd, seed_sd=seed_sd, level=level, power=power)


def seeds_to_see(
    effect: float,
    items: int,
    *,
    item_sd: float,
    seed_sd: float,
    level: float = 0.95,
    power: float = 0.8,
    most: int = MOST_SEEDS,
) -> int | None:
    """The fewest seeds a side that would show `effect` with this power; None: more than `most`, or no number would.

    Args:
        effect: true difference, in units of the score; its sign is of no account.
        items: as in `minimum_detectable_effect`, like the rest.
        item_sd: over items, of the paired difference.
        seed_sd: over seeds, of the true difference.
        level: of the interval.
        power: chance of seeing the effect.
        most: seeds to consider.

    Raises:
        PresightError: as `minimum_detectable_effect`.
    """

    def enough(seeds: int) -> bool:
        return detectable(items, seeds, item_sd, seed_sd, level, power) <= abs(effect)

    if enough(1):
        return 1
    if not enough(most):
        return None
    low, high = 1, most  # from two on, more seeds never show less
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
