"""How much of what: a share, tokens or epochs of a source; a share of a label family; phases of a curriculum."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, model_validator

from corpus.mixing.quota import apportion, decimal, is_number
from presight.errors import PresightError, nearest
from presight.stage import FrozenMap


class Amount(BaseModel):
    """What a mixture takes of a source, said in one of three ways.

    Tokens and epochs are taken off the budget first; shares divide what they leave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: StrictFloat | None = Field(
        None, ge=0, description="part of what tokens and epochs leave, relative to the others"
    )
    tokens: StrictFloat | None = Field(None, ge=0, description="tokens, rounded down to whole items")
    epochs: StrictFloat | None = Field(None, ge=0, description="passes over the source, rounded down to whole items")
    max_epochs: StrictFloat | None = Field(None, gt=0, description="passes allowed at most; default: the mixture's")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(value is not None for value in (self.share, self.tokens, self.epochs)) != 1:
            raise ValueError("give one of share, tokens and epochs")
        return self


class Bound(BaseModel):
    """A share that is not fixed but bounded, in the unit of the shares beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    at_least: StrictFloat = Field(0.0, ge=0, description="lower bound")
    at_most: StrictFloat = Field(math.inf, ge=0, description="upper bound", allow_inf_nan=True)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.at_least > self.at_most:
            raise ValueError("at_least is above at_most")
        return self


class Phase(BaseModel):
    """A part of a curriculum: its share of the budget, and the mixture that is read then."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(gt=0, description="part of the budget, relative to the other phases")
    sources: FrozenMap[str, StrictFloat | Amount] = Field(FrozenMap(), description="amount of each source")
    families: FrozenMap[str, StrictFloat | Bound] = Field(FrozenMap(), description="share of each label family")
    overlaps: FrozenMap[str, StrictFloat | Bound] = Field(FrozenMap(), description="share of `one&other` at once")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one phase takes by source.

    Args:
        quotas: items of each source, in order of name.
        shares: requested share of the phase of each source, summing to 1.
        dropped: sources without text that were left out, with the share that they were to have.
        total: what the shares summed to, as given; None where no share was.
    """

    quotas: dict[str, int]
    shares: dict[str, Fraction]
    dropped: dict[str, float]
    total: Fraction | None


def as_amount(value: float | Amount) -> Amount:
    """A bare number is a share."""
    return value if isinstance(value, Amount) else Amount(share=value)


def caps(asked: Iterable[Mapping[str, float | Amount]], names: Iterable[str], most: float) -> dict[str, float]:
    """Passes over each source allowed at most, in all phases together: the least that its amounts say, or ``most``."""
    said: dict[str, list[float]] = {}
    for amounts in asked:
        for name, value in amounts.items():
            if isinstance(value, Amount) and value.max_epochs is not None:
                said.setdefault(name, []).append(value.max_epochs)
    return {name: float(min(said.get(name, [most]))) for name in names}


@contextmanager
def in_phase(number: int, phases: int) -> Iterator[None]:
    """Errors name the phase of a curriculum that they are about."""
    try:
        yield
    except PresightError as error:
        if phases == 1:
            raise
        raise PresightError(f"schedule.{number}.{error.field}", error.problem, error.mend) from error


def take(
    amounts: Mapping[str, float | Amount],
    supplies: Mapping[str, int],
    items: int | None,
    item: int,
    missing: Literal["error", "renormalise"] = "error",
    alone: bool = True,
) -> Taken:
    """Items of each source in one phase.

    Args:
        amounts: by source.
        supplies: items each source holds.
        items: of the phase; None: what the amounts add up to, which then must all be tokens or epochs.
        item: tokens of an item.
        missing: what to do about a source without supply entry.
        alone: whether the mixture has no other phase, so that its budget is this one's.

    Raises:
        PresightError: a source that is not there, amounts over the budget or short of it.
    """
    for name, value in amounts.items():
        if not isinstance(value, Amount) and (not is_number(value) or value < 0):
            raise PresightError(f"sources.{name}", f"{value!r} is no share", "write a number of 0 or more")
    asked = {name: as_amount(amounts[name]) for name in sorted(amounts)}
    if not asked:
        raise PresightError("sources", "0 sources are named", "name at least one")
    gone = [name for name in asked if name not in supplies]
    if gone and missing == "error":
        mend = f"{nearest(gone[0], supplies)} (or set missing: renormalise)"
        raise PresightError(f"sources.{gone[0]}", "the tokens hold no source of that name", mend)
    whole = sum((decimal(a.share) for a in asked.values() if a.share is not None), Fraction(0))
    known = {name: amount for name, amount in asked.items() if name in supplies}
    fixed = {name: items_of(amount, supplies[name], item) for name, amount in known.items() if amount.share is None}
    shares = {name: decimal(amount.share) for name, amount in known.items() if amount.share is not None}
    positive = sum(shares.values(), Fraction(0))
    if not positive and not any(fixed.values()):
        if gone:
            problem = "no source with a positive share is in the tokens"
            raise PresightError("sources", problem, nearest("", supplies))
        if fixed:
            raise PresightError("sources", "the amounts are less than one item", f"ask for {item} tokens or more")
        raise PresightError("sources", "all shares are 0", "give at least one source a positive share")
    left = _left(items, sum(fixed.values()), positive, item, alone)
    given = dict(zip(shares, apportion(list(shares.values()), left).tolist(), strict=True)) if positive else {}
    quotas = {name: fixed.get(name, given.get(name, 0)) for name in known}
    size = sum(quotas.values()) or 1  # a phase may be shorter than an item
    requested = {
        name: shares[name] / positive * Fraction(left, size) if name in shares and positive else Fraction(count, size)
        for name, count in quotas.items()
    }
    dropped = {
        name: float(decimal(asked[name].share or 0) / (whole or 1) + decimal(asked[name].tokens or 0) / (size * item))
        for name in gone
    }
    return Taken(quotas, requested, dropped, whole if shares else None)


def items_of(amount: Amount, supply: int, item: int) -> int:
    """Items that an amount in tokens or epochs comes to."""
    if amount.tokens is not None:
        return math.floor(decimal(amount.tokens) / item)
    return math.floor(decimal(amount.epochs or 0) * supply)


def _left(items: int | None, fixed: int, shares: Fraction, item: int, alone: bool) -> int:
    """Items that the shares divide."""
    if items is None:
        if shares:
            raise PresightError("budget", "is not given, but shares are", "give a budget, or tokens or epochs of each")
        return 0
    if fixed > items:
        mend = f"raise the budget to {fixed * item}" if alone else "ask for less, or give the phase a larger share"
        raise PresightError("sources", f"tokens and epochs ask for {fixed} of {items} items", mend)
    if not shares and fixed < items:
        problem = f"tokens and epochs add up to {fixed} of {items} items, and no source has a share of the rest"
        mend = f"lower the budget to {fixed * item}, or give a source a share" if alone else "give a source a share"
        raise PresightError("sources", problem, mend)
    return items - fixed


def cut(shares: Sequence[float], items: int) -> list[int]:
    """Items of each phase: cumulative shares of the whole, so that the ends of phases are where they were asked."""
    exact = [decimal(share) for share in shares]
    whole = sum(exact, Fraction(0))
    ends = [round(sum(exact[: k + 1], Fraction(0)) / whole * items) for k in range(len(exact))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]
