"""What a classifier is worth: on annotations it has not seen, and beside someone who knows only the source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.labels import crossvalidation, metrics, model
from corpus.labels.annotations import Annotation
from corpus.labels.baseline import Baseline
from corpus.labels.classifier import OUT_OF_FOLD, Classifier
from corpus.labels.crossvalidation import widened
from corpus.labels.taxonomy import Taxonomy
from presight.errors import PresightError

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

RESAMPLES = 1000
BLOCK = 250  # resamples at a time: memory
FEW = 20  # positives: below that a label's numbers are no ground to stand on


def evaluate(
    folder: str | Path, annotations: Sequence[Annotation], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Measure a trained classifier.

    Texts that it was trained on are judged by their out-of-fold scores, so its own annotations give no flattery.

    Args:
        folder: the classifier.
        annotations: what is true.
        resamples: of documents, for the intervals.
        seed: of the resamples.

    Returns:
        ``labels``, ``families``, ``by_source`` (source → label or family) of entries with ``n``, ``positives``,
        ``precision``, ``recall``, ``f1``, ``average_precision``, ``brier``, ``threshold``; the same under
        ``baseline``. None where a number is not defined. Labels and families have ``calibration`` and 95 %
        ``intervals``: of F1, of average precision, and of what the latter gains on the baseline.

    Raises:
        PresightError: the folder holds no whole classifier.
    """
    classifier = Classifier.load(folder)
    taxonomy = classifier.taxonomy
    path = Path(folder).expanduser() / OUT_OF_FOLD
    try:
        known = {row["id"]: row for row in map(json.loads, filter(None, path.read_text("utf8").split("\n")))}
    except (OSError, ValueError) as error:
        raise PresightError(str(path), f"cannot be read ({error})", "train the classifier again") from error
    scores = classifier.score_long([each.text for each in annotations]).astype(np.float64)
    for place, each in enumerate(annotations):
        if each.id in known:
            scores[place] = known[each.id]["scores"]
    documents = {row["document"] for row in known.values()}
    limits = np.array([classifier.thresholds[name] for name in _names(taxonomy)])
    wide = widened(scores, taxonomy)
    about = {
        "classifier": classifier.digest,
        "segments": len(annotations),
        "documents": len({each.document for each in annotations}),
        "out_of_fold": sum(each.id in known for each in annotations),
        "of_a_known_document": sum(each.id not in known and each.document in documents for each in annotations),
    }
    return about | _report(annotations, taxonomy, wide, wide >= limits, limits, classifier.baseline, resamples, seed)


def crossvalidated(
    annotations: Sequence[Annotation],
    taxonomy: Taxonomy,
    folds: int = crossvalidation.FOLDS,
    seed: int = 0,
    penalty: float = model.PENALTY,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The same report without a classifier: each text judged by a model trained on the other folds.

    ``folds`` adds, for every label and family, ``average_precision``, ``f1`` and ``brier`` as ``[mean, standard
    error]`` over the folds that have positives. The baseline is told the true shares of the sources.
    """
    held = crossvalidation.crossvalidate(annotations, taxonomy, folds, seed, penalty)
    every = widened(taxonomy.indicators([each.labels for each in annotations]), taxonomy)
    baseline = Baseline.of([each.source for each in annotations], every)
    by_fold = crossvalidation.over_folds(held, every)
    about = {
        "segments": len(annotations),
        "documents": len({each.document for each in annotations}),
        "folds": {
            name: {metric: _mean(values[:, column]) for metric, values in by_fold.items()}
            for column, name in enumerate(_names(taxonomy))
        },
    }
    limits = held.thresholds.mean(axis=0)
    return about | _report(annotations, taxonomy, held.scores, held.said, limits, baseline, resamples, seed)


def _names(taxonomy: Taxonomy) -> list[str]:
    return [*taxonomy.labels, *taxonomy.families]


def _mean(values: Floats) -> list[float | None]:
    values = values[~np.isnan(values)]
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return [float(values.mean()) if len(values) else None, error]


def _report(
    annotations: Sequence[Annotation],
    taxonomy: Taxonomy,
    scores: Floats,
    said: Truth,
    limits: Floats,
    baseline: Baseline,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    sources = np.array([each.source for each in annotations])
    documents = np.array([each.document for each in annotations])
    every = widened(taxonomy.indicators([each.labels for each in annotations]), taxonomy)
    guessed = baseline.scores(sources.tolist())
    rest = guessed >= np.array(baseline.thresholds)

    def entry(column: int, here: Truth, draws: int = 0) -> dict[str, Any]:
        truth, values = every[here, column], scores[here, column]
        found = _entry(truth, values, said[here, column], float(limits[column]))
        if draws:
            found["calibration"] = metrics.reliability(truth, values)
            drawn = _intervals(documents[here], truth, values, said[here, column], guessed[here, column], draws, seed)
            found["intervals"] = drawn
        return found

    def other(column: int, here: Truth) -> dict[str, Any]:
        return _entry(every[here, column], guessed[here, column], rest[here, column], baseline.thresholds[column])

    names = _names(taxonomy)
    labels = list(enumerate(names))[: len(taxonomy.labels)]
    families = list(enumerate(names))[len(taxonomy.labels) :]
    whole = np.ones(len(annotations), dtype=bool)
    parts = {source: sources == source for source in sorted(set(sources.tolist()))}
    return {
        "labels": {name: entry(column, whole, resamples) for column, name in labels},
        "families": {name: entry(column, whole, resamples) for column, name in families},
        "by_source": {
            source: {
                name: entry(column, here, resamples if name in taxonomy.families else 0)
                for column, name in [*labels, *families]
            }
            for source, here in parts.items()
        },
        "baseline": {
            "labels": {name: other(column, whole) for column, name in labels},
            "families": {name: other(column, whole) for column, name in families},
            "by_source": {
                source: {name: other(column, here) for column, name in [*labels, *families]}
                for source, here in parts.items()
            },
        },
    }


def _entry(truth: Truth, scores: Floats, said: Truth, threshold: float) -> dict[str, Any]:
    return {
        "n": len(truth),
        "positives": int(truth.sum()),
        **metrics.decided(truth, said),
        "average_precision": metrics.average_precision(truth, scores),
        "brier": metrics.brier(truth, scores),
        "threshold": threshold,
    }


def _intervals(
    documents: npt.NDArray[np.str_],
    truth: Truth,
    scores: Floats,
    said: Truth,
    guessed: Floats,
    resamples: int,
    seed: int,
) -> dict[str, list[float] | None]:
    """Percentile bootstrap over documents: windows of one document are no independent witnesses."""
    _, group = np.unique(documents, return_inverse=True)
    count, draw = group.max() + 1, np.random.default_rng(seed)
    found: dict[str, list[Floats]] = {"f1": [], "average_precision": [], "gain": []}
    for start in range(0, resamples, BLOCK):
        draws = draw.multinomial(count, np.full(count, 1 / count), size=min(BLOCK, resamples - start))
        weights = draws[:, group].astype(np.float64)
        precision = metrics.weighted_precision(truth, scores, weights)
        found["average_precision"].append(precision)
        found["gain"].append(precision - metrics.weighted_precision(truth, guessed, weights))
        with np.errstate(invalid="ignore"):
            found["f1"].append(2 * (weights @ (truth & said)) / (weights @ truth + weights @ said))
    return {name: _edges(np.concatenate(values)) if resamples else None for name, values in found.items()}


def _edges(values: Floats) -> list[float] | None:
    values = values[~np.isnan(values)]
    return [float(edge) for edge in np.quantile(values, [0.025, 0.975])] if len(values) else None


def render(report: Mapping[str, Any], width: int | None = None) -> str:
    """The report as a table for people, of at most ``width`` columns if it can be: then without the last three."""
    text = f"{report['segments']:,} segments of {report['documents']:,} documents"
    lines = [text]
    if report.get("out_of_fold"):
        lines.append(f"{report['out_of_fold']:,} were trained on, and are judged by their out-of-fold scores")
    lines.append("AP: average precision; 95 % interval over documents; (knowing only the source)")
    within = [
        (f"{name} in {source}", entries[name], report["baseline"]["by_source"][source][name])
        for source, entries in report["by_source"].items()
        for name in report["families"]
        if 0 < entries[name]["positives"] < entries[name]["n"]
    ]
    first = max(map(len, [*report["families"], *report["labels"], *(name for name, _, _ in within)]))
    head = f"{'':<{first}} {'positive':>9} {'AP':<22}{'F1':<21}"
    rest = f"{'precision':>11}{'recall':>8}{'Brier':>8}"
    wide = width is None or len(head + rest) <= width
    lines += ["", head + rest * wide, "-" * len(head + rest * wide)]
    for kind in ("families", "labels"):
        for name, entry in report[kind].items():
            lines.append(_line(name, entry, report["baseline"][kind][name], first, wide))
    if within:
        lines += ["", "within sources", *(_line(*row, first, wide) for row in within)]
    if "folds" in report:
        lines += ["", f"mean ± standard error over folds{'':<4}{'AP':<18}{'F1':<18}Brier"]
        for name in [*report["families"], *report["labels"]]:
            cells = [_cell(report["folds"][name][metric]) for metric in ("average_precision", "f1", "brier")]
            lines.append(f"{name:<36}{cells[0]:<18}{cells[1]:<18}{cells[2]}")
    lines += _notes(report, [name for name, entry, _ in within if entry["positives"] < FEW])
    if not wide:
        lines += ["", f"Precision, recall and Brier: --json, or a terminal of {len(head + rest)} columns."]
    return "\n".join(lines)


def _line(name: str, entry: Mapping[str, Any], other: Mapping[str, Any], first: int, wide: bool) -> str:
    intervals = entry.get("intervals") or {}
    cells = [
        " ".join(filter(None, [_number(entry[key]), _range(intervals.get(key)), f"({_number(other[key])})"]))
        for key in ("average_precision", "f1")
    ]
    counts = f"{entry['positives']:,}/{entry['n']:,}"
    rest = f"{_number(entry['precision']):>11}{_number(entry['recall']):>8}{_number(entry['brier'], 3):>8}"
    return f"{name:<{first}} {counts:>9} {cells[0]:<22}{cells[1]:<21}{rest * wide}"


def _notes(report: Mapping[str, Any], few: Sequence[str]) -> Iterator[str]:
    scarce = {name: entry["positives"] for name, entry in report["labels"].items() if entry["positives"] < FEW}
    if scarce or few:
        yield ""
    for name, positives in scarce.items():
        yield f"{name}: not established; {positives} positives are too few to judge it by."
    if few:
        yield f"not established within sources, fewer than {FEW} positives:"
        yield from (f"  {name}" for name in few)


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _range(edges: Sequence[float] | None) -> str:
    return f"{edges[0]:.2f}–{edges[1]:.2f}" if edges else ""


def _cell(pair: Sequence[float | None]) -> str:
    return f"{_number(pair[0], 3)} ± {_number(pair[1], 3)}"
