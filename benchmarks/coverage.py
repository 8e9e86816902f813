"""How often the interval over seeds and items holds the truth, drawn score by score; nominal 0.95.

Wanted: .93 or more in every cell, and .98 or less unless seed noise is near nought, where the seeds' margin measures
the residual with few degrees of freedom and can only be too long. Columns: number of seeds. 5,000 experiments a cell:

==============  ==============  ====  ====  ====
scores          noise              2     3     8
==============  ==============  ====  ====  ====
normal          seed none       .990  .978  .954
normal          item dominates  .977  .975  .960
normal          both            .978  .977  .959
normal          seed dominates  .953  .956  .954
right or wrong  seed none       .991  .989  .970
right or wrong  item dominates  .990  .983  .971
right or wrong  both            .971  .958  .951
right or wrong  seed dominates  .936  .931  .949
clustered       seed none       .984  .974  .953
clustered       item dominates  .977  .975  .957
clustered       both            .976  .977  .961
clustered       seed dominates  .948  .951  .958
==============  ==============  ====  ====  ====

Normal scores: 100 items; "both" is seed and item shares about alike, which is where two margins cover most. Right or
wrong: 200 items of either arm, p = 0.3 on average; the lowest cells are those of uniform seed effects, whose t
interval of two or three runs covers less than that of normal ones. Clustered: 30 clusters of 1 to 9 items, which hold
most of the item noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from eval.stats.intervals import crossed_interval

RUNS = 5000
SEEDS = (2, 3, 8)
Arms = tuple[NDArray[np.float64], NDArray[np.float64]]

# Standard deviations of (seed, item, residual) for graded scores; of (seed, item) for the chance of a right answer.
GRADED = {
    "seed none": (0.0, 1.0, 1.0),
    "item dominates": (0.05, 1.0, 0.5),
    "both": (0.15, 1.0, 0.3),
    "seed dominates": (0.5, 0.5, 0.5),
}
CHANCES = {
    "seed none": (0.0, 0.08),
    "item dominates": (0.01, 0.25),
    "both": (0.06, 0.12),
    "seed dominates": (0.16, 0.05),
}
CLUSTERS = np.repeat(np.arange(30), np.arange(30) % 9 + 1)


def normal(order: np.random.Generator, seeds: int, noise: str) -> Arms:
    """Arms [seeds, 100] whose true difference is 0."""
    seed_sd, item_sd, residual_sd = GRADED[noise]
    delta = seed_sd * order.standard_normal((seeds, 1)) + item_sd * order.standard_normal((1, 100))
    delta = delta + residual_sd * order.standard_normal((seeds, 100))
    return delta, np.zeros_like(delta)


def right_or_wrong(order: np.random.Generator, seeds: int, noise: str) -> Arms:
    """Arms [seeds, 200] of 0 and 1; uniform effects, which never leave 0 to 1, so that the true difference is 0."""
    seed_sd, item_sd = (width * np.sqrt(3) for width in CHANCES[noise])
    half = order.uniform(-seed_sd, seed_sd, (seeds, 1)) / 2 + order.uniform(-item_sd, item_sd, (1, 200)) / 2
    hits = order.random((2, seeds, 200)) < np.stack([0.3 + half, 0.3 - half])
    return hits[0].astype(np.float64), hits[1].astype(np.float64)


def clustered(order: np.random.Generator, seeds: int, noise: str) -> Arms:
    """Arms [seeds, items] whose item noise is mostly the cluster's."""
    seed_sd, item_sd, residual_sd = GRADED[noise]
    shared = item_sd * 0.5 * order.standard_normal((1, 30))[:, CLUSTERS]  # about as much of the mean as 100 items'
    delta = seed_sd * order.standard_normal((seeds, 1)) + shared
    delta = delta + residual_sd * order.standard_normal((seeds, len(CLUSTERS)))
    return delta, np.zeros_like(delta)


SCORES: Mapping[str, Callable[[np.random.Generator, int, str], Arms]] = {
    "normal": normal,
    "right or wrong": right_or_wrong,
    "clustered": clustered,
}


def coverage(scores: str, noise: str, seeds: int, runs: int = RUNS) -> float:
    """Share of simulated experiments whose interval holds the true difference."""
    order = np.random.default_rng([list(SCORES).index(scores), list(GRADED).index(noise), seeds])
    groups = CLUSTERS if scores == "clustered" else None
    held = 0
    for _ in range(runs):
        held += not crossed_interval(*SCORES[scores](order, seeds, noise), groups).excludes()
    return held / runs


def main() -> None:
    """Print the table; the Monte-Carlo error of an entry is about 0.003."""
    rule = "  ".join(["=" * 14, "=" * 14, *["=" * 4] * len(SEEDS)])
    print(rule)
    print("  ".join([f"{'scores':<14}", f"{'noise':<14}", *(f"{seeds:>4}" for seeds in SEEDS)]))
    print(rule)
    faults = []
    for scores in SCORES:
        for noise in GRADED:
            cells = [coverage(scores, noise, seeds) for seeds in SEEDS]
            print("  ".join([f"{scores:<14}", f"{noise:<14}", *(f"{cell:.3f}"[1:] for cell in cells)]), flush=True)
            most = 1.0 if noise in ("seed none", "item dominates") else 0.98
            faults += [f"{scores}, {noise}: {cell}" for cell in cells if not 0.93 <= cell <= most]
    print(rule)
    print("outside: " + ("; ".join(faults) or "none"))


if __name__ == "__main__":
    main()
