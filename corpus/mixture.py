"""A mixture: its lock, checked and readable; and what two mixtures have in common.

The lock (``corpus.mixing.lock``) records what was asked, what is given, from which shards and with which repetition;
its ``plan`` is a hash of all of it but the place where the shards lie, so two runs with one plan read the same items
in the same order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from corpus.mixing import lock as locks
from corpus.mixing.amounts import Amount, Taken, caps, cut, in_phase, take
from corpus.mixing.debias import sentence
from corpus.mixing.lock import FILE as FILE
from corpus.mixing.quota import MAX_POOLS, Pool, check_supplies, is_number
from presight.console import number
from presight.errors import PresightError


def compile_mixture(
    shares: Mapping[str, float | Amount],
    supplies: Mapping[str, int],
    budget: int | None,
    item: int,
    *,
    seed: int,
    max_epochs: float = 1.0,
    missing: Literal["error", "renormalise"] = "error",
    phases: Sequence[tuple[float, Mapping[str, float | Amount]]] = (),
    target: int | None = None,
    tokens: Mapping[str, Any],
) -> dict[str, Any]:
    """The lock of a mixture by source.

    Args:
        shares: amount of each source: a share, in per cent, fractions or parts (sums other than 1 and 100 are
            recorded), or an :class:`~corpus.mixing.amounts.Amount` in tokens or epochs; empty where ``phases`` say it.
        supplies: items each source holds.
        budget: tokens of the mixture, rounded down to whole items; None: what the amounts add up to.
        item: tokens of an item.
        seed: of the draws; mixtures with one seed are paired.
        max_epochs: passes over a source allowed at most, where its amount does not say.
        missing: what to do about a source without supply entry: refuse, or drop it and renormalise the others.
        phases: of a curriculum: share of the budget, and amounts.
        target: tokens of a run to be stood in for: each source is cut so that it is repeated as often as there.
        tokens: the tokens artifact: ``shards`` (source → list of shards, each with its hash) goes to the pools,
            ``directory`` is kept but is no part of the plan, the rest is kept as it is.

    Raises:
        PresightError: a share, source, budget or supply that cannot be met, with what would mend it.
    """
    if not is_number(max_epochs) or max_epochs <= 0:
        raise PresightError("max_epochs", f"{max_epochs!r} is no positive number", "write 1 to read nothing twice")
    if missing not in ("error", "renormalise"):
        raise PresightError("missing", f"{missing!r} is no choice", "write error or renormalise")
    asked = [amounts for _, amounts in phases] or [shares]
    for amounts in asked:
        if not 1 <= len(amounts) <= MAX_POOLS:
            raise PresightError("sources", f"{len(amounts)} sources are named", f"name 1 to {MAX_POOLS}")
    items = locks.whole_items(budget, item) if budget is not None else None
    held = cut_supplies(supplies, items, target, item)
    sizes = cut([share for share, _ in phases], items) if phases and items is not None else [items] * len(asked)
    taken = []
    for phase, (each, size) in enumerate(zip(asked, sizes, strict=True)):
        with in_phase(phase, len(asked)):
            taken.append(take(each, held, size, item, missing, alone=len(asked) == 1))
    names = sorted({name for each in taken for name in each.quotas})
    most = caps(asked, names, max_epochs)
    quotas = [[each.quotas.get(name, 0) for name in names] for each in taken]
    total = sum(map(sum, quotas))
    locks.whole_items(total * item, item)
    pools = [
        Pool(name, index(held[name]), _share(name, taken, quotas, total), sum(q[p] for q in quotas), most[name])
        for p, name in enumerate(names)
    ]
    shards = tokens.get("shards", {})
    about = [
        {"source": name, "shards": shards.get(name, [])}
        | ({"of": index(supplies[name])} if held[name] != supplies[name] else {})
        for name in names
    ]
    sums = [float(each.total) for each in taken if each.total is not None]
    return locks.build(
        pools,
        quotas,
        about,
        item=int(item),
        seed=index(seed),
        budget=int(budget) if budget is not None else total * item,
        normalised=next((s for s in sums if not any(abs(s / whole - 1) < 1e-9 for whole in (1, 100))), None),
        missing=[{"name": name, "share": share} for name, share in _dropped(taken).items()],
        binding=check_supplies(pools, item).name,
        target=target,
        tokens={key: value for key, value in tokens.items() if key != "shards"},
    )


def cut_supplies(supplies: Mapping[str, int], items: int | None, target: int | None, item: int) -> Mapping[str, int]:
    """The supplies, cut as much as the run is shorter than its target: then each pool is repeated as often as there.

    The cut depends on the two budgets alone, so all mixtures of a grid read the same cut pools and stay paired.
    """
    if target is None:
        return supplies
    if items is None:
        raise PresightError("budget", "is not given, but a target is", "give the budget of this run")
    whole = target // item
    if whole < items:
        raise PresightError("target", f"{target} tokens are less than the budget", "give the longer run's budget")
    return {name: max(1, round(supply * items / whole)) if supply else 0 for name, supply in supplies.items()}


def _share(name: str, taken: Sequence[Taken], quotas: Sequence[Sequence[int]], total: int) -> float:
    """Requested share of the whole mixture: of each phase, weighted by its items."""
    if len(taken) == 1:
        return float(taken[0].shares.get(name, 0))
    return float(sum(each.shares.get(name, 0) * sum(q) for each, q in zip(taken, quotas, strict=True)) / total)


def _dropped(taken: Sequence[Taken]) -> dict[str, float]:
    return {name: share for each in reversed(taken) for name, share in each.dropped.items()}


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
        locks.verify(self.lock, self.origin)

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
        except (ValueError, RecursionError):
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

    @cached_property
    def phases(self) -> npt.NDArray[np.int64]:
        """Items of each pool in each phase of its curriculum; most mixtures have one: int64[phases, pools]."""
        return np.array([phase["quotas"] for phase in self.lock["phases"]], dtype=np.int64)

    @property
    def plan(self) -> str:
        """Hash of all that determines order and content."""
        return str(self.lock["plan"])

    def folder(self, place: Literal["tokens", "cells"]) -> Path | None:
        """Where its tokens or cells lie, as seen from the file it was read from; None where it has none.

        Raises:
            PresightError: the lock does not say.
        """
        described = self.lock.get(place)
        if described is None:
            return None
        directory = described.get("directory")
        if not isinstance(directory, str):
            raise PresightError(self.origin, f"does not say where its {place} lie", "compile the mixture again")
        return (Path(self.origin).parent / directory).resolve()

    def truth(self, family: str) -> str:
        """The share that truly has a label family, in words."""
        return sentence(self.lock.get("truth", {}).get(family))

    def describe(self) -> None:
        """Print the mixture as a small tree."""
        print(self)

    def __str__(self) -> str:
        lock, pools = self.lock, self.pools
        width = max(len(pool.name) for pool in pools)
        lines = [
            f"mixture {self.plan[:8]}: {number(self.items * self.item)} tokens"
            f" = {self.items:,} items × {self.item:,}, {len(pools)} pools, seed {self.seed}"
        ]
        for pool in pools:
            lines.append(
                f"├─ {pool.name:{width}}  {pool.share:8.3%} asked  {pool.quota / self.items:8.3%} given"
                f"  {number(pool.quota * self.item):>7} of {number(pool.supply * self.item):>7} tokens"
                f"  {pool.epochs:6.2f} epochs of {pool.cap:g}"
                + ("  ← nearest its cap" if pool.name == lock["binding"] else "")
            )
        for k, phase in enumerate(lock["phases"] if len(lock["phases"]) > 1 else ()):
            given = ", ".join(
                f"{pool.name} {q / phase['items']:.1%}" for pool, q in zip(pools, phase["quotas"], strict=True) if q
            )
            lines.append(f"├─ phase {k + 1}: {number(phase['items'] * self.item)} tokens: {given}")
        for family, labelled in lock.get("labelled", {}).items():
            lines.append(f"├─ {family}: {labelled:.2%} labelled so, {self.truth(family)}")
        if lock.get("target"):
            lines.append(
                f"├─ stands in for {number(lock['target'])} tokens: pools are cut to repeat as often as there"
            )
        if lock["normalised"] is not None:
            lines.append(f"├─ shares normalised from a sum of {lock['normalised']:g}")
        for gone in lock["missing"]:
            lines.append(f"├─ dropped for want of text: {gone['name']}, {gone['share']:.3%} of what was asked")
        return "\n".join([*lines[:-1], "└" + lines[-1][1:]])


Lock = Mixture | Mapping[str, Any] | str | Path


def overlap(a: Lock, b: Lock) -> dict[str, float]:
    """For each pool of either mixture: draws the two have in common over the draws of the one that takes more.

    Draws are common where both mixtures read one stream (same seed, item length, supply, shards and, of a cell, list
    of items): then the shorter is a prefix of the longer. Two different streams count as 0, even though they may meet
    by chance.
    """
    left, right = Mixture.of(a), Mixture.of(b)
    ours, theirs = ({pool["name"]: pool for pool in mixture.lock["pools"]} for mixture in (left, right))
    shared = {}
    for name in sorted({*ours, *theirs}):
        one, two = ours.get(name), theirs.get(name)
        same = one and two and all(one.get(key) == two.get(key) for key in ("supply", "of", "shards", "positions"))
        if one and two and same and (left.seed, left.item) == (right.seed, right.item):
            few, many = sorted((one["quota"], two["quota"]))
            shared[name] = few / many if many else 1.0
        else:
            shared[name] = 0.0
    return shared
