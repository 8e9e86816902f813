"""Scores of runs at mixtures, some of them repeated, and what the repeats say of the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.stats.margins import Floats, read_scores
from presight.errors import PresightError

__all__ = ["Noise", "Runs", "Test", "quadratic_form_test"]

NOUGHT = 1e-6  # of the largest score: a standard deviation below it is rounding and no noise
RESIDUALS = "residuals"


@dataclass(frozen=True, slots=True)
class Runs:
    """Scores of runs, gathered by mixture: runs at one mixture are repeats, and differ by noise alone.

    Attributes:
        names: of the shares [k].
        shares: of the mixtures [m, k], fractions of the text.
        means: score of each mixture [m], the mean of its runs.
        weights: of the means [m]: how many runs, or the sum of their 1 / noise² where the noise is known.
        counts: runs of each mixture [m].
        within: weighted sum of squares of a mixture's runs about their mean [m].
        known: whether the noise of the runs was given.
    """

    names: tuple[str, ...]
    shares: Floats
    means: Floats
    weights: Floats
    counts: NDArray[np.int64]
    within: Floats
    known: bool

    @classmethod
    def of(
        cls,
        shares: ArrayLike,
        scores: ArrayLike,
        names: Sequence[str] | None = None,
        noise: ArrayLike | None = None,
    ) -> Runs:
        """Gather runs.

        Args:
            shares: [runs, k] (or [runs] of one share), fractions from 0 to 1. Labels may overlap, so they need not sum
                to 1; of sources that do, leave one out.
            scores: [runs], higher is better; give a loss with its sign turned.
            names: of the shares; none: ``share 1`` and so on.
            noise: standard deviation of a score, one for all or [runs], where it is known from elsewhere; none: learn
                it from repeats.

        Raises:
            PresightError: wrong shapes, shares that are no fractions, scores or noise that are not finite.
        """
        y = read_scores("scores", scores, 1)
        x = np.asarray(shares, dtype=np.float64)
        x = x[:, None] if x.ndim == 1 else x
        if x.ndim != 2 or len(x) != len(y) or not x.shape[1]:
            raise PresightError("shares", f"shape {x.shape} for {len(y)} scores", "give [runs, shares]")
        if not ((x >= 0) & (x <= 1)).all():
            raise PresightError("shares", "values outside 0 to 1", "give fractions: divide per cent by 100")
        labels = tuple(names) if names is not None else tuple(f"share {j + 1}" for j in range(x.shape[1]))
        if len(set(labels)) != x.shape[1]:
            raise PresightError("names", f"{len(set(labels))} for {x.shape[1]} shares", "name each share once")
        sd = np.ones(len(y)) if noise is None else np.broadcast_to(np.asarray(noise, dtype=np.float64), y.shape)
        if not (np.isfinite(sd) & (sd > 0)).all():
            raise PresightError("noise", "is not a positive number everywhere", "give standard deviations, or nothing")
        _, first, index = np.unique(np.round(x, 9), axis=0, return_index=True, return_inverse=True)
        index, weight = index.ravel(), sd**-2.0
        total: Any = np.bincount(index, weight)
        means: Any = np.bincount(index, weight * y) / total
        within: Any = np.bincount(index, weight * (y - means[index]) ** 2)
        return cls(labels, x[first], means, total, np.bincount(index), within, noise is not None)

    @property
    def n(self) -> int:
        """Number of runs."""
        return int(self.counts.sum())

    @property
    def repeats(self) -> int:
        """Degrees of freedom of the repeats: runs less mixtures."""
        return self.n - len(self.means)

    def require_noise(self, noise: Noise | None = None) -> None:
        """Refuse runs without noise, against which any difference would be established.

        Args:
            noise: as estimated; none: look at the scores alone.

        Raises:
            PresightError: all runs score alike, or the noise is nought to the precision of the scores.
        """
        if self.known:
            return
        least = (NOUGHT * float(np.abs(self.means).max())) ** 2
        if float(np.ptp(self.means)) ** 2 <= least and float(self.within.sum()) <= least:
            mend = "ask questions that some models answer and others do not, or leave this figure out"
            raise PresightError("scores", f"all {self.n} runs score alike, at {self.means[0]:g}", mend)
        if noise is not None and not float(noise.variance.max()) > least:
            repeated = bool(self.repeats) and noise.source != RESIDUALS
            problem = "repeats agree exactly" if repeated else "the scores lie exactly on the curve that is fitted"
            mend = "ask more questions, repeat more mixtures, or give the noise"
            raise PresightError("scores", f"{problem}, so how large noise is remains unknown", mend)


class Test(NamedTuple):
    """A test against noise: its statistic, about 1 where there is noise alone, degrees of freedom, and p."""

    statistic: float
    df: float
    noise_df: float
    p: float


@dataclass(frozen=True, slots=True)
class Noise:
    """The variance of a run of weight 1, in components that are estimated apart.

    Attributes:
        component: which component each mixture's noise is of [m].
        variance: of each component [c].
        df: degrees of freedom behind each [c]; infinite where the noise was given.
        source: in words.
    """

    component: NDArray[np.int64]
    variance: Floats
    df: Floats
    source: str

    @classmethod
    def known(cls, runs: Runs) -> Noise:
        """The noise that was given with the runs."""
        return cls(np.zeros(len(runs.means), int), np.ones(1), np.full(1, np.inf), "given")

    @classmethod
    def residual(cls, mixtures: int, variance: float, df: float) -> Noise:
        """A model's residual mean square: noise and lack of fit in one."""
        return cls(np.zeros(mixtures, int), np.array([variance]), np.array([float(df)]), RESIDUALS)

    @classmethod
    def repeated(cls, runs: Runs, equal: bool = True) -> Noise | None:
        """Noise from repeats; None where no mixture was run twice.

        Args:
            runs: with repeats.
            equal: pool all repeats. Else each repeated mixture keeps its own variance, and mixtures of a single run
                borrow the pooled one, whose degrees of freedom they share.
        """
        if runs.known:
            return cls.known(runs)
        if not runs.repeats:
            return None
        pooled, df = float(runs.within.sum()) / runs.repeats, float(runs.repeats)
        own = np.flatnonzero(runs.counts > 1)
        if equal or len(own) == 1:
            return cls(np.zeros(len(runs.means), int), np.array([pooled]), np.array([df]), f"{df:.0f} repeats")
        component = np.full(len(runs.means), len(own))
        component[own] = np.arange(len(own))
        variance = np.append(runs.within[own] / (runs.counts[own] - 1), pooled)
        degrees = np.append(runs.counts[own] - 1.0, df)
        return cls(component, variance, degrees, f"{df:.0f} repeats, a variance a mixture")

    @property
    def run_variance(self) -> Floats:
        """Variance of a run of weight 1 at each mixture [m]."""
        return self.variance[self.component]

    def of_run(self, runs: Runs) -> float:
        """Standard deviation of a run, root mean square over mixtures, in units of the score."""
        return math.sqrt(float((self.run_variance * runs.counts / runs.weights).mean()))

    def spread(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Standard deviations and Satterthwaite's degrees of freedom of ``vectors @ z``, where var z = run_variance.

        `vectors` is [..., m]; with `z` the means times the root of their weights that is the noise of any contrast.
        """
        parts = self._gather(vectors**2) * self.variance  # [..., c]
        total = parts.sum(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = total**2 / (parts**2 / self.df).sum(-1)
        return np.sqrt(total), np.where(np.isfinite(df), df, np.where(total > 0, np.inf, 1.0))

    def redrawn(self, draws: int, rng: np.random.Generator) -> Floats:
        """Estimates of the components, as chance would give them were `variance` true: [draws, c]."""
        finite = np.isfinite(self.df)
        scale = np.ones((draws, len(self.df)))
        scale[:, finite] = rng.chisquare(self.df[finite], (draws, int(finite.sum()))) / self.df[finite]
        return self.variance * scale

    def redrawn_spread(self, vectors: Floats, variances: Floats) -> Floats:
        """As `spread`, standard deviations under each of `variances` [draws, c]: [draws, vectors]."""
        return np.sqrt(np.maximum(variances @ self._gather(vectors**2).T, 1e-300))

    def _gather(self, squares: Floats) -> Floats:
        return squares @ np.eye(len(self.variance))[self.component]


def quadratic_form_test(value: float, projector: Floats, noise: Noise) -> Test:
    """Whether ``value = z' Q z`` is more than noise, Q = `projector` [m, m] and var z = diag(noise.run_variance).

    The form is held against its expectation under noise alone, tr(QV), where V may differ by mixture: Box's (1954)
    degrees of freedom above, Satterthwaite's below, which for one variance is the F test and for means of groups the
    test of Brown and Forsythe (1974).
    """
    from scipy.special import fdtrc

    variance = noise.run_variance
    expected = float(np.diag(projector) @ variance)
    if expected <= 0:  # only mixtures that are fitted whatever they score have noise
        return Test(math.inf if value > 0 else 0.0, float(np.trace(projector)), 1.0, float(value <= 0))
    spread = projector * variance
    df = expected**2 / float((spread * spread.T).sum())
    parts = noise._gather(np.diag(projector)[None])[0] * noise.variance
    with np.errstate(divide="ignore"):
        below = float(parts.sum() ** 2 / max(float((parts**2 / noise.df).sum()), 1e-300))
    below = min(below, 1e9)
    statistic = max(value, 0.0) / expected
    return Test(statistic, df, below, float(fdtrc(df, below, statistic)))
