"""Two levels of seeds: adaptation seeds nested in pretraining seeds, both crossed with items.

The unit of a claim about a text mixture is the pretraining run. Adapting one run several times averages the noise of
adaptation, and adds no unit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.margins import Floats, Groups, Interval, Margins, read_scores, require_same_shape, support_of
from presight.errors import PresightError

__all__ = ["Components", "NestedDelta", "nested_delta"]


@dataclass(frozen=True, slots=True)
class Components:
    """Shares of the variance of the mean, of ``d[p, a, i] = mean + P[p] + A[p, a] + I[i] + PI[p, i] + AI[p, a, i]``.

    Estimated from the mean squares (each the smallest combination that has the component's expectation), cut at 0.

    Attributes:
        pretrain: of pretraining seeds: falls with more of them alone.
        adapt: of adaptation seeds within them: falls with more of either.
        items: of items (or clusters) alike in every run: falls with more items alone.
        pretrain_items: of items that one pretraining run finds easier than another does; more runs or items.
        adapt_items: of items that one adaptation finds easier, and of chance; more of anything.
        design: pretraining seeds, adaptation seeds within each, items or clusters.
        item_df: degrees of freedom of the items, less than their number − 1 for clusters of unequal sizes.
    """

    pretrain: float
    adapt: float
    items: float
    pretrain_items: float
    adapt_items: float
    design: tuple[int, int, int]
    item_df: float

    @classmethod
    def of(cls, table: Floats, groups: Groups) -> Components:
        """Components of a table [pretraining seeds, adaptation seeds, items]; needs two of the first.

        With one adaptation seed, `adapt` and `adapt_items` cannot be told from `pretrain` and `pretrain_items`,
        which then hold both.
        """
        runs, repeats, _ = table.shape
        whole = Margins.of(table.mean(axis=1), groups)
        adapt, residual = _within(table, groups)
        return cls(
            pretrain=max(whole.seed - adapt - whole.residual + residual, 0.0),
            adapt=max(adapt - residual, 0.0),
            items=max(whole.item - whole.residual, 0.0),
            pretrain_items=max(whole.residual - residual, 0.0),
            adapt_items=residual,
            design=(runs, repeats, groups.count),
            item_df=groups.df,
        )

    @property
    def dominant(self) -> str:
        """The name of the largest share; ``none`` when nothing varies."""
        shares = self.shares
        largest = max(shares, key=shares.__getitem__)
        return largest if shares[largest] > 0 else "none"

    @property
    def shares(self) -> dict[str, float]:
        """The five by name, in squared units of the score."""
        return {name: value for name, value in asdict(self).items() if name not in ("design", "item_df")}

    def margins(self, pretrain: int, adapt: int, items: int) -> Margins:
        """Margins to expect of a design of this size, were these components the true ones.

        Raises:
            PresightError: fewer than two pretraining seeds or items, or no adaptation seed.
        """
        if pretrain < 2 or adapt < 1 or items < 2:
            raise PresightError(
                "design", f"{pretrain} × {adapt} seeds × {items} items", "plan at least 2 × 1 seeds × 2 items"
            )
        by_run, by_repeat, by_item = (
            old / new for old, new in zip(self.design, (pretrain, adapt, items), strict=True)
        )
        residual = by_run * by_item * (self.pretrain_items + by_repeat * self.adapt_items)
        seed = by_run * (self.pretrain + by_repeat * self.adapt) + residual
        item_df = max(1.0, (self.item_df + 1) / by_item - 1)
        return Margins(0.0, seed, by_item * self.items + residual, residual, pretrain - 1, item_df, items)

    def detectable(self, pretrain: int, adapt: int, items: int, level: float = 0.95, power: float = 0.8) -> float:
        """Smallest effect that a design of this size would see, as `Margins.detectable`."""
        return self.margins(pretrain, adapt, items).detectable(level, power)

    def purchases(self, level: float = 0.95, power: float = 0.8) -> dict[str, float]:
        """The smallest detectable effect as it is, and after one more seed of either kind or twice the items."""
        runs, repeats, items = self.design
        designs = {
            "as it is": (runs, repeats, items),
            "one more pretraining seed": (runs + 1, repeats, items),
            "one more adaptation seed": (runs, repeats + 1, items),
            "twice the items": (runs, repeats, 2 * items),
        }
        if repeats == 1:  # what a second adaptation would average away is not known
            del designs["one more adaptation seed"]
        return {name: self.detectable(*design, level, power) for name, design in designs.items()}


@dataclass(frozen=True, slots=True)
class NestedDelta:
    """What a treatment gains over its control, over pretraining seeds, adaptation seeds and items.

    Attributes:
        interval: all three taken as samples: what another pretraining run would give.
        these_runs: the pretraining runs taken as given: what adapting them again would give. With one adaptation
            seed, over items only.
        p: of no difference, as `interval`.
        mde: smallest effect that this design sees with 80 % power, as `Margins.detectable`.
        components: where the variance comes from; None of one pretraining seed, where `interval` is `these_runs`.
    """

    interval: Interval
    these_runs: Interval
    p: float
    mde: float
    components: Components | None

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers."""
        record = asdict(self)
        if self.components is not None:
            parts = record["components"] | {"design": list(self.components.design)}
            record["components"] = parts | {"dominant": self.components.dominant}
        return record


def nested_delta(
    treatment: ArrayLike, control: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> NestedDelta:
    """Compare two arms over pretraining seeds, adaptation seeds within each, and items.

    Averaged over adaptation seeds, a balanced table is a two-way one whose rows are independent pretraining runs, so
    the interval of `Margins` holds for it as it stands and equals `crossed_interval` of the averages; with one
    adaptation seed it *is* `crossed_interval`. To count adaptations as seeds, runs × adaptations of them, would claim
    units that share a pretraining run. Coverage at 0.95 of 1,000 simulated tables each, by the standard deviations of
    pretraining, adaptation, items and both interactions:

    ============= ============================ ===== ====================
    runs × adapt. noise                        this  adaptations as seeds
    ============= ============================ ===== ====================
    2 × 3         0.3, 0.1, 1, 0.3, 1          .972  .814
    2 × 3         0.3, 0.3, 0.3, 0.3, 0.3      .954  .827
    3 × 5         0, 0, 1, 0, 1                .964  .953
    3 × 5         0.3, 0.1, 1, 0.3, 1          .962  .691
    3 × 5         0.3, 0.3, 0.3, 0.3, 0.3      .954  .723
    3 × 5         0.1, 0.3, 0, 0.3, 0.1        .942  .901
    ============= ============================ ===== ====================

    Args:
        treatment: scores [pretraining seeds, adaptation seeds, items].
        control: scores of the same shape; run p shares its pretraining seed with run p of `treatment`, adaptation
            (p, a) its adaptation seed, column i its item.
        clusters: cluster ids [items].
        level: nominal coverage.

    Raises:
        PresightError: wrong shapes, values that are not finite, fewer than two items or clusters, a bad level.
    """
    first, second = read_scores("treatment", treatment, 3), read_scores("control", control, 3)
    require_same_shape("treatment", first, "control", second)
    table, support = first - second, support_of(first, second)
    groups = Groups.of(table.shape[2], clusters)
    runs, repeats, _ = table.shape
    whole = Margins.of(table.mean(axis=1), groups, support)
    adapt, residual = _within(table, groups)
    given = Margins(
        whole.estimate,
        adapt,
        whole.item,
        residual,
        runs * (repeats - 1),
        groups.df,
        groups.count,
        groups.noun,
        support,
    )
    widest = whole if runs > 1 else given
    interval = widest.interval(level)
    if runs == 1 < repeats:
        interval = replace(interval, method=f"adaptation seeds × {groups.noun}: one pretraining seed")
    return NestedDelta(
        interval=interval,
        these_runs=given.interval(level),
        p=widest.p_value(),
        mde=widest.detectable(level),
        components=Components.of(table, groups) if runs > 1 else None,
    )


def _within(table: Floats, groups: Groups) -> tuple[float, float]:
    """Shares of the mean's variance of adaptation seeds within pretraining seeds, and of their interaction with items.

    Both as in `Margins`, the first with the second in it; noughts of one adaptation seed.
    """
    runs, repeats, _ = table.shape
    if repeats == 1:
        return 0.0, 0.0
    each = [Margins.of(rows, groups) for rows in table]  # means over adaptation seeds, run by run
    return float(np.mean([m.seed for m in each])) / runs, float(np.mean([m.residual for m in each])) / runs
