"""Where on the way of pretraining a prior shows: text minus control over milestones and layers, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.deltas import holm
from eval.stats.intervals import crossed_margins
from eval.stats.margins import Floats, require_fraction
from presight.errors import PresightError


@dataclass(frozen=True, slots=True)
class Emergence:
    """Text minus control along pretraining, in every layer, and when each layer's prior is there to stay.

    Attributes:
        tokens: of the milestones [T], ascending.
        estimate, low, high: mean difference and its limits [T, L]; coverage 1 − (1 − level) / L each.
        p: two-sided, of no difference at that point alone [T, L].
        p_holm: over all points, for whoever picks one out of the map [T, L].
        onset: a layer's tokens from which on its interval leaves 0 to one side and stays out; None: never, by the end.
        level: of all onsets together.
    """

    tokens: tuple[float, ...]
    estimate: Floats
    low: Floats
    high: Floats
    p: Floats
    p_holm: Floats
    onset: tuple[float | None, ...]
    level: float


def emergence(
    tokens: Sequence[float],
    text: ArrayLike,
    control: ArrayLike,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Emergence:
    """When a prior emerges: the milestone from which on text and control differ, layer by layer.

    An onset claims something of *every* milestone from it to the last. So the last is tested first, then the one
    before, until one is not established: a fixed sequence, which needs no correction over milestones (Maurer, Hothorn
    & Lehmacher, 1995). Layers are corrected by Bonferroni: each has intervals at 1 − (1 − level) / L. With chance at
    most ``1 - level`` does any layer's onset claim a milestone without a difference, however points depend on each
    other; with nothing to find (6 × 4 points, 3 seeds, 100 items) 1.4 % of 1,000 runs had an onset
    (``python benchmarks/alignment.py``).
    An onset is late rather than early: it is when the design could tell, not when the first difference arose.

    Args:
        tokens: [T] read at each milestone, ascending.
        text: scores [T, L, seeds, items].
        control: the same, or [L, seeds, items] of a control that reads no text; seeds and items as in `text`.
        clusters: cluster ids [items].
        level: of all onsets together.

    Raises:
        PresightError: wrong shapes, milestones out of order, or as `crossed_interval`.
    """
    times, first, second = [float(each) for each in tokens], np.asarray(text), np.asarray(control)
    if first.ndim != 4 or 0 in first.shape or len(first) != len(times):
        raise PresightError("text", f"shape {first.shape}, {len(times)} milestones", "give [T, layers, seeds, items]")
    if not all(before < after for before, after in pairwise(times)):
        raise PresightError("tokens", "milestones out of order", "sort them, each once")
    if second.shape not in (first.shape, first.shape[1:]):
        raise PresightError("control", f"shape {second.shape}, but text is {first.shape}", "score the same items")
    second = np.broadcast_to(second, first.shape)
    each = 1 - (1 - require_fraction("level", level)) / first.shape[1]
    estimate, low, high, p = np.empty((4, *first.shape[:2]))
    for point in np.ndindex(*first.shape[:2]):
        margins = crossed_margins(first[point], second[point], clusters)
        interval = margins.interval(each)
        estimate[point], low[point], high[point] = interval.estimate, interval.low, interval.high
        p[point] = margins.p_value()
    side = np.where(low > 0, 1, np.where(high < 0, -1, 0))
    stays = np.logical_and.accumulate((side == side[-1])[::-1] & (side[-1] != 0))[::-1]  # [T, L]
    onset = tuple(times[int(column.argmax())] if column.any() else None for column in stays.T)
    holmed = holm(p.ravel()).reshape(p.shape)
    return Emergence(tuple(times), estimate, low, high, p, holmed, onset, level)
