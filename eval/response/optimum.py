"""How well the best mixture is known: what may be the optimum, and what is surely not much worse than it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from eval.response.feasible import Feasible
from eval.response.replicates import RESIDUALS
from eval.response.surface import Peak, Surface
from eval.stats.margins import Floats, Interval, require_fraction
from presight.errors import PresightError

__all__ = ["Optimum", "Resampling", "optimum"]

Resampling = Literal["parametric", "residual", "wild"]
POINTS = 400  # about as many mixtures are tried for the optimum


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best mixture of a surface within what can be mixed, and how well it is known.

    Attributes:
        surface: that was fitted.
        peak: its highest point.
        draws: the best mixtures of resampled surfaces [draws, k].
        marginals: of each share, percentiles of `draws`. Each share by itself: a box of them is no joint region.
        inside: share of `draws` that lie inside rather than on the border.
        grid: mixtures that were tried [g, k].
        worse_at_least: by how much each is worse than the best mixture, at least, in units of the score [g]: a lower
            limit for each mixture by itself. Where it is 0 the mixture may be the optimum.
        worse_at_most: the same from above, for all mixtures at once [g].
        level: of the limits.
        seed: of the simulation behind them.
    """

    surface: Surface
    peak: Peak
    draws: Floats
    marginals: tuple[Interval, ...]
    inside: float
    grid: Floats
    worse_at_least: Floats
    worse_at_most: Floats
    level: float
    seed: int

    @property
    def region(self) -> Floats:
        """The mixtures that may be the optimum [r, k]; holds the true one with probability `level` or more."""
        return self.grid[self.worse_at_least <= 0]

    def not_worse_than(self, margin: float) -> Floats:
        """The mixtures that are surely at most `margin` worse than the best [r, k], all at once at `level`."""
        return self.grid[self.worse_at_most <= margin]

    def excess(self, shares: ArrayLike) -> Floats:
        """How surely mixtures [n, k] are not the optimum, be they on the grid or not: [n].

        The largest ratio of what a mixture of the grid gains to the gain's standard error, less the largest that noise
        makes of it at `level`. At 0 or below a mixture may be the optimum; unlike `worse_at_least` it goes on falling
        there, so that its line of 0 is the region's border.
        """
        contrasts = _Contrasts.of(self.surface, self.grid, self.level, self.seed)
        return np.array([contrasts.excess(row) for row in self.surface.terms(shares)[:, 1:]])

    def holds(self, shares: ArrayLike) -> bool:
        """Whether a mixture [k] may be the optimum."""
        return bool(self.excess(np.asarray(shares, dtype=np.float64)[None])[0] <= 0)

    def sentence(self) -> str:
        """In words: the optimum, its intervals, and what may be the optimum."""
        names = self.surface.runs.names
        limits = zip(names, self.marginals, strict=True)
        each = ", ".join(f"{name} {100 * one.low:.0f}–{100 * one.high:.0f} %" for name, one in limits)
        widest = "; ".join(
            f"{name} {100 * low:.0f}–{100 * high:.0f} %"
            for name, low, high in zip(names, self.region.min(axis=0), self.region.max(axis=0), strict=True)
        )
        border = f" {100 * (1 - self.inside):.0f} % of resampled surfaces are highest on the border."
        return (
            f"{self.peak.sentence(names)} {100 * self.level:g} % intervals: {each}; "
            f"mixtures that may be the optimum reach over {widest}.{border if self.inside < 0.995 else ''}"
        )


def optimum(
    surface: Surface,
    feasible: Feasible | None = None,
    *,
    resampling: Resampling | None = None,
    level: float = 0.95,
    draws: int = 2000,
    points: int = POINTS,
    seed: int = 0,
) -> Optimum:
    """The best mixture, resampled and tested.

    Two answers, since neither serves alone. *Marginals* are percentiles of resampled optima: short, one share each,
    and approximate (a surface is not linear in where it is highest). *The region* inverts a test: mixture x stays
    where no other mixture z is significantly better. Under the hypothesis that x is best, f̂(z) − f̂(x) exceeds its
    standard error only by noise, so the largest of these ratios over all z is held against its own simulated law
    (after Peterson, Cahya & del Castillo, 2002). That needs no inner optimum: it holds at edges and for saddles, and
    covers at least at its level if the polynomial is right and the noise normal. `worse_at_most` puts all pairs
    (x, z) into one law instead. On simulated grids of 30 single runs marginals held a true inner optimum in 0.89 to
    0.96 of cases at 0.95, the region in all of 300 (``python benchmarks/optimum.py``): the truth lies between the two.

    Args:
        surface: linear or quadratic.
        feasible: where to look; none: the hull of the mixtures that were run.
        resampling: "parametric" draws coefficients by the noise (default where it is given or from repeats),
            "residual" puts residuals back at random (default otherwise), "wild" keeps each at its mixture with a
            random sign, which bears noise that differs by mixture. Residuals are first set right for leverage.
        level: of intervals and regions.
        draws: resampled surfaces.
        points: about how many mixtures the region is looked for on.
        seed: of the resampling.

    Raises:
        PresightError: a constant surface, one whose noise is nought or has no degrees of freedom, a bad level.
    """
    require_fraction("level", level)
    if not np.isfinite(surface.covariance).all():
        raise PresightError("surface", "as many terms as mixtures, so its noise is unknown", "repeat some mixtures")
    surface.runs.require_noise(surface.noise)
    if draws < 100:
        raise PresightError("draws", f"{draws} replicates cannot hold a quantile", "ask for at least 100")
    where = feasible or Feasible.hull(surface.runs.shares)
    kind = resampling or ("residual" if surface.noise.source == RESIDUALS else "parametric")
    rng = np.random.default_rng(seed)
    at, _, free = surface.highest(_resampled(surface, kind, draws, rng), where)
    alpha = 1 - level
    peak = surface.peak(where)
    limits = np.quantile(at, [alpha / 2, 1 - alpha / 2], axis=0)
    marginals = tuple(
        Interval(
            float(peak.shares[j]), float(limits[0, j]), float(limits[1, j]), level, f"{kind} bootstrap, percentiles"
        )
        for j in range(at.shape[1])
    )
    grid = where.grid(points)
    if not np.isclose(grid, peak.shares, atol=1e-9).all(axis=1).any():
        grid = np.concatenate([grid, peak.shares[None]])
    least, most = _Contrasts.of(surface, grid, level, seed).limits()
    inside = float((free == at.shape[1]).mean())
    return Optimum(surface, peak, at, marginals, inside, grid, least, most, level, seed)


def _resampled(surface: Surface, kind: Resampling, draws: int, rng: np.random.Generator) -> Floats:
    """Coefficients of resampled surfaces [draws, p]."""
    p = len(surface.coefficients)
    if kind == "parametric":
        noise = rng.standard_normal((draws, p)) @ np.linalg.cholesky(surface.covariance).T
        return surface.coefficients + noise / _chi(surface.df, draws, rng)[:, None]
    runs = surface.runs
    root = np.sqrt(runs.weights)
    q, r = np.linalg.qr(root[:, None] * surface.terms(runs.shares))
    residual = root * (runs.means - surface.predict(runs.shares))
    hat = np.minimum((q**2).sum(axis=1), 1 - 1e-9)
    if kind == "residual":
        even = residual / np.sqrt(1 - hat)
        noise = rng.choice(even - even.mean(), (draws, len(even)))
    elif kind == "wild":
        noise = residual / (1 - hat) * rng.choice([-1.0, 1.0], (draws, len(residual)))
    else:
        raise PresightError("resampling", f"{kind!r}", "choose parametric, residual or wild")
    return surface.coefficients + np.linalg.solve(r, q.T @ noise.T).T


def _chi(df: float, draws: int, rng: np.random.Generator) -> Floats:
    return np.sqrt(rng.chisquare(df, draws) / df) if np.isfinite(df) else np.ones(draws)


@dataclass(frozen=True, slots=True)
class _Contrasts:
    """f(z) − f(x) for mixtures z of a grid: estimates, standard errors and the law of the largest ratio.

    Attributes:
        surface: fitted.
        terms: of the grid, without the constant [g, p − 1].
        root: of the coefficients' covariance, without the constant [p − 1, p − 1].
        noise: simulated errors of coefficients in units of their own estimated noise [p − 1, draws], float32.
        level: of the limits.
    """

    surface: Surface
    terms: Floats
    root: Floats
    noise: Any
    level: float

    @classmethod
    def of(cls, surface: Surface, grid: Floats, level: float, seed: int, draws: int = 1000) -> _Contrasts:
        rng = np.random.default_rng([seed, 1])
        root: Any = np.linalg.cholesky(surface.covariance[1:, 1:])
        noise: Any = rng.standard_normal((len(root), draws)) / _chi(surface.df, draws, rng)
        return cls(surface, surface.terms(grid)[:, 1:], root, noise.astype(np.float32), level)

    def against(self, terms: Floats) -> tuple[float, Floats, Floats, Any]:
        """Of a mixture x with these terms [p − 1]: how much worse than the best of the grid it is at least (0: it may
        be the best); f̂(z) − f̂(x) and its standard error [g]; and the largest ratios that noise makes of them [draws].
        """
        apart = self.terms - terms
        error = apart @ self.root
        se = np.sqrt((error**2).sum(axis=1))
        unit = np.divide(error, se[:, None], out=np.zeros_like(error), where=se[:, None] > 1e-12)
        largest = (unit.astype(np.float32) @ self.noise).max(axis=0)
        gain = apart @ self.surface.coefficients[1:]
        least = float((gain - self._critical(largest) * se).max())
        return max(least, 0.0), gain, se, largest

    def excess(self, terms: Floats) -> float:
        """Of a mixture with these terms [p − 1]: see `Optimum.excess`."""
        _, gain, se, largest = self.against(terms)
        ratios = np.divide(gain, se, out=np.zeros_like(gain), where=se > 1e-12)
        return float(ratios.max()) - self._critical(largest)

    def _critical(self, largest: Any) -> float:
        place = min(math.ceil(self.level * len(largest)), len(largest) - 1)
        return float(np.partition(largest, place)[place])

    def limits(self) -> tuple[Floats, Floats]:
        """How much worse each is than the best of the grid, at least (by itself) and at most (all at once) [g]."""
        rows = [self.against(terms) for terms in self.terms]
        critical = self._critical(np.max([largest for *_, largest in rows], axis=0))
        most = [float((gain + critical * se).max()) for _, gain, se, _ in rows]
        return np.array([least for least, *_ in rows]), np.array(most)
