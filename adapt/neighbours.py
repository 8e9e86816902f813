"""Classes by the nearest training examples: what an embedding knows without a head."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 10
_ROWS = 256  # examples whose likenesses are held at once


def neighbour_shares(
    known: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    asked: npt.NDArray[Any],
    classes: int,
    neighbours: int = NEIGHBOURS,
) -> npt.NDArray[np.float64]:
    """Share [M, classes] of the nearest neighbours, by cosine, that are of each class.

    Args:
        known: embeddings of the training examples [N, D].
        labels: int64 [N], or bool [N, classes].
        asked: embeddings [M, D].
        classes: how many there are.
        neighbours: how many count; all N where there are fewer. Of equally near ones the first.
    """
    table = labels.astype(np.float64) if labels.ndim == 2 else np.eye(classes)[labels]
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True).clip(min=1e-12) for each in (known, asked))
    found = np.empty((len(asked), classes))
    for start in range(0, len(asked), _ROWS):
        likeness = second[start : start + _ROWS] @ first.T
        near = np.argsort(-likeness, axis=1, kind="stable")[:, :neighbours]
        found[start : start + _ROWS] = table[near].mean(1)
    return found
