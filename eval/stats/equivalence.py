"""Is the difference small enough to ignore? That it is not established does not say so.

A control *explains* a treatment's gain when the two are equivalent within a margin stated beforehand, in the units of
the score. Two one-sided tests (Schuirmann, 1987) ask it: the interval at level ``1 - 2 alpha`` lies within the margin.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from eval.stats.intervals import crossed_margins
from eval.stats.margins import Interval, Margins, require_fraction
from presight.errors import PresightError

__all__ = ["Equivalence", "Verdict", "equivalence", "seeds_needed"]

Verdict = Literal["equivalent", "different", "unresolved"]


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether two arms are the same within a margin.

    Attributes:
        margin: largest difference that is taken for none, in units of the score.
        interval: of the difference, at the level ``1 - 2 alpha`` of the two one-sided tests.
        p: of a true difference at or beyond the margin; at most alpha exactly when the interval is within.
        p_difference: two-sided, of no difference.
        alpha: error rate of each verdict.
        verdict: ``equivalent``: within the margin, be it nought or not; ``different``: not nought, and not shown to be
            within the margin; ``unresolved``: neither.
        power: chance that `more_seeds` is reckoned for.
        more_seeds: of an unresolved comparison, how many more seeds would tell nought from the margin, see
            `seeds_needed`; None: no affordable number, or one seed, which has not shown how much seeds vary.
        n_seeds, n_items: size of the design; n_items counts clusters where they were given.
    """

    margin: float
    interval: Interval
    p: float
    p_difference: float
    alpha: float
    verdict: Verdict
    power: float
    more_seeds: int | None
    n_seeds: int
    n_items: int

    def sentence(self) -> str:
        """The verdict in plain English."""
        limits = f"{self.interval.low:+.3g} to {self.interval.high:+.3g} at level {self.interval.level:g}"
        if self.verdict == "equivalent":
            return f"The arms are equivalent within ±{self.margin:g} ({limits})."
        if self.verdict == "different":
            return (
                f"The arms differ (p = {self.p_difference:.2g}) and may do so by more than {self.margin:g} ({limits})."
            )
        unsure = f"Whether the arms are equivalent within ±{self.margin:g} or differ is unresolved ({limits})"
        if self.more_seeds is not None:
            plural = "s" * (self.more_seeds != 1)
            return f"{unsure}; {self.more_seeds} more seed{plural} would tell, {self.power:.0%} of the time."
        if self.n_seeds == 1:
            return f"{unsure}; one seed cannot say how many would tell."
        return f"{unsure}; no affordable number of seeds would tell: more items, or a wider margin, would."

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, strings and finite numbers."""
        return asdict(self)


def equivalence(
    treatment: ArrayLike,
    control: ArrayLike,
    margin: float,
    clusters: ArrayLike | None = None,
    *,
    level: float = 0.95,
    power: float = 0.8,
    most_seeds: int = 1000,
) -> Equivalence:
    """Test whether two arms on the same items with the same seeds are equivalent within `margin`.

    Args:
        treatment: scores [seeds, items].
        control: scores [seeds, items]; rows and columns as in `treatment`.
        margin: largest difference that is taken for none, in units of the score; to be chosen before the scores are
            seen, for instance a fraction of the gain that is to be explained.
        clusters: cluster ids [items].
        level: one minus the error rate of each verdict, from 0.5.
        power: chance with which `more_seeds` would resolve the question.
        most_seeds: largest number of seeds to consider.

    Raises:
        PresightError: as `crossed_interval`; a margin that is not positive, a level or a power out of range.
    """
    alpha = 1 - require_fraction("level", level)
    if alpha >= 0.5:
        raise PresightError("level", f"{level} leaves nothing of 1 − 2 alpha", "give a share above 0.5, such as 0.95")
    margins = crossed_margins(treatment, control, clusters)
    p = _p_beyond(margins, _require_margin(margin))
    p_difference = margins.p_value()
    verdict: Verdict = "equivalent" if p <= alpha else "different" if p_difference < alpha else "unresolved"
    seeds = margins.seed_df + 1
    needed = seeds_needed(margins, margin, level, power, most_seeds) if verdict == "unresolved" else None
    return Equivalence(
        margin=float(margin),
        interval=margins.interval(1 - 2 * alpha),
        p=p,
        p_difference=p_difference,
        alpha=alpha,
        verdict=verdict,
        power=power,
        more_seeds=None if needed is None else max(1, needed - seeds),
        n_seeds=seeds,
        n_items=margins.count,
    )


def seeds_needed(
    margins: Margins, margin: float, level: float = 0.95, power: float = 0.8, most_seeds: int = 1000
) -> int | None:
    """Fewest seeds at which the items of `margins` tell a difference of nought from one of `margin`.

    That is: were the true difference 0, the verdict would be *equivalent* with this power, and were it the margin,
    *different*. The variance components are taken as observed, which few seeds show roughly; the observed difference
    is not, for power at an observed effect only repeats its p-value. None: `most_seeds` would not do, since the items
    alone blur more than the margin, or the margins are those of one seed.

    Raises:
        PresightError: a margin that is not positive, a level or a power out of range.
    """
    alpha = 1 - require_fraction("level", level)
    _require_margin(margin)

    def resolves(seeds: int) -> bool:
        design = margins.resized(seeds, margins.count)
        return design.detectable(level, power) <= margin and _power_of_nought(design, margin, alpha) >= power

    if not margins.seed_df or not resolves(most_seeds):
        return None
    low, high = 1, most_seeds  # the second resolves, the first is not asked to
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if resolves(middle) else (middle, high)
    return high


def _p_beyond(margins: Margins, margin: float) -> float:
    """One-sided p of a true mean at or beyond either end of the margin, the larger of the two."""

    def one_sided(end: float, within: bool) -> float:
        half = margins.p_value(end) / 2
        return half if within else 1 - half

    return max(one_sided(margin, margins.estimate < margin), one_sided(-margin, margins.estimate > -margin))


def _power_of_nought(margins: Margins, margin: float, alpha: float) -> float:
    """Chance of the verdict *equivalent* when the true mean is 0, the margins taken as true."""
    from scipy.special import ndtr

    if margins.unvaried and margins.support is not None:
        return float(margins.interval(1 - 2 * alpha).half_width <= margin)
    spread, reach = margins.reaches(2 * alpha)
    if spread == 0:
        return 1.0
    room = (margin / spread - reach).clip(min=0.0)
    return float((2 * ndtr(room) - 1).mean())


def _require_margin(margin: float) -> float:
    if not 0 < margin < float("inf"):
        raise PresightError("margin", f"{margin} is no width", "give the largest difference that is taken for none")
    return margin
