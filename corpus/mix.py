"""The stage that compiles a mixture: token shards and amounts in, ``mixture.lock`` out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from corpus.mixing.compiler import lock_of
from corpus.mixing.spec import Spec
from corpus.mixture import FILE, Mixture
from presight.errors import PresightError
from presight.stage import Cost, Needs, Stage


class Mix(Spec, Stage):
    """An exact mixture by source or by label family.

    Mixtures of one seed read nested sets of each pool's items: they are paired.
    """

    kind = "mixture"
    version = "2"

    tokens: Annotated[Stage, Needs("tokens")]
    cells: Annotated[Stage, Needs("cells")] | None = Field(None, description="items by label; for amounts by family")

    def settle(self, fetch: bool) -> Stage:
        """Refuse, before anything is downloaded, a mixture that asks for more than its public sources hold."""
        from corpus.sources import public
        from corpus.sources.hub import Hub

        held = {
            name: count
            for each in _upstream(self.tokens)
            if isinstance(each, Hub)
            for name, count in each.supply().items()
        }
        shares = {name: value for name, value in self.sources.items() if isinstance(value, float)}
        if short := held and public.shortfall(shares, self.budget or 0, self.max_epochs, held):
            problem, _, mend = short[0].partition("; ")
            raise PresightError("sources", problem, mend)
        return self

    def estimate(self) -> Cost:
        """Tokens of the mixture."""
        return Cost(tokens=self.budget or 0)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Compile and write the lock."""
        # where the artifact will lie, not where it is being made
        home = inputs["tokens"].parent.parent / self.kind / self.fingerprint
        lock = lock_of(self, inputs["tokens"], inputs.get("cells"), home)
        Mixture.of(lock).write(out / FILE)
        counts = {pool["name"]: pool["quota"] * self.item for pool in lock["pools"]}
        (out / "counts.json").write_text(json.dumps(counts))


def _upstream(stage: Stage) -> Iterator[Stage]:
    yield stage
    for parent in stage.inputs().values():
        yield from _upstream(parent)
