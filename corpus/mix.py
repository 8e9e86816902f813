"""The stage that compiles a mixture: token shards and amounts in, ``mixture.lock`` out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from corpus.mixture import FILE, Mixture
from corpus.spec import Spec
from presight.stage import Cost, Needs, Stage


class Mix(Spec, Stage):
    """An exact mixture by source or by label family.

    Mixtures of one seed read nested sets of each pool's items: they are paired.
    """

    kind = "mixture"
    version = "2"

    tokens: Annotated[Stage, Needs("tokens")]
    cells: Annotated[Stage, Needs("cells")] | None = Field(None, description="items by label; for amounts by family")

    def estimate(self) -> Cost:
        """Tokens of the mixture."""
        return Cost(tokens=self.budget or 0)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Compile and write the lock."""
        # where the artifact will lie, not where it is being made
        home = inputs["tokens"].parent.parent / self.kind / self.fingerprint
        lock = self.lock(inputs["tokens"], inputs.get("cells"), home)
        Mixture.of(lock).write(out / FILE)
        counts = {pool["name"]: pool["quota"] * self.item for pool in lock["pools"]}
        (out / "counts.json").write_text(json.dumps(counts))
