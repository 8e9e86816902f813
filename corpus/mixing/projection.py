"""The point of least divergence from given proportions under linear requests and caps.

Minimise KL(q ‖ n) = Σ q log(q / n) over ``low ≤ A q ≤ high``, ``0 ≤ q ≤ upper``. The minimum is unique. Its dual has
one multiplier a bound, and ``q = min(upper, n · exp(Bᵀx))``: a regularised Newton method on those few multipliers,
projected where they must not be negative (Bertsekas, SIAM J. Control Optim. 20, 1982), comes within 1e-8 of every
bound, and steps without regularisation then take it to machine precision.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

STEPS = 500
REACH = 6.0  # a step changes no log share by more
SLACK = 1e-12  # a share below is none: far under an item of any budget


@dataclass(frozen=True)
class Rows:
    """Linear bounds ``low ≤ matrix @ q ≤ high`` on shares, beside ``0 ≤ q``; from 0 to 1 there is none.

    Args:
        matrix: [rows, cells] of 0 and 1.
        low: [rows].
        high: [rows].
    """

    matrix: Vector
    low: Vector
    high: Vector

    def extreme(self, cost: Any, upper: Vector, more: tuple[Any, Vector] | None = None) -> Vector | None:
        """The point [cells + further variables] of least cost, or None where no point meets the bounds.

        Args:
            cost: of the cells, then of the further variables; all are 0 at least.
            upper: of the same; inf where there is no bound.
            more: sparse rows over all of them, and what each may come to at most.
        """
        from scipy.optimize import linprog
        from scipy.sparse import csr_array, hstack, vstack

        width = len(upper) - self.matrix.shape[1]
        matrix = hstack([csr_array(self.matrix), csr_array((len(self.low), width))], format="csr")
        exact = self.low == self.high
        below, above = ~exact & (self.high < 1), ~exact & (self.low > 0)
        most, ends = [matrix[below], -matrix[above]], [self.high[below], -self.low[above]]
        if more is not None:
            most, ends = [*most, more[0]], [*ends, more[1]]
        for tolerance in (1e-10, 1e-7):  # the solver may give up on the finer one
            found = linprog(
                cost,
                A_ub=vstack(most),
                b_ub=np.concatenate(ends),
                A_eq=matrix[exact],
                b_eq=self.low[exact],
                bounds=np.stack([np.zeros(len(upper)), upper], axis=1),
                method="highs-ds",
                options={"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance},
            )
            if found.status == 0:
                return np.asarray(found.x)
            if found.status == 2:
                return None
        raise RuntimeError(f"linear programme: {found.message}")


def support(rows: Rows, natural: Vector, upper: Vector) -> npt.NDArray[np.bool_] | None:
    """The cells [cells] that are positive somewhere among the points that meet the bounds; None where none does."""
    from scipy.sparse import csr_array, eye_array, hstack

    # q ≥ s · floor with s as large as it gets: one programme where every cell can be positive at once, the usual case
    floor = np.minimum(natural, upper)
    some = floor > 0
    limit = np.where(some, upper, 0.0)
    more = hstack([-eye_array(len(upper)), csr_array(floor[:, None])], format="csr")
    point = rows.extreme(np.append(0 * upper, -1.0), np.append(limit, 1.0), (more, 0 * upper))
    if point is None:
        return None
    if point[-1] > 1e-6:
        return some
    unseen = some & (upper > SLACK)
    while unseen.any():
        point = rows.extreme(np.where(unseen, -1.0, 0.0), limit)
        if point is None or not (unseen & (point > SLACK)).any():
            break
        unseen &= point <= SLACK
    return some & ~unseen


def project(rows: Rows, natural: Vector, upper: Vector) -> tuple[Vector, Vector, Vector] | None:
    """The point, the multipliers of rows and of caps; None where no point meets the bounds.

    Args:
        rows: what is asked; dependent rows are allowed.
        natural: [cells] n; a cell of 0 stays 0.
        upper: [cells] caps.

    Returns:
        Shares [cells]; how fast the divergence grows, in nats per unit of share, as each row's active bound rises
        [rows], negative where it falls; and how fast it falls as a cap rises [cells]. Where rows depend on one another
        these prices are one of several valid sets. A row at the edge of what is possible has no finite price; the
        cells that it forces to 0 are taken out first.
    """
    cells = support(rows, natural, upper)
    if cells is None:
        return None
    matrix = rows.matrix[:, cells]
    exact = rows.low == rows.high
    lower, higher = ~exact & (rows.low > 0), ~exact & (rows.high < 1)
    signed = np.concatenate([matrix[exact], matrix[lower], -matrix[higher]])
    ends = np.concatenate([rows.low[exact], rows.low[lower], -rows.high[higher]])
    free = np.arange(len(ends)) < exact.sum()
    found, shares, over = _newton(signed, ends, free, np.log(natural[cells]), np.log(upper[cells]))
    prices, caps, whole = np.zeros(len(exact)), np.zeros(len(natural)), np.zeros(len(natural))
    k, j = int(exact.sum()), int(exact.sum() + lower.sum())
    prices[exact] = found[:k]
    prices[lower] += found[k:j]
    prices[higher] -= found[j:]
    whole[cells], caps[cells] = shares, over
    return whole, prices, caps


@dataclass(frozen=True, slots=True)
class _Point:
    """Multipliers x, and what they make: dual value, shares, cells' logarithms over their caps, gradient, residual."""

    x: Vector
    value: float
    q: Vector
    over: Vector
    gradient: Vector
    residual: float


def _newton(
    signed: Vector, ends: Vector, free: npt.NDArray[np.bool_], natural: Vector, cap: Vector
) -> tuple[Vector, Vector, Vector]:
    """Minimise Σ ψ(Bᵀx) − b·x over x ≥ 0 where not free; ψ' is the share, ``natural`` and ``cap`` are logarithms."""

    def at(x: Vector) -> _Point:
        x = np.where(free, x, np.maximum(x, 0.0))
        z = natural + x @ signed
        over = np.maximum(z - cap, 0.0)
        q = np.exp(np.minimum(z, cap))
        gradient = signed @ q - ends
        residual = np.where(free, gradient, np.minimum(x, gradient))
        value = float((q + over * q).sum() - ends @ x)
        return _Point(x, value, q, over, gradient, float(np.abs(residual).max(initial=0.0)))

    now = at(np.zeros(len(ends)))
    for _ in range(STEPS):
        if now.residual < 1e-15:
            break
        damping = 1e-3 * min(now.residual, 1.0) + 1e-16
        held = ~free & (now.gradient > 0) & (now.x <= min(1e-3, now.residual))
        edge = ~free & (now.x == 0)
        while True:  # multipliers at 0 that the step would make negative are held there
            direction, moving = -now.x * held, ~held
            curved = signed[moving] * np.where(now.over > 0, 0.0, now.q)
            weights, axes = np.linalg.eigh(curved @ signed[moving].T)
            along = (axes.T @ now.gradient[moving]) / (np.maximum(weights, 0.0) + damping)
            direction[moving] = -axes @ along
            if not (edge & (direction < 0)).any():
                break
            held |= edge & (direction < 0)
        step = min(1.0, REACH / max(float(np.abs(direction @ signed).max(initial=0.0)), 1e-300))
        for _ in range(60):
            new = at(now.x + step * direction)
            slope = step * float(now.gradient[moving] @ direction[moving])
            slope += float(now.gradient[held] @ (new.x - now.x)[held])
            rounding = 1e-15 * (1 + abs(now.value))
            if new.value <= now.value + 1e-4 * slope:
                break
            if new.value <= now.value + rounding and new.residual < 0.5 * now.residual:
                break
            step /= 2
        else:
            break  # nothing left that doubles can tell
        if now.residual < 1e-12 and new.residual > 0.5 * now.residual:
            break
        now = new
    if now.residual > 1e-8:
        raise RuntimeError(f"the projection stopped {now.residual:.1e} from its bounds")
    now = _polish(at, now, signed, free)
    return now.x, now.q, now.over


def _polish(at: Callable[[Vector], _Point], now: _Point, signed: Vector, free: npt.NDArray[np.bool_]) -> _Point:
    """Newton steps by pseudo-inverse, judged by the residual alone, for as long as they shrink it.

    So near the minimum the dual value no longer tells one step from another. Where rows depend on one another, or a
    cell stands at its cap by a hair, what is flat and what is held is not known: each reading is tried, the best kept.
    """
    while now.residual > 1e-15:
        tried = []
        for capped, flat, held in itertools.product((0.0, 1e3 * now.residual), (1e-15, 1e-12, 1e-9), (0.0, 1e-3)):
            moving = free | (now.x > held) | (now.gradient < 0)
            curved = signed[moving] * np.where(now.over > capped, 0.0, now.q)
            step = np.zeros_like(now.x)
            inverse = np.linalg.pinv(curved @ signed[moving].T, rcond=flat, hermitian=True)
            step[moving] = -inverse @ now.gradient[moving]
            tried.append(at(now.x + step))
        best = min(tried, key=lambda point: point.residual)
        if best.residual > 0.9 * now.residual:
            break
        now = best
    return now
