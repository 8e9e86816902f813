"""What a mixture is to be: amounts by source or by label family, a budget, a cap; and the lock that follows."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from corpus.labels.cells import CELLS
from corpus.mixing.amounts import Amount, Bound, Phase
from corpus.mixture import compile_mixture
from corpus.tokens import TOKENS
from presight.errors import PresightError
from presight.stage import FrozenMap


class Spec(BaseModel):
    """A mixture by source, or by label family; mixtures of one seed read nested sets of each pool's items."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sources: FrozenMap[str, float | Amount] = Field(
        FrozenMap(), description="amount of each source: a share, or {tokens: n}, or {epochs: e}"
    )
    families: FrozenMap[str, float | Bound] = Field(
        FrozenMap(), description="share of each label family, in per cent; a number, or {at_least, at_most}"
    )
    overlaps: FrozenMap[str, float | Bound] = Field(
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
        if not self.schedule and not self.sources and not self.families:
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

    def lock(self, tokens: Path, cells: Path | None, home: Path) -> dict[str, Any]:
        """Compile the mixture.

        Args:
            tokens: a tokens artifact.
            cells: a cells artifact of these tokens; needed for amounts by family.
            home: folder that the lock will lie in: it names the others relative to it.

        Raises:
            PresightError: an amount, source, budget or supply that cannot be met, with what would mend it.
        """
        described = _read(tokens / TOKENS, "tokens")
        train = {source: each["train"] for source, each in described["sources"].items()}
        about = {
            "directory": relative(tokens, home),
            "shards": {source: each["shards"] for source, each in train.items()},
            "tokenizer": described["tokenizer"],
            "token_bytes": described["token_bytes"],
        }
        supplies = {
            source: sum(shard["tokens"] // self.item for shard in each["shards"]) for source, each in train.items()
        }
        if not self.by_family:
            return compile_mixture(
                self.sources,
                supplies,
                self.budget,
                self.item,
                seed=self.seed,
                max_epochs=self.max_epochs,
                missing=self.missing,
                phases=[(phase.share, phase.sources) for phase in self.schedule],
                target=self.target,
                tokens=about,
            )
        if cells is None:
            raise PresightError(
                "families", "need cells to be taken from", "give cells, a stage or artifact of kind cells"
            )
        sorted_items = _read(cells / CELLS, "cells")
        if sorted_items["item"] != self.item or sorted_items["tokens"] != described["tokenizer"]:
            problem = (
                f"are of {sorted_items['item']}-token items of other tokens, not of {self.item}-token items of these"
            )
            raise PresightError("cells", problem, "make cells of these tokens with this item length")
        from corpus.mixing import marginals

        return marginals.compile_families(self, sorted_items, about, relative(cells, home))


def relative(folder: Path, home: Path) -> str:
    """The path from one folder to another, so that both may move together."""
    return Path(os.path.relpath(folder.resolve(), home.resolve())).as_posix()


def _read(path: Path, kind: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PresightError(kind, f"{path.parent} holds none ({error})", f"give an artifact of kind {kind}") from error
    return found
