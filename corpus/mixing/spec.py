"""What a mixture is to be: amounts by source or by label family, a budget, a cap; and the lock that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, model_validator

from corpus.mixing.amounts import Amount, Bound, Phase
from presight.stage import FrozenMap


class Spec(BaseModel):
    """A mixture by source, or by label family; mixtures of one seed read nested sets of each pool's items."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sources: FrozenMap[str, StrictFloat | Amount] = Field(
        FrozenMap(), description="amount of each source: a share, or {tokens: n}, or {epochs: e}"
    )
    families: FrozenMap[str, StrictFloat | Bound] = Field(
        FrozenMap(), description="share of each label family, in per cent; a number, or {at_least, at_most}"
    )
    overlaps: FrozenMap[str, StrictFloat | Bound] = Field(
        FrozenMap(), description="share of items in several families at once, in per cent: {visual&reasoning: 3}"
    )
    schedule: tuple[Phase, ...] = Field((), description="a curriculum: phases, each with its own amounts, in turn")
    budget: int | None = Field(None, gt=0, description="tokens to train on; default: what tokens and epochs add up to")
    item: int = Field(256, ge=8, description="tokens of an item: what one row of a batch holds")
    seed: int = Field(0, ge=0, description="of the draws; the same in all mixtures that are compared")
    max_epochs: float = Field(4.0, gt=0, description="passes over a source allowed at most")
    missing: Literal["error", "renormalise"] = Field("error", description="what to do about a source without tokens")
    target: int | None = Field(
        None, gt=0, description="tokens of the run this one stands in for: pools are cut to repeat as often as there"
    )

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.schedule and (self.sources or self.families or self.overlaps):
            raise ValueError("amounts stand in the schedule or beside it, not both")
        if not (self.schedule or self.sources or self.families or self.overlaps):
            raise ValueError("give sources, families or a schedule")
        if self.schedule and self.budget is None:
            raise ValueError("a schedule needs a budget")
        return self

    @property
    def phases(self) -> Sequence[Phase]:
        """The schedule; a mixture without one is a single phase."""
        whole = Phase(share=1, sources=self.sources, families=self.families, overlaps=self.overlaps)
        return self.schedule or (whole,)

    @property
    def by_family(self) -> bool:
        """Whether any phase states families, so that pools are cells."""
        return any(phase.families or phase.overlaps for phase in self.phases)
