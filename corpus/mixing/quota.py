"""How many items each pool gives: shares read exactly, apportioned to integers, and held against the supplies."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError

MAX_POOLS = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class Pool:
    """What a mixture takes from one source.

    Args:
        name: of the source.
        supply: items it holds.
        share: requested share of the mixture's items; the shares of a mixture sum to 1.
        quota: items it gives to the mixture.
        cap: epochs (passes over the supply) it may give at most.
    """

    name: str
    supply: int
    share: float
    quota: int
    cap: float

    @property
    def epochs(self) -> float:
        """Passes over the supply."""
        return self.quota / self.supply if self.supply else 0.0

    @property
    def pressure(self) -> Fraction | float:
        """Epochs as a fraction of the cap, exact: over 1 where the supply does not suffice."""
        if self.supply:
            return self.quota / (self.supply * decimal(self.cap))
        return math.inf if self.quota else 0.0


def is_number(value: Any) -> TypeGuard[float]:
    """A finite real number, and not a truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def decimal(value: float | Fraction) -> Fraction:
    """The number as it prints: 0.1 is one tenth, not the double next to it."""
    return value if isinstance(value, Fraction) else Fraction(repr(float(value)))


def apportion(shares: Sequence[float | Fraction], total: int) -> npt.NDArray[np.int64]:
    """Integers that sum to ``total``, each less than one away from its share of it, by largest remainder.

    Shares need not sum to 1. They are read as the decimals they print as, so that ties are true ties; a tie goes to
    the earlier share, which in a lock is the earlier name.
    """
    exact = [decimal(share) for share in shares]
    whole = sum(exact, Fraction(0))
    ideal = [share * total / whole for share in exact]
    quotas = [math.floor(x) for x in ideal]
    order = sorted(range(len(ideal)), key=lambda p: quotas[p] - ideal[p])  # stable: earlier first among equals
    for p in order[: total - sum(quotas)]:
        quotas[p] += 1
    return np.array(quotas, dtype=np.int64)


def check_supplies(pools: Sequence[Pool], item: int) -> Pool:
    """The pool nearest its cap.

    Raises:
        PresightError: it is over; names the smallest cap, or else the largest budget, at which every pool is within.
    """
    binding = max(pools, key=lambda pool: pool.pressure)  # the earlier name among equals
    if binding.pressure <= 1:
        return binding
    mends = []
    if all(pool.supply for pool in pools if pool.quota):
        epochs = max(Fraction(pool.quota, pool.supply) for pool in pools if pool.quota)
        mends.append(f"raise max_epochs to {math.ceil(epochs * 100) / 100:.12g}")
    # A quota is at most its share rounded up, so it stays within any whole number that the share stays within.
    whole = sum(pool.quota for pool in pools)
    most = min(
        math.floor(pool.supply * decimal(pool.cap)) // max(decimal(pool.share), Fraction(pool.quota, whole))
        for pool in pools
        if pool.quota
    )
    mends.append(f"lower the budget to {most * item} tokens" if most else "leave the source out")
    raise PresightError(
        f"sources.{binding.name}",
        f"its quota of {binding.quota} items exceeds its supply of {binding.supply} × max_epochs {binding.cap:g}",
        " or ".join(mends),
    )
