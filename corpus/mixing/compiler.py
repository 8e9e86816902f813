"""From what a mixture is to be to its lock: token shards, and cells where families are asked."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from corpus.labels.cells import CELLS
from corpus.mixing.marginals import compile_families
from corpus.mixing.spec import Spec
from corpus.mixture import compile_mixture
from corpus.tokens import TOKENS
from presight.errors import PresightError


def lock_of(spec: Spec, tokens: Path, cells: Path | None, home: Path) -> dict[str, Any]:
    """Compile the mixture.

    Args:
        spec: what it is to be.
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
        source: sum(shard["tokens"] // spec.item for shard in each["shards"]) for source, each in train.items()
    }
    if not spec.by_family:
        return compile_mixture(
            spec.sources,
            supplies,
            spec.budget,
            spec.item,
            seed=spec.seed,
            max_epochs=spec.max_epochs,
            missing=spec.missing,
            phases=[(phase.share, phase.sources) for phase in spec.schedule],
            target=spec.target,
            tokens=about,
        )
    if cells is None:
        raise PresightError("families", "need cells to be taken from", "give cells, a stage or artifact of kind cells")
    sorted_items = _read(cells / CELLS, "cells")
    if sorted_items["item"] != spec.item or sorted_items["tokens"] != described["tokenizer"]:
        problem = f"are of {sorted_items['item']}-token items of other tokens, not of {spec.item}-token items of these"
        raise PresightError("cells", problem, "make cells of these tokens with this item length")
    if sorted_items.get("shards") != about["shards"]:
        raise PresightError("cells", "sort the items of other shards than the tokens hold", "make cells of these")
    return compile_families(spec, sorted_items, about, relative(cells, home))


def relative(folder: Path, home: Path) -> str:
    """The path from one folder to another, so that both may move together."""
    return Path(os.path.relpath(folder.resolve(), home.resolve())).as_posix()


def _read(path: Path, kind: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PresightError(kind, f"{path.parent} holds none ({error})", f"give an artifact of kind {kind}") from error
    if not isinstance(found, dict) or "sources" not in found:
        raise PresightError(kind, f"{path} describes none", f"give an artifact of kind {kind}")
    return found
