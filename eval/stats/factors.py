"""One prior or two? Whether one factor suffices for a table of benchmark scores over models.

Two benchmarks can correlate weakly because they measure different things or because both are noisy. The model here
has both: a score is ``loading * factor + what is the task's own``, and a task's own variance is at least its known
measurement error. *One* is only said where two factors would have been seen.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.margins import Floats, read_scores, require_fraction
from presight.errors import PresightError

__all__ = ["FactorTest", "factor_test"]

_STEPS = 150  # of EM; see `_misfit`
_SIZES = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960, 1280)


@dataclass(frozen=True, slots=True)
class FactorTest:
    """The verdict on one factor against more.

    Attributes:
        verdict: ``two``: one factor is rejected (two or more are needed); ``one``: not rejected, in a design that
            would have rejected it with the wanted power; ``cannot say``: neither.
        p: of the misfit of one factor, by simulation from the fitted one.
        loadings: [tasks] of that factor, in standard deviations of the score; their overall sign is arbitrary.
        error_shares: [tasks] the share of each task's variance that is measurement error.
        power: chance that this design rejects one factor when the two halves of the tasks have a factor each, with
            the loadings of the fitted one. Where there are two, those are too small, and the power errs downwards.
        apart: the correlation of those two factors.
        halves: [tasks] which half a task was put in for that, 0 or 1.
        models_needed: fewest models, of a coarse list, for the wanted power when the verdict is ``cannot say`` (none:
            not even 1280 would do); else `n_models`.
    """

    verdict: Literal["one", "two", "cannot say"]
    p: float
    loadings: tuple[float, ...]
    error_shares: tuple[float, ...]
    power: float
    apart: float
    halves: tuple[int, ...]
    n_models: int
    models_needed: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def factor_test(
    scores: ArrayLike,
    error_variances: ArrayLike | None = None,
    halves: Sequence[int] | None = None,
    *,
    apart: float = 0.5,
    level: float = 0.95,
    power: float = 0.8,
    draws: int = 500,
    seed: int = 0,
) -> FactorTest:
    """Test whether one factor suffices for scores of models on tasks.

    The statistic is the likelihood ratio of a one-factor covariance to an unrestricted one, and its law is simulated
    from the fitted one-factor model with this number of models, since the chi-square law is wrong for few models and
    where a task's own variance is at its lower bound. Models are taken as independent: of checkpoints that share size
    and data, give one a family, or their mean.

    Rejected at 0.05, loadings 0.8, with one factor and with two of correlation 0.5 or 0.8 (200, 200 and 100 tables;
    "error" is a known measurement error of half of each score's variance without it):

    ====== ===== ===== ========== ============= =============
    models tasks error one factor two, 0.5      two, 0.8
    ====== ===== ===== ========== ============= =============
    20     4     no    .035       .40           .14
    20     4     yes   .020       .08           .03
    20     8     no    .075       .66           .19
    20     8     yes   .040       .17           .08
    105    4     no    .050       1.00          .79
    105    4     yes   .040       .78           .23
    105    8     no    .065       1.00          .95
    105    8     yes   .055       .97           .34
    ====== ===== ===== ========== ============= =============

    Args:
        scores: [models, tasks], four tasks or more: three always fit one factor.
        error_variances: [tasks] known measurement error of each score (of repeated seeds, or of the items:
            ``p (1 - p) / n``), in squared units of the score; none: nought, so that it is part of the task's own.
        halves: [tasks] 0 or 1, the two groups that would have a factor each, for instance perception and reasoning;
            none: the split of the tasks into halves that the residuals speak for most.
        apart: correlation of the two factors that the design is to tell from one.
        level: one minus the error rate of the verdict ``two``.
        power: chance of ``two`` that the verdict ``one`` requires.
        draws: simulated tables a law.
        seed: of the simulation.

    Raises:
        PresightError: wrong shapes, too few models or tasks, tasks without variance, options out of range.
    """
    table = read_scores("scores", scores, 2)
    models, tasks = table.shape
    if tasks < 4:
        raise PresightError("scores", f"{tasks} tasks always fit one factor", "score at least four")
    if models <= tasks:
        raise PresightError("scores", f"{models} models for {tasks} tasks", "score more models than tasks")
    alpha = 1 - require_fraction("level", level)
    require_fraction("power", power)
    if not 0 <= apart < 1:
        raise PresightError("apart", f"{apart} is no correlation below one", "give a number from 0, such as 0.5")
    if draws < 100:
        raise PresightError("draws", f"{draws} tables cannot hold a quantile", "ask for at least 100")
    variances = table.var(axis=0, ddof=1)
    if (variances <= 1e-24).any():
        raise PresightError("scores", "a task on which all models score alike", "leave it out")
    errors = np.zeros(tasks) if error_variances is None else read_scores("error_variances", error_variances, 1)
    if errors.shape != (tasks,) or (errors < 0).any():
        raise PresightError("error_variances", f"{errors.tolist()}", f"give {tasks} variances, nought or above")
    shares = np.minimum(errors / variances, 1.0)
    rng = np.random.default_rng(seed)

    observed = np.asarray(np.corrcoef(table.T), dtype=np.float64)
    misfits, loadings, own = _misfit(observed[None], shares)
    one = np.outer(loadings[0], loadings[0]) + np.diag(own[0])
    law = _law(one, shares, models, draws, rng)
    p = float((1 + (law >= misfits[0] - 1e-9).sum()) / (1 + draws))
    split = _halves(observed - one, halves)
    same = np.where(split[:, None] == split, 1.0, apart)
    two = np.outer(loadings[0], loadings[0]) * same + np.diag(own[0])

    def power_of(size: int) -> float:
        critical = np.quantile(law if size == models else _law(one, shares, size, draws, rng), 1 - alpha)
        return float((_law(two, shares, size, draws, rng) > critical).mean())

    here = power_of(models)
    sizes = [size for size in _SIZES if size > max(tasks, models)]
    needed: int | None = models
    if p > alpha and here < power:
        place = bisect.bisect_left(sizes, True, key=lambda size: power_of(size) >= power)
        needed = sizes[place] if place < len(sizes) else None
    return FactorTest(
        verdict="two" if p <= alpha else "one" if here >= power else "cannot say",
        p=p,
        loadings=tuple(map(float, loadings[0])),
        error_shares=tuple(map(float, shares)),
        power=here,
        apart=apart,
        halves=tuple(map(int, split)),
        n_models=models,
        models_needed=needed,
    )


def _law(covariance: Floats, floor: Floats, models: int, draws: int, rng: np.random.Generator) -> Floats:
    """Misfits [draws] of one factor to tables of that many models drawn from `covariance`."""
    tasks = len(covariance)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    tables = rng.standard_normal((draws, models, tasks)) @ root.T
    tables -= tables.mean(axis=1, keepdims=True)
    cross = tables.transpose(0, 2, 1) @ tables / (models - 1)
    scale = np.sqrt(np.einsum("dii->di", cross))
    return _misfit(cross / (scale[:, :, None] * scale[:, None, :]), np.minimum(floor / scale**2, 1.0))[0]


def _misfit(correlations: Floats, floor: Floats) -> tuple[Floats, Floats, Floats]:
    """Discrepancy [draws], loadings and own variances [draws, tasks] of one factor, by EM, all draws at once.

    The own variances are kept at or above `floor`, which is exact in EM: each has one maximum of its own. A fit
    that has not converged is no fault: the observed table and the simulated ones are all judged by the same steps.
    """
    draws, tasks, _ = correlations.shape
    floor = np.maximum(np.broadcast_to(floor, (draws, tasks)), 1e-3)
    values, vectors = np.linalg.eigh(correlations)
    loadings = vectors[:, :, -1] * np.sqrt(
        np.maximum(values[:, -1:] - values[:, :-1].mean(axis=1, keepdims=True), 0.01)
    )
    own = np.maximum(1 - loadings**2, floor)
    for _ in range(_STEPS):
        weights = loadings / own
        weights /= 1 + (loadings * weights).sum(axis=1, keepdims=True)  # of the factor's regression on the scores
        cross = (correlations @ weights[:, :, None])[:, :, 0]
        square = 1 - (weights * loadings).sum(axis=1) + (weights * cross).sum(axis=1)
        loadings = cross / square[:, None]
        own = np.maximum(1 - loadings * cross, floor)
    scaled = loadings / own
    strength = 1 + (loadings * scaled).sum(axis=1)
    trace = (1 / own).sum(axis=1) - (scaled * (correlations @ scaled[:, :, None])[:, :, 0]).sum(axis=1) / strength
    determinant = np.log(own).sum(axis=1) + np.log(strength)
    return determinant + trace - np.linalg.slogdet(correlations)[1] - tasks, loadings, own


def _halves(residuals: Floats, halves: Sequence[int] | None) -> Floats:
    tasks = len(residuals)
    if halves is not None:
        split = np.asarray(halves)
        if split.shape != (tasks,) or set(split.tolist()) != {0, 1}:
            raise PresightError("halves", f"{list(halves)}", f"give {tasks} numbers, some 0 and some 1")
        return split.astype(np.float64)
    order = np.argsort(np.linalg.eigh(residuals - np.diag(np.diag(residuals)))[1][:, -1])
    split = np.zeros(tasks)
    split[order[tasks // 2 :]] = 1
    return split
