"""The mean of several means: over the benchmarks of a group, or the levels of one benchmark, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.stats.margins import Floats, Groups, Margins, support_of
from presight.errors import PresightError


@dataclass(frozen=True, slots=True)
class Stratum:
    """One part of a mean of means: its items are a sample of their own, its seeds are those of all parts.

    Attributes:
        scores: [seeds, items].
        clusters: ids [items]; none: every item is its own.
        weight: of its mean in the whole.
        control: scores of the other arm [seeds, items], where differences are meant.
    """

    scores: Floats
    clusters: npt.NDArray[Any] | None = None
    weight: float = 1.0
    control: Floats | None = None

    @property
    def table(self) -> Floats:
        """Scores, or differences [seeds, items]."""
        return self.scores if self.control is None else self.scores - self.control

    @property
    def margins(self) -> Margins:
        """Where the variance of its own mean comes from."""
        groups = Groups.of(self.scores.shape[1], self.clusters)
        return Margins.of(self.table, groups, support_of(self.scores, self.control))


def combined(strata: Sequence[Stratum]) -> Margins:
    """The margins of ``sum(weight × mean)``, weights made to add up to one: a stratified mean.

    The items of one stratum are drawn for themselves, so what items contribute to the variance adds up, each times the
    square of its weight, with the degrees of freedom of Welch and Satterthwaite; here, unlike over seeds, every part
    has many. A pretraining seed moves all strata together, so what seeds contribute is the variance of each seed's
    mean of means. A picture asked about in two benchmarks counts as two.

    Raises:
        PresightError: no strata, or other seeds in one than in another.
    """
    if not strata or len({len(each.scores) for each in strata}) > 1:
        raise PresightError("strata", "are none, or differ in their seeds", "score every benchmark with the same")
    weights = np.array([each.weight for each in strata], np.float64)
    weights /= weights.sum()
    parts = [each.margins for each in strata]
    by_seed = sum(w * each.table.mean(axis=1) for w, each in zip(weights, strata, strict=True))
    assert isinstance(by_seed, np.ndarray)
    items = [float(w**2 * each.item) for w, each in zip(weights, parts, strict=True)]
    total = sum(items)
    spread = sum(item**2 / each.item_df for item, each in zip(items, parts, strict=True))
    supports = {each.support for each in parts}
    seeds = len(by_seed)
    return Margins(
        estimate=float(by_seed.mean()),
        seed=float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0,
        item=total,
        residual=float(sum(w**2 * each.residual for w, each in zip(weights, parts, strict=True))),
        seed_df=seeds - 1,
        item_df=total**2 / spread if spread else min(each.item_df for each in parts),
        count=min(each.count for each in parts),
        noun="clusters" if any(each.noun == "clusters" for each in parts) else "items",
        support=supports.pop() if len(supports) == 1 else None,
    )
