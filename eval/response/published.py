"""Intervals for correlations that were published as numbers, without the scores behind them.

With the scores at hand use `eval.correlation`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.margins import Interval, require_fraction, t_quantile
from presight.errors import PresightError

__all__ = ["published_correlation", "published_difference"]


def published_correlation(value: float, n: int, level: float = 0.95, *, ranks: bool = True) -> Interval:
    """Limits of a correlation over n independent pairs, on Fisher's z scale.

    Args:
        value: the correlation.
        n: pairs, at least four. Pairs that share data or sizes count for fewer, and the interval is then too short.
        level: nominal coverage.
        ranks: Spearman's, whose z has variance ``(1 + value² / 2) / (n − 3)`` (Bonett & Wright, 2000); else
            Pearson's, ``1 / (n − 3)``.

    Raises:
        PresightError: a correlation beyond ±1, fewer than four pairs, a bad level.
    """
    if not -1 <= value <= 1:
        raise PresightError("value", f"{value} is no correlation", "give a number from -1 to 1")
    if n < 4:
        raise PresightError("n", f"{n} pairs give a correlation no interval", "take four or more")
    reach = t_quantile(math.inf, 1 - require_fraction("level", level))
    reach *= math.sqrt((1 + value**2 / 2 if ranks else 1.0) / (n - 3))
    method = f"{'Spearman' if ranks else 'Pearson'}, Fisher z, {n} pairs"
    if abs(value) == 1:
        return Interval(value, value, value, level, method)
    z = math.atanh(value)
    return Interval(value, math.tanh(z - reach), math.tanh(z + reach), level, method)


def published_difference(
    matrix: ArrayLike,
    n: int,
    first: tuple[int, int],
    second: tuple[int, int],
    level: float = 0.95,
    *,
    ranks: bool = True,
) -> Interval:
    """Limits of the difference of two correlations of one sample, from the matrix of all correlations.

    Each keeps its own limits, put together under the correlation that two sample correlations have (Pearson & Filon,
    1898; Zou, 2007).

    Args:
        matrix: correlations [v, v], ones on the diagonal.
        n: pairs.
        first: the two variables of the first correlation.
        second: those of the second; one may be in both.
        level: nominal coverage.
        ranks: as for `published_correlation`; the law of dependence is that of Pearson's, near enough for ranks.

    Raises:
        PresightError: as `published_correlation`, or no matrix of correlations.
    """
    r = np.asarray(matrix, dtype=np.float64)
    if r.ndim != 2 or r.shape[0] != r.shape[1] or not np.allclose(r, r.T) or not np.allclose(np.diag(r), 1):
        raise PresightError("matrix", f"shape {r.shape} is no matrix of correlations", "give it whole, symmetric")
    (j, k), (h, m) = first, second
    one, other = (published_correlation(float(r[pair]), n, level, ranks=ranks) for pair in (first, second))
    squares = r[j, h] ** 2 + r[j, m] ** 2 + r[k, h] ** 2 + r[k, m] ** 2
    triples = (
        r[j, k] * r[j, h] * r[j, m]
        + r[j, k] * r[k, h] * r[k, m]
        + r[j, h] * r[k, h] * r[h, m]
        + r[j, m] * r[k, m] * r[h, m]
    )
    shared = 0.5 * r[j, k] * r[h, m] * squares + r[j, h] * r[k, m] + r[j, m] * r[k, h] - triples
    shared = float(shared / max((1 - r[j, k] ** 2) * (1 - r[h, m] ** 2), 1e-12))

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a + b * b - 2 * shared * a * b, 0.0))

    gap = one.estimate - other.estimate
    low = gap - reach(one.estimate - one.low, other.high - other.estimate)
    high = gap + reach(one.high - one.estimate, other.estimate - other.low)
    return Interval(gap, low, high, level, f"difference of dependent correlations, {n} pairs")
