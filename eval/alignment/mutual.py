"""Do a text model and a vision model find the same things alike? Mutual nearest neighbours, against chance.

The measure is the share of each item's k nearest neighbours that two feature spaces agree on (the mutual k-NN metric
of *The Platonic Representation Hypothesis*, arXiv 2405.07987), of captions on one side and their images on the other.
What is published is the best over all pairs of layers, which exceeds chance where there is nothing to find: the
permutation null here is of that very maximum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eval.alignment.neighbours import Graph, neighbours, read_features, shared_edges
from eval.stats.margins import Floats, require_fraction
from presight.errors import PresightError

Layers = Sequence[ArrayLike] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Alignment:
    """The best layer pair's mutual k-NN, averaged over encoders, beside what unpaired items would give.

    Attributes:
        tables: by encoder, the mutual k-NN of each LM layer with each encoder layer [L, E].
        estimate: mean over encoders of each table's largest entry.
        null: [permutations] the same statistic with images dealt out to captions at random.
        k, items: neighbours and pairs.
    """

    tables: Mapping[str, Floats]
    estimate: float
    null: Floats
    k: int
    items: int

    @property
    def chance(self) -> float:
        """Expected overlap of one pair of layers, k / (n − 1): what the maximum over pairs exceeds without cause."""
        return self.k / (self.items - 1)

    @property
    def p(self) -> float:
        """One-sided p of captions and images being unrelated, ``(1 + #{null ≥ estimate}) / (1 + permutations)``.

        Exact: at most α of unrelated sets have p ≤ α, whatever the layers, their number and their dependence.
        """
        return float((1 + (self.null >= self.estimate).sum()) / (1 + len(self.null)))

    @property
    def z(self) -> float:
        """Standard deviations of the null from its mean; a figure to rank by, not to take a tail from."""
        spread = float(self.null.std(ddof=1))
        return float(self.estimate - self.null.mean()) / spread if spread > 0 else float("nan")

    @property
    def best(self) -> dict[str, tuple[int, int]]:
        """By encoder, the pair of layers (LM, encoder) that align best; the first of equals."""
        places = {name: np.unravel_index(table.argmax(), table.shape) for name, table in self.tables.items()}
        return {name: (int(place[0]), int(place[1])) for name, place in places.items()}

    def quantile(self, level: float = 0.95) -> float:
        """The share `level` of the null lies at or below this."""
        return float(np.quantile(self.null, require_fraction("level", level), method="inverted_cdf"))

    def calibrated(self, level: float = 0.95) -> float:
        """``(estimate − q) / (1 − q)`` with q the null's quantile, at least 0: what chance gives is taken off.

        After arXiv 2602.14486, which found width and the choice of layers to inflate raw scores.
        """
        threshold = self.quantile(level)
        return max(0.0, (self.estimate - threshold) / (1 - threshold)) if threshold < 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and finite numbers: figures, tables and the null, to be drawn."""
        return {
            "estimate": self.estimate,
            "p": self.p,
            "z": self.z if np.isfinite(self.z) else None,
            "chance": self.chance,
            "calibrated": self.calibrated(),
            "quantiles": {f"{level:g}": self.quantile(level) for level in (0.05, 0.5, 0.95, 0.99)},
            "k": self.k,
            "items": self.items,
            "best": {name: list(pair) for name, pair in self.best.items()},
            "tables": {name: table.tolist() for name, table in self.tables.items()},
            "null": self.null.tolist(),
        }


def mutual_knn(first: ArrayLike, second: ArrayLike, k: int, clamp: float = 0.95) -> float:
    """Mean share of the k nearest neighbours, by cosine, that an item has in both spaces; from 0 to 1.

    Args:
        first: [n, d1].
        second: [n, d2], row i of the same item.
        k: neighbours; 10 is usual, *Learning to See Before Seeing* takes 20.
        clamp: values are cut to ± this quantile of their size, layer by layer (see `clamped`); 1 leaves them.

    Raises:
        PresightError: arrays that are not finite [n, d] of the same items, or k out of range.
    """
    return float(alignment_table([first], [second], k, clamp)[0, 0])


def alignment_table(lm_layers: Layers, encoder_layers: Layers, k: int, clamp: float = 0.95) -> Floats:
    """`mutual_knn` of every LM layer with every encoder layer: [L, E]; graphs are built once a layer.

    Args:
        lm_layers: L arrays [n, d], or one [L, n, d].
        encoder_layers: E arrays [n, d], of the same items.
        k: neighbours.
        clamp: as for `mutual_knn`.

    Raises:
        PresightError: as `mutual_knn`.
    """
    first, second = (
        _graphs("lm_layers", lm_layers, k, clamp, 0),
        _graphs("encoder_layers", encoder_layers, k, clamp, 1),
    )
    _require_same_items(first, second)
    n = first.shape[1]
    return shared_edges(first, second, np.arange(n)[None])[0] / (n * k)


def align(
    lm_layers: Layers,
    encoders: Mapping[str, Layers],
    k: int = 20,
    *,
    clamp: float = 0.95,
    permutations: int = 1000,
    seed: int = 0,
) -> Alignment:
    """Alignment of an LM with one encoder or several, and its permutation null.

    Items must be exchangeable for the null to hold: give one caption an image, each image once. All encoders see the
    same permutations, since they see the same images. Measured on unrelated features (4 × 5 dependent layers, 128
    items, k = 10, 99 permutations, 4,000 sets; ``python benchmarks/alignment.py``): p ≤ 0.05 in 4.4 % of them.

    Args:
        lm_layers: L arrays [n, d] of the captions.
        encoders: by name, arrays [n, d] of the images, one a layer.
        k: neighbours.
        clamp: as for `mutual_knn`.
        permutations: draws of the null; the smallest p is 1 / (1 + permutations).
        seed: of the permutations.

    Raises:
        PresightError: as `mutual_knn`; no encoder; fewer than 19 permutations, which cannot give p = 0.05.
    """
    if permutations < 19:
        raise PresightError("permutations", f"{permutations} cannot give p = 0.05", "draw at least 19, better 1000")
    if not encoders:
        raise PresightError("encoders", "none given", "give the layers of at least one vision encoder")
    text = _graphs("lm_layers", lm_layers, k, clamp, 0)
    images = {name: _graphs(f"encoders[{name}]", layers, k, clamp, 1) for name, layers in encoders.items()}
    for graphs in images.values():
        _require_same_items(text, graphs)
    n = text.shape[1]
    ends = np.cumsum([len(graphs) for graphs in images.values()])[:-1]
    order = np.tile(np.arange(n), (1 + permutations, 1))
    order[1:] = np.random.default_rng(seed).permuted(order[1:], axis=1)  # row 0: the items as they are paired
    counts = np.split(shared_edges(text, np.concatenate(list(images.values())), order), ends, axis=2)
    best = sum(each.max(axis=(1, 2)) for each in counts)  # whole numbers, so that ties with the null are ties
    statistic = best / (n * k * len(images))
    tables = {name: each[0] / (n * k) for name, each in zip(images, counts, strict=True)}
    return Alignment(tables, float(statistic[0]), statistic[1:], k, n)


def clamped(features: ArrayLike, quantile: float) -> NDArray[Any]:
    """Features [n, d] cut to ±limit, the mean over items of that quantile of each item's absolute values.

    A few dimensions of LMs are hundreds of times larger than the rest and would be all that a cosine sees. The public
    code of the metric takes one limit for all layers of a model; here every layer has its own, so that its graph does
    not depend on which others are read.
    """
    rows = read_features("features", features)
    if quantile == 1:
        return rows
    limit = np.quantile(np.abs(rows), require_fraction("clamp", quantile), axis=1).mean()
    return np.clip(rows, -limit, limit)


def _graphs(field: str, layers: Layers, k: int, clamp: float, side: int) -> Graph:
    """Neighbours [layers, n, k]; the two sides of a comparison break ties by different orders."""
    if not len(layers):
        raise PresightError(field, "no layers", "give at least one array [n, d]")
    rows = [read_features(f"{field}[{place}]", layer) for place, layer in enumerate(layers)]
    if len({len(each) for each in rows}) > 1:
        raise PresightError(field, "layers of different numbers of items", "read every layer on the same items")
    return np.stack([neighbours(clamped(each, clamp), k, ties=side) for each in rows])


def _require_same_items(first: Graph, second: Graph) -> None:
    if first.shape[1] != second.shape[1]:
        raise PresightError(
            "items", f"{first.shape[1]} texts, {second.shape[1]} images", "pair every text with one image"
        )
