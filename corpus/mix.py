"""The stage that compiles a mixture: token shards and shares in, ``mixture.lock`` out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from corpus.mixture import FILE, Mixture, compile_mixture
from corpus.tokens import TOKENS
from presight.stage import Cost, FrozenMap, Needs, Stage


class Mix(Stage):
    """An exact mixture by source. Mixtures of one seed read nested sets of each source's items: they are paired."""

    kind = "mixture"
    version = "1"

    tokens: Annotated[Stage, Needs("tokens")]
    sources: FrozenMap[str, float] = Field(description="share of each source, in per cent or fractions")
    budget: int = Field(gt=0, description="tokens to train on")
    item: int = Field(256, ge=8, description="tokens of an item: what one row of a batch holds")
    seed: int = Field(0, ge=0, description="of the draws; the same in all mixtures that are compared")
    max_epochs: float = Field(4.0, gt=0, description="passes over a source allowed at most")
    missing: Literal["error", "renormalise"] = Field("error", description="what to do about a source without tokens")

    def estimate(self) -> Cost:
        """Tokens of the mixture."""
        return Cost(tokens=self.budget)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Compile and write the lock."""
        folder = inputs["tokens"]
        described = json.loads((folder / TOKENS).read_text())
        train = {source: each["train"] for source, each in described["sources"].items()}
        supplies = {
            source: sum(shard["tokens"] // self.item for shard in each["shards"]) for source, each in train.items()
        }
        lock = compile_mixture(
            self.sources,
            supplies,
            self.budget,
            self.item,
            seed=self.seed,
            max_epochs=self.max_epochs,
            missing=self.missing,
            tokens={
                "directory": f"../../{folder.parent.name}/{folder.name}",
                "shards": {source: each["shards"] for source, each in train.items()},
                "tokenizer": described["tokenizer"],
                "token_bytes": described["token_bytes"],
            },
        )
        Mixture.of(lock).write(out / FILE)
        counts = {pool["name"]: pool["quota"] * self.item for pool in lock["pools"]}
        (out / "counts.json").write_text(json.dumps(counts))
