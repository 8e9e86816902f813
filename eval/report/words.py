"""Numbers and lists as the report words them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def count(tokens: int) -> str:
    """A number of tokens, short: ``2.05M``."""
    for size, suffix in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if tokens >= size:
            return f"{tokens / size:.3g}{suffix}"
    return str(tokens)


def plural(number: int, noun: str) -> str:
    """``1 model``, ``2 models``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def once(items: Iterable[str]) -> list[str]:
    """Each item once, in order of first appearance."""
    return list(dict.fromkeys(items))


def listing(items: Iterable[str]) -> str:
    """``a, b and c``."""
    *head, last = [*items] or [""]
    return f"{', '.join(head)} and {last}" if head else last


def spread(values: Sequence[float], unit: str) -> str:
    """``4.1 to 17 points``."""
    low, high = (f"{value:.0f}" if value >= 100 else f"{value:.2g}" for value in (min(values), max(values)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
