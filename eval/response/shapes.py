"""Shapes of a response along one share: contrasts for them, how well each fits, and the verdict that they allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eval.response.replicates import Noise, Runs, Test, quadratic_form_test
from eval.stats.margins import Floats, t_quantile
from presight.errors import PresightError

__all__ = ["RATES", "VERDICTS", "Contrasts", "Shape", "Verdict"]

Verdict = Literal["progressive", "saturating", "peaked", "not resolvable"]
VERDICTS: tuple[Verdict, ...] = ("progressive", "saturating", "peaked", "not resolvable")
RATES = tuple(
    map(float, np.geomspace(0.06, 1.0, 10))
)  # of saturation, as shares of the range; slower ones look like a line
_NULL = 1600  # simulated data sets behind a p


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape fitted along the share.

    Attributes:
        name: linear, saturating (``1 − exp(−(x − lowest) / rate)``) or quadratic.
        at: the rate in units of the share (saturating) or where it turns (quadratic); None for a line.
        misfit: weighted sum of squares that it leaves.
        lack_of_fit: against the noise; None where there is none apart from residuals or no degree of freedom is left.
    """

    name: Literal["linear", "saturating", "quadratic"]
    at: float | None
    misfit: float
    lack_of_fit: Test | None


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Contrasts of whitened means z [m] (means times the root of their weights).

    Attributes:
        low, high: range of the share.
        blocks: number of blocks.
        level: orthonormal basis of the blocks' levels [m, blocks].
        changes: unit vectors, free of levels, of the line, the saturating shapes and the parabola [12, m].
        bends: the last eleven, free of the line too [11, m].
        parabola: share and its square, from 0 to 1 over the range, free of levels [2, m].
        early, late: slopes of z over either half of the range, in units of the score for a whole share [m].
        sides: slopes below and above each inner value of the share [2, inner values, m].
    """

    low: float
    high: float
    blocks: int
    level: Floats
    changes: Floats
    bends: Floats
    parabola: Floats
    early: Floats
    late: Floats
    sides: Floats

    @classmethod
    def of(cls, runs: Runs, place: int, weights: Floats) -> Contrasts:
        """Contrasts along the share at `place` for means with these weights [m].

        Raises:
            PresightError: too few values of the share while the others are fixed.
        """
        x, others = runs.shares[:, place], np.delete(runs.shares, place, axis=1)
        low, high = float(x.min()), float(x.max())
        block = np.unique(others, axis=0, return_inverse=True)[1].ravel() if others.size else np.zeros(len(x), int)
        root, u = np.sqrt(weights), (x - low) / max(high - low, 1e-12)
        member = np.eye(block.max() + 1)[block]  # [m, blocks]
        level = root[:, None] * member
        level = level / np.linalg.norm(level, axis=0)
        raw = np.stack([u, *(-np.expm1(-u / rate) for rate in RATES), u**2])
        changes = root * raw
        changes = changes - changes @ level @ level.T
        parabola = changes[[0, -1]]
        changes = changes / np.linalg.norm(changes, axis=1, keepdims=True).clip(1e-12)
        bends = changes[1:] - np.outer(changes[1:] @ changes[0], changes[0])
        size = np.linalg.norm(bends, axis=1, keepdims=True)
        if (size < 1e-9).any():
            raise PresightError("runs", f"too few values of {runs.names[place]}", "run three or more, the rest fixed")
        early, late = (_slope(x, member, weights, half) / root for half in (u <= 0.5 + 1e-9, u >= 0.5 - 1e-9))
        inner = np.unique(np.round(x, 9))[1:-1]
        sides = np.stack(
            [[_slope(x, member, weights, side) / root for side in (x <= at + 1e-9, x >= at - 1e-9)] for at in inner], 1
        )
        return cls(low, high, level.shape[1], level, changes, bends / size, parabola, early, late, sides)

    def misfits(self, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Sums of squares [n] that line, best saturating shape and parabola leave of z [n, m]."""
        total = ((z - z @ self.level @ self.level.T) ** 2).sum(axis=1)
        gains = (z @ self.changes.T) ** 2
        parabola = gains[:, 0] + (z @ self.bends[-1]) ** 2
        return total - gains[:, 0], total - gains[:, 1:-1].max(axis=1), total - parabola

    def fitted(self, z: Floats) -> Floats:
        """The better of the best saturating shape and the parabola, at z [m]."""
        _, saturating, parabola = (float(each[0]) for each in self.misfits(z[None]))
        best = self.changes[[self._rate(z)]] if saturating <= parabola else np.stack([self.changes[0], self.bends[-1]])
        return self.level @ (self.level.T @ z) + best.T @ (best @ z)

    def _rate(self, z: Floats) -> int:
        return 1 + int(np.abs(self.changes[1:-1] @ z).argmax())

    def judge(
        self, z: Floats, noise: Noise, variances: Floats, alpha: float, rng: np.random.Generator
    ) -> dict[str, Floats]:
        """Verdicts (places in `VERDICTS`), p of change and of bend, of data sets z [n, m] with variances [n, c]."""
        null = rng.standard_normal((_NULL, len(noise.component))) * np.sqrt(noise.run_variance)
        scale = noise.redrawn(len(null), rng)

        def p(contrasts: Floats, seen: Floats) -> Floats:
            law = np.sort(np.abs(null @ contrasts.T / noise.redrawn_spread(contrasts, scale)).max(axis=1))
            return (1 + len(law) - np.searchsorted(law, seen)) / (1 + len(law))

        def largest(contrasts: Floats) -> Floats:
            return np.abs(z @ contrasts.T / noise.redrawn_spread(contrasts, variances)).max(axis=1)

        p_change, p_bend = (p(contrasts, largest(contrasts)) for contrasts in (self.changes, self.bends))
        below, above = (z @ side.T / noise.redrawn_spread(side, variances) for side in self.sides)
        turns = np.where(below * above < 0, np.minimum(np.abs(below), np.abs(above)), 0).max(axis=1)
        p_peak = p(np.concatenate(list(self.sides)), turns)
        slopes = np.stack([self.early, self.late])
        ratios = z @ slopes.T / noise.redrawn_spread(slopes, variances)  # [n, 2]
        reach = [t_quantile(float(df), alpha) for df in noise.spread(slopes)[1]]
        early, late = np.where(np.abs(ratios) > reach, np.sign(ratios), 0).T
        _, saturating, quadratic = self.misfits(z)
        changes, bends = p_change < alpha, p_bend < alpha
        verdict = np.full(len(z), 3)
        verdict[changes & bends & (early != 0) & (late == 0) & (saturating <= quadratic)] = 1
        verdict[changes & (late != 0) & (np.sign(ratios[:, 0]) == late)] = 0
        verdict[changes & (p_peak < alpha)] = 2
        return {"verdict": verdict, "p_change": p_change, "p_bend": p_bend, "p_peak": p_peak}

    def shapes(self, z: Floats, noise: Noise | None) -> tuple[Shape, Shape, Shape]:
        """The three shapes as fitted to z [m], and how they fit."""
        line, saturating, parabola = (float(each[0]) for each in self.misfits(z[None]))
        rate, span = self._rate(z), self.high - self.low
        # Along the rate the shape moves, to first order, towards its neighbours of other rates.
        moved = self.changes[rate - 1 if rate > 1 else rate + 1] - self.changes[rate]
        slope, curve = np.linalg.lstsq(self.parabola.T, z, rcond=None)[0]
        turn = float(self.low - span * slope / (2 * curve)) if curve else None

        def lack(misfit: float, *columns: Floats) -> Test | None:
            q = np.linalg.qr(np.column_stack([self.level, *columns]))[0]
            if noise is None or len(z) <= q.shape[1]:
                return None
            return quadratic_form_test(misfit, np.eye(len(z)) - q @ q.T, noise)

        return (
            Shape("linear", None, line, lack(line, self.changes[0])),
            Shape("saturating", RATES[rate - 1] * span, saturating, lack(saturating, self.changes[rate], moved)),
            Shape("quadratic", turn, parabola, lack(parabola, self.changes[0], self.bends[-1])),
        )


def _slope(x: Floats, member: Floats, weights: Floats, half: NDArray[np.bool_]) -> Floats:
    """Contrast of means [m] that is the least-squares slope over a half, blocks at levels of their own."""
    w = weights * half
    total = member.T @ w
    centre = np.divide(member.T @ (w * x), total, out=np.zeros_like(total), where=total > 0)
    apart = w * (x - member @ centre)
    size = float(apart @ x)
    if size < 1e-12:
        raise PresightError("runs", "half of the share's range holds one value", "run two or more in either half")
    return apart / size
