"""A mixture stated by label families that overlap: the whole items nearest the natural proportions that do as asked.

A *cell* is the text of one source that has one set of families (a geometry text has two). Marginals of families and
sources and the overlaps of families are asked, exactly or within bounds; supplies and ``max_epochs`` cap the cells.
The shares are the point of least divergence from the natural proportions (``corpus.mixing.projection``): it is unique
and moves smoothly with what is asked, so neighbours on a grid of mixtures differ by little. Rounding to whole items is
a small integer programme. What cannot be had is explained by ``corpus.mixing.shortage``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.mixing.projection import Vector, project
from corpus.mixing.quota import is_number
from corpus.mixing.shortage import Demand, Request, explain
from presight.errors import PresightError, nearest

CELLS = 2_000  # more are rounded by largest remainder alone
NODES = 2_000  # of the integer programme's search: a limit that, unlike a time, is the same everywhere
WHOLE = 1e-6  # items: nearer to a whole number is one


@dataclass(frozen=True)
class Cell:
    """The text of one source with exactly these families.

    Args:
        source: its name.
        families: that it has; none is a legal answer.
        supply: items it holds.
    """

    source: str
    families: frozenset[str]
    supply: int

    @property
    def name(self) -> str:
        """Source and families, ``web/reasoning+visual`` or ``web/none``."""
        return f"{self.source}/{'+'.join(sorted(self.families)) or 'none'}"


class Bound(NamedTuple):
    """A share that may lie anywhere between ``lo`` and ``hi``, as fractions; a bare pair does as well."""

    lo: float = 0.0
    hi: float = 1.0


Share = float | tuple[float, float]


@dataclass(frozen=True)
class Solution:
    """A mixture of cells, in the order in which they were given.

    Args:
        shares: fractions [cells], exact to about 1e-12; ``Σ q = 1``.
        quotas: items [cells], summing to the items asked.
        prices: nats per unit of share. Of a request, under its field (``families.visual``): how fast the divergence
            grows as its share or active bound rises, negative where it falls. Of a cap at work, under
            ``max_epochs.`` and the cell's name: how fast it falls as the cap rises. 0 where a bound is idle.
        binding: name of the cell nearest its cap; among several at it, of the dearest.
        divergence: from the natural proportions, in nats.
    """

    shares: Vector
    quotas: npt.NDArray[np.int64]
    prices: dict[str, float]
    binding: str
    divergence: float


def solve(
    cells: Sequence[Cell],
    *,
    families: Mapping[str, Share],
    sources: Mapping[str, Share] | None = None,
    overlaps: Mapping[tuple[str, ...], Share] | Mapping[str, Share] | None = None,
    items: int,
    max_epochs: float | Mapping[str, float],
    natural: Sequence[float] | None = None,
    used: Sequence[int] | None = None,
    item: int | None = None,
) -> Solution:
    """The mixture nearest the natural proportions that does as asked.

    Args:
        cells: where text is, each (source, families) once; their order does not matter.
        families: share of the text that has a family, with whatever others.
        sources: share of a source, over all its cells.
        overlaps: share of the text that has all of several families, ``(reasoning, visual)`` or ``reasoning&visual``.
        items: of the mixture.
        max_epochs: passes over a cell allowed at most; a mapping gives them by source, all of them.
        natural: proportions [cells] to stay near; default: the supplies.
        used: items [cells] already taken out of what the caps allow, as by another phase.
        item: tokens of an item, for messages that name a budget.

    Raises:
        PresightError: an unknown name, a bad number, requests that contradict each other, or one that the supply
            cannot meet, with the least epochs, the largest budget and the nearest share that would do.
    """
    items = _items(items)
    order = sorted(range(len(cells)), key=lambda c: cells[c].name)
    cells = [cells[c] for c in order]
    _check_cells(cells)
    requests = [
        *_requests("families", {(name,): share for name, share in families.items()}, cells),
        *_requests("sources", {(name,): share for name, share in (sources or {}).items()}, cells),
        *_requests("overlaps", overlaps or {}, cells),
    ]
    supply = np.array([cell.supply for cell in cells], dtype=np.float64)
    near = supply if natural is None else np.asarray(natural, dtype=np.float64)
    if near.shape != supply.shape or not np.isfinite(near).all() or (near < 0).any() or near.sum() <= 0:
        raise PresightError("natural", "are no proportions of the cells", "give each cell a number of 0 or more")
    near = supply if natural is None else near[order]
    demand = Demand(
        sources=tuple(cell.source for cell in cells),
        families=tuple(cell.families for cell in cells),
        supply=np.where(near > 0, supply, 0.0).astype(np.int64),
        used=np.zeros(len(cells), np.int64) if used is None else np.asarray(used, dtype=np.int64)[order],
        epochs=_epochs(max_epochs, cells),
        items=items,
        item=item,
        requests=tuple(requests),
    )
    caps = demand.caps()
    upper = np.minimum(caps / items, 1.0)
    found = project(demand.rows(), near / near.sum(), upper)
    if found is None:
        raise explain(demand)
    shares, multipliers, dear = found
    on = shares > 0
    pressure = np.divide(shares * items, caps, out=np.zeros(len(cells)), where=caps > 0).round(9)
    binding = max(range(len(cells)), key=lambda c: (pressure[c], dear[c], -c))
    prices = {request.field: float(price) for request, price in zip(requests, multipliers[1:], strict=True)}
    prices |= {f"max_epochs.{cells[c].name}": float(dear[c]) for c in np.flatnonzero(dear > 1e-12)}
    back = np.argsort(order)
    return Solution(
        shares[back],
        quotas(shares, items, requests)[back],
        prices,
        cells[binding].name,
        float((shares[on] * np.log(shares[on] / (near / near.sum())[on])).sum()),
    )


def quotas(shares: Vector, items: int, requests: Sequence[Request]) -> npt.NDArray[np.int64]:
    """Whole items of each cell.

    They always sum to ``items``, and each is its exact number rounded up or down, so it keeps every cap that is a
    whole number. Among such roundings that keep every request within one item (bounds: strictly, if that can be, else
    within one item) the one nearest the shares is taken; ties go to earlier cells. Where none does, as may happen with
    three families and more, or where the search is cut off, or beyond ``CELLS`` cells, it is the largest remainder,
    and a request may miss by up to as many items as it has cells.

    Args:
        shares: [cells], summing to 1.
        items: to give.
        requests: whose members are as many cells.
    """
    exact = np.asarray(shares) * items
    tolerance = max(WHOLE, items * 1e-12)
    base = np.floor(exact + tolerance)
    part = np.where(exact - base < tolerance, 0.0, exact - base).round(6)
    result = base.astype(np.int64)
    short = items - int(result.sum())
    loose = np.flatnonzero(part > 0)
    chosen = _round(part[loose], short, result, loose, items, requests) if len(loose) <= CELLS else None
    if chosen is None:
        chosen = np.argsort(-part[loose], kind="stable")[:short]
    result[loose[chosen]] += 1
    return result


def _round(
    part: Vector,
    short: int,
    base: npt.NDArray[np.int64],
    loose: npt.NDArray[np.intp],
    items: int,
    requests: Sequence[Request],
) -> npt.NDArray[np.intp] | None:
    """Which of the loose cells to round up, or None where no choice is found that keeps the requests."""
    from scipy.optimize import LinearConstraint, milp

    if not requests or not short:
        return None
    matrix = np.stack([np.ones(len(part)), *(request.members[loose] for request in requests)])
    given = np.array([base[request.members].sum() for request in requests])
    ends = [(_snap(request.low * items), _snap(request.high * items)) for request in requests]
    within = [(np.floor(low), np.ceil(high)) for low, high in ends]
    strict = [
        (np.ceil(a), np.floor(b)) if np.ceil(a) <= np.floor(b) else w for (a, b), w in zip(ends, within, strict=True)
    ]
    # a tie must not be left to the solver: cells differ in cost, in sum by less than any real difference, by their
    # rank and, so that two ranks do not add up to another two, by a golden sequence
    golden = np.modf(np.arange(1, len(part) + 1) * 0.6180339887498949)[0]
    cost = 1e6 * (1 - 2 * part.round(4)) + 50 * (np.arange(len(part)) + golden) / len(part) ** 2
    whole = np.ones(len(part))
    for bounds in (strict, within):
        low, high = np.array(bounds).T
        rows = LinearConstraint(matrix, [short, *(low - given)], [short, *(high - given)])
        found = milp(cost, integrality=whole, bounds=(0, 1), constraints=rows, options={"node_limit": NODES})
        if found.x is not None:
            return np.flatnonzero(found.x > 0.5)
    return None


def _snap(x: float) -> float:
    return round(x) if abs(x - round(x)) < WHOLE else x


def _check_cells(cells: Sequence[Cell]) -> None:
    if not cells:
        raise PresightError("cells", "there is no labelled text", "label the tokens first")
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        if after and cell.name == after.name:
            raise PresightError("cells", f"{cell.name} is given twice", "merge the two")
        if not is_number(cell.supply) or cell.supply < 0 or cell.supply != int(cell.supply):
            raise PresightError(f"cells.{cell.name}", f"{cell.supply!r} is no supply", "write a number of items")


def _items(items: int) -> int:
    if not is_number(items) or items < 1 or items != int(items):
        raise PresightError("items", f"{items!r} is no number of items", "write a positive integer")
    return int(items)


def _epochs(max_epochs: float | Mapping[str, float], cells: Sequence[Cell]) -> tuple[float, ...]:
    each = max_epochs if isinstance(max_epochs, Mapping) else {cell.source: max_epochs for cell in cells}
    for cell in cells:
        field = f"max_epochs.{cell.source}" if isinstance(max_epochs, Mapping) else "max_epochs"
        if cell.source not in each:
            raise PresightError(field, "is not given", "write a number for each source")
        if not is_number(each[cell.source]) or each[cell.source] <= 0:
            raise PresightError(field, f"{each[cell.source]!r} is no positive number", "write 1 to read nothing twice")
    return tuple(float(each[cell.source]) for cell in cells)


def _requests(kind: str, asked: Mapping[Any, Share], cells: Sequence[Cell]) -> list[Request]:
    """In the order of the names."""
    tags = [frozenset([cell.source]) if kind == "sources" else cell.families for cell in cells]
    known = frozenset().union(*tags)
    found = []
    for key, share in asked.items():
        names = tuple(sorted(key.split("&") if isinstance(key, str) else key))
        field = f"{kind}.{'&'.join(names)}"
        for name in names:
            if name not in known:
                noun = "source of that name" if kind == "sources" else f"text of the family {name}"
                raise PresightError(field, f"the labelled tokens hold no {noun}", nearest(name, known))
        low, high = share if isinstance(share, tuple) else (share, share)
        if not (is_number(low) and is_number(high) and 0 <= low <= high <= 1):
            problem = f"{share!r} is no share" if low is high else f"{low!r} to {high!r} are no bounds"
            raise PresightError(field, problem, "write fractions from 0 to 1, the lower bound first")
        members = np.array([frozenset(names) <= tag for tag in tags])
        found.append(Request(field, " & ".join(names), members, frozenset(names), float(low), float(high)))
    return sorted(found, key=lambda request: request.field)
