"""Start-up, memory and rate of the stateless sampler, beside the shuffled index that loaders usually build.

The index is what a training script builds when it mixes sources: draw counts per source, lay them out, shuffle,
keep the order in memory. Both give 10 million items of six sources; the sampler then also serves 500 million.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

SHARES = {"web": 26, "encyclopedia": 5.5, "academia": 12.5, "literature": 2, "math": 13, "code": 41}
ITEMS = 10_000_000


def stateless(items: int) -> tuple[float, float]:
    from corpus import Sampler
    from corpus.mixture import compile_mixture

    supplies = dict.fromkeys(SHARES, items)
    began = time.perf_counter()
    lock = compile_mixture(SHARES, supplies, items * 256, 256, seed=0, tokens={})
    sampler = Sampler(lock)
    sampler.items(0, 1)
    ready = time.perf_counter() - began
    began = time.perf_counter()
    sampler.items(items // 2, items // 2 + 1_000_000)
    return ready, 1e6 / (time.perf_counter() - began)


def index(items: int) -> tuple[float, float]:
    began = time.perf_counter()
    order = np.random.default_rng(0)
    counts = (np.array(list(SHARES.values())) / 100 * items).astype(np.int64)
    pool = np.repeat(np.arange(len(counts), dtype=np.int16), counts)
    position = np.concatenate([order.permutation(count) for count in counts])
    shuffled = order.permutation(len(pool))
    pool, position = pool[shuffled], position[shuffled]
    ready = time.perf_counter() - began
    began = time.perf_counter()
    rows = slice(items // 2, items // 2 + 1_000_000)
    np.stack([pool[rows], position[rows]])
    return ready, 1e6 / (time.perf_counter() - began)


def main() -> None:
    """Print the table; each line in a process of its own, so that peak memory is its own."""
    if len(sys.argv) == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ready, rate = {"stateless": stateless, "index": index}[sys.argv[1]](int(float(sys.argv[2])))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"{sys.argv[1]:>10} {float(sys.argv[2]):>12,.0f} {ready * 1e3:>12.1f} {grown:>10.0f} {rate / 1e6:>12.1f}"
        )
        return
    import subprocess

    print(f"{'':>10} {'items':>12} {'ready, ms':>12} {'MB':>10} {'M items/s':>12}", flush=True)
    for arguments in (("index", "1e7"), ("stateless", "1e7"), ("stateless", "5e8")):
        subprocess.run([sys.executable, "-P", __file__, *arguments], check=True)


if __name__ == "__main__":
    main()
