"""Nearest neighbours by cosine, and how many edges two families of neighbour graphs share.

Ties need care. Were they broken by position, two layers that carry no information (the class token before the first
block, the end-of-text token's embedding) would choose the *same* neighbours and look perfectly aligned, against a null
that knows nothing of it. Here ties go by a random order of the items, one order for each side of a comparison, so what
carries no information agrees by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from presight.errors import PresightError

Graph = NDArray[np.intp]

_RESOLUTION = 2.0**32  # cosines alike to 2e-10 are tied: far above float64's rounding, far below any real difference
_BLOCK = 2_000_000  # cosines held at once
_LOOKUPS = 4_000_000  # edges looked up at once
MOST_ITEMS = 20_000  # `shared_edges` keeps an index of items², 4 bytes each: 1.6 GB


def neighbours(features: ArrayLike, k: int, ties: int = 0) -> Graph:
    """The k items with the highest cosine to each item, itself left out: [n, k], nearest first.

    Args:
        features: [n, d]; a row of noughts has cosine 0 with everything.
        k: neighbours, fewer than n.
        ties: seed of the order that ties go by; give two sides of a comparison different ones.

    Raises:
        PresightError: not a finite [n, d], or k out of range.
    """
    rows = read_features("features", features)
    if not 1 <= k < len(rows):
        raise PresightError("k", f"{k} neighbours among {len(rows)} items", "ask for at least 1, fewer than items")
    return _nearest(rows, rows, k, ties, leave_out_self=True)


def nearest(queries: ArrayLike, features: ArrayLike, k: int, ties: int = 0) -> Graph:
    """The k of `features` [n, d] with the highest cosine to each of `queries` [m, d]: [m, k], nearest first.

    Raises:
        PresightError: not finite arrays of one width, or k out of range.
    """
    asked, rows = read_features("queries", queries), read_features("features", features)
    if asked.shape[1] != rows.shape[1]:
        raise PresightError("queries", f"{asked.shape[1]} wide, features {rows.shape[1]}", "take both from one layer")
    if not 1 <= k <= len(rows):
        raise PresightError("k", f"{k} neighbours among {len(rows)} items", "ask for at least 1, at most all items")
    return _nearest(asked, rows, k, ties, leave_out_self=False)


def shared_edges(first: Graph, second: Graph, permutations: NDArray[Any]) -> NDArray[np.int64]:
    """Edges that graphs have in common when item i of the first side is paired with item π(i) of the second.

    Neighbour graphs are permutation-equivariant: j is a neighbour of i among permuted features just when π(j) is one
    of π(i) among the features as they were. So the graphs are built once, and a permutation renames the first side's
    edges and looks them up. The lookup is a product of sparse matrices, [graphs, n²] × [n², graphs].

    Args:
        first: neighbours [L, n, k] of L layers.
        second: neighbours [E, n, k'] of E layers, of the same items.
        permutations: [P, n].

    Returns:
        [P, L, E] counts; divided by n k they are mean overlaps.

    Raises:
        PresightError: more than `MOST_ITEMS` items.
    """
    from scipy.sparse import coo_array, csr_array

    layers, n, k = first.shape
    if n > MOST_ITEMS:
        raise PresightError("items", f"{n:,}, an index of their pairs would not fit", f"sample {MOST_ITEMS:,}")
    # int32 holds n² of every n allowed, and makes the index half as large
    edges = (np.arange(n)[:, None] * n + second).reshape(len(second), -1).astype(np.int32)  # [E, n k']
    graphs = np.repeat(np.arange(len(second), dtype=np.int32), edges.shape[1])
    present = np.ones(edges.size, np.int32)
    table = csr_array(coo_array((present, (edges.ravel(), graphs)), shape=(n * n, len(second))))
    sources, targets = np.repeat(np.arange(n), k), first.reshape(layers, n * k)
    counts = np.empty((len(permutations), layers, len(second)), np.int64)
    step = max(1, _LOOKUPS // targets.size)
    for start in range(0, len(permutations), step):
        renamed = permutations[start : start + step].astype(np.int32)  # [p, n]
        moved = renamed[:, None, sources] * np.int32(n) + renamed[:, targets]  # [p, L, n k]
        ends = np.arange(0, moved.size + 1, n * k, dtype=np.int32)
        queries = csr_array((np.ones(moved.size, np.int32), moved.ravel(), ends), shape=(len(ends) - 1, n * n))
        counts[start : start + step] = (queries @ table).toarray().reshape(-1, layers, len(second))
    return counts


def read_features(field: str, values: ArrayLike) -> NDArray[Any]:
    """Features as a finite, nowhere empty [n, d] of floats."""
    rows = np.asarray(values)
    if rows.ndim != 2 or rows.size == 0 or rows.dtype.kind not in "biuf":
        raise PresightError(field, f"{rows.dtype} of shape {rows.shape}", "give numbers [items, dimensions]")
    if not np.isfinite(rows).all():
        raise PresightError(field, "some are not finite", "look for the layer that overflows")
    return rows if rows.dtype.kind == "f" else rows.astype(np.float64)


def _nearest(queries: NDArray[Any], features: NDArray[Any], k: int, ties: int, leave_out_self: bool) -> Graph:
    """Rounded cosine and place in the order of ties make one integer, so that the k largest are never ambiguous."""
    n = len(features)
    places = np.random.default_rng([0x7E5, ties]).permutation(n)
    unit = _unit(features).T
    found = np.empty((len(queries), k), np.intp)
    step = max(1, _BLOCK // n)
    for start in range(0, len(queries), step):
        cosines = _unit(queries[start : start + step]) @ unit  # [step, n]
        keys = np.rint(cosines * _RESOLUTION).astype(np.int64) * n + places
        if leave_out_self:
            rows = np.arange(len(keys))
            keys[rows, start + rows] = np.iinfo(np.int64).min
        best = np.argpartition(keys, n - k, axis=1)[:, n - k :]
        order = np.argsort(-np.take_along_axis(keys, best, 1), axis=1)
        found[start : start + step] = np.take_along_axis(best, order, 1)
    return found


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    rows = rows.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1.0)  # or squares of tiny and of huge values are lost
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
