"""The paper's figures as data: ``published.yaml``, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

from pydantic import BaseModel, Field

from eval.report.evidence import called, join
from presight import document
from presight.errors import PresightError, nearest

FILE = Path(__file__).with_name("published.yaml")
STRUCTURE, PAIR = "structure", " × "  # the figure whose numbers stand in `eval.structure`
Cell = int | float | str | None
Key = tuple[tuple[str, str], ...]  # the labels of a curve but for the axis along which it goes


class Figure(BaseModel, frozen=True, extra="forbid"):
    """A figure or table of the paper, under our names; see ``published.yaml`` for its fields."""

    title: str
    where: str
    digitised: bool = False
    models: str
    questions: str
    axis: str
    x: str
    place: tuple[str, ...]
    groups: tuple[str, ...] = Field(min_length=1)
    rows: tuple[tuple[Cell, ...], ...]
    free: tuple[str, ...] = ()
    also: dict[str | int, str | int] = {}
    source: str | None = None
    whole: int | None = None
    sample: str = "one seed"
    itself: bool = False
    baseline: dict[str, float] = {}

    @cached_property
    def curves(self) -> dict[Key, dict[str, dict[str, float]]]:
        """Values by curve, label along the axis, and group; what the paper does not say is left out."""
        found: dict[Key, dict[str, dict[str, float]]] = {}
        for row in self.rows:
            labels = {axis: label(cell) for axis, cell in zip(self.place, row, strict=False)}
            at = labels.pop(self.axis)
            values = dict(zip(self.groups, row[len(self.place) :], strict=True))
            found.setdefault(key(labels), {})[at] = {
                group: float(value) * (self.baseline[group] / 100 if self.baseline else 1)
                for group, value in values.items()
                if value is not None
            }
        return found

    @cached_property
    def order(self) -> list[str]:
        """The labels along the axis."""
        return list(dict.fromkeys(at for curve in self.curves.values() for at in curve))

    @property
    def numeric(self) -> bool:
        """Whether the axis is one of numbers, so that its points make a line."""
        return all(number(at) is not None for at in self.order)

    def shown(self, at: str) -> str:
        """A label along any of its axes, as the paper or we write it."""
        return self._written.get(at, at)

    @cached_property
    def _written(self) -> dict[str, str]:
        return {label(cell): str(cell) for row in self.rows for cell in row[: len(self.place)]}

    def called(self, curve: Key) -> str:
        """A curve as readers know it; empty where there is but one."""
        return join(called(axis, self.shown(value)) for axis, value in curve)

    def named(self, value: str) -> str:
        """One of our labels by the paper's name."""
        return self._also.get(label(value), label(value))

    @cached_property
    def _also(self) -> dict[str, str]:
        return {label(ours): label(theirs) for ours, theirs in self.also.items()}


@cache
def figures() -> dict[str, Figure]:
    """All figures, by name."""
    from eval.structure import PUBLISHED

    fields = document.read(FILE)
    fields[STRUCTURE]["rows"] = [(PAIR.join(sorted(pair)), value) for pair, value in PUBLISHED.items()]
    return {name: Figure(**each) for name, each in fields.items()}


def require(names: tuple[str, ...]) -> None:
    """Refuse what is no figure of the paper.

    Raises:
        PresightError: with the nearest name.
    """
    for name in names:
        if name not in figures():
            raise PresightError("published", f"{name!r} is no figure of the paper", nearest(name, figures()))


def label(value: Cell) -> str:
    """A label as it is compared: numbers by their value, words by their letters."""
    found = number(str(value))
    return f"{found:.13g}" if found is not None else re.sub(r"[\W_]+", "_", str(value)).strip("_").lower()


def number(value: str) -> float | None:
    """The number that a label is."""
    return float(value) if re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", value) else None


def key(labels: Mapping[str, str]) -> Key:
    """Labels in an order of their own."""
    return tuple(sorted(labels.items()))
