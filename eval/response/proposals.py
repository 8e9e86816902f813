"""The most informative mixtures to run next, ready for a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from eval.response.feasible import Feasible
from eval.response.optimum import Optimum
from eval.response.surface import Surface
from eval.stats.margins import Floats
from presight.errors import PresightError

__all__ = ["Criterion", "Proposal", "propose"]

Criterion = Literal["optimum", "I", "D"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Mixtures to run next, and what they are expected to tell.

    Attributes:
        names: of the shares [k].
        shares: of the mixtures [count, k], fractions.
        repeats: runs of each.
        criterion: what they were chosen by.
        before, after: root mean square standard error that the criterion averages, in units of the score, now and with
            these runs; for D, that of a coefficient of coded shares (geometric mean).
    """

    names: tuple[str, ...]
    shares: Floats
    repeats: int
    criterion: Criterion
    before: float
    after: float

    def mixtures(self, held: Mapping[str, float] | None = None, rest: str = "") -> list[dict[str, float]]:
        """All shares of each mixture, in per cent.

        Args:
            held: shares in per cent that no run varied; they belong to the mixtures as much.
            rest: the share that is whatever the others leave of 100; empty: there is none.
        """
        found = []
        for row in self.shares.tolist():
            each = {name: 100 * share for name, share in zip(self.names, row, strict=True)} | dict(held or {})
            if rest:
                each[rest] = max(0.0, 100 - sum(each.values()))
            found.append(each)
        return found

    def axes(self, first_seed: int = 0, held: Mapping[str, float] | None = None, rest: str = "") -> str:
        """The axes of a recipe, as YAML: mixtures with shares in per cent, and a pretraining seed for each repeat.

        Give it as ``families: $mixture`` (or ``sources:``) and ``seed: $init``. Where a mixture was run before, begin
        at a seed that was not used.

        Args:
            first_seed: of the repeats.
            held: as for `mixtures`.
            rest: as for `mixtures`.
        """
        lines = ["axes:", "  mixture:"]
        for place, each in enumerate(self.mixtures(held, rest)):
            written = ", ".join(f"{name}: {share:.6g}" for name, share in each.items())
            lines.append(f"    next{place + 1}: {{{written}}}")
        seeds = ", ".join(str(first_seed + repeat) for repeat in range(self.repeats))
        return "\n".join([*lines, f"  init: [{seeds}]", ""])

    def sentence(self) -> str:
        """What the runs are for and what they are expected to do."""
        runs = f"{len(self.shares)} mixtures × {self.repeats} run{'s' * (self.repeats > 1)}"
        aim = {
            "optimum": "the standard error of how much worse possible optima are than the fitted one",
            "I": "the standard error of the surface, averaged over what can be mixed",
            "D": "the standard error of a coefficient",
        }[self.criterion]
        return f"{runs} bring {aim} from {self.before:.3g} to {self.after:.3g}, if the surface is right."


def propose(
    surface: Surface,
    count: int,
    *,
    criterion: Criterion = "optimum",
    optimum: Optimum | None = None,
    feasible: Feasible | None = None,
    candidates: ArrayLike | None = None,
    repeats: int = 1,
) -> Proposal:
    """Choose mixtures to add to those a surface was fitted to.

    * "I": least variance of the surface, averaged over what can be mixed; for whoever wants to predict.
    * "D": least volume of the coefficients' confidence ellipsoid; favours the border.
    * "optimum": least variance of f(x) − f(peak), averaged over the mixtures x that resampled surfaces take for best;
      for whoever wants to know where the optimum lies. It needs `optimum`, and holds for edges and saddles too.

    Candidates are added one by one, each time the best; then each is exchanged for a better one until none is
    (Fedorov, 1972). The end is a local optimum, seldom much worse than the best set. All three trust the polynomial:
    where lack of fit is the worry, run mixtures far from those there are instead.

    Args:
        surface: fitted.
        count: mixtures to choose, all different.
        criterion: see above.
        optimum: of the surface, for the criterion of that name.
        feasible: what can be mixed; none: the hull of the mixtures that were run.
        candidates: mixtures to choose from [n, k]; none: a grid of what can be mixed and the mixtures that were run.
        repeats: runs of each.

    Raises:
        PresightError: fewer candidates than asked for, no `optimum` where it is needed or nothing left to learn of it.
    """
    if count < 1 or repeats < 1:
        raise PresightError("count", f"{count} mixtures × {repeats} runs", "ask for at least one")
    if criterion not in ("optimum", "I", "D"):
        raise PresightError("criterion", f"{criterion!r}", "choose optimum, I or D")
    runs = surface.runs
    where = feasible or Feasible.hull(runs.shares)
    grid = where.grid(300)
    given = np.concatenate([grid, runs.shares]) if candidates is None else np.asarray(candidates, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != len(runs.names) or not ((given >= 0) & (given <= 1)).all():
        raise PresightError("candidates", f"shape {given.shape}, or no fractions", "give [n, shares] from 0 to 1")
    pool = np.unique(np.round(given, 9), axis=0)
    if len(pool) < count:
        raise PresightError("candidates", f"{len(pool)} for {count} mixtures", "give more, or ask for fewer")
    aim = None if criterion == "D" else _moments(surface, grid, criterion, optimum)
    known = surface.terms(runs.shares)
    start = (known.T * runs.weights) @ known
    rows = surface.terms(pool) * math.sqrt(repeats * runs.weights.sum() / runs.n)
    chosen: list[int] = []
    information = start
    for _ in range(count):
        best = int(np.argmax(np.where(np.isin(np.arange(len(pool)), chosen), -np.inf, _gains(information, rows, aim))))
        chosen.append(best)
        information = information + np.outer(rows[best], rows[best])
    improved = True
    while improved:
        improved = False
        for place, old in enumerate(chosen):
            without = information - np.outer(rows[old], rows[old])
            gains = _gains(without, rows, aim)
            gains[[each for each in chosen if each != old]] = -np.inf
            best = int(gains.argmax())
            if gains[best] > gains[old] + 1e-9 * abs(gains[old]):
                chosen[place], improved = best, True
                information = without + np.outer(rows[best], rows[best])
    variance = float(surface.noise.variance[0])
    before, after = (math.sqrt(variance * _value(each, aim)) for each in (start, information))
    return Proposal(runs.names, pool[sorted(chosen)], repeats, criterion, before, after)


def _moments(surface: Surface, grid: Floats, criterion: Criterion, optimum: Optimum | None) -> Floats:
    """The matrix A [p, p] of a criterion tr(A · covariance)."""
    if criterion == "I":
        rows = surface.terms(grid)
    elif optimum is None:
        raise PresightError("optimum", "is needed to choose mixtures by it", "give eval.optimum's, or choose I or D")
    else:
        rows = surface.terms(optimum.draws) - surface.terms(optimum.peak.shares[None])
        if np.abs(rows).max() < 1e-9:
            raise PresightError("optimum", "every resampled surface has the same one", "choose I or D")
    return rows.T @ rows / len(rows)


def _gains(information: Floats, rows: Floats, aim: Floats | None) -> Floats:
    """What adding each row [n, p] gains: of log det, or of tr(A · covariance), by the matrix determinant lemma."""
    covariance = np.linalg.inv(information)
    spread = rows @ covariance
    leverage = (spread * rows).sum(axis=1)
    if aim is None:
        return np.log1p(leverage)
    return ((spread @ aim) * spread).sum(axis=1) / (1 + leverage)


def _value(information: Floats, aim: Floats | None) -> float:
    """Mean variance under noise 1."""
    if aim is None:
        return float(np.exp(-np.linalg.slogdet(information)[1] / len(information)))
    return float(np.trace(np.linalg.inv(information) @ aim))
