"""Scores of annotations by models that never saw their document: what thresholds and reports may be based on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from corpus.labels import metrics, model
from corpus.labels.annotations import Annotation
from corpus.labels.taxonomy import Taxonomy
from presight.console import progress
from presight.errors import PresightError

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FOLDS = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """How a model's logits are read; learnt from logits of texts that were held out.

    Args:
        slopes: ``[labels]``; probability = sigmoid(slope · logit + offset).
        offsets: ``[labels]``.
        thresholds: ``[labels + families]``, of the best F1.
    """

    slopes: Floats
    offsets: Floats
    thresholds: Floats

    @classmethod
    def learn(cls, logits: Floats, truth: Truth, taxonomy: Taxonomy) -> Reading:
        """From out-of-fold logits and what is true of them."""
        lines = [metrics.platt(truth[:, label], logits[:, label]) for label in range(len(taxonomy.labels))]
        slopes, offsets = map(np.array, zip(*lines, strict=True))
        scores, every = widened(model.sigmoid(logits * slopes + offsets), taxonomy), widened(truth, taxonomy)
        columns = range(every.shape[1])
        return cls(slopes, offsets, np.array([metrics.best_threshold(every[:, c], scores[:, c]) for c in columns]))

    def scores(self, logits: Floats) -> Floats:
        """Probabilities ``[n, labels]``."""
        return model.sigmoid(logits * self.slopes + self.offsets)


@dataclass(frozen=True)
class Held:
    """What models say of the fold that was held out from them, after calibration, at their own thresholds.

    Args:
        fold: of each annotation.
        scores: ``[n, labels + families]`` probabilities.
        said: the same, at the thresholds.
        thresholds: ``[folds, labels + families]``.
    """

    fold: Ints
    scores: Floats
    said: Truth
    thresholds: Floats


def widened(values: npt.NDArray[Any], taxonomy: Taxonomy) -> npt.NDArray[Any]:
    """``[n, labels]`` with the families beside: ``[n, labels + families]``."""
    return np.hstack([values, taxonomy.combine(values)])


def split(annotations: Sequence[Annotation], taxonomy: Taxonomy, folds: int = FOLDS, seed: int = 0) -> Ints:
    """The fold of each annotation: documents stay whole, sources and families are spread as evenly as they allow.

    Raises:
        PresightError: fewer documents than folds.
    """
    where: dict[str, list[int]] = {}
    for place, each in enumerate(annotations):
        where.setdefault(each.document, []).append(place)
    if len(where) < folds:
        raise PresightError("annotations", f"come from {len(where)} documents", f"{folds} at least are needed")
    families = taxonomy.combine(taxonomy.indicators([each.labels for each in annotations]))

    def order(document: str) -> tuple[str, int, bytes, str]:
        mixed = hashlib.sha256(f"{seed}\0{document}".encode()).hexdigest()
        places = where[document]
        return annotations[places[0]].source, -len(places), np.packbits(families[places].any(axis=0)).tobytes(), mixed

    fold = np.zeros(len(annotations), dtype=np.int64)
    of_source: Counter[tuple[str, int]] = Counter()
    of_all: Counter[int] = Counter()
    for document in sorted(where, key=order):  # dealt out in turn, the largest of a source first
        source, size = annotations[where[document][0]].source, len(where[document])
        to = min(range(folds), key=lambda each: (of_source[source, each], of_all[each], each))
        fold[where[document]] = to
        of_source[source, to] += size
        of_all[to] += size
    return fold


def out_of_fold(prepared: Sequence[str], truth: Truth, fold: Ints, taxonomy: Taxonomy, penalty: float) -> Floats:
    """Logits ``[n, labels]`` of each text by a model that was trained on the other folds."""
    logits = np.zeros(truth.shape)
    for each in progress(sorted(set(fold.tolist())), "fold"):
        inside, outside = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        weights = model.fit(_at(prepared, inside), truth[inside], taxonomy.labels, penalty)
        logits[outside] = weights.logits(_at(prepared, outside))
    return logits


def crossvalidate(
    annotations: Sequence[Annotation],
    taxonomy: Taxonomy,
    folds: int = FOLDS,
    seed: int = 0,
    penalty: float = model.PENALTY,
) -> Held:
    """Train as ``classifier.train`` does, calibration and thresholds included, on all folds but one; score that one.

    Raises:
        PresightError: fewer documents than folds.
    """
    truth = taxonomy.indicators([each.labels for each in annotations])
    every, prepared = widened(truth, taxonomy), [model.prepare(each.text) for each in annotations]
    fold = split(annotations, taxonomy, folds, seed)
    scores, thresholds = np.zeros(every.shape), np.zeros((folds, every.shape[1]))
    for each in progress(range(folds), "cross-validation"):
        inside, outside = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        known, texts = _at(annotations, inside), _at(prepared, inside)
        within = split(known, taxonomy, folds, seed)
        reading = Reading.learn(out_of_fold(texts, truth[inside], within, taxonomy, penalty), truth[inside], taxonomy)
        weights = model.fit(texts, truth[inside], taxonomy.labels, penalty)
        scores[outside] = widened(reading.scores(weights.logits(_at(prepared, outside))), taxonomy)
        thresholds[each] = reading.thresholds
    return Held(fold, scores, scores >= thresholds[fold], thresholds)


def over_folds(held: Held, every: Truth) -> dict[str, npt.NDArray[np.float64]]:
    """Each metric by fold: ``[folds, labels + families]``, NaN where a fold has no positives."""
    folds, columns = held.thresholds.shape
    found = {name: np.full((folds, columns), np.nan) for name in ("average_precision", "f1", "brier")}
    for each in range(folds):
        here = held.fold == each
        for column in range(columns):
            truth, scores = every[here, column], held.scores[here, column]
            values = {
                "average_precision": metrics.average_precision(truth, scores),
                "f1": metrics.decided(truth, held.said[here, column])["f1"],
                "brier": metrics.brier(truth, scores),
            }
            for name, value in values.items():
                found[name][each, column] = np.nan if value is None else value
    return found


def _at(items: Sequence[T], places: Ints) -> list[T]:
    return [items[place] for place in places.tolist()]
