"""What a lock promises, held against the shards and the order: ``presight corpus check`` and ``diff``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from corpus import segments
from corpus.mixture import Mixture, overlap
from corpus.sampler import Sampler
from corpus.tokens import read_shard, read_tokens
from corpus.windows import Windows
from presight.console import progress
from presight.errors import PresightError

PREFIXES = 4000  # looked at, where all would be too many:
COUNTS = 2**23  # of items by pool and prefix, held at once
ITEMS = 50_000  # hashed to find items that two pools share


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    check: str
    holds: bool
    says: str


def check(path: Path, read: bool = True) -> Iterator[Finding]:
    """Check a lock file: what it says of itself, its order, and, with ``read``, the bytes it stands on.

    Raises:
        PresightError: it is no lock, or was changed.
    """
    mixture = Mixture.read(path)
    lock = mixture.lock
    yield Finding("plan", True, f"{mixture.plan[:16]}: nothing was changed since it was compiled")
    yield from _quotas(mixture)
    sampler = Sampler(mixture)
    yield _prefixes(sampler)
    yield _ranks(sampler)
    if read:
        tokens, cells = mixture.folder("tokens"), mixture.folder("cells")
        assert tokens is not None  # a lock has tokens
        sound = list(_shards(lock, tokens))
        yield from sound
        try:
            windows = Windows(mixture, cells)
            if cells:
                yield Finding("cells", True, f"{len(mixture.pools)} lists of items have the bytes that the lock names")
            if all(each.holds for each in sound):
                yield _shared(mixture, sampler, windows, tokens)
        except PresightError as error:
            yield Finding("cells", False, str(error))
    for family, labelled in lock.get("labelled", {}).items():
        yield Finding(f"share of {family}", True, f"{labelled:.2%} labelled so, {mixture.truth(family)}")


def _quotas(mixture: Mixture) -> Iterator[Finding]:
    over = [pool.name for pool in mixture.pools if pool.pressure > 1]
    most = max(mixture.pools, key=lambda pool: pool.epochs)
    says = f"{', '.join(over)} over the cap" if over else f"at most {most.epochs:.2f} epochs, of {most.name}"
    yield Finding("repetition", not over, says)
    total = sum(pool.quota for pool in mixture.pools)
    phases = mixture.phases.sum(axis=0).tolist()
    exact = total == mixture.items and phases == [pool.quota for pool in mixture.pools]
    yield Finding("quotas", exact, f"{total:,} items of {mixture.items:,} in {len(mixture.pools)} pools")


def _prefixes(sampler: Sampler) -> Finding:
    """How far the mixture strays from its shares on the way; at the end it must not."""
    worst, at, start, looked = 0.0, 0, 0, 0
    for quotas in sampler.mixture.phases:
        size = int(quotas.sum())
        if not size:
            continue
        before = sampler.drawn(start)
        if size * len(quotas) <= COUNTS:
            drawn = np.cumsum(sampler.pools(start, start + size)[:, None] == np.arange(len(quotas)), axis=0)
            counts = np.arange(1, size + 1)
        else:
            counts = np.unique(np.linspace(1, size, PREFIXES).astype(np.int64))
            drawn = np.array([sampler.drawn(start + int(count)) - before for count in counts])
        off = np.abs(drawn - counts[:, None] * (quotas / size)).max(axis=1)
        if off.max() > worst:
            worst, at = float(off.max()), start + int(counts[off.argmax()])
        start += size
        looked += len(counts)
    exact = (sampler.drawn(len(sampler)) == [pool.quota for pool in sampler.mixture.pools]).all()
    where = f"after {at:,}" + (f"; {looked:,} prefixes looked at" if looked < len(sampler) else "")
    says = f"exact at the end; at most {worst:.1f} items from its share on the way ({where})"
    return Finding("order", bool(exact) and worst < 6, says)


def _ranks(sampler: Sampler) -> Finding:
    """Cut as 1, 2 and 7 ranks cut it, and taken up again in the middle, the order is one."""
    stop = min(len(sampler), 20_000)
    whole = sampler.items(0, stop)
    same = np.array_equal(whole[stop // 3 :], sampler.items(stop // 3, stop))
    for world in (2, 7):
        cuts = np.linspace(0, stop, 5 * world + 1).astype(int).tolist()
        same &= np.array_equal(whole, np.concatenate([sampler.items(*cut) for cut in pairwise(cuts)]))
    return Finding("ranks", bool(same), "one order for 1, 2 and 7 ranks and after a restart")


def _shards(lock: dict[str, Any], tokens: Path) -> Iterator[Finding]:
    try:
        described = read_tokens(tokens)
        same = described["tokenizer"] == lock["tokens"]["tokenizer"]
        yield Finding("tokenizer", same, f"{described['tokenizer'][:16]}" + ("" if same else ", not the lock's"))
        shards = {shard["path"]: shard for pool in lock["pools"] for shard in pool["shards"]}
        for shard in progress(list(shards.values()), "reading shards"):
            read_shard(tokens, shard, lock["tokens"]["token_bytes"])
            segments.ends(tokens / shard["path"], shard["tokens"])
        total = sum(shard["tokens"] for shard in shards.values())
        yield Finding("shards", True, f"{len(shards)} shards, {total:,} tokens, have the bytes that the lock names")
    except PresightError as error:
        yield Finding("shards", False, str(error))


def _shared(mixture: Mixture, sampler: Sampler, windows: Windows, tokens: Path) -> Finding:
    """Items whose tokens two pools give alike: text that dedup would have taken out."""
    count = min(ITEMS, len(sampler))
    drawn = sampler.items(0, count)
    places = windows.of(drawn["pool"], drawn["position"])
    pools: list[dict[str, Any]] = mixture.lock["pools"]
    dtype = f"<u{mixture.lock['tokens']['token_bytes']}"
    rows = []
    for pool in pools:
        maps = [np.memmap(tokens / shard["path"], dtype=dtype, mode="r") for shard in pool["shards"]]
        rows.append((np.cumsum([0] + [len(each) // mixture.item for each in maps]), maps))
    owners: dict[bytes, set[int]] = {}
    for number, place in zip(drawn["pool"].tolist(), places.tolist(), strict=True):
        starts, maps = rows[number]
        shard = int(np.searchsorted(starts, place, side="right")) - 1
        at = (place - int(starts[shard])) * mixture.item
        digest = hashlib.blake2b(maps[shard][at : at + mixture.item].tobytes(), digest_size=12).digest()
        owners.setdefault(digest, set()).add(number)
    several = [found for found in owners.values() if len(found) > 1]
    names = sorted({pools[number]["name"] for found in several for number in found})
    says = f"{len(several)} of the first {len(owners):,} different items stand in two pools" + (
        f" ({', '.join(names)})" if names else ""
    )
    return Finding("pools apart", not several, says)


def diff(one: Path, two: Path) -> dict[str, Any]:
    """What differs between two locks: ``{"same_plan", "fields": {name: [a, b]}, "pools": [row a pool]}``.

    A row has ``name``, and of both ``quota``, ``share`` (realised) and ``epochs``, and ``common``: draws they have in
    common over the draws of the one that takes more.
    """
    left, right = Mixture.read(one), Mixture.read(two)
    fields = {}
    for name in ("seed", "item", "items", "budget", "target"):
        if left.lock.get(name) != right.lock.get(name):
            fields[name] = [left.lock.get(name), right.lock.get(name)]
    if left.lock["tokens"]["tokenizer"] != right.lock["tokens"]["tokenizer"]:
        fields["tokenizer"] = [left.lock["tokens"]["tokenizer"], right.lock["tokens"]["tokenizer"]]
    if len(left.lock["phases"]) != len(right.lock["phases"]):
        fields["phases"] = [len(left.lock["phases"]), len(right.lock["phases"])]
    sorted_by = [each.lock.get("cells") or {} for each in (left, right)]
    for name in ("by", "thresholds", "shuffled", "classifier"):
        if sorted_by[0].get(name) != sorted_by[1].get(name):
            fields[f"cells.{name}"] = [each.get(name) for each in sorted_by]
    ours, theirs = ({pool["name"]: pool for pool in each.lock["pools"]} for each in (left, right))
    common = overlap(left, right)
    rows = [
        {"name": name, "common": common[name]}
        | {
            key: [each.get(name, {}).get(field, 0) for each in (ours, theirs)]
            for key, field in (("quota", "quota"), ("share", "realised"), ("epochs", "epochs"))
        }
        for name in common
    ]
    return {"same_plan": left.plan == right.plan, "fields": fields, "pools": rows}
