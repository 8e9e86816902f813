"""How good probabilities of one label are, and what is read off them: thresholds and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

BINS = 10


def average_precision(truth: Truth, scores: npt.ArrayLike) -> float | None:
    """Area under the steps of precision over recall; equal scores are one step. None without positives."""
    if not truth.any():
        return None
    return float(weighted_precision(truth, scores, np.ones((1, len(truth))))[0])


def weighted_precision(truth: Truth, scores: npt.ArrayLike, weights: Floats) -> Floats:
    """Average precision under each of many weightings ``[draws, n]``; NaN where no positive has weight."""
    hits, taken = _steps(truth, scores, weights)
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sum(np.diff(hits, axis=1, prepend=0) * precision, axis=1) / hits[:, -1])


def best_threshold(truth: Truth, scores: npt.ArrayLike) -> float:
    """The threshold on calibrated probabilities that is best for F1: half of the best F1 there is.

    So it is wherever probabilities are calibrated (Lipton, Elkan & Narayanaswamy 2014, theorem 1), and it moves far
    less from sample to sample than the score at which F1 happens to peak. 1 without positives: never.
    """
    if not truth.any():
        return 1.0
    hits, taken = _steps(truth, scores, np.ones((1, len(truth))))
    return float(np.max(hits / (taken + truth.sum())))


def _steps(truth: Truth, scores: npt.ArrayLike, weights: Floats) -> tuple[Floats, Floats]:
    """At every distinct score, from the highest: weight of the positives at or above it, and of all at or above it."""
    scores = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    weights = weights[:, order]
    return np.cumsum(weights * truth[order], axis=1)[:, last], np.cumsum(weights, axis=1)[:, last]


def decided(truth: Truth, said: Truth) -> dict[str, float | None]:
    """Precision, recall and F1 of decisions; None where they have no denominator."""
    both, yes, positive = int((truth & said).sum()), int(said.sum()), int(truth.sum())
    return {
        "precision": both / yes if yes else None,
        "recall": both / positive if positive else None,
        "f1": 2 * both / (yes + positive) if positive else None,
    }


def brier(truth: Truth, scores: npt.ArrayLike) -> float | None:
    """Mean squared error of the probabilities; None of nothing."""
    return float(np.mean((np.asarray(scores, dtype=np.float64) - truth) ** 2)) if len(truth) else None


def reliability(truth: Truth, scores: npt.ArrayLike) -> list[dict[str, Any]]:
    """Bins of equal width: how many, the mean probability and the share of positives in each that is not empty."""
    scores = np.asarray(scores, dtype=np.float64)
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    return [
        {
            "from": edge / BINS,
            "n": int(here.sum()),
            "probability": float(scores[here].mean()),
            "share": float(truth[here].mean()),
        }
        for edge in range(BINS)
        if (here := bins == edge).any()
    ]


def platt(truth: Truth, logits: Floats) -> tuple[float, float]:
    """Slope and offset of the logistic curve from logits to probabilities, by Newton's method.

    Targets are drawn in by one example of each kind (Platt 1999), so that few positives do not give certainty. A slope
    below zero is none: scores that rank worse than chance carry the label's share and nothing else.
    """
    positive, negative = int(truth.sum()), int((~truth).sum())
    target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    share = float(np.mean(target))
    base = np.log(share / (1 - share))
    if not (positive and negative):
        return 0.0, float(base)
    design = np.stack([logits, np.ones_like(logits)], axis=1)

    def loss(at: Floats) -> float:
        z = design @ at
        return float(np.sum(np.logaddexp(0, z) - target * z))

    point = np.array([0.0, base])
    for _ in range(100):
        p = 1 / (1 + np.exp(-(design @ point)))
        slope = design.T @ (p - target)
        step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2), slope)
        size = 1.0
        while loss(point - size * step) > loss(point) and size > 1e-6:
            size /= 2
        point = point - size * step
        if np.abs(step).max() < 1e-10:
            break
    return (float(point[0]), float(point[1])) if point[0] > 0 else (0.0, float(base))
