"""What a layer's features hold: linear and nearest-neighbour probes, and curves over amounts of data.

Features stay frozen and probes small, so that a score speaks of the features. Every arm gets the same strengths to
choose from, on validation, and the curve of that choice is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.alignment.neighbours import nearest, read_features
from eval.stats.margins import Floats
from presight.errors import PresightError

STRENGTHS = tuple(10.0**power for power in range(-5, 2))
NEIGHBOURS = (1, 2, 5, 10, 20, 50)


class Split(NamedTuple):
    """Features [n, d] of one layer with their classes [n], whole numbers from 0."""

    features: NDArray[Any]
    labels: NDArray[Any]

    def take(self, rows: NDArray[np.intp]) -> Split:
        """Those items."""
        return Split(self.features[rows], self.labels[rows])


class Trial(NamedTuple):
    """One strength that was tried: its accuracy on validation, and whether the fit came to rest."""

    strength: float
    validation: float
    converged: bool = True


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """A probe's answers on the test split.

    Attributes:
        predicted: classes [n_test].
        correct: [n_test]; the per-item scores that comparisons pair.
        confidence: [n_test] probability of the true class, or the share of neighbours that are of it; 0 where training
            had none of it.
        strength: the ridge penalty, or the number of neighbours, that validation chose.
        curve: what was tried, smallest first.
        edge: whether a strength beyond what was tried might have done better: none inside is as good as the best.
    """

    predicted: NDArray[np.int64]
    correct: NDArray[np.bool_]
    confidence: Floats
    strength: float
    curve: tuple[Trial, ...]
    edge: bool

    @property
    def accuracy(self) -> float:
        """Share of test items answered rightly."""
        return float(self.correct.mean())

    @property
    def validation(self) -> float:
        """Accuracy on validation at the strength chosen; layers are chosen by it."""
        return next(trial.validation for trial in self.curve if trial.strength == self.strength)

    def warnings(self) -> list[str]:
        """What to know before believing the score, in sentences; mostly nothing."""
        low, high = self.curve[0].strength, self.curve[-1].strength
        said = []
        if self.edge:
            said.append(f"The best strength, {self.strength:g}, lies on the edge of {low:g} to {high:g}: widen it.")
        if not all(trial.converged for trial in self.curve if trial.strength == self.strength):
            said.append(f"The fit at strength {self.strength:g} was cut off before it came to rest.")
        return said


def fit_probe(
    train: Split, validation: Split, test: Split, strengths: Sequence[float] = STRENGTHS, steps: int = 500
) -> ProbeScores:
    """Multinomial logistic regression with a ridge penalty, the strength chosen on validation.

    Minimises mean cross-entropy + strength / 2 · ‖weights‖² over features standardised by the training split, the
    intercepts free; scikit-learn's ``LogisticRegression(C=1 / (strength · n))`` is the same optimum. L-BFGS in
    float64, each strength started from the next stronger one's optimum. Of equally good ones the largest is taken.

    Args:
        train, validation, test: features of one layer and classes.
        strengths: to choose from, above 0: the same for every arm.
        steps: of L-BFGS at most, a strength.

    Raises:
        PresightError: malformed splits or strengths, or one class only.
    """
    import torch

    splits = _read(train, validation, test)
    if not len(strengths) or min(strengths) <= 0:
        raise PresightError("strengths", f"{list(strengths)}", "give penalties above 0")
    features = splits[0].features
    centre, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 1e-12 * np.abs(features).max(0), spread, np.inf)  # what never varies says nothing
    known, y = (torch.from_numpy(each) for each in np.unique(splits[0].labels, return_inverse=True))
    x, held, asked = (torch.from_numpy((each.features - centre) / spread) for each in splits)
    weights = torch.zeros(x.shape[1], len(known), dtype=torch.float64, requires_grad=True)
    intercepts = torch.zeros(len(known), dtype=torch.float64, requires_grad=True)
    curve, best, answers, odds = [], -1.0, np.zeros(0, np.int64), np.zeros((0, 0))
    for strength in sorted(strengths, reverse=True):
        descent = torch.optim.LBFGS(
            [weights, intercepts],
            max_iter=steps,
            max_eval=2 * steps,
            tolerance_grad=1e-6,
            tolerance_change=1e-12,
            history_size=20,
            line_search_fn="strong_wolfe",
        )

        def loss(strength: float = strength, descent: Any = descent) -> Any:
            descent.zero_grad()
            value = torch.nn.functional.cross_entropy(x @ weights + intercepts, y)
            value = value + strength / 2 * weights.square().sum()
            value.backward()
            return value

        descent.step(loss)
        loss()
        rest = max(float(each.grad.abs().max()) for each in (weights, intercepts) if each.grad is not None) < 1e-4
        with torch.no_grad():
            right = (known[(held @ weights + intercepts).argmax(1)].numpy() == splits[1].labels).mean()
            if right > best:
                best, chosen = float(right), strength
                logits = asked @ weights + intercepts
                answers, odds = known[logits.argmax(1)].numpy(), logits.softmax(1).numpy()
        curve.append(Trial(strength, float(right), rest))
    curve.reverse()
    edge = len(curve) > 1 and all(trial.validation < best for trial in curve[1:-1])
    truth = splits[2].labels
    confidence = (odds * (known.numpy() == truth[:, None])).sum(1)
    return ProbeScores(answers, answers == truth, confidence, chosen, tuple(curve), edge)


def fit_neighbours(
    train: Split, validation: Split, test: Split, neighbours: Sequence[int] = NEIGHBOURS
) -> ProbeScores:
    """Majority of the nearest training items by cosine, their number chosen on validation.

    Of classes with equally many neighbours the one with the nearest is taken; of equally good numbers the largest.
    Numbers above the training items are left out.

    Raises:
        PresightError: malformed splits, or no number of neighbours within reach.
    """
    train, validation, test = _read(train, validation, test)
    numbers = sorted({k for k in neighbours if 1 <= k <= len(train.labels)})
    if not numbers:
        raise PresightError("neighbours", f"{list(neighbours)} of {len(train.labels)} items", "ask for fewer, from 1")
    held, asked = (nearest(each.features, train.features, numbers[-1]) for each in (validation, test))
    curve = [Trial(k, float((majority(train.labels[held[:, :k]]) == validation.labels).mean())) for k in numbers]
    best = max(curve, key=lambda trial: (trial.validation, trial.strength))
    near = train.labels[asked[:, : int(best.strength)]]
    answers, confidence = majority(near), (near == test.labels[:, None]).mean(1)
    # beyond one neighbour there is nothing, nor beyond all items; beyond the largest number tried there may be
    wider = len(curve) > 1 and numbers[-1] < len(train.labels)
    edge = best is curve[-1] and wider and all(trial.validation < best.validation for trial in curve[:-1])
    return ProbeScores(answers, answers == test.labels, confidence, best.strength, tuple(curve), edge)


def majority(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The commonest of each row's labels [n, k], among equals the one that stands first."""
    votes = (labels[:, :, None] == labels[:, None, :]).sum(2)  # [n, k]: how many neighbours share this one's label
    return labels[np.arange(len(labels)), votes.argmax(1)]


Probe = Callable[[Split, Split, Split], ProbeScores]  # `fit_probe`, `fit_neighbours`, or one with its options bound


@dataclass(frozen=True, slots=True)
class DataCurve:
    """Scores over amounts of training data.

    Attributes:
        amounts: items a class, or shares of the training split.
        correct: [amounts, draws, items]; compare two arms at amount a by
            ``crossed_interval(text.correct[a], control.correct[a])``, which are paired: equal draws of equal items.
        edges: [amounts, draws] whether the best strength lay on the edge.
    """

    amounts: tuple[float, ...]
    correct: NDArray[np.bool_]
    edges: NDArray[np.bool_]

    @property
    def accuracy(self) -> Floats:
        """Mean over draws and items [amounts]."""
        return self.correct.mean(axis=(1, 2))


def few_shot(
    train: Split,
    validation: Split,
    test: Split,
    shots: Sequence[int] = (1, 2, 5, 10, 20),
    draws: Sequence[int] = (0, 1, 2, 3, 4),
    probe: Probe = fit_probe,
) -> DataCurve:
    """Scores from n examples a class; a draw's smaller sets are parts of its larger ones.

    Strengths are chosen on as many validation examples a class: who has five labels has not five thousand more.

    Raises:
        PresightError: malformed splits, or a class with fewer training items than a number of shots.
    """
    train, validation, test = _read(train, validation, test)
    fewest = int(np.unique(train.labels, return_counts=True)[1].min())
    if not shots or not 1 <= min(shots) <= max(shots) <= fewest:
        raise PresightError("shots", f"{list(shots)}, where a class has {fewest} items", "ask for from 1 to that many")

    def cut(split: Split, shots: float, seed: int) -> NDArray[np.intp]:
        return np.sort(np.flatnonzero(class_ranks(split.labels, seed) < shots))

    return _curve(train, validation, test, tuple(map(float, shots)), draws, probe, cut)


def data_fractions(
    train: Split,
    validation: Split,
    test: Split,
    fractions: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0),
    draws: Sequence[int] = (0, 1, 2),
    probe: Probe = fit_probe,
) -> DataCurve:
    """Scores from shares of the training split, and of validation, classes in proportion; smaller sets are nested.

    Raises:
        PresightError: malformed splits, or shares that are not above 0 and at most 1.
    """
    if not fractions or not 0 < min(fractions) <= max(fractions) <= 1:
        raise PresightError("fractions", f"{list(fractions)}", "give shares above 0, at most 1")

    def cut(split: Split, share: float, seed: int) -> NDArray[np.intp]:
        _, classes, sizes = np.unique(split.labels, return_inverse=True, return_counts=True)
        order = np.argsort((class_ranks(split.labels, seed) + 0.5) / sizes[classes], kind="stable")
        return np.sort(order[: max(1, math.ceil(share * len(order) - 1e-9))])

    return _curve(train, validation, test, tuple(map(float, fractions)), draws, probe, cut)


def class_ranks(labels: NDArray[Any], seed: int) -> NDArray[np.intp]:
    """Each item's place [n] in a random order of its class; labels and seed alone decide, so arms draw alike."""
    order = np.random.default_rng([0xD4A, seed]).permutation(len(labels))
    ranks = np.empty(len(labels), np.intp)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        ranks[own] = np.arange(len(own))
    return ranks


def _curve(
    train: Split,
    validation: Split,
    test: Split,
    amounts: tuple[float, ...],
    draws: Sequence[int],
    probe: Probe,
    cut: Callable[[Split, float, int], NDArray[np.intp]],
) -> DataCurve:
    train, validation, test = _read(train, validation, test)
    correct = np.empty((len(amounts), len(draws), len(test.labels)), np.bool_)
    edges = np.empty(correct.shape[:2], np.bool_)
    for place, amount in enumerate(amounts):
        for draw, seed in enumerate(draws):
            taught, held = (split.take(cut(split, amount, seed)) for split in (train, validation))
            done = probe(taught, held, test)
            correct[place, draw], edges[place, draw] = done.correct, done.edge
    return DataCurve(amounts, correct, edges)


def _read(*splits: Split) -> list[Split]:
    """Splits in float64 with whole-number labels, all of one width."""
    read = []
    for name, (features, labels) in zip(("train", "validation", "test"), splits, strict=True):
        x, y = read_features(name, features).astype(np.float64, copy=False), np.asarray(labels)
        if y.shape != (len(x),) or y.dtype.kind not in "iu" or y.min() < 0:
            raise PresightError(f"{name}.labels", f"{y.dtype} of shape {y.shape}", "give each item a class from 0")
        read.append(Split(x, y.astype(np.int64)))
    if len({each.features.shape[1] for each in read}) > 1:
        raise PresightError("features", "splits of different widths", "take all of them from one layer")
    if len(np.unique(read[0].labels)) < 2:
        raise PresightError("train.labels", "one class only", "give at least two")
    return read
