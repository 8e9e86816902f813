"""The labels of any stretch of a token shard: for those who read items and want to know what is in them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus import segments
from corpus.labels.cells import read_labels
from corpus.labels.label import beside
from corpus.labels.taxonomy import Taxonomy
from corpus.tokens import read_tokens
from presight.errors import EXIT_DATA, PresightError

SHARDS_AT_ONCE = 256  # whose bounds and labels stay in memory


class SegmentLabels:
    """Which labels and families the segments of training shards have, by the classifier's thresholds.

    Args:
        labels: a labels artifact.
        tokens: the tokens artifact it labels.

    Attributes:
        names: labels, then families.

    Raises:
        PresightError: the labels are of other tokens, or a file is not what it should be (exit code 87).
    """

    def __init__(self, labels: Path, tokens: Path) -> None:
        described = read_tokens(tokens)
        found = read_labels(labels, described)
        self.taxonomy = Taxonomy.of(found["taxonomy"])
        self.names = (*self.taxonomy.labels, *self.taxonomy.families)
        self._limits = np.array([found["thresholds"][name] for name in self.names])
        self._longest = int(found["segment"])
        self._labels, self._tokens = labels, tokens
        self._lengths = {
            s["path"]: s["tokens"] for each in described["sources"].values() for s in each["train"]["shards"]
        }
        self._shard = lru_cache(SHARDS_AT_ONCE)(self._read)

    def within(self, shard: str, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The segments of the tokens start … stop − 1 of a shard, named by its path.

        Returns:
            Where each begins, counted from ``start``, int64 [segments] ascending from 0; and what it has, bool
            [segments, names].
        """
        bounds, flags = self._shard(shard)
        first = int(np.searchsorted(bounds, start, side="right")) - 1
        last = int(np.searchsorted(bounds, stop, side="left"))
        return np.maximum(bounds[first:last] - start, 0), flags[first:last]

    def _read(self, shard: str) -> tuple[segments.Bounds, npt.NDArray[Any]]:
        bounds = segments.cut(segments.ends(self._tokens / shard, self._lengths[shard]), self._longest)
        path = self._labels / beside(shard)
        scores = np.load(path, allow_pickle=False).astype(np.float32) if path.exists() else np.zeros((0, 0))
        if scores.shape != (len(bounds) - 1, len(self.taxonomy.labels)):
            mend = "restore it, or delete its artifact and run again"
            raise PresightError(
                str(path), f"does not label the {len(bounds) - 1} segments of its shard", mend, EXIT_DATA
            )
        return bounds, np.hstack([scores, self.taxonomy.combine(scores)]) >= self._limits
