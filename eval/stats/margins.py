"""The variance of a mean over seeds and items, margin by margin, and what it allows to conclude."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from presight.errors import PresightError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence limits, in the units of the score; `level` is the nominal coverage."""

    estimate: float
    low: float
    high: float
    level: float
    method: str

    def excludes(self, value: float = 0.0) -> bool:
        """Whether `value` lies strictly outside the limits."""
        return not self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        """Half the distance between the limits."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Margins:
    """Where the variance of a mean over seeds and items comes from, and what can be concluded from it.

    The model is ``d[s, i] = mean + seed[s] + item[i] + residual[s, i]``, all effects random. Each margin is a share
    of the variance of the mean over the S x I table:

    * `seed` = var(seed means) / S: estimates the seed effect's share *plus* the residual's;
    * `item` = var(item means) / I: the item effect's share plus the residual's, the whole variance given these models;
    * `residual` = the interaction mean square / (S I), counted twice above.

    So ``seed + item - residual`` is the unbiased variance. Its Satterthwaite t interval is *not* used: with two or
    three seeds its degrees of freedom are themselves guessed from a variance with one or two, they come out largest
    exactly when that variance is underestimated, and coverage falls to 0.86 (two seeds; 0.92 with three). Instead
    each margin keeps its own t quantile (Banerjee, 1961, Sankhya A 23):

        half width**2 = t(S-1)**2 * seed + t(I-1)**2 * max(item - residual, 0),   at least t(I-1)**2 * item

    With two independent normal margins the first part covers at least its level whatever their ratio, since a normal
    estimate's coverage is a concave function of the squared half width. It equals the t interval over seeds when
    seeds are all the noise, and the one over items when items are. The floor says that letting seeds vary can never
    shorten the interval for these models alone. With two seeds that sum covers up to .988, for t(1) = 12.7 squared is
    wide enough to hold the items' part too: there the longer of the two t intervals is taken, whose error rate was
    at most 1.03 of its nominal at levels .8 to .999 for any ratio of two margins (with three seeds it would be 1.2).

    Coverage at level 0.95, lowest to highest over 94 triples of seed, item and residual share from 0 to 100 (200,000
    normal tables of 200 items, drawn as mean squares): .949 to .984 with 2 seeds, .950 to .979 with 3, .949 to .961
    with 8; where the seed share is at most 0.3 of the residual's or 0.05 of the whole, up to .993, .988 and .975, for
    the seeds' margin then measures the residual with few degrees of freedom. `benchmarks/coverage.py` draws scores.

    Clusters replace items by the jackknife: the margin is the variance of leave-one-cluster-out means (CR3), exact
    for equal sizes, and its degrees of freedom are those of Kish's effective number of clusters,
    ``(sum n)**2 / sum n**2 - 1``. With log-normal sizes (sigma up to 1.2), 6 to 100 clusters and any intraclass
    correlation, coverage measured .945 to .977; the usual sandwich with G - 1 gives .82 to .95.

    Attributes:
        estimate: the mean over the table.
        seed, item, residual: variances, in squared units of the score; seed and residual are 0 for one seed.
        seed_df, item_df: degrees of freedom; `seed_df` is 0 for one seed.
        count: number of items or clusters.
        noun: items or clusters.
        support: range a difference can take, known when all scores are 0 or 1; else None.
    """

    estimate: float
    seed: float
    item: float
    residual: float
    seed_df: int
    item_df: float
    count: int
    noun: str = "items"
    support: tuple[float, float] | None = None

    @classmethod
    def of(cls, table: Floats, groups: Groups, support: tuple[float, float] | None = None) -> Margins:
        """Margins of a table [seeds, items]."""
        seeds, n = len(table), groups.count
        by_seed = table.mean(axis=1)  # [S]
        residuals = groups.jackknife(table)  # [S, G], free of the seed effect
        by_group = residuals.mean(axis=0)  # [G]
        item = float((by_group**2).sum()) / (n * (n - 1))
        seed = interaction = 0.0
        if seeds > 1:
            seed = float(by_seed.var(ddof=1)) / seeds
            interaction = float(((residuals - by_group) ** 2).sum()) / (n * (n - 1) * seeds * (seeds - 1))
        return cls(float(by_seed.mean()), seed, item, interaction, seeds - 1, groups.df, n, groups.noun, support)

    def items_only(self) -> Margins:
        """The same table with its models taken as given."""
        return replace(self, seed=0.0, residual=0.0, seed_df=0)

    @property
    def unvaried(self) -> bool:
        """Right-or-wrong scores without any variation, where a variance of nought would claim certainty."""
        return self.support is not None and max(self.seed, self.item) < 1e-20

    def half_width(self, alpha: float, seed_ratio: Any = 1.0, item_ratio: Any = 1.0) -> Any:
        """Half width at level ``1 - alpha``; the ratios, broadcast, scale the margins as chance would."""
        items = t_quantile(self.item_df, alpha) ** 2 * self.item * item_ratio
        if not self.seed_df:
            return np.sqrt(items)
        seeds = t_quantile(self.seed_df, alpha) ** 2 * self.seed * seed_ratio
        if self.seed_df == 1:
            return np.sqrt(np.maximum(seeds, items))
        own = t_quantile(self.item_df, alpha) ** 2 * np.maximum(self.item * item_ratio - self.residual, 0)
        return np.sqrt(np.maximum(seeds + own, items))

    def interval(self, level: float = 0.95) -> Interval:
        """The interval at `level`, cut to `support`.

        Where right-or-wrong scores do not vary at all, the rule of three stands in: had more than a share
        ``q = 1 - (1 - level)**(1/n)`` of items (or clusters) differed, n alike would have had a chance below
        ``1 - level``.
        """
        alpha = 1 - require_fraction("level", level)
        method = f"seeds × {self.noun}" if self.seed_df else f"{self.noun} only: one seed"
        low, high = self.support or (-math.inf, math.inf)
        if self.unvaried:
            share = 1 - alpha ** (1 / self.count)
            limits = self.estimate + share * (low - self.estimate), self.estimate + share * (high - self.estimate)
            return Interval(self.estimate, *limits, level, f"{method}; no variation")
        reach = float(self.half_width(alpha))
        low, high = max(low, self.estimate - reach), min(high, self.estimate + reach)
        return Interval(self.estimate, low, high, level, method)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p of a true mean `null`: one minus the level whose `interval` just reaches it (0 below 1e-100)."""
        distance = abs(self.estimate - null)
        if distance == 0:
            return 1.0
        if self.unvaried and self.support is not None:
            far = self.support[0] if self.estimate > null else self.support[1]
            return max(0.0, float((null - far) / (self.estimate - far))) ** self.count
        from scipy.optimize import brentq

        def gap(log_alpha: float) -> float:
            return float(self.half_width(math.exp(log_alpha))) - distance

        smallest = math.log(1e-100)
        return 0.0 if gap(smallest) < 0 else math.exp(brentq(gap, smallest, 0.0, xtol=1e-12))

    def reaches(self, alpha: float) -> tuple[float, Floats]:
        """Standard deviation of the estimate, and the half widths [400, 60] that chance gives, in units of it.

        The margins are taken as true and their estimates as chi-square; all entries are equally likely.
        """
        from scipy.special import gammaincinv

        def ratios(df: float, points: int) -> Floats:
            return gammaincinv(df / 2, (np.arange(points) + 0.5) / points) * 2 / df

        spread = math.sqrt(max(self.seed + max(self.item - self.residual, 0.0), self.item))
        seed_ratio = ratios(self.seed_df, 400)[:, None] if self.seed_df else np.ones((1, 1))
        widths = self.half_width(alpha, seed_ratio, ratios(self.item_df, 60)[None])
        return spread, widths / spread if spread else widths

    def detectable(self, level: float = 0.95, power: float = 0.8) -> float:
        """Smallest true mean whose `interval` excludes nought with probability `power`, the margins taken as true.

        The power is integrated over the chance of both margins (chi-square) and of the estimate (normal), so with
        one margin it is the noncentral t's. Without any variation: the share of differing items the interval allows.
        """
        from scipy.optimize import brentq
        from scipy.special import ndtr

        alpha = 1 - require_fraction("level", level)
        if require_fraction("power", power) <= alpha:
            raise PresightError("power", f"{power} is not above the error rate {alpha:.3g}", "raise it, say to 0.8")
        if self.unvaried:
            return 1 - alpha ** (1 / self.count)
        spread, reach = self.reaches(alpha)

        def shortfall(effect: float) -> float:
            return float((ndtr(effect - reach) + ndtr(-effect - reach)).mean()) - power

        return spread * float(brentq(shortfall, 0.0, float(reach.max()) + 10.0)) if spread else 0.0

    def resized(self, seeds: int, count: int) -> Margins:
        """Margins to expect of another design, the components found here as true; one seed tells of no more."""
        own = self.seed_df + 1
        if own == 1 < seeds:
            raise PresightError("seeds", f"one seed says nothing of {seeds}", "measure with at least two")
        residual = self.residual * own * self.count / (seeds * count)
        seed = max(self.seed - self.residual, 0.0) * own / seeds + residual if seeds > 1 else 0.0
        item = max(self.item - self.residual, 0.0) * self.count / count + residual
        df = max(1.0, (self.item_df + 1) * count / self.count - 1)
        residual = residual if seeds > 1 else 0.0
        return replace(self, seed=seed, item=item, residual=residual, seed_df=seeds - 1, item_df=df, count=count)


@dataclass(frozen=True, slots=True)
class Groups:
    """Which cluster each item is in: index [items] and sizes [clusters]; without clusters, one item each."""

    index: NDArray[np.intp]
    sizes: Floats
    noun: str

    @classmethod
    def of(cls, items: int, clusters: ArrayLike | None) -> Groups:
        """Groups of cluster ids [items]; a PresightError unless there are two and every item has one."""
        if clusters is None:
            index, sizes, noun = np.arange(items), np.ones(items), "items"
        else:
            ids = np.asarray(clusters)
            if ids.shape != (items,):
                raise PresightError("clusters", f"shape {ids.shape} for {items} items", "give one id per item")
            if ids.dtype.kind == "f" and not np.isfinite(ids).all():
                raise PresightError("clusters", "some ids are NaN or infinite", "give every item an id")
            _, index, counts = np.unique(ids, return_inverse=True, return_counts=True)
            sizes, noun = counts.astype(np.float64), "clusters"
        if len(sizes) < 2:
            raise PresightError(noun, f"{len(sizes)} cannot show how much they vary", "give at least two")
        return cls(index, sizes, noun)

    @property
    def count(self) -> int:
        """Number of clusters."""
        return len(self.sizes)

    @property
    def df(self) -> float:
        """Kish's effective number less one; the plain number less one where sizes are equal."""
        return max(1.0, float(self.sizes.sum() ** 2 / (self.sizes**2).sum()) - 1)

    def sums(self, table: Floats) -> Floats:
        """Totals [seeds, clusters] of a table [seeds, items]."""
        if self.noun == "items":
            return table
        return np.stack([np.bincount(self.index, row, self.count) for row in table])

    def jackknife(self, table: Floats) -> Floats:
        """(G - 1) × (the row's mean − that mean without the cluster) [seeds, clusters]; item − mean for items."""
        mean, total = table.mean(axis=1, keepdims=True), self.sizes.sum()
        return (self.count - 1) * (self.sums(table) - self.sizes * mean) / (total - self.sizes)


def t_quantile(df: float, alpha: float) -> float:
    """Two-sided t quantile."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, alpha / 2))


def require_fraction(field: str, value: float) -> float:
    """`value`, if it lies between 0 and 1."""
    if not 0 < value < 1:
        raise PresightError(field, f"{value} is not between 0 and 1", "give a share, such as 0.95")
    return value


def read_scores(field: str, values: ArrayLike, dimensions: int) -> Floats:
    """Scores as finite float64 of that many dimensions, none of them empty."""
    array = np.asarray(values)
    wanted = {1: "[items]", 2: "[seeds, items]", 3: "[pretraining seeds, adaptation seeds, items]"}[dimensions]
    if array.dtype.kind not in "biuf":
        raise PresightError(field, f"scores of type {array.dtype}", f"give numbers {wanted}")
    if array.ndim != dimensions or array.size == 0:
        raise PresightError(field, f"an array of shape {array.shape}", f"give scores {wanted}, none of them empty")
    scores = array.astype(np.float64)
    if not np.isfinite(scores).all():
        count = int((~np.isfinite(scores)).sum())
        raise PresightError(field, f"{count} scores are not finite", "score every item, or drop it from both arms")
    return scores


def require_same_shape(name: str, first: Floats, other: str, second: Floats) -> None:
    """Refuse arms that cannot be paired."""
    if first.shape != second.shape:
        raise PresightError(
            other, f"shape {second.shape}, but {name} is {first.shape}", "score the same items with the same seeds"
        )


def support_of(first: Floats, second: Floats | None = None) -> tuple[float, float] | None:
    """Range of first − second when all scores are 0 or 1."""
    arms = [first] if second is None else [first, second]
    if not all(((arm == 0) | (arm == 1)).all() for arm in arms):
        return None
    return (0.0, 1.0) if second is None else (-1.0, 1.0)
