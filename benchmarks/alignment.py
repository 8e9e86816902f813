"""The alignment null beside recomputation, and how often alignment and emergence find what is not there.

Features are random, so that nothing is fetched. The first table draws the null of the best layer pair three ways, on
one machine in one run; all give the same numbers. The others are simulations: nominal 5 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from eval.alignment.mutual import align
from eval.alignment.neighbours import neighbours, shared_edges
from eval.probe.emergence import emergence

ITEMS, K, LM, ENCODER = 1024, 10, (13, 512), (25, 768)
SETS, MILESTONES, LAYERS, SEEDS = 4000, 6, 4, 3


def recomputed(lm: Any, encoder: Any, order: Any) -> int:
    """Permute the encoder's features, build their graphs anew, compare every pair with the LM's graphs."""
    return regathered(lm, np.stack([neighbours(y[order], K) for y in encoder]))


def regathered(lm: Any, encoder: Any) -> int:
    """Compare every pair of graphs through matrices of booleans."""
    rows, best = np.arange(ITEMS)[:, None], 0
    for second in encoder:
        linked = np.zeros((ITEMS, ITEMS), bool)
        linked[rows, second] = True
        best = max(best, *(int(linked[rows, first].sum()) for first in lm))
    return best


def renamed(lm: Any, encoder: Any, order: Any) -> int:
    """Build graphs once, permute their edges, compare every pair."""
    back = np.argsort(order)
    return regathered(lm, back[encoder[:, order]])


def timed(step: Callable[[Any], Any], orders: Any) -> tuple[float, list[Any]]:
    began = time.process_time()
    found = [step(order) for order in orders]
    return (time.process_time() - began) / len(orders), found


def null() -> None:
    rng = np.random.default_rng(0)
    lm, encoder = (rng.standard_normal((depth, ITEMS, width), dtype=np.float32) for depth, width in (LM, ENCODER))
    orders = rng.permuted(np.tile(np.arange(ITEMS), (1000, 1)), axis=1)
    graphs = [np.stack([neighbours(x, K) for x in layers]) for layers in (lm, encoder)]
    began = time.process_time()
    counts = shared_edges(*graphs, orders).max(axis=(1, 2))
    ours = (time.process_time() - began) / len(orders)
    rows = {
        "presight": (ours, list(counts)),
        "graphs once, dense pairs": timed(lambda order: renamed(*graphs, order), orders[:20]),
        "recomputed": timed(lambda order: recomputed(graphs[0], encoder, order), orders[:5]),
    }
    print(f"{ITEMS} items, {LM[0]} × {ENCODER[0]} layers, k = {K}; CPU time of one core")
    print(f"{'null':>26} {'ms a permutation':>18} {'ratio':>8} {'same numbers':>14}")
    for name, (seconds, found) in rows.items():
        same = found == list(counts[: len(found)])
        print(f"{name:>26} {1e3 * seconds:>18.2f} {seconds / ours:>8.0f} {same!s:>14}", flush=True)


def false_alignments() -> None:
    """Layers are random walks over depth, as those of models are near."""
    rng, p = np.random.default_rng(1), np.empty(SETS)
    for place in range(SETS):
        lm, encoder = (rng.standard_normal((depth, 128, 16)).cumsum(0) for depth in (4, 5))
        p[place] = align(lm, {"encoder": encoder}, K, permutations=99, seed=place).p
    print(f"\nalignment of unrelated features, {SETS} sets: p ≤ 0.05 in {100 * (p <= 0.05).mean():.2f} % of them")


def false_onsets() -> None:
    """Scores of one item are alike at all milestones, and a seed's at all layers: no difference anywhere."""
    rng, found, runs = np.random.default_rng(2), 0, 1000
    for _ in range(runs):
        shape = (MILESTONES, LAYERS, SEEDS, 100)
        seed, item = rng.standard_normal((1, 1, SEEDS, 1)), rng.standard_normal((1, 1, 1, 100))
        text = 0.1 * seed + item + rng.standard_normal(shape) + 0.1 * rng.standard_normal(shape[:3])[..., None]
        done = emergence(range(1, 1 + MILESTONES), text, item[0] + rng.standard_normal(shape[1:]))
        found += any(onset is not None for onset in done.onset)
    print(f"emergence of nothing, {runs} runs: an onset in {100 * found / runs:.1f} % of them")


def main() -> None:
    """Print all three; about a minute."""
    null()
    false_alignments()
    false_onsets()


if __name__ == "__main__":
    main()
