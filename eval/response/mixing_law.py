"""Losses per domain as a law of the mixture, fitted on small proxies to rank mixtures that were not run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.margins import Floats
from presight.errors import PresightError

__all__ = ["MixingLaw", "Proxies", "fit_law", "left_out"]

_FLOORS = (0.0, 0.5, 0.8, 0.9, 0.96, 0.99)  # starts: the floor as a share of the lowest loss


@dataclass(frozen=True, slots=True)
class Proxies:
    """Losses of small models on held-out domains, and the mixtures they read.

    Attributes:
        sources: names [m].
        domains: names [d]; need not be the sources.
        shares: of the sources [n, m], each row sums to 1.
        losses: [n, d].
    """

    sources: tuple[str, ...]
    domains: tuple[str, ...]
    shares: Floats
    losses: Floats

    @classmethod
    def of(cls, sources: Sequence[str], domains: Sequence[str], shares: ArrayLike, losses: ArrayLike) -> Proxies:
        """Check a table; rows whose shares sum to 1 but for rounding (2 %) are made to.

        Raises:
            PresightError: wrong shapes, values that are not finite, shares that do not sum to 1, losses below 0.
        """
        x, y = np.asarray(shares, dtype=np.float64), np.asarray(losses, dtype=np.float64)
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != len(sources) or y.shape != (len(x), len(domains)):
            problem = f"shares {x.shape} and losses {y.shape} for {len(sources)} sources, {len(domains)} domains"
            raise PresightError("proxies", problem, "give [mixtures, sources] and [mixtures, domains]")
        if not (np.isfinite(x).all() and np.isfinite(y).all() and (x >= 0).all() and (y >= 0).all()):
            raise PresightError("proxies", "values that are not finite, or below 0", "drop the runs that failed")
        total = x.sum(axis=1, keepdims=True)
        if (abs(total - 1) > 0.02).any():
            worst = float(total[abs(total - 1).argmax(), 0])
            raise PresightError("shares", f"a mixture sums to {worst:.3g}", "name every source, in fractions")
        return cls(tuple(sources), tuple(domains), x / total, y)

    @classmethod
    def read(cls, mixtures: Path, losses: Path) -> Proxies:
        """Read two csv files as RegMix publishes them, a row a proxy, joined by their column ``index``.

        Args:
            mixtures: columns ``train_…``, a share each.
            losses: columns ``valid_…``, or ``metric/…_val_loss`` as RegMix's logs call them.

        Raises:
            PresightError: a file without such columns, numbers that are none, indices that differ.
        """
        shares, sources = _table(mixtures, "train_", "")
        found, domains = _table(losses, "valid_", "metric/")
        if set(shares) != set(found):
            odd = sorted(set(shares) ^ set(found))[0]
            raise PresightError(
                str(losses), f"index {odd} is in one file only", "give the two files of one set of runs"
            )
        rows = list(shares)
        return cls.of(sources, domains, [shares[row] for row in rows], [found[row] for row in rows])

    def weights(self, target: Mapping[str, float] | None = None) -> Floats:
        """Weights [d] of the domains in a target, made to sum to 1; none: all alike.

        Raises:
            PresightError: unknown domains, or weights that are not positive.
        """
        if target is None:
            return np.full(len(self.domains), 1 / len(self.domains))
        if unknown := sorted(set(target) - set(self.domains)):
            raise PresightError("target", f"no losses on {unknown[0]!r}", f"known: {', '.join(self.domains)}")
        weights = np.array([float(target.get(name, 0.0)) for name in self.domains])
        if not (weights >= 0).all() or not weights.sum() > 0:
            raise PresightError("target", "weights must not be negative, and some above 0", "mend them")
        return weights / weights.sum()


@dataclass(frozen=True, slots=True)
class MixingLaw:
    """``L_d(r) = c_d + exp(t_d · r)`` for each domain d (Ye et al., 2024, "Data Mixing Laws").

    Shares r sum to 1, so the law's usual constant ``k_d`` is one more to every ``t_d`` and is not kept apart.

    Attributes:
        sources, domains: names [m], [d].
        floor: c, what no mixture of these gets below [d].
        exponents: t [d, m]; the lower, the more a source helps the domain.
        misfit: root mean square residual of each domain [d].
    """

    sources: tuple[str, ...]
    domains: tuple[str, ...]
    floor: Floats
    exponents: Floats
    misfit: Floats

    def predict(self, shares: ArrayLike) -> Floats:
        """Losses [n, d] at mixtures [n, m]."""
        return self.floor + np.exp(np.asarray(shares, dtype=np.float64) @ self.exponents.T)

    def best(self, weights: ArrayLike, caps: ArrayLike | None = None) -> Floats:
        """The mixture [m] with the lowest weighted loss; weights [d], `caps` [m] the most each source may have.

        A weighted sum of such losses is convex in the mixture, so there is one lowest value. A single domain's law is
        monotone: its best mixture is a corner, the one source that helps it most, and no optimum.

        Raises:
            PresightError: weights below 0, or caps that leave no mixture.
        """
        from scipy.optimize import minimize

        w, most = np.asarray(weights, dtype=np.float64), np.ones(len(self.sources))
        if w.shape != self.floor.shape or not (w >= 0).all():
            raise PresightError("weights", f"shape {w.shape}, or below 0", "give one for each domain, 0 or more")
        if caps is not None:
            most = np.minimum(np.broadcast_to(np.asarray(caps, dtype=np.float64), most.shape), 1.0)
        if not (most >= 0).all() or most.sum() < 1 - 1e-9:
            raise PresightError("caps", f"sum to {most.sum():.3g}", "let the sources make up a whole")

        def loss(r: Floats) -> tuple[float, Floats]:
            above = w * np.exp(self.exponents @ r)
            return float(above.sum()), above @ self.exponents

        whole = {"type": "eq", "fun": lambda r: r.sum() - 1, "jac": np.ones_like}
        found = minimize(
            loss,
            most / most.sum(),
            jac=True,
            method="SLSQP",
            bounds=[(0.0, cap) for cap in most],
            constraints=[whole],
            options={"ftol": 1e-12, "maxiter": 500},
        )
        r = np.clip(found.x, 0, most)
        return r / r.sum()


def fit_law(proxies: Proxies) -> MixingLaw:
    """Fit every domain's law by least squares.

    Given the floor, the law is a line in the log of what is above it; so each of six floors gives a start, weighted
    regression its exponents, and Levenberg-Marquardt moves floor and exponents from there. The lowest end is kept.
    The floor is kept between 0 and the lowest loss.

    Raises:
        PresightError: fewer proxies than parameters (sources + 1), or sources that never vary apart.
    """
    x, y = proxies.shares, proxies.losses
    n, m = x.shape
    if n < m + 1 or np.linalg.matrix_rank(x) < m:
        problem = f"{n} proxies do not determine a law of {m} sources"
        raise PresightError("proxies", problem, "run more, or merge sources that always go together")
    fits = [_fitted(x, column, [_start(x, column, share) for share in _FLOORS]) for column in y.T]
    floor, exponents = np.array([each[0] for each in fits]), np.stack([each[1] for each in fits])
    misfit = np.sqrt(((floor + np.exp(x @ exponents.T) - y) ** 2).mean(axis=0))
    return MixingLaw(proxies.sources, proxies.domains, floor, exponents, misfit)


def left_out(proxies: Proxies, law: MixingLaw) -> Floats:
    """Losses [n, d] of each proxy as predicted by the law of all others, refitted from where `law` stands.

    Raises:
        PresightError: as `fit_law`, of one proxy less.
    """
    x, y = proxies.shares, proxies.losses
    found = np.empty_like(y)
    for row in range(len(x)):
        rest = np.arange(len(x)) != row
        if rest.sum() < x.shape[1] + 1 or np.linalg.matrix_rank(x[rest]) < x.shape[1]:
            raise PresightError("proxies", f"without number {row} the law is not determined", "run more")
        for d in range(y.shape[1]):
            share = law.floor[d] / y[rest, d].min()
            start = (_logit(share), law.exponents[d])
            floor, exponents = _fitted(x[rest], y[rest, d], [start, _start(x[rest], y[rest, d], 0.8)])
            found[row, d] = floor + np.exp(x[row] @ exponents)
    return found


def _start(x: Floats, y: Floats, share: float) -> tuple[float, Floats]:
    above = y - share * y.min()
    return _logit(share), np.linalg.lstsq(above[:, None] * x, above * np.log(np.maximum(above, 1e-9)), rcond=None)[0]


def _logit(share: float) -> float:
    share = min(max(share, 1e-3), 1 - 1e-6)
    return float(np.log(share / (1 - share)))


def _fitted(x: Floats, y: Floats, starts: Sequence[tuple[float, Floats]]) -> tuple[float, Floats]:
    """Floor and exponents [m] that leave the least of losses y [n]; starts are (logit of floor / lowest loss, t)."""
    from scipy.optimize import least_squares
    from scipy.special import expit

    lowest, span = float(y.min()), max(float(y.std()), 1e-12)

    def residual(p: Floats) -> Floats:
        return np.asarray((lowest * expit(p[0]) + np.exp(np.minimum(x @ p[1:], 30.0)) - y) / span)

    def jacobian(p: Floats) -> Floats:
        share = expit(p[0])
        slope = np.full(len(x), lowest * share * (1 - share))
        return np.column_stack([slope, np.exp(np.minimum(x @ p[1:], 30.0))[:, None] * x]) / span

    ends = [
        least_squares(residual, np.append(floor, exponents), jac=jacobian, method="lm", max_nfev=400)
        for floor, exponents in starts
    ]
    best = min(ends, key=lambda end: float(end.cost))
    return lowest * float(expit(best.x[0])), best.x[1:]


def _table(path: Path, prefix: str, logged: str) -> tuple[dict[str, list[float]], list[str]]:
    """Rows by index, and the names of the columns that begin with `prefix` (or, if given, `logged`)."""
    if not path.is_file():
        raise PresightError(str(path), "is no file", "give a csv file")
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    header = list(rows[0]) if rows else []
    columns = [name for name in header if name.startswith(prefix) or (logged and name.startswith(logged))]
    if not columns or "index" not in header:
        raise PresightError(str(path), f"no columns index and {prefix}…", "give a table as RegMix publishes it")
    try:
        found = {row["index"]: [float(row[name]) for name in columns] for row in rows}
    except (TypeError, ValueError) as error:
        raise PresightError(str(path), f"a cell is no number: {error}", "mend the row") from error
    if len(found) < len(rows):
        raise PresightError(str(path), "an index comes twice", "give each proxy an index of its own")
    names = [name.removeprefix(prefix if name.startswith(prefix) else logged) for name in columns]
    return found, [name.removesuffix("_val_loss") for name in names]
