"""The text model: which words a text has, weighed by logistic regression, kept and run as a fastText model.

fastText scores a text by the mean of its words' vectors, so a linear model over words is a fastText model of one
dimension a label. Its weights can then be *the* optimum of a regularised problem instead of where a noisy descent
happened to stop: on a thousand annotations that is worth several points, and no seed is left to choose.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PREFIX = "__label__"
PENALTY = 1e-3

# bytes of UTF-8 → what is kept of them; what is not ASCII belongs to words
WORDS = bytes(ord(chr(b).lower()) if chr(b).isalpha() else 32 for b in range(128)) + bytes(range(128, 256))
SIGNS = bytes(b if 33 <= b < 127 and not chr(b).isalnum() else 32 for b in range(128)) + b" " * 128
MARKS = [chr(b) for b in range(33, 127) if not chr(b).isalpha()]
LOWER = bytes(w if w != 32 else s for w, s in zip(WORDS, SIGNS, strict=True))
_SYMBOLS = re.compile(r"[^\x00-\x7f\w]")


def prepare(text: str) -> str:
    """The form in which the model reads a text, in training and after: what is in it, each thing once, on one line.

    Words are runs of letters in lower case. Runs of signs (``->``, ``):``), single signs and digits stand beside them:
    they are what code and formulas look like. That a word is there says more than how often: repeats would drown
    what is rare in what every text has.
    """
    text = separated(text)
    raw = text.encode("utf-8", "replace")
    words, signs = raw.translate(WORDS).decode().split(), raw.translate(SIGNS).decode().split()
    return " ".join(dict.fromkeys(chain(words, signs, filter(text.__contains__, MARKS))))


def separated(text: str) -> str:
    """The text with space around symbols that are not ASCII: typographic quotes, ∀, ≤ are not part of a word."""
    for symbol in () if text.isascii() else set(_SYMBOLS.findall(text)):
        text = text.replace(symbol, f" {symbol} ")
    return text


@dataclass(frozen=True)
class Weights:
    """A linear model over words.

    Args:
        labels: names of the columns.
        words: names of the rows, sorted.
        matrix: ``[words, labels]``.
        bias: ``[labels]``.
    """

    labels: tuple[str, ...]
    words: tuple[str, ...]
    matrix: Floats
    bias: Floats

    def logits(self, prepared: Sequence[str]) -> Floats:
        """``[n, labels]``: the bias, and the mean over the known words and an end of line that weighs nothing."""
        rows = {word: row for row, word in enumerate(self.words)}
        return np.asarray(_features(prepared, rows) @ self.matrix) + self.bias

    def calibrated(self, slopes: Floats, offsets: Floats) -> Weights:
        """The model whose logits are ``slopes * logits + offsets``."""
        return replace(self, matrix=self.matrix * slopes, bias=self.bias * slopes + offsets)

    def save(self, path: Path) -> None:
        """Write a fastText model of unigrams and one dimension a label; the same weights give the same bytes."""
        import fasttext

        with tempfile.TemporaryDirectory() as folder:  # not beside ``path``: a kill would leave it in the artifact
            text = Path(folder) / "dictionary.txt"  # a line that holds all of it
            line = " ".join([*(PREFIX + label for label in self.labels), *self.words]) + "\n"
            text.write_text(line, "utf-8", newline="\n")
            model = fasttext.train_supervised(
                str(text), loss="ova", dim=len(self.labels), epoch=1, minCount=1, bucket=0, thread=1, seed=0, verbose=0
            )
        row, column = {w: i for i, w in enumerate(self.words)}, {PREFIX + x: i for i, x in enumerate(self.labels)}
        vectors = np.tile(self.bias, (len(self.words) + 1, 1))  # a mean of vectors that all hold the bias holds it
        order = [row.get(word, len(self.words)) for word in model.get_words()]  # the last: the end of the line
        vectors[: len(self.words)] += self.matrix
        model.set_matrices(vectors[order], np.eye(len(self.labels))[[column[x] for x in model.get_labels()]])
        model.save_model(str(path))


def fit(prepared: Sequence[str], truth: npt.NDArray[np.bool_], labels: Sequence[str], penalty: float) -> Weights:
    """Logistic regression on the presence of words, one problem a label.

    Words count by the logarithm of their rarity: the penalty then falls on common ones, which say little.

    Args:
        prepared: texts as ``prepare`` gives them.
        truth: ``[n, labels]``.
        labels: names of the columns.
        penalty: on the squared weights, beside the summed loss.
    """
    counts = Counter(word for text in prepared for word in text.split(" ") if word)
    words = tuple(sorted(counts))
    rarity = np.log((1 + len(prepared)) / np.array([counts[word] for word in words], dtype=float))
    rows = {word: row for row, word in enumerate(words)}
    matrix, bias = _regression(_features(prepared, rows).multiply(rarity).tocsr(), truth, penalty)
    return Weights(tuple(labels), words, matrix * rarity[:, None], bias)


def _features(prepared: Sequence[str], rows: dict[str, int]) -> Any:
    """Sparse ``[n, words]``: 1 / (known words + 1) where a word is there; fastText adds the end of the line."""
    from scipy.sparse import csr_matrix

    found = [[rows[word] for word in text.split(" ") if word in rows] for text in prepared]
    sizes = np.array([len(each) for each in found], dtype=np.int64)
    values = np.repeat(1 / (sizes + 1), sizes)
    places = np.fromiter(chain.from_iterable(found), dtype=np.int64, count=int(sizes.sum()))
    return csr_matrix((values, places, np.concatenate([[0], sizes.cumsum()])), shape=(len(found), len(rows)))


def _regression(features: Any, truth: npt.NDArray[np.bool_], penalty: float) -> tuple[Floats, Floats]:
    """Minimise ``Σ log(1 + exp(∓logit)) + penalty/2 · |weights|²`` over ``[words, labels]`` and a free bias.

    Newton's method with conjugate gradients: to the optimum in a sixth of the time that L-BFGS takes to come near it.
    """
    from scipy.optimize import minimize

    (n, words), labels = features.shape, truth.shape[1]
    matrix, bias = np.zeros((words, labels)), np.log((truth.sum(0) + 0.5) / (n - truth.sum(0) + 0.5))
    transposed = features.T.tocsr()

    def back(rows: Floats, point: Floats) -> Floats:
        return np.append(transposed @ rows + penalty * point[:-1], rows.sum())

    def curvature(point: Floats, along: Floats) -> Floats:
        p = sigmoid(features @ point[:-1] + point[-1])
        return back(p * (1 - p) * (features @ along[:-1] + along[-1]), along)

    for label in np.flatnonzero(truth.any(0) & ~truth.all(0)):  # else there is nothing to learn but the bias
        target = truth[:, label].astype(np.float64)

        def loss(point: Floats, target: Floats = target) -> tuple[float, Floats]:
            logits = features @ point[:-1] + point[-1]
            value = np.sum(np.logaddexp(0, logits) - target * logits) + penalty / 2 * np.sum(point[:-1] ** 2)
            return float(value), back(sigmoid(logits) - target, point)

        start = np.append(np.zeros(words), bias[label])
        found = minimize(loss, start, jac=True, hessp=curvature, method="Newton-CG").x
        matrix[:, label], bias[label] = found[:-1], found[-1]
    return matrix, bias


def sigmoid(logits: Floats) -> Floats:
    """Probabilities of logits, without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))


def load(path: Path) -> Any:
    """A fastText model that ``Weights.save`` wrote."""
    import fasttext

    return fasttext.load_model(str(path))
