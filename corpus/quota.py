"""How many items each pool gives: shares read exactly, apportioned to integers, and held against the supplies."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError, nearest

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


def exact_shares(shares: Mapping[str, float]) -> dict[str, Fraction]:
    """The requested shares as decimals, in the order of the names, none negative and not all zero."""
    if not 1 <= len(shares) <= MAX_POOLS:
        raise PresightError("sources", f"{len(shares)} sources are named", f"name 1 to {MAX_POOLS}")
    for name, share in shares.items():
        if not is_number(share) or share < 0:
            raise PresightError(f"sources.{name}", f"{share!r} is no share", "write a number of 0 or more")
    if not any(shares.values()):
        raise PresightError("sources", "all shares are 0", "give at least one source a positive share")
    return {name: decimal(shares[name]) for name in sorted(shares)}


def known_shares(
    shares: Mapping[str, Fraction], supplies: Mapping[str, int], missing: str
) -> tuple[dict[str, Fraction], list[str]]:
    """The shares of sources that have a supply, summing to 1, and the names of those dropped for want of one."""
    dropped = [name for name in shares if name not in supplies]
    if dropped and missing == "error":
        field, mend = f"sources.{dropped[0]}", nearest(dropped[0], supplies)
        raise PresightError(field, "the tokens hold no source of that name", f"{mend} (or set missing: renormalise)")
    known = {name: share for name, share in shares.items() if name in supplies}
    whole = sum(known.values(), Fraction(0))
    if not whole:
        raise PresightError("sources", "no source with a positive share is in the tokens", nearest("", supplies))
    return {name: share / whole for name, share in known.items()}, dropped


def check_supplies(pools: Sequence[Pool], shares: Mapping[str, Fraction], item: int) -> Pool:
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
    most = min(math.floor(pool.supply * decimal(pool.cap)) // share for pool in pools if (share := shares[pool.name]))
    mends.append(f"lower the budget to {most * item} tokens" if most else "leave the source out")
    raise PresightError(
        f"sources.{binding.name}",
        f"its quota of {binding.quota} items exceeds its supply of {binding.supply} × max_epochs {binding.cap:g}",
        " or ".join(mends),
    )
