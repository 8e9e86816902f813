"""Cells: for every source, which of its items belong to which label families. Pools of a mixture by family."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from corpus import segments
from corpus.labels.classifier import OUT_OF_FOLD
from corpus.labels.label import LABELS, beside
from corpus.labels.taxonomy import Taxonomy
from corpus.mixing.debias import sentence, shares
from corpus.mixing.permutation import scrambled
from corpus.tokens import read_tokens
from presight.console import Track
from presight.errors import EXIT_DATA, PresightError, nearest
from presight.stage import FrozenMap, Needs, Stage

CELLS = "cells.json"
NONE = "none"  # the cell of items that belong to no family
MOST = 6  # families at once: 64 cells a source

Flags = npt.NDArray[np.bool_]


class Cells(Stage):
    """Writes ``<source>/<families>.positions``: the items of each cell, little-endian, ascending.

    An item's probability of a label is the token-weighted mean of its segments'; it belongs to a family where that
    reaches the classifier's threshold. Families that are ``shuffled`` are a placebo: their membership is dealt out
    anew among items whose documents are of like length, so that share, source and length stay, and meaning goes.
    """

    kind = "cells"
    version = "1"

    tokens: Annotated[Stage, Needs("tokens")]
    labels: Annotated[Stage, Needs("labels")]
    item: int = Field(256, ge=8, description="tokens of an item")
    by: tuple[str, ...] = Field((), description="families, or single labels, that cells are made of; default families")
    thresholds: FrozenMap[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        FrozenMap(), description="of what cells are made of, instead of the classifier's own"
    )
    shuffled: tuple[str, ...] = Field((), description="families made a placebo of like document lengths")
    seed: int = Field(0, ge=0, description="of the shuffle")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Sort the items of every source into cells."""
        described = read_tokens(inputs["tokens"])
        labels = read_labels(inputs["labels"], described)
        taxonomy = Taxonomy.of(labels["taxonomy"])
        by = self.by or tuple(taxonomy.families)
        every = (*taxonomy.labels, *taxonomy.families)
        for field, names, known in (
            ("by", by, every),
            ("thresholds", tuple(self.thresholds), by),
            ("shuffled", self.shuffled, by),
        ):
            if strange := [name for name in names if name not in known]:
                what = "no family or label here" if field == "by" else "not among what cells are made of"
                raise PresightError(field, f"{strange[0]!r} is {what}", nearest(strange[0], known))
        if twice := [name for name in by if by.count(name) > 1]:
            raise PresightError("by", f"{twice[0]!r} is given twice", "keep one of them")
        if len(by) > MOST:
            raise PresightError(
                "by", f"{len(by)} families cut every source into {2 ** len(by)} cells", f"name {MOST} at most"
            )
        limits = {name: self.thresholds.get(name, labels["thresholds"][name]) for name in by}
        track = Track(
            sum(each["train"]["segments"] for each in labels["sources"].values()), "sorting items into cells"
        )
        sources: dict[str, dict[str, Any]] = {}
        for source, splits in described["sources"].items():
            shards = splits["train"]["shards"]
            where = labels["sources"][source]["train"]["shards"]
            parts = [
                self._part(inputs, shard, place, labels["segment"], taxonomy, limits, track)
                for shard, place in zip(shards, where, strict=True)
            ]
            flags = np.concatenate([flags for flags, _ in parts]) if parts else np.zeros((0, len(by)), dtype=bool)
            if self.shuffled and len(flags):
                columns = [by.index(name) for name in self.shuffled]
                lengths = np.concatenate([lengths for _, lengths in parts])
                flags[:, columns] = dealt(flags[:, columns], lengths, f"{self.seed}/{source}")
            sources[source] = {"items": len(flags), "cells": write(out / source, by, flags)}
        rows = records(inputs["labels"] / OUT_OF_FOLD, taxonomy, limits)
        document = {
            "item": self.item,
            "by": list(by),
            "thresholds": limits,
            "shuffled": list(self.shuffled),
            "classifier": labels["classifier"],
            "tokens": described["tokenizer"],
            "shards": {source: splits["train"]["shards"] for source, splits in described["sources"].items()},
            "sources": sources,
            "records": rows,
            "truth": {}
            if self.shuffled
            else {source: _truth(source, each, by, rows) for source, each in sources.items()},
        }
        (out / CELLS).write_text(json.dumps(document, indent=1))
        counts = {
            source: {name: cell["items"] for name, cell in each["cells"].items()}
            | {f"share of {family}": sentence(found) for family, found in document["truth"].get(source, {}).items()}
            for source, each in sources.items()
        }
        (out / "counts.json").write_text(json.dumps(counts))

    def _part(
        self,
        inputs: Mapping[str, Path],
        shard: Mapping[str, Any],
        place: Mapping[str, Any],
        longest: int,
        taxonomy: Taxonomy,
        limits: Mapping[str, float],
        track: Track,
    ) -> tuple[Flags, npt.NDArray[np.int64]]:
        """Of one shard's items: the families each belongs to [items, by], and the length of its document [items]."""
        ends = segments.ends(inputs["tokens"] / shard["path"], shard["tokens"])
        bounds = segments.cut(ends, longest)
        path = inputs["labels"] / place["path"]
        scores = np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else np.zeros((0, 0))
        if scores.shape != (len(bounds) - 1, len(taxonomy.labels)):
            mend = "restore it, or delete its artifact and run again"
            raise PresightError(
                str(path), f"does not label the {len(bounds) - 1} segments of its shard", mend, EXIT_DATA
            )
        starts = np.arange(shard["tokens"] // self.item, dtype=np.int64) * self.item
        means = segments.means(scores, bounds, starts, starts + self.item)
        scored = dict(
            zip([*taxonomy.labels, *taxonomy.families], np.hstack([means, taxonomy.combine(means)]).T, strict=True)
        )
        document = np.searchsorted(ends, starts + self.item // 2, side="right")
        track.advance(len(scores))
        return np.stack([scored[name] >= limit for name, limit in limits.items()], axis=1), np.diff(ends, prepend=0)[
            document
        ]


def read_labels(folder: Path, tokens: Mapping[str, Any]) -> dict[str, Any]:
    """A labels artifact's description, checked against the tokens it is said to label.

    Raises:
        PresightError: it is none, or labels other tokens (exit code 87).
    """
    try:
        found: dict[str, Any] = json.loads((folder / LABELS).read_text())
    except (OSError, ValueError) as error:
        raise PresightError(str(folder), f"holds no labels ({error})", "give a labels artifact") from error
    shards, labelled = (
        {name: [shard["path"] for shard in each["train"]["shards"]] for name, each in described["sources"].items()}
        for described in (tokens, found)
    )
    named = {name: [beside(path) for path in paths] for name, paths in shards.items()}
    if found["tokens"] != tokens["tokenizer"] or labelled != named:
        raise PresightError(str(folder), "labels other tokens than these", "label these tokens", EXIT_DATA)
    return found


def dealt(flags: Flags, lengths: npt.NDArray[np.int64], key: str) -> Flags:
    """The rows of ``flags`` in another order, each moved within the items whose length has the same power of two."""
    bins = np.frexp(np.maximum(lengths, 1).astype(np.float64))[1]
    shuffled = np.empty_like(flags)
    shuffled[np.lexsort((scrambled(len(flags), key), bins))] = flags[np.argsort(bins, kind="stable")]
    return shuffled


def write(folder: Path, by: Sequence[str], flags: Flags) -> dict[str, Any]:
    """Write the positions of every cell that has any; say what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    code = flags @ (1 << np.arange(len(by)))
    dtype = "<u4" if len(flags) < 2**32 else "<u8"
    found = {}
    for number, chosen in enumerate(itertools.product((False, True), repeat=len(by))):
        families = [name for name, is_in in zip(reversed(by), chosen, strict=True) if is_in]
        positions = np.flatnonzero(code == number).astype(dtype)
        if len(positions):
            path = folder / f"{cell(families)}.positions"
            positions.tofile(path)
            found[cell(families)] = {
                "families": sorted(families),
                "items": len(positions),
                "path": f"{folder.name}/{path.name}",
                "bytes": int(dtype[2]),
                "sha256": hashlib.sha256(positions.tobytes()).hexdigest(),
            }
    return found


def _truth(
    source: str, found: Mapping[str, Any], by: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What share of a source truly has each family, or why that cannot be said."""
    return shares(rows, by, {(source, frozenset(cell["families"])): cell["items"] for cell in found["cells"].values()})


def cell(families: Sequence[str]) -> str:
    """The name of the cell of items that belong to just these families."""
    return "+".join(sorted(families)) or NONE


def records(path: Path, taxonomy: Taxonomy, limits: Mapping[str, float]) -> list[dict[str, Any]]:
    """Of each annotated window: source, families it truly has, families that out-of-fold scores say it has."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        scores = np.array(row["scores"])
        truth = taxonomy.indicators([row["labels"]])[0].astype(float)
        names = [*taxonomy.labels, *taxonomy.families]
        said = dict(zip(names, [*scores, *taxonomy.combine(scores)], strict=True))
        true = dict(zip(names, [*truth, *taxonomy.combine(truth)], strict=True))
        found.append(
            {
                "source": row["source"],
                "document": row.get("document", row["id"]),
                "true": [name for name in limits if true[name] > 0],
                "predicted": [name for name, limit in limits.items() if said[name] >= limit],
            }
        )
    return found
