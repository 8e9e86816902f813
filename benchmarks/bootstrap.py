"""Processor time of 10,000 bootstrap draws over 8 seeds × 2,000 items, against a loop that gathers each draw."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from eval.stats.intervals import crossed_bootstrap, crossed_interval, paired_bootstrap

DRAWS, SEEDS, ITEMS, LOOPED = 10_000, 8, 2_000, 1_000


def loop(delta: NDArray[np.float64], draws: int) -> tuple[float, float]:
    """Percentile limits of the mean over seeds and items drawn with replacement, one draw after the other."""
    order = np.random.default_rng(0)
    seeds, items = delta.shape
    means = []
    for _ in range(draws):
        rows, columns = order.integers(0, seeds, seeds), order.integers(0, items, items)
        means.append(delta[rows][:, columns].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print seconds for all draws, and the ratio to the loop's (timed on a tenth of them)."""
    order = np.random.default_rng(0)
    graded = 0.02 * order.standard_normal((SEEDS, 1)) + order.standard_normal((1, ITEMS))
    graded = graded + order.standard_normal((SEEDS, ITEMS))
    hits = order.random((2, SEEDS, ITEMS)) < np.array([0.33, 0.3])[:, None, None]
    nought = np.zeros_like(graded)
    crossed_bootstrap(graded, nought, draws=100)  # imports
    slow = seconds(lambda: loop(graded, LOOPED)) * DRAWS / LOOPED
    print(f"{DRAWS:,} draws over {SEEDS} seeds × {ITEMS:,} items; loop: {slow:.2f} s")
    timed: dict[str, Callable[[], object]] = {
        "seeds and items, graded": lambda: crossed_bootstrap(graded, nought, draws=DRAWS),
        "seeds and items, right or wrong": lambda: crossed_bootstrap(*hits.astype(float), draws=DRAWS),
        "items of the seeds' mean, graded": lambda: paired_bootstrap(graded.mean(axis=0), nought[0], draws=DRAWS),
        "closed form, graded": lambda: crossed_interval(graded, nought),
    }
    for name, call in timed.items():
        took = seconds(call)
        print(f"{name:<34} {took:7.3f} s   {slow / took:8.0f} × the loop's speed")
    drawn, closed = crossed_bootstrap(graded, nought, draws=DRAWS), crossed_interval(graded, nought)
    print(f"half width: bootstrap {drawn.half_width:.4f}, closed form {closed.half_width:.4f}")


if __name__ == "__main__":
    main()
