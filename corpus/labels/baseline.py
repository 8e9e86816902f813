"""Someone who knows where a text is from and nothing else: what a classifier has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corpus.labels import metrics


@dataclass(frozen=True)
class Baseline:
    """Expects of a text what holds of its source: labels that follow from the source need no classifier.

    Args:
        shares: source → share of each label and family, in order; ``""``: of all, for sources it does not know.
        thresholds: of each label and family.
    """

    shares: Mapping[str, Sequence[float]]
    thresholds: Sequence[float]

    @classmethod
    def of(cls, sources: Sequence[str], every: npt.NDArray[np.bool_]) -> Baseline:
        """From what is true of texts: ``every`` is ``[n, labels + families]``."""
        where = np.array(sources)
        shares = {source: every[where == source].mean(axis=0).tolist() for source in sorted(set(sources))}
        made = cls({"": every.mean(axis=0).tolist(), **shares}, ())
        scores = made.scores(sources)
        return cls(made.shares, [metrics.best_threshold(*pair) for pair in zip(every.T, scores.T, strict=True)])

    def scores(self, sources: Sequence[str]) -> npt.NDArray[np.float64]:
        """Probabilities ``[n, labels + families]`` of texts from these sources."""
        return np.array([self.shares.get(source, self.shares[""]) for source in sources])
