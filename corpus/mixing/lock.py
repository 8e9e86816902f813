"""The lock of a mixture: a JSON document of what was asked, what is given, from which shards, in which order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from corpus.mixing.quota import Pool, is_number
from corpus.mixing.rotation import MAX_ITEMS, golden_step
from presight.errors import PresightError

FORMAT = "presight mixture lock"
VERSION = 2
FILE = "mixture.lock"
PLACES = ("tokens", "cells")  # what holds a `directory`, which may move


def whole_items(budget: float, item: int) -> int:
    """Items in a budget of tokens, rounded down.

    Raises:
        PresightError: one of them is no positive integer, or the budget is less than an item or more than a rotation.
    """
    for name, value in (("item", item), ("budget", budget)):
        if not is_number(value) or value != int(value) or value < 1:
            raise PresightError(name, f"{value!r} is no number of tokens", "write a positive integer")
    items = int(budget) // int(item)
    if not items:
        raise PresightError("budget", f"{budget} tokens are less than one item", f"raise it to at least {item}")
    if items > MAX_ITEMS:
        raise PresightError("item", f"{item} tokens cut the budget into {items} items", f"allow at most {MAX_ITEMS}")
    return items


def build(
    pools: Sequence[Pool],
    phases: Sequence[Sequence[int]],
    about: Sequence[Mapping[str, Any]],
    *,
    item: int,
    seed: int,
    budget: int,
    **rest: Any,
) -> dict[str, Any]:
    """The lock of a mixture.

    Args:
        pools: in order of name.
        phases: items of each pool in each phase, [phases][pools].
        about: what else the lock says of each pool: where its text lies.
        item: tokens of an item.
        seed: of the draws.
        budget: tokens asked for.
        **rest: what else the lock says of the mixture; ``tokens`` and ``cells`` may hold a ``directory``, which is no
            part of the plan.
    """
    items = sum(pool.quota for pool in pools)
    lock = {
        "format": FORMAT,
        "version": VERSION,
        "seed": seed,
        "item": item,
        "items": items,
        "budget": budget,
        "phases": [
            {"items": sum(quotas), "step": golden_step(sum(quotas) or 1), "quotas": [int(quota) for quota in quotas]}
            for quotas in phases
        ],
        "pools": [
            {
                "name": pool.name,
                "share": pool.share,
                "realised": pool.quota / items,
                "supply": pool.supply,
                "quota": pool.quota,
                "epochs": pool.epochs,
                "cap": pool.cap,
                **more,
            }
            for pool, more in zip(pools, about, strict=True)
        ],
        **rest,
    }
    lock = json.loads(json.dumps(lock, allow_nan=False))  # plain values of its own, equal to what a reader will see
    return lock | {"plan": plan(lock)}


def plan(lock: Mapping[str, Any]) -> str:
    """SHA-256 of the lock but for the plan itself and the places of tokens and cells, which may move."""
    content = {key: value for key, value in lock.items() if key != "plan"}
    for place in PLACES:
        if isinstance(content.get(place), Mapping):
            content[place] = {key: value for key, value in content[place].items() if key != "directory"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verify(lock: Any, origin: str) -> None:
    """Refuse what is no lock, a lock of another version, or one that was changed.

    Raises:
        PresightError: names ``origin``.
    """
    again = "compile the mixture again"
    if not isinstance(lock, dict) or lock.get("format") != FORMAT:
        raise PresightError(origin, "is no mixture lock", again)
    if lock.get("version") != VERSION:
        raise PresightError(origin, f"is a lock of version {lock.get('version')}, not {VERSION}", again)
    if not isinstance(lock.get("tokens"), dict) or lock.get("plan") != plan(lock):
        raise PresightError(origin, "does not match its plan hash, so it was changed after it was compiled", again)
