"""The values of an axis: listed, named, a range of numbers, or steps between two mappings."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

from presight.errors import PresightError

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_RANGE = re.compile(rf"^\s*{_NUMBER}\s*\.\.\s*{_NUMBER}(?:\s+step\s+{_NUMBER})?\s*$")
MOST = 10_000
FORMS = "list distinct values, give each a name, or write a range like 50..85 step 5"


def values(name: str, given: Any, within: str = "axes") -> dict[str, Any]:
    """Labels and values of an axis.

    Args:
        name: of the axis, for errors.
        given: a list of scalars, named by themselves; a mapping of names to values; ``"50..85 step 5"``, both ends
            included; or ``{between: [first, last], steps: 7}``, mappings of numbers between which each step moves in
            a straight line, named 0 … steps − 1.
        within: what errors call the mapping of axes.

    Raises:
        PresightError: it is none of these.
    """
    where = f"{within}.{name}"
    if isinstance(given, str) and (match := _RANGE.match(given)):
        low, high, step = match.groups()
        given = span(low, high, step, where)
    if isinstance(given, dict) and set(given) == {"between", "steps"}:
        return {str(k): value for k, value in enumerate(between(given["between"], given["steps"], where))}
    if isinstance(given, list) and not any(isinstance(value, (dict, list)) for value in given):
        pairs = [(str(value), value) for value in given]
    else:
        pairs = [(str(label), value) for label, value in given.items()] if isinstance(given, dict) else []
    if pairs and len(dict(pairs)) == len(pairs):
        return dict(pairs)
    raise PresightError(where, f"{given!r} is not an axis", FORMS)


def span(first: str, last: str, step: str | None, where: str) -> list[float]:
    """The numbers from ``first`` to ``last``, reckoned in decimals so that 0.3 is 0.3."""
    low, high, by = Fraction(first), Fraction(last), Fraction(step or 1)
    if by <= 0 or high < low or (high - low) / by > MOST:
        raise PresightError(where, f"{first}..{last} step {step or 1} has no steps", "write low..high step s, s > 0")
    numbers = [low + k * by for k in range(int((high - low) / by) + 1)]
    return [int(value) if value.denominator == 1 else float(value) for value in numbers]


def between(ends: Any, steps: Any, where: str) -> list[dict[str, float]]:
    """``steps`` mappings from the first of ``ends`` to the second; a key that one of them lacks is 0 there."""
    two = isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, dict) for end in ends)
    numbers = two and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for end in ends
        for value in end.values()
    )
    if not numbers or not isinstance(steps, int) or isinstance(steps, bool) or not 2 <= steps <= MOST:
        mend = "write between: [{a: 1, …}, {a: 2, …}] and steps: 2 or more"
        raise PresightError(where, "is no row of steps between two mappings of numbers", mend)
    first, last = ends
    keys = list(dict.fromkeys([*first, *last]))
    exact = [{key: Fraction(str(end.get(key, 0))) for key in keys} for end in (first, last)]
    return [
        {key: float(exact[0][key] + (exact[1][key] - exact[0][key]) * Fraction(k, steps - 1)) for key in keys}
        for k in range(steps)
    ]
