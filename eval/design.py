"""What a comparison says in a plan: the smallest difference it could show, and whether the expected one is larger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Field

POWER = 0.8
FURTHER = (2, 3, 5, 8)  # seeds that whoever plans one is told of


class Assumed(BaseModel, frozen=True, extra="forbid"):
    """What a plan takes for granted of scores that nobody has seen yet."""

    accuracy: float = Field(0.5, gt=0, lt=1, description="of either model")
    correlation: float = Field(0.3, ge=-1, lt=1, description="of their right answers over items")
    seed_sd: float = Field(2.0, ge=0, description="of the difference between seeds, in points")

    @property
    def item_sd(self) -> float:
        """Of the paired difference over items."""
        from eval.stats.intervals import paired_item_sd

        return paired_item_sd(self.accuracy, self.correlation)


@dataclass(frozen=True, slots=True)
class Design:
    """A comparison that is planned.

    Attributes:
        seeds: a side.
        along: the axis that is compared.
        level: of the intervals.
        assumed: of the scores.
    """

    seeds: int
    along: str
    level: float
    assumed: Assumed

    def detectable(self, items: int, seeds: int) -> float:
        """Smallest difference that so many would show, as a share."""
        from eval.stats.design import detectable

        return detectable(items, seeds, self.assumed.item_sd, self.assumed.seed_sd / 100, self.level, POWER)

    def between_models(self, items: int) -> float:
        """Smallest difference that would be shown of these models alone, as a share: no number of seeds betters it."""
        from eval.stats.design import detectable

        return detectable(items, 1, self.assumed.item_sd, 0.0, self.level, POWER)

    def sentence(self, figures: Mapping[str, int]) -> str:
        """The smallest difference that each figure could show; of one seed, that it can show none along the axis.

        Args:
            figures: by name, how many items each is worth; the first is the one that more seeds are told of.
        """
        lasting = f"s.d. between seeds {self.assumed.seed_sd:g} points, power {POWER}"
        given = (
            f"(assumed: accuracy {self.assumed.accuracy:g}, item correlation {self.assumed.correlation:g}, {lasting})"
        )
        alone = self.seeds == 1 and self.assumed.seed_sd > 0
        shown = {
            name: self.between_models(items) if alone else self.detectable(items, self.seeds)
            for name, items in figures.items()
        }
        said = ", ".join(f"{name}: {_points(effect)}" for name, effect in shown.items())
        if not alone:
            return f"smallest detectable effect with {_seeds(self.seeds)}: {said} {given}"
        name, items = next(iter(figures.items()))
        more = ", ".join(f"with {n} {_points(self.detectable(items, n))}" for n in FURTHER)
        return (
            f"one seed can show no difference along {self.along}, only between these models ({said}); "
            f"more would show of {name}: {more} {given}"
        )

    def verdict(self, expected: float, items: int, where: str = "") -> str:
        """Whether a difference could be seen, and if not, with how many seeds.

        Args:
            expected: in points.
            items: that its figure is worth.
            where: what it is expected of, with a preposition.
        """
        from eval.stats.design import MOST_SEEDS, seeds_to_see

        what = f"expected {'−' if expected < 0 else '+'}{abs(expected):g}{where and ' ' + where}"
        effect = abs(expected) / 100
        if self.detectable(items, self.seeds) <= effect:
            return f"{what}: resolvable, as one comparison before Holm"
        sd, seed_sd = self.assumed.item_sd, self.assumed.seed_sd / 100
        enough = seeds_to_see(effect, items, item_sd=sd, seed_sd=seed_sd, level=self.level, power=POWER)
        if enough:
            mend = f"about {enough} would"
        elif self.between_models(items) > effect:
            mend = "no number of seeds would, it takes more items"
        else:
            mend = f"more than {MOST_SEEDS} would"
        return f"{what}: not resolvable with {_seeds(self.seeds)}; {mend}"


def _points(effect: float) -> str:
    return f"{100 * effect:.1f} points" if effect <= 1 else "none"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"
