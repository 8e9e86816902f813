"""Scores of classifications: of one label an item, and of several or none.

With several labels the item's own score is its share of lwlrap: the only one of these metrics that is a mean over
items, so that two arms can be paired item by item. Macro mean average precision and d′ are of the whole split.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError

Scores = npt.NDArray[np.floating[Any]]
Truth = npt.NDArray[np.bool_]


def average_precision(truth: Truth, scores: Scores) -> float:
    """Σ (R_k − R_k−1) · P_k over the thresholds k: precision and recall of all that score at least so much.

    Equal scores are one threshold. No interpolation; what FSD50K reports, class by class (Fonseca et al. 2022).

    Args:
        truth: [N], at least one true.
        scores: [N].

    Raises:
        PresightError: nothing is true.
    """
    if not truth.any():
        raise PresightError("truth", "has no positive", "leave the class out")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # of each group of equal scores
    right = truth[order].cumsum()[last]
    precision = right / (np.flatnonzero(last) + 1)
    return float((np.diff(right, prepend=0) * precision).sum() / right[-1])


def macro_average_precision(truth: Truth, scores: Scores) -> tuple[float, list[float | None]]:
    """Mean of the classes' average precisions, and each; a class without a positive has none and does not count.

    Args:
        truth: [N, classes].
        scores: [N, classes].
    """
    found = [
        average_precision(column, values) if column.any() else None
        for column, values in zip(truth.T, scores.T, strict=True)
    ]
    counted = [each for each in found if each is not None]
    if not counted:
        raise PresightError("truth", "has no positive of any class", "score items with labels")
    return float(np.mean(counted)), found


def area_under_curve(truth: Truth, scores: Scores) -> float:
    """Chance that a positive scores above a negative, equal scores counting half: the area under the ROC curve."""
    from scipy.stats import rankdata

    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        raise PresightError("truth", "is all of one kind", "leave the class out")
    above = rankdata(scores)[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def d_prime(truth: Truth, scores: Scores) -> float:
    """√2 · Φ⁻¹ of the classes' mean area under the ROC curve: 0 at chance (Hershey et al. 2017).

    Classes that are all or never there do not count; infinite areas are cut at what the items could show.
    """
    from scipy.special import ndtri

    areas = [
        area_under_curve(column, values)
        for column, values in zip(truth.T, scores.T, strict=True)
        if 0 < column.sum() < len(column)
    ]
    if not areas:
        raise PresightError("truth", "has no class with positives and negatives", "score more items")
    least = 0.5 / truth.size
    return math.sqrt(2) * float(ndtri(np.clip(np.mean(areas), least, 1 - least)))


def label_precisions(truth: Truth, scores: Scores) -> Scores:
    """For each item the sum, over its true labels, of the precision at that label's rank: [N].

    The precision is the share of true labels among those that score at least as high; of equal scores the worst rank.
    """
    found = np.zeros(len(truth))
    for row, (true, values) in enumerate(zip(truth, scores, strict=True)):
        reached = values >= values[true][:, None]  # [labels of the item, classes]
        found[row] = ((reached & true).sum(1) / reached.sum(1)).sum()
    return found


def lwlrap_items(truth: Truth, scores: Scores) -> Scores:
    """Each item's share of lwlrap [N]: their mean is lwlrap (label-weighted label-ranking average precision).

    lwlrap counts every label of every item alike (Fonseca et al. 2019); an item's share is the sum over its
    labels by the mean number of labels an item has. That number is the data's, not a model's, so differences stay
    paired. An item without labels has 0 in every arm.
    """
    if not truth.any():
        raise PresightError("truth", "has no label of any item", "score items with labels")
    return label_precisions(truth, scores) * (len(truth) / truth.sum())


def lwlrap(truth: Truth, scores: Scores) -> float:
    """Mean of `lwlrap_items`."""
    return float(lwlrap_items(truth, scores).mean())


def confusion(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """How often class i was taken for class j: [i, j]."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
