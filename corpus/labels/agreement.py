"""How far annotators agree on the texts that several of them labelled, and what most of them say."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.labels.annotations import FILE
from corpus.labels.annotator import write
from corpus.labels.taxonomy import Taxonomy
from presight.errors import PresightError

Floats = npt.NDArray[np.float64]
Votes = npt.NDArray[np.int8]  # [segments, annotators, labels]: 1 yes, 0 no, -1 not asked


@dataclass(frozen=True)
class Agreement:
    """Agreement on one label, or on one family: whether any of its labels applies.

    Pairs of annotators are pooled: every segment that two of them labelled counts once for each two.

    Args:
        name: of the label or family.
        segments: that two annotators or more labelled.
        annotators: who labelled any of those.
        positive: segments that most of their annotators give the label.
        f1: 2 · both / (one + other) over all pairs; symmetric in the two. NaN if nobody gives the label.
        agreement: share of the pairs that say the same.
        kappa: Cohen's, mean over the pairs of annotators for whom it is defined (neither always says the same).
        alpha: Krippendorff's for nominal data, which takes segments that some did not label. NaN without variation.
        f1_interval: percentile bootstrap over segments; as are the others. NaN where most
            resamples have none; of perfect agreement it has no width, however few the segments.
        agreement_interval: of ``agreement``.
        alpha_interval: of ``alpha``.
    """

    name: str
    segments: int
    annotators: int
    positive: int
    f1: float
    agreement: float
    kappa: float
    alpha: float
    f1_interval: tuple[float, float]
    agreement_interval: tuple[float, float]
    alpha_interval: tuple[float, float]


def agreement(
    places: Sequence[str | Path],
    taxonomy: Taxonomy,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Agreement, ...]:
    """The agreement of annotators on every label, then on every family.

    Args:
        places: a folder of ``annotate`` or a file of annotations for each annotator; or one file whose lines are
            ``{"id", "annotations": [labels of the first annotator, of the second, …]}``.
        taxonomy: labels and families.
        resamples: of the bootstrap. Segments are resampled, so those of one document should not be many.
        confidence: of the intervals.
        seed: of the bootstrap.

    Raises:
        PresightError: fewer than two annotators, no segment that two of them labelled, or an unknown label.
    """
    votes = _overlap(places, taxonomy)
    starts = np.cumsum([0, *(len(labels) for labels in taxonomy.families.values())])[:-1]
    both = np.concatenate([votes, np.maximum.reduceat(votes, starts, axis=-1)], axis=-1)
    names = (*taxonomy.labels, *taxonomy.families)
    parts = _parts(both)  # [segments, columns, 5]
    measures = _measures(parts.sum(axis=0))
    intervals = _intervals(parts, resamples, confidence, seed)  # [2, columns, 3]
    found = []
    for column, name in enumerate(names):
        f1, share, alpha = (float(value) for value in measures[column])
        low, high = (bound[column].tolist() for bound in intervals)
        ones, asked = parts[:, column, 0], parts[:, column, 1]
        found.append(
            Agreement(
                name=name,
                segments=len(both),
                annotators=int((both[:, :, column] >= 0).any(axis=0).sum()),
                positive=int((2 * ones > asked).sum()),
                f1=f1,
                agreement=share,
                kappa=_kappa(both[:, :, column]),
                alpha=alpha,
                f1_interval=(low[0], high[0]),
                agreement_interval=(low[1], high[1]),
                alpha_interval=(low[2], high[2]),
            )
        )
    return tuple(found)


def merge(places: Sequence[str | Path], out: str | Path, taxonomy: Taxonomy) -> int:
    """Write what most annotators say as annotations: a label that more than half of a segment's annotators give it.

    Segments that only some annotators labelled are in it too; ``annotators`` says how many did.

    Args:
        places: as for ``agreement``, but with texts.
        out: a ``.jsonl`` file, or a folder for ``annotations.jsonl``.
        taxonomy: labels and their order.

    Returns:
        Segments written.

    Raises:
        PresightError: an annotator's file cannot be read, or has no texts; or an unknown label.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for place in places:
        for row in _read(Path(place)):
            rows.setdefault(row["id"], []).append(row)
    _check((row.get("labels", ()) for each in rows.values() for row in each), taxonomy)
    target = Path(out) if Path(out).suffix == ".jsonl" else Path(out) / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, (json.dumps(_majority(each, taxonomy)) for each in rows.values()))
    return len(rows)


def _overlap(places: Sequence[str | Path], taxonomy: Taxonomy) -> Votes:
    annotators: list[dict[str, list[str]]] = []
    for place in places:
        rows = _read(Path(place))
        several = [row["annotations"] if "annotations" in row else [row["labels"]] for row in rows]
        for number in range(max(map(len, several), default=0)):
            found = {row["id"]: each[number] for row, each in zip(rows, several, strict=True) if number < len(each)}
            annotators.append(found)
    _check((labels for labelled in annotators for labels in labelled.values()), taxonomy)
    times = Counter(name for labelled in annotators for name in labelled)
    names = [name for name, number in times.items() if number > 1]
    if not names:
        problem = f"{len(annotators)} annotators have no segment in common"
        raise PresightError("annotations", problem, "give annotations of the same segments by two annotators or more")
    votes = np.full((len(names), len(annotators), len(taxonomy.labels)), -1, dtype=np.int8)
    for column, labelled in enumerate(annotators):
        asked = [place for place, name in enumerate(names) if name in labelled]
        votes[asked, column] = taxonomy.indicators([labelled[names[place]] for place in asked])
    return votes


def _read(place: Path) -> list[dict[str, Any]]:
    file = place.expanduser() / FILE if place.expanduser().is_dir() else place.expanduser()
    try:
        rows = [json.loads(line) for line in file.read_text("utf8").split("\n") if line.strip()]
        if all(isinstance(row["id"], str) and _labelled(row) for row in rows):
            return rows
        fault = "a line without id and labels"
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        fault = str(error)
    raise PresightError(str(place), f"holds no annotations ({fault})", "give a folder of annotate, or a jsonl file")


def _labelled(row: dict[str, Any]) -> bool:
    """Whether a line has a list of names, or one of each annotator."""
    lists = row["annotations"] if "annotations" in row else [row.get("labels")]
    return isinstance(lists, list) and all(
        isinstance(each, list) and all(isinstance(label, str) for label in each) for each in lists
    )


def _check(labels: Iterable[Sequence[str]], taxonomy: Taxonomy) -> None:
    for label in sorted({label for each in labels for label in each}):
        taxonomy.label(label)


def _parts(votes: Votes) -> Floats:
    """Per segment and column what the measures are sums of: [segments, columns, 7]."""
    ones = (votes == 1).sum(axis=1).astype(float)
    asked = (votes >= 0).sum(axis=1).astype(float)
    noes, others = asked - ones, asked - 1
    both, neither = ones * (ones - 1), noes * (noes - 1)
    parts = [ones, asked, both, ones * others, both + neither, asked * others, ones * noes / others]
    return np.stack(parts, axis=-1)


def _measures(sums: Floats) -> Floats:
    """F1, share that agrees, and alpha, from sums of parts: [..., 7] → [..., 3]."""
    ones, asked, both, either, same, pairs, apart = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = ones * (asked - ones)
        alpha = np.where(expected > 0, 1 - (asked - 1) * apart / expected, np.nan)
        return np.stack([both / either, same / pairs, alpha], axis=-1)


def _intervals(parts: Floats, resamples: int, confidence: float, seed: int) -> Floats:
    """Lower and upper bounds of the measures: [2, columns, 3]."""
    random = np.random.default_rng(seed)
    count, columns, kinds = parts.shape
    flat = parts.reshape(count, -1)
    even = np.full(count, 1 / count)
    drawn = np.stack([random.multinomial(count, even) @ flat for _ in range(resamples)])
    measures = _measures(drawn.reshape(resamples, columns, kinds))
    usual = np.isfinite(measures).mean(axis=0) > 0.5
    filled = np.where(usual, measures, 0.0)  # spares numpy's warning about columns without a value
    bounds = np.nanquantile(filled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return np.asarray(np.where(usual, bounds, np.nan))


def _kappa(votes: Votes) -> float:
    found = []
    for one, other in itertools.combinations(votes.T, 2):
        asked = (one >= 0) & (other >= 0)
        if not asked.any():
            continue
        p, q = (one[asked] == 1).mean(), (other[asked] == 1).mean()
        chance = p * q + (1 - p) * (1 - q)
        if 0 < p < 1 and 0 < q < 1:
            found.append(((one[asked] == other[asked]).mean() - chance) / (1 - chance))
    return float(np.mean(found)) if found else float("nan")


def _majority(rows: Sequence[dict[str, Any]], taxonomy: Taxonomy) -> dict[str, Any]:
    if "text" not in rows[0] or not all("labels" in row for row in rows):
        raise PresightError(f"segment {rows[0]['id']}", "has no text or labels", "give the annotators' own files")
    yes = taxonomy.indicators([row["labels"] for row in rows]).sum(axis=0)
    labels = [label for label, votes in zip(taxonomy.labels, yes.tolist(), strict=True) if 2 * votes > len(rows)]
    merged = {**rows[0], "labels": labels, "annotators": len(rows)}
    for key in ("model", "prompt"):
        if names := sorted({str(row[key]) for row in rows if row.get(key)}):
            merged[key] = "+".join(names)
    return merged
