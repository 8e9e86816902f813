"""A quadratic response of one score over shares, and where within what can be mixed it is highest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from eval.response.feasible import Feasible
from eval.response.replicates import Noise, Runs, Test, quadratic_form_test
from eval.stats.margins import Floats
from presight.errors import PresightError

__all__ = ["Order", "Peak", "Surface", "fit", "leave_one_out", "terms"]

Order = Literal["constant", "linear", "quadratic"]
ORDERS: tuple[Order, ...] = ("constant", "linear", "quadratic")
Place = Literal["inside", "edge", "corner"]
Form = Literal["maximum", "saddle", "minimum"]


@dataclass(frozen=True, slots=True)
class Peak:
    """Where a surface is highest within what can be mixed.

    Attributes:
        shares: [k].
        value: the surface there.
        place: inside, on an edge (or a face), or at a corner. Only inside is an optimum of the response; elsewhere it
            is where mixing stops, and better mixtures may lie beyond.
        form: what the whole surface is: a maximum, a saddle, or a minimum.
        extrapolated: whether it lies outside the hull of the mixtures that were run.
    """

    shares: Floats
    value: float
    place: Place
    form: Form
    extrapolated: bool

    def sentence(self, names: Sequence[str]) -> str:
        """In words, with what it must not be taken for."""
        at = ", ".join(f"{100 * share:.1f} % {name}" for name, share in zip(names, self.shares, strict=True))
        if self.place == "inside":
            words = f"The fitted optimum lies inside, at {at}"
        else:
            words = f"The fitted surface is highest on the border ({self.place}), at {at}: not an optimum of its own"
        if self.form != "maximum":
            words += f"; the surface is a {self.form}, not a hill"
        return words + ("; no run lies beyond it: extrapolated." if self.extrapolated else ".")


@dataclass(frozen=True, slots=True)
class Surface:
    """A polynomial in the shares, fitted by weighted least squares to the means of mixtures.

    Attributes:
        runs: what it was fitted to.
        order: constant, linear or quadratic.
        centre, scale: shares are coded ``(x - centre) / scale`` [k]; terms and coefficients are of coded shares.
        coefficients: [p], in the order of `terms`.
        covariance: of the coefficients [p, p].
        noise: of the runs, and where it is from.
        r2, adjusted_r2: share of the runs' variance about their mean that it explains.
        leave_one_out: root mean square error at mixtures left out one by one.
        lack_of_fit: against repeats or given noise; None where there are none, or no degree of freedom is left.
    """

    runs: Runs
    order: Order
    centre: Floats
    scale: Floats
    coefficients: Floats
    covariance: Floats
    noise: Noise
    r2: float
    adjusted_r2: float
    leave_one_out: float
    lack_of_fit: Test | None

    @property
    def df(self) -> float:
        """Degrees of freedom of the noise."""
        return float(self.noise.df[0])

    @property
    def sd(self) -> float:
        """Standard deviation of a run, in units of the score."""
        return self.noise.of_run(self.runs)

    def terms(self, shares: ArrayLike) -> Floats:
        """Terms of the polynomial at shares [n, k]: [n, p]."""
        return terms((np.asarray(shares, dtype=np.float64) - self.centre) / self.scale, self.order)

    def predict(self, shares: ArrayLike) -> Floats:
        """The surface at shares [n, k]: [n]."""
        return self.terms(shares) @ self.coefficients

    def standard_error(self, shares: ArrayLike) -> Floats:
        """Standard error of the surface at shares [n, k]: [n]."""
        x = self.terms(shares)
        return np.sqrt(np.maximum(np.einsum("np,pq,nq->n", x, self.covariance, x), 0))

    def peak(self, feasible: Feasible | None = None) -> Peak:
        """Where it is highest within `feasible`, by default the hull of its mixtures.

        Raises:
            PresightError: it is constant.
        """
        hull = Feasible.hull(self.runs.shares)
        shares, value, free = self.highest(self.coefficients[None], feasible or hull)
        place: Place = "corner" if free[0] == 0 else "inside" if free[0] == len(self.centre) else "edge"
        curvature = np.linalg.eigvalsh(self.hessians(self.coefficients[None])[0])
        form: Form = "maximum" if (curvature < 0).all() else "minimum" if (curvature > 0).all() else "saddle"
        return Peak(shares[0], float(value[0]), place, form, not bool(hull.contains(shares)[0]))

    def hessians(self, coefficients: Floats) -> Floats:
        """Second derivatives in coded shares of surfaces [b, p]: [b, k, k]."""
        k = len(self.centre)
        found = np.zeros((len(coefficients), k, k))
        if self.order == "quadratic":
            for place, (i, j) in enumerate(_pairs(k)):
                found[:, i, j] += coefficients[:, 1 + k + place]
                found[:, j, i] += coefficients[:, 1 + k + place]
        return found

    def highest(self, coefficients: Floats, feasible: Feasible) -> tuple[Floats, Floats, Floats]:
        """The highest point of each of many surfaces, exactly: every face's stationary point is looked at.

        Args:
            coefficients: surfaces [b, p] of this order and coding.
            feasible: where to look.

        Returns:
            Shares [b, k], values [b], and how many dimensions the face has that each lies within [b].

        Raises:
            PresightError: constant surfaces, or a region of other shares.
        """
        k = len(self.centre)
        if self.order == "constant":
            raise PresightError("order", "a constant surface has no highest point", "fit a linear or quadratic one")
        if feasible.vertices.shape[1] != k:
            raise PresightError(
                "feasible", f"{feasible.vertices.shape[1]} shares, the surface has {k}", "give as many"
            )
        corners = (feasible.vertices - self.centre) / self.scale
        normals, offsets = feasible.normals * self.scale, feasible.offsets - feasible.normals @ self.centre
        slope, hessian = coefficients[:, 1 : 1 + k], self.hessians(coefficients)
        values = coefficients @ terms(corners, self.order).T  # [b, v]
        best = values.argmax(axis=1)
        at, value, free = corners[best], values.max(axis=1), np.zeros(len(values), int)
        for active in (each for size in range(k) for each in combinations(range(len(normals)), size)):
            rows, levels = normals[list(active)], offsets[list(active)]
            if np.linalg.matrix_rank(rows) < len(active):
                continue
            start = np.linalg.lstsq(rows, levels, rcond=None)[0] if active else np.zeros(k)
            along = np.linalg.svd(rows)[2][len(active) :].T if active else np.eye(k)  # [k, d]
            bend = along.T @ hessian @ along
            pull = (slope + hessian @ start) @ along
            hill = np.linalg.eigvalsh(bend).max(axis=1) < -1e-12  # else the face is highest on its own border
            if not hill.any():
                continue
            point = np.full((len(coefficients), k), np.nan)
            point[hill] = start - np.linalg.solve(bend[hill], pull[hill][..., None])[..., 0] @ along.T
            with np.errstate(invalid="ignore"):
                within = (point @ normals.T <= offsets + 1e-9).all(axis=1)
            height = np.full(len(coefficients), -np.inf)
            height[within] = (terms(point[within], self.order) * coefficients[within]).sum(axis=1)
            better = height > value + 1e-12
            at[better], value[better], free[better] = point[better], height[better], k - len(active)
        return at * self.scale + self.centre, value, free


def fit(runs: Runs, order: Order = "quadratic") -> Surface:
    """Fit a surface to the means of mixtures by least squares, weighted by runs or by known noise.

    The noise is what was given with the runs; else that of repeats; else the residuals'. Repeats know nothing of how
    wrong the polynomial is, so where lack of fit is established (p < 0.05) the residual mean square takes their place.

    Raises:
        PresightError: too few or too narrow mixtures for the order; all runs score alike, or repeats agree exactly.
    """
    if order not in ORDERS:
        raise PresightError("order", f"{order!r}", f"choose one of {', '.join(ORDERS)}")
    low, high = runs.shares.min(axis=0), runs.shares.max(axis=0)
    centre, scale = (low + high) / 2, np.where(high > low, (high - low) / 2, 1.0)
    x = terms((runs.shares - centre) / scale, order)
    m, p = x.shape
    root = np.sqrt(runs.weights)
    design, z = root[:, None] * x, root * runs.means
    if m < p or np.linalg.matrix_rank(design / np.linalg.norm(design, axis=0).clip(1e-300)) < p:
        mend = "run more mixtures that vary every share; of shares that sum to one, leave one out"
        raise PresightError("runs", f"{m} mixtures do not determine the {p} terms of a {order} surface", mend)
    q, r = np.linalg.qr(design)
    coefficients = np.linalg.solve(r, q.T @ z)
    residual = z - design @ coefficients
    misfit, within = float(residual @ residual), float(runs.within.sum())
    total = float((runs.weights * (runs.means - np.average(runs.means, weights=runs.weights)) ** 2).sum()) + within
    noise, lack = Noise.repeated(runs), None
    runs.require_noise(noise)
    if noise is not None and m > p:
        lack = quadratic_form_test(misfit, np.eye(m) - q @ q.T, noise)
    if noise is None or (lack is not None and lack.p < 0.05 and misfit / (m - p) > noise.variance[0]):
        noise = Noise.residual(m, misfit / (m - p) if m > p else math.nan, max(m - p, 1))
    inverse = np.linalg.inv(r)
    n = runs.n
    r2 = 1 - (misfit + within) / total if total > 0 else math.nan
    adjusted = 1 - (1 - r2) * (n - 1) / (n - p) if n > p else math.nan
    hat = np.minimum((q**2).sum(axis=1), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = residual / root / (1 - hat)
    error = float(np.sqrt(np.average(outside**2, weights=runs.weights))) if (hat < 1 - 1e-9).all() else math.nan
    covariance = inverse @ inverse.T * float(noise.variance[0])
    return Surface(
        runs, order, centre, scale, coefficients, covariance, noise, float(r2), float(adjusted), error, lack
    )


def leave_one_out(runs: Runs) -> dict[Order, float]:
    """Root mean square error at mixtures left out one by one, of each order that the runs determine.

    A surface that does not beat the constant here says nothing of mixtures that were not run.
    """
    found: dict[Order, float] = {}
    for order in ORDERS:
        try:
            found[order] = fit(runs, order).leave_one_out
        except PresightError:
            break
    return found


def terms(coded: Floats, order: Order) -> Floats:
    """Terms at coded shares [n, k]: 1; then each share; then squares and products, pairs in order: [n, p]."""
    columns = [np.ones(len(coded))]
    if order != "constant":
        columns += list(coded.T)
    if order == "quadratic":
        columns += [coded[:, i] * coded[:, j] for i, j in _pairs(coded.shape[1])]
    return np.stack(columns, axis=1)


def _pairs(k: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(k) for j in range(i, k)]
