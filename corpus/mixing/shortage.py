"""Why a mixture by families cannot be had, and what would mend it: linear programmes over the shares of cells.

A set of requests that cannot hold together is cut down to one of which every part is needed. Then each mend is the
extreme of a programme: the largest share that is left, the least ``max_epochs``, the largest budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt

from corpus.mixing.projection import Rows, Vector
from corpus.mixing.quota import decimal
from presight.errors import PresightError

NAMED = 4  # sources that a sentence lists
MENDS = 3  # shares it offers to change


@dataclass(frozen=True)
class Request:
    """The share of some cells is to lie in ``low`` to ``high``; the two are equal where it is exact.

    Args:
        field: as the user wrote it, ``families.visual``.
        text: what to call the text it is about, ``visual``.
        members: which cells [cells] count.
        names: source or families that they have.
        low: lower bound, a fraction.
        high: upper bound.
    """

    field: str
    text: str
    members: npt.NDArray[np.bool_]
    names: frozenset[str]
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{percent(self.low)} {self.text}"
        ends = [f"at least {percent(self.low)}"] * (self.low > 0) + [f"at most {percent(self.high)}"] * (self.high < 1)
        return f"{' and '.join(ends)} {self.text}"


@dataclass(frozen=True)
class Demand:
    """Cells, what they hold, and what is asked of them.

    Args:
        sources: of each cell.
        families: of each cell.
        supply: items [cells].
        used: items [cells] that the caps no longer allow.
        epochs: allowed at most, of each cell.
        items: of the mixture.
        item: tokens of an item, or None where messages are to speak of items.
        requests: what is asked.
    """

    sources: tuple[str, ...]
    families: tuple[frozenset[str], ...]
    supply: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]
    epochs: tuple[float, ...]
    items: int
    item: int | None
    requests: tuple[Request, ...]

    def caps(self, factor: Fraction = Fraction(1)) -> Vector:
        """Whole items [cells] that may be taken, with every ``max_epochs`` times the factor."""
        pairs = zip(self.supply.tolist(), self.epochs, strict=True)
        return np.maximum([math.floor(s * decimal(e) * factor) for s, e in pairs] - self.used, 0).astype(np.float64)

    def rows(self, requests: Sequence[Request] | None = None) -> Rows:
        """The requests, all by default, behind ``Σ q = 1``."""
        chosen = self.requests if requests is None else requests
        matrix = np.stack([np.ones(len(self.supply)), *(request.members for request in chosen)])
        return Rows(matrix, np.array([1.0, *(r.low for r in chosen)]), np.array([1.0, *(r.high for r in chosen)]))


def percent(share: float) -> str:
    """A fraction in per cent, with no more digits than it has."""
    return f"{100 * share:.6g} %"


def explain(demand: Demand) -> PresightError:
    """The error of a demand that cannot be met."""
    free = _every_cell(demand)
    if not _possible(free.rows(), np.ones(len(free.supply))):
        return _contradiction(free)
    anything = np.where(demand.supply > 0, 1.0, 0.0)
    capped = _possible(demand.rows(), anything)
    upper = np.minimum(demand.caps() / demand.items, 1.0) if capped else anything
    core = _core(demand, upper)
    mends = _larger_supply(demand) if capped else []
    for request in core:
        mends += _nearest_share(demand, request, upper)
    mend = _either(mends[: MENDS + 1]) or "ask for less, or label more text"
    if not core:
        most = int(demand.caps().sum())
        return PresightError("budget", f"{demand.items:,} items asked, but the whole supply gives {most:,}", mend)
    first, rest = core[0], core[1:]
    beside = f" beside {', '.join(map(str, rest))}" if rest else ""
    low, high = _range(demand.rows(rest), first, upper) or (first.low, first.high)
    short = high < first.low
    passes = sorted({e for e, m in zip(demand.epochs, first.members, strict=True) if m == short})
    times = f" × max_epochs {passes[0]:g}" if len(passes) == 1 else " × max_epochs"
    limit = times if capped else ", at any max_epochs,"
    where = "" if short and first.field.startswith("sources.") else _where(demand, first.members == short)
    if short:
        amount, gives = percent(first.low), f"gives at most {math.floor(high * demand.items + 1e-6):,}"
        supply = f"the supply of {first.text} text{where}"
    else:
        amount, gives = percent(first.high), f"leaves at least {math.ceil(low * demand.items - 1e-6):,} of it"
        supply = f"the supply of text that is not {first.text}{where}"
    bound = "" if first.low == first.high else "at least " if short else "at most "
    problem = f"{bound}{amount} of {demand.items:,} items asked, but {supply}{limit} {gives}{beside}"
    return PresightError(first.field, problem, mend)


def _possible(rows: Rows, upper: Vector) -> bool:
    return rows.extreme(np.zeros(len(upper)), upper) is not None


def _range(rows: Rows, request: Request, upper: Vector) -> tuple[float, float] | None:
    """Least and largest share that the request could have."""
    members = request.members.astype(np.float64)
    least, most = rows.extreme(members, upper), rows.extreme(-members, upper)
    return None if least is None or most is None else (float(members @ least), float(members @ most))


def _core(demand: Demand, upper: Vector) -> list[Request]:
    """Requests that cannot hold together, none of which could be spared; overlaps and sources are spared first."""
    kept = list(demand.requests)
    for request in reversed(demand.requests):
        rest = [other for other in kept if other is not request]
        if not _possible(demand.rows(rest), upper):
            kept = rest
    return kept


def _every_cell(demand: Demand) -> Demand:
    """The same requests over all sets of the families asked for, in each source asked for and one that is not."""
    kinds = {request.field: request.field.split(".")[0] == "sources" for request in demand.requests}
    asked = sorted(frozenset().union(*(r.names for r in demand.requests if kinds[r.field])))
    names = sorted(frozenset().union(*(r.names for r in demand.requests if not kinds[r.field])))
    sources = [*asked, *sorted(set(demand.sources) - set(asked))[:1]]
    subsets = [frozenset(s) for s in chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))]
    cells = [(source, subset) for source in sources for subset in subsets]
    requests = [
        replace(r, members=np.array([r.names <= ({source} if kinds[r.field] else subset) for source, subset in cells]))
        for r in demand.requests
    ]
    return replace(demand, supply=np.ones(len(cells), np.int64), requests=tuple(requests))


def _contradiction(free: Demand) -> PresightError:
    upper = np.ones(len(free.supply))
    core = _core(free, upper)
    mends = [mend for request in core for mend in _nearest_share(free, request, upper)]
    problem = f"{', '.join(map(str, core))} cannot hold at once"
    return PresightError(core[0].field, problem, _either(mends[:MENDS]) or "drop one of them")


def _nearest_share(demand: Demand, request: Request, upper: Vector) -> list[str]:
    """To what to change the request, were every other to stay, rounded to the safe side."""
    span = _range(demand.rows([other for other in demand.requests if other is not request]), request, upper)
    if span is None:
        return []
    low, high = span
    goal, verb, toward = (high, "lower", math.floor) if high < request.low else (low, "raise", math.ceil)
    for digits in range(3, 9):  # of the fraction: no more than keeps within a tenth of the share
        share = toward(goal * 10**digits + (1e-9 if toward is math.floor else -1e-9)) / 10**digits
        if low - 1e-9 <= share <= high + 1e-9 and abs(share - goal) <= 0.1 * goal:
            return [f"{verb} {request.text} to {percent(share)}"]
    return []


def _larger_supply(demand: Demand) -> list[str]:
    """The least epochs and the largest budget at which all requests can be met."""
    mends = []
    factor = _least_factor(demand, demand.supply * np.array(demand.epochs), demand.used.astype(np.float64))
    one = len(set(demand.epochs)) == 1
    unit = decimal(demand.epochs[0]) if one else Fraction(1)

    def enough(step: int) -> bool:  # caps are whole items, so the programme's answer may be a little low
        caps = demand.caps(Fraction(step, 100) / unit)
        return _possible(demand.rows(), np.minimum(caps / demand.items, 1.0))

    if factor is not None:
        low = math.ceil(factor * float(unit) * 100 - 1e-6)
        high, stride = low, 1
        while not enough(high) and stride < 10**6:
            low, high, stride = high + 1, high + stride, 2 * stride
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle + 1, high)
        if stride < 10**6:
            mends.append(
                f"raise {'max_epochs to' if one else 'every max_epochs'} {high / 100:g}{'' if one else '-fold'}"
            )
    factor = _least_factor(demand, demand.caps(), np.zeros(len(demand.used)))
    if factor is not None:
        most = math.floor(demand.items / factor + 1e-9)
        if most >= 1:
            budget = f"{most:,} items" if demand.item is None else f"{most * demand.item:,} tokens"
            mends.append(f"lower the budget to {budget}")
    return mends


def _least_factor(demand: Demand, caps: Vector, used: Vector) -> float | None:
    """The least ``t`` with which ``items × q ≤ t × caps − used`` can be met."""
    from scipy.sparse import csr_array, eye_array, hstack

    cells = len(caps)
    rows = hstack([eye_array(cells), csr_array(-caps[:, None] / demand.items)], format="csr")
    cost, upper = np.append(np.zeros(cells), 1.0), np.append(np.ones(cells), np.inf)
    point = demand.rows().extreme(cost, upper, (rows, -used / demand.items))
    return None if point is None else float(point[-1])


def _where(demand: Demand, members: npt.NDArray[np.bool_]) -> str:
    """Which sources have such text."""
    having = sorted({demand.sources[c] for c in np.flatnonzero(members & (demand.supply > 0))})
    if len(having) > NAMED:
        return f" ({', '.join(having[: NAMED - 1])} and {len(having) - NAMED + 1} more)"
    return f" ({', '.join(having) or 'none'})"


def _either(mends: Sequence[str]) -> str:
    """The distinct mends, as alternatives."""
    distinct = list(dict.fromkeys(mends))
    return " or ".join(distinct) if len(distinct) < 3 else f"{', '.join(distinct[:-1])} or {distinct[-1]}"
