"""How often the interval over seeds and items holds the truth, on a grid of variance ratios; nominal 0.95."""

from __future__ import annotations

import numpy as np

from eval import crossed_interval

DRAWS, ITEMS = 1000, 100
RATIOS = [(0.0, 0.0), (0.0, 1.0), (0.02, 1.0), (0.1, 0.3), (0.3, 0.1), (1.0, 0.0), (1.0, 1.0)]


def coverage(seeds: int, seed_sd: float, item_sd: float) -> float:
    """Share of simulated experiments whose interval holds the true difference, 0; the residual's deviation is 1."""
    order = np.random.default_rng([seeds, int(100 * seed_sd), int(100 * item_sd)])
    held = 0
    for _ in range(DRAWS):
        delta = seed_sd * order.standard_normal((seeds, 1)) + item_sd * order.standard_normal((1, ITEMS))
        delta = delta + order.standard_normal((seeds, ITEMS))
        interval = crossed_interval(delta, np.zeros_like(delta))
        held += interval.low <= 0 <= interval.high
    return held / DRAWS


def main() -> None:
    """Print the table; the Monte-Carlo error of an entry is about 0.007."""
    print(f"{'seed s.d.':>10} {'item s.d.':>10} {'2 seeds':>9} {'3 seeds':>9} {'8 seeds':>9}")
    for seed_sd, item_sd in RATIOS:
        cells = " ".join(f"{coverage(seeds, seed_sd, item_sd):>9.3f}" for seeds in (2, 3, 8))
        print(f"{seed_sd:>10} {item_sd:>10} {cells}", flush=True)


if __name__ == "__main__":
    main()
