"""Shares into integer quotas: a mixture is a lock, a small JSON document from which order and content follow.

The lock records what was asked, what is given, from which shards and with which repetition; its ``plan`` is a hash of
all of it but the place where the shards lie, so two runs with one plan read the same items in the same order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, Literal

from corpus.quota import Pool, apportion, check_supplies, exact_shares, is_number, known_shares
from corpus.rotation import MAX_ITEMS, golden_step
from presight.errors import PresightError

FORMAT = "presight mixture lock"
VERSION = 1
FILE = "mixture.lock"


def compile_mixture(
    shares: Mapping[str, float],
    supplies: Mapping[str, int],
    budget: int,
    item: int,
    *,
    seed: int,
    max_epochs: float = 1.0,
    missing: Literal["error", "renormalise"] = "error",
    tokens: Mapping[str, Any],
) -> dict[str, Any]:
    """The lock of a mixture by source.

    Args:
        shares: of each source, in per cent, fractions or parts; sums other than 1 and 100 are recorded.
        supplies: items each source holds.
        budget: tokens of the mixture; rounded down to whole items.
        item: tokens of an item.
        seed: of the draws; mixtures with one seed are paired.
        max_epochs: passes over a source allowed at most.
        missing: what to do about a source without supply entry: refuse, or drop it and renormalise the others.
        tokens: the tokens artifact: ``shards`` (source → list of shards, each with its hash) goes to the pools,
            ``directory`` is kept but is no part of the plan, the rest is kept as it is.

    Raises:
        PresightError: a share, source, budget or supply that cannot be met, with what would mend it.
    """
    items = _whole_items(budget, item)
    if not is_number(max_epochs) or max_epochs <= 0:
        raise PresightError("max_epochs", f"{max_epochs!r} is no positive number", "write 1 to read nothing twice")
    if missing not in ("error", "renormalise"):
        raise PresightError("missing", f"{missing!r} is no choice", "write error or renormalise")
    asked = exact_shares(shares)
    total = float(sum(asked.values()))
    given, dropped = known_shares(asked, supplies, missing)
    quotas = apportion(list(given.values()), items).tolist()
    pools = [
        Pool(name, index(supplies[name]), float(given[name]), quota, float(max_epochs))
        for name, quota in zip(given, quotas, strict=True)
    ]
    binding = check_supplies(pools, given, item)
    shards = tokens.get("shards", {})
    lock = {
        "format": FORMAT,
        "version": VERSION,
        "seed": index(seed),
        "item": int(item),
        "items": items,
        "step": golden_step(items),
        "budget": int(budget),
        "pools": [
            {
                "name": pool.name,
                "share": pool.share,
                "realised": pool.quota / items,
                "supply": pool.supply,
                "quota": pool.quota,
                "epochs": pool.epochs,
                "cap": pool.cap,
                "shards": shards.get(pool.name, []),
            }
            for pool in pools
        ],
        "normalised": None if any(abs(total / whole - 1) < 1e-9 for whole in (1, 100)) else total,
        "missing": [{"name": name, "share": float(asked[name]) / total} for name in dropped],
        "binding": binding.name,
        "tokens": {key: value for key, value in tokens.items() if key != "shards"},
    }
    lock = json.loads(json.dumps(lock, allow_nan=False))  # plain values of its own, equal to what a reader will see
    return lock | {"plan": _plan(lock)}


@dataclass(frozen=True)
class Mixture:
    """A lock that has been checked.

    Args:
        lock: the document, as ``compile_mixture`` made it.
        origin: what errors call it: the path it was read from.

    Raises:
        PresightError: it is not a lock, is of another version, or does not match its plan hash.
    """

    lock: dict[str, Any]
    origin: str = field(default="mixture", compare=False)

    def __post_init__(self) -> None:
        _verify(self.lock, self.origin)

    @classmethod
    def of(cls, lock: Lock) -> Mixture:
        """A mixture from itself, its lock or a path."""
        if isinstance(lock, Mixture):
            return lock
        return cls(dict(lock)) if isinstance(lock, Mapping) else cls.read(lock)

    @classmethod
    def read(cls, path: str | Path) -> Mixture:
        """The mixture in a lock file, or in a folder that holds ``mixture.lock``."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        try:
            lock = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise PresightError(str(path), f"cannot be read ({error.strerror})", "compile the mixture first") from None
        except ValueError:
            raise PresightError(str(path), "is not JSON, so no mixture lock", "compile the mixture again") from None
        return cls(lock, str(path))

    def write(self, path: str | Path) -> None:
        """Write the lock, whole or not at all."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with partial.open("w", encoding="utf-8") as file:
                json.dump(self.lock, file, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @cached_property
    def pools(self) -> tuple[Pool, ...]:
        """In the order of their names; an item's pool is an index into it."""
        return tuple(Pool(p["name"], p["supply"], p["share"], p["quota"], p["cap"]) for p in self.lock["pools"])

    @property
    def items(self) -> int:
        """How many items the mixture has."""
        return int(self.lock["items"])

    @property
    def item(self) -> int:
        """Tokens of an item."""
        return int(self.lock["item"])

    @property
    def seed(self) -> int:
        """Of the draws."""
        return int(self.lock["seed"])

    @property
    def step(self) -> int:
        """Of the rotation."""
        return int(self.lock["step"])

    @property
    def plan(self) -> str:
        """Hash of all that determines order and content."""
        return str(self.lock["plan"])

    def describe(self) -> None:
        """Print the mixture as a small tree."""
        print(self)

    def __str__(self) -> str:
        lock, pools = self.lock, self.pools
        width = max(len(pool.name) for pool in pools)
        lines = [
            f"mixture {self.plan[:8]}: {_count(self.items * self.item)} tokens"
            f" = {self.items:,} items × {self.item:,}, {len(pools)} pools, seed {self.seed}"
        ]
        for pool in pools:
            lines.append(
                f"├─ {pool.name:{width}}  {pool.share:8.3%} asked  {pool.quota / self.items:8.3%} given"
                f"  {_count(pool.quota * self.item):>7} of {_count(pool.supply * self.item):>7} tokens"
                f"  {pool.epochs:6.2f} epochs of {pool.cap:g}"
                + ("  ← nearest its cap" if pool.name == lock["binding"] else "")
            )
        if lock["normalised"] is not None:
            lines.append(f"├─ shares normalised from a sum of {lock['normalised']:g}")
        for gone in lock["missing"]:
            lines.append(f"├─ dropped for want of text: {gone['name']}, {gone['share']:.3%} of what was asked")
        return "\n".join([*lines[:-1], "└" + lines[-1][1:]])


def _whole_items(budget: int, item: int) -> int:
    for name, value in (("item", item), ("budget", budget)):
        if not is_number(value) or value != int(value) or value < 1:
            raise PresightError(name, f"{value!r} is no number of tokens", "write a positive integer")
    items = int(budget) // int(item)
    if not items:
        raise PresightError("budget", f"{budget} tokens are less than one item", f"raise it to at least {item}")
    if items > MAX_ITEMS:
        raise PresightError("item", f"{item} tokens cut the budget into {items} items", f"allow at most {MAX_ITEMS}")
    return items


def _plan(lock: Mapping[str, Any]) -> str:
    """SHA-256 of the lock but for the plan itself and the place of the tokens, which may move."""
    tokens = {key: value for key, value in lock["tokens"].items() if key != "directory"}
    content = {key: value for key, value in lock.items() if key != "plan"} | {"tokens": tokens}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _verify(lock: Any, origin: str) -> None:
    again = "compile the mixture again"
    if not isinstance(lock, dict) or lock.get("format") != FORMAT:
        raise PresightError(origin, "is no mixture lock", again)
    if lock.get("version") != VERSION:
        raise PresightError(origin, f"is a lock of version {lock.get('version')}, not {VERSION}", again)
    if not isinstance(lock.get("tokens"), dict) or lock.get("plan") != _plan(lock):
        raise PresightError(origin, "does not match its plan hash, so it was changed after it was compiled", again)


def _count(tokens: int) -> str:
    for size, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if tokens >= size:
            return f"{tokens / size:.4g}{suffix}"
    return str(tokens)


Lock = Mixture | Mapping[str, Any] | str | Path


def overlap(a: Lock, b: Lock) -> dict[str, float]:
    """For each pool of either mixture: draws the two have in common over the draws of the one that takes more.

    Draws are common where both mixtures read one stream (same seed, item length, supply and shards): then the shorter
    is a prefix of the longer. Two different streams count as 0, even though they may meet by chance.
    """
    left, right = Mixture.of(a), Mixture.of(b)
    ours, theirs = ({pool["name"]: pool for pool in mixture.lock["pools"]} for mixture in (left, right))
    shared = {}
    for name in sorted({*ours, *theirs}):
        one, two = ours.get(name), theirs.get(name)
        same = one and two and all(one[key] == two[key] for key in ("supply", "shards"))
        if one and two and same and (left.seed, left.item) == (right.seed, right.item):
            few, many = sorted((one["quota"], two["quota"]))
            shared[name] = few / many if many else 1.0
        else:
            shared[name] = 0.0
    return shared
