"""What labelled shares are once the classifier's errors are taken out, as locks and cells write it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corpus.mixing.truth import Key, Records, Refusal, true_shares


def shares(rows: Sequence[Mapping[str, Any]], by: Sequence[str], amounts: Mapping[Key, float]) -> dict[str, Any]:
    """The share that truly has each family, ``{"value", "low", "high"}``, or ``{"refused": why}``.

    The errors are those on annotated windows; an item is not one of them, but has about their length.

    Args:
        rows: of annotated windows: ``source``, ``document``, ``true`` and ``predicted`` families.
        by: the families that cells are made of.
        amounts: items by source and predicted families.
    """
    if not rows or not any(amounts.values()):
        return {}
    records = Records(
        [row["source"] for row in rows],
        {family: [family in row["true"] for row in rows] for family in by},
        {family: [family in row["predicted"] for row in rows] for family in by},
        [row["document"] for row in rows],
    )
    return {
        family: {"refused": str(each)}
        if isinstance(each, Refusal)
        else {name: round(getattr(each, name), 6) for name in ("value", "low", "high")}
        for family, each in true_shares(records, amounts).items()
    }


def sentence(found: Mapping[str, Any] | None) -> str:
    """One of :func:`shares` in words."""
    if not found:
        return "how much truly is was not estimated"
    if "refused" in found:
        return f"how much truly is cannot be said: {found['refused']}"
    return f"truly {found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"
