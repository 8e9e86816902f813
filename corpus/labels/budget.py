"""Tokens and money: what was spent, what requests in flight may yet take, and what may be spent in all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from presight.errors import PresightError

Price = tuple[float, float]


class Exhausted(Exception):
    """The next request might exceed the budget, and none in flight can give back what was set aside for it."""


@dataclass
class Amount:
    """Tokens of prompts and of answers."""

    prompt: int = 0
    answer: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.prompt + other.prompt, self.answer + other.answer)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.prompt - other.prompt, self.answer - other.answer)

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.prompt + self.answer

    def cost(self, price: Price) -> float:
        """In the currency of ``price``, which is per million."""
        return (self.prompt * price[0] + self.answer * price[1]) / 1e6


class Budget:
    """Lets a request go only if all that is in flight can be paid, at worst.

    Args:
        max_tokens: of prompts and answers; None: any number.
        max_cost: None: any.
        price: of a million prompt tokens, and of a million answer tokens.

    Raises:
        PresightError: a negative limit, or a limit on cost without a price.
    """

    def __init__(self, max_tokens: int | None, max_cost: float | None, price: Price | None) -> None:
        if max_cost is not None and price is None:
            raise PresightError("max_cost", f"{max_cost:g} means nothing without a price", "give price")
        for field, value in (("max_tokens", max_tokens), ("max_cost", max_cost), ("price", price)):
            if value is not None and min(value if isinstance(value, tuple) else (value,)) < 0:
                raise PresightError(field, f"{value} is negative", "give 0 or more")
        self.max_tokens, self.max_cost, self.price = max_tokens, max_cost, price or (0.0, 0.0)
        self.spent, self._reserved, self._in_flight = Amount(), Amount(), 0
        self._freed = asyncio.Event()

    def spend(self, amount: Amount) -> None:
        """Count what an answer took."""
        self.spent = self.spent + amount

    @asynccontextmanager
    async def reserve(self, most: Amount) -> AsyncIterator[None]:
        """Set ``most`` aside for the duration of a request; wait for room while others may give some back.

        Raises:
            Exhausted: there will be none.
        """
        while not self._fits(most):
            if not self._in_flight:
                raise Exhausted
            self._freed.clear()
            await self._freed.wait()
        self._in_flight += 1
        self._reserved = self._reserved + most
        try:
            yield
        finally:
            self._in_flight -= 1
            self._reserved = self._reserved - most
            self._freed.set()

    def _fits(self, most: Amount) -> bool:
        worst = self.spent + self._reserved + most
        return (self.max_tokens is None or worst.tokens <= self.max_tokens) and (
            self.max_cost is None or worst.cost(self.price) <= self.max_cost
        )

    @property
    def left(self) -> str:
        """What may yet be spent: ``1,200 tokens and 0.31``; empty if anything may."""
        words = []
        if self.max_tokens is not None:
            words.append(f"{max(0, self.max_tokens - self.spent.tokens):,} tokens")
        if self.max_cost is not None:
            words.append(f"{max(0.0, self.max_cost - self.spent.cost(self.price)):.4g} of max_cost")
        return " and ".join(words)
