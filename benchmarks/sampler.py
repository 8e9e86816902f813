"""What it takes to know the order of a mixture: Presight's sampler beside what a training script would use instead.

MosaicML streaming and Megatron-LM build the order of an epoch before its first item; the plain way is to shuffle an
index. Each contender gets the same shares, of sources that hold a fifth more than is read of them, and a process of
its own: clocks start after its imports and stop with the first item; memory is what that adds at its peak; rates are
reads of four million items from the middle, a second of CPU. The two libraries run in interpreters given by
``--streaming`` and ``--megatron``; without one their lines say what to install.

What is called of them: StreamingDataset's weighting, resampling, partition and shuffle with the defaults of one rank
(random batches, py1e), in shards of 64 MiB; Megatron's blending alone, and with the document, sample and shuffle
indices of each source, as on a first run: a later one maps its cache. The shards' indices and the documents' lengths
are theirs for nothing. Megatron packs documents into items here, Presight when it tokenises. Streaming's stratified
batches are left out: they round shares to the batch (of 256 items: 2.5 % becomes 2.3 or 2.7 %, and 9 % of a million
items are dropped) and refuse a source too small for an item in each.

A source less than one item off its share at the end has what whole items allow.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

SHARES = {"web": 50, "encyclopedia": 2.5, "academia": 2.5, "literature": 20, "math": 5, "code": 20}
ITEM = 2048
ITEMS = 10_000_000
LONG = 10**12 // ITEM, 24, 500_000_000  # items of a trillion tokens, pools, items each holds
SHORT, MIXTURES = 10_000, 300  # items of a random mixture, and how many
RARE = [0.05, 49.95, 50]

Build = Callable[[Sequence[float], Sequence[int], int], Any]  # shares, supplies, items → what has items and pools


@dataclass
class Order:
    """The order of an epoch, held in memory: source and position of each item."""

    pool: npt.NDArray[Any]
    position: npt.NDArray[Any]

    def pools(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Source of each of the items start … stop − 1."""
        return self.pool[start:stop]

    def items(self, start: int, stop: int) -> Any:
        """Source and position of each."""
        return self.pool[start:stop].copy(), self.position[start:stop].copy()


def presight() -> Build:
    from corpus.mixture import Mixture, compile_mixture
    from corpus.sampler import Sampler

    def build(shares: Sequence[float], supplies: Sequence[int], items: int) -> Any:
        names = {f"{p:04}": share for p, share in enumerate(shares)}
        lock = compile_mixture(names, dict(zip(names, supplies, strict=True)), items * ITEM, ITEM, seed=0, tokens={})
        with tempfile.TemporaryDirectory() as folder:
            Mixture(lock).write(Path(folder) / "mixture.lock")
            return Sampler(Path(folder))

    return build


def shuffle() -> Build:
    def build(shares: Sequence[float], supplies: Sequence[int], items: int) -> Order:
        order = np.random.default_rng(0)
        ends = np.rint(np.cumsum(shares) / sum(shares) * items).astype(np.int64)
        counts = np.diff(ends, prepend=np.int64(0))
        pool = np.repeat(np.arange(len(counts), dtype=np.int16), counts)
        position = np.concatenate([order.permutation(n)[:count] for n, count in zip(supplies, counts, strict=True)])
        shuffled = order.permutation(len(pool))
        return Order(pool[shuffled], position[shuffled])

    return build


def streaming() -> Build:
    from streaming.base.batching import generate_work
    from streaming.base.dataset import StreamingDataset
    from streaming.base.stream import Stream
    from streaming.base.world import World

    shard = 2**26 // (2 * ITEM)  # items of two bytes a token in the default size of a shard

    class Opened(StreamingDataset):  # as it stands once the index of every shard has been read
        def __init__(self, shares: Sequence[float], supplies: Sequence[int], items: int) -> None:
            self.streams: Any = [SimpleNamespace(proportion=share) for share in shares]
            self.num_streams, held = len(shares), np.array(supplies)
            sizes = [np.diff(np.append(np.arange(0, supply, shard), supply)) for supply in supplies]
            self.samples_per_shard = np.concatenate(sizes)
            self.sample_offset_per_shard = self.samples_per_shard.cumsum() - self.samples_per_shard
            self.shards_per_stream = np.array([len(each) for each in sizes])
            self.shard_offset_per_stream = self.shards_per_stream.cumsum() - self.shards_per_stream
            self.shuffle, self.shuffle_algo, self.shuffle_seed = True, "py1e", 9176
            self.sampling_method, self.sampling_granularity, self.epoch_seed_change = "balanced", 1, True
            self.partition_algo, self.num_canonical_nodes, self.initial_physical_nodes = "relaxed", 1, None
            self.batching_method, self.batch_size, self.shuffle_block_size = "random", 8, 4_000_000
            self.epoch_size = Stream.apply_weights(self.streams, held, items, self.shuffle_seed)
            work = generate_work("random", self, World(1, 1, 1, 0), 0, 0)
            self.order = work.transpose(3, 2, 0, 1, 4).reshape(-1)[:items]  # as it is traversed; no −1 at its end
            self.firsts = held.cumsum()

        def __del__(self) -> None:
            """Nothing was opened that would have to be closed."""

        def pools(self, start: int, stop: int) -> npt.NDArray[Any]:
            return np.searchsorted(self.firsts, self.order[start:stop], side="right").astype(np.int16)

        def items(self, start: int, stop: int) -> npt.NDArray[Any]:
            return self.order[start:stop].copy()

    return Opened


def megatron(sources: bool = False) -> Build:
    from megatron.core.datasets.blended_dataset import BlendedDataset
    from megatron.core.datasets.gpt_dataset import GPTDataset
    from megatron.core.datasets.utils import Split

    config: Any = SimpleNamespace(sequence_length=ITEM, add_extra_token_to_sequence=True, random_seed=1234)
    config.path_to_cache, config.mock = None, True  # no cache on disk
    config.fast_cache_load = config.defer_npy_index_mmap = False
    documents = 2 * ITEMS if sources else 0  # two an item
    lengths = np.random.default_rng(0).integers(ITEM // 4, 3 * ITEM // 4, documents, dtype=np.int32)
    every = np.arange(documents, dtype=np.int32)

    def source(samples: int, supply: int) -> Any:
        dataset = object.__new__(GPTDataset)
        dataset.config, dataset.index_split, dataset.num_samples = config, Split.train, samples
        dataset.dataset = SimpleNamespace(sequence_lengths=lengths[: 2 * supply])
        dataset.indices = every[: 2 * supply]
        indices = dataset._build_document_sample_shuffle_indices()
        dataset.document_index, dataset.sample_index, dataset.shuffle_index = indices
        return dataset

    def build(shares: Sequence[float], supplies: Sequence[int], items: int) -> Order:
        blend = object.__new__(BlendedDataset)
        blend.weights, blend.size, blend.config = [share / sum(shares) for share in shares], items, config
        blend.split = Split.train
        # Each source is built 0.5 % larger than asked, as the library does, for what the blend may take beyond.
        blend.datasets = [
            source(math.ceil(math.ceil(items * weight) * 1.005), supply) if sources else range(supply)
            for weight, supply in zip(blend.weights, supplies, strict=True)
        ]
        return Order(*blend._build_indices())

    return build


CONTENDERS: dict[str, tuple[str, str, Callable[[], Build]]] = {
    "presight": ("", "Presight", presight),
    "shuffle": ("", "numpy: shuffled index", shuffle),
    "streaming": ("mosaicml-streaming", "streaming {}: an epoch's order", streaming),
    "blend": ("megatron-core", "megatron-core {}: blend alone", megatron),
    "megatron": ("megatron-core", "megatron-core {}: and sources", lambda: megatron(sources=True)),
}


def stray(pool: npt.NDArray[Any], shares: Sequence[float]) -> tuple[float, float]:
    """Items that a source is off its share: the worst over all sources and prefixes, and over sources at the end."""
    worst, final = 0.0, 0.0
    ends = np.cumsum(np.bincount(pool, minlength=len(shares)))
    at = np.split(np.argsort(pool, kind="stable"), ends[:-1])
    for mine, share in zip(at, np.array(shares) / sum(shares), strict=True):
        due, had = mine * share, np.arange(len(mine))  # just before each of its items; just after, both have moved on
        last = abs(len(mine) - share * len(pool))
        worst = max(worst, last, *(abs(gap).max() for gap in (had - due, had + 1 - due - share) if len(mine)))
        final = max(final, last)
    return worst, final


def holding(shares: Sequence[float], items: int) -> list[int]:
    """Items each source holds: a fifth more than its share."""
    return [math.ceil(1.2 * items * share / sum(shares)) + 1 for share in shares]


def peak(anew: bool = False) -> float:
    """The most memory this process has held, MB: ever, or from now on (where the system is Linux)."""
    if anew:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def rate(read: Callable[[int, int], Any], start: int, count: int = 4_000_000) -> float:
    """Millions of items a second of CPU, the best of three."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        read(start, start + count)
        seconds.append(time.process_time() - began)
    return count / min(seconds) / 1e6


def opening(build: Build, shares: Sequence[float], supplies: Sequence[int], items: int) -> tuple[Any, dict[str, Any]]:
    """The order, and what it took from shares to the first item."""
    held, began, busy = peak(anew=True), time.perf_counter(), time.process_time()
    order = build(shares, supplies, items)
    order.items(0, 1)
    took = {"wall": time.perf_counter() - began, "cpu": time.process_time() - busy, "memory": peak() - held}
    return order, took | {"rate": rate(order.items, items // 2)}


def short(contender: str) -> dict[str, Any]:
    """Ten million items; random mixtures; a source of 0.05 %."""
    build, draw = CONTENDERS[contender][2](), np.random.default_rng(1)

    def pools(shares: Sequence[float], items: int) -> npt.NDArray[Any]:
        return build(shares, holding(shares, items), items).pools(0, items)

    shares = list(SHARES.values())
    order, found = opening(build, shares, holding(shares, ITEMS), ITEMS)
    found["prefix"], found["end"] = stray(order.pools(0, ITEMS), shares)
    if contender != "megatron":  # its order is the blend's
        mixtures = [draw.integers(1, 10_000, draw.integers(2, 25)).tolist() for _ in range(MIXTURES)]
        worst, final = np.array([stray(pools(shares, SHORT), shares) for shares in mixtures]).T
        rare = np.cumsum(pools(RARE, 100_000) == 0)
        found["mixtures"] = [np.median(worst), worst.max(), final.max(), int(rare[49_999]), int(rare[-1])]
    return found


def long(contender: str) -> dict[str, Any]:
    """A trillion tokens."""
    items, pools, supply = LONG
    shares = np.random.default_rng(0).integers(1, 10_000, pools).tolist()
    order, found = opening(CONTENDERS[contender][2](), shares, [supply] * pools, items)
    return {**found, "pools": rate(order.pools, items // 2)}


def measure(python: str, what: str, contender: str) -> dict[str, Any]:
    """What a fresh process finds, or its fault."""
    package = CONTENDERS[contender][0]
    if not python:
        return {"fault": f"not installed: pip install {package}"}
    command = [python, "-P", "-W", "ignore", __file__, "--measure", what, contender]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.returncode:
        return json.loads(done.stdout.splitlines()[-1])
    if not package:
        sys.exit(done.stderr)
    return {"fault": (done.stderr.splitlines() or [f"ended with {done.returncode}"])[-1]}


def tables(pythons: dict[str, str]) -> None:
    """Measure and print; ``pythons`` has an interpreter for each package."""
    orders = []
    print(f"{ITEMS:,} items of {len(SHARES)} sources: from shares to the first item; items off a share in that order")
    print(f"{'':34}{'wall, s':>9}{'CPU, s':>9}{'MB':>8}{'M items/s':>11}{'any prefix':>12}{'at the end':>12}")
    for contender, (package, title, _) in CONTENDERS.items():
        found = measure(pythons[package], "short", contender)
        title = f"{title.format(found.get('version', '')).replace(' :', ':'):34}"
        if "fault" in found:
            print(title, found["fault"], flush=True)
            continue
        numbers = "{wall:9.3f}{cpu:9.3f}{memory:8.1f}{rate:11.1f}{prefix:12.2f}{end:12.2f}".format(**found)
        print(f"{title}{numbers}", flush=True)
        if "mixtures" in found:
            orders.append(title + "{:12.2f}{:12.2f}{:12.2f}{:12}{:12}".format(*found["mixtures"]))

    print(f"\n{MIXTURES} mixtures of 2 to 24 sources, {SHORT:,} items: items off a share; and a source of 0.05 %")
    print(f"{'':34}{'median':>12}{'any prefix':>12}{'at the end':>12}{'25 by half':>12}{'50 in all':>12}")
    print("\n".join(orders))

    items, pools, supply = LONG
    found = measure(sys.executable, "long", "presight")
    print(f"\nPresight, a trillion tokens: {items:,} items of {pools} pools of {supply:,}")
    for title, value, unit, met, bound in (
        ("from shares to the first item", found["wall"], "s", found["wall"] < 0.2, "< 0.2"),
        ("memory added", found["memory"], "MB", found["memory"] < 50, "< 50"),
        ("pools()", found["pools"], "M items/s", found["pools"] > 10, "> 10"),
        ("items()", found["rate"], "M items/s", found["rate"] > 3, "> 3"),
    ):
        print(f"{title:34}{value:9.3f} {unit} {bound}: {'met' if met else 'missed'}")


def main() -> None:
    """Print the tables, or measure one contender for them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streaming", metavar="PYTHON", default="", help="an interpreter that has mosaicml-streaming")
    parser.add_argument("--megatron", metavar="PYTHON", default="", help="an interpreter that has megatron-core")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        what, contender = asked.measure
        package = CONTENDERS[contender][0]
        name = {"version": version(package) if package else ""}
        print(json.dumps({"short": short, "long": long}[what](contender) | name))
    else:
        tables({"": sys.executable, "mosaicml-streaming": asked.streaming, "megatron-core": asked.megatron})


if __name__ == "__main__":
    main()
