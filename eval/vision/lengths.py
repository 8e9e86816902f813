"""Soundness at equal length: longer explanations are judged better, so models of other lengths are compared at one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.stats.margins import Floats

EDGES = (0, 8, 16, 32, 64, 128)  # words: where bins begin
TAILS = (0.05, 0.95)  # a length beyond these quantiles of a model's own is guessed, not seen


@dataclass(frozen=True, slots=True)
class AtLength:
    """Soundness that a model's explanations of one length are expected to have.

    Attributes:
        values: [items]; their mean is that soundness, and they vary as it does, so that it can be compared and given
            an interval as if it were a mean of scores.
        slope: by which it rises when the words double.
        extrapolated: so few explanations are that short, or that long, that the line says more than the data.
    """

    values: Floats
    slope: float
    extrapolated: bool


def at_length(sound: npt.ArrayLike, words: npt.ArrayLike, reference: float) -> AtLength:
    """The least-squares line of soundness on the logarithm of length, read at one length: style control.

    The line is that of a linear probability model, of one model's own explanations. Its value at the reference is
    ``mean(sound) + slope × (log reference − mean(log words))``, a linear statistic of the items; ``values`` are that
    plus every item's share of its error (its influence), so an interval over items, clusters or seeds follows as for
    a mean: the same as the sandwich's for a regression. Lengths are counted from one word, as log(1 + words).

    Args:
        sound: 0 or 1 [items].
        words: of each explanation [items].
        reference: words.
    """
    y, x = np.asarray(sound, np.float64), np.log1p(np.asarray(words, np.float64))
    centred = x - x.mean()
    variance = float((centred**2).mean())
    place = float(np.log1p(reference))
    low, high = np.quantile(x, TAILS)
    if variance < 1e-12:  # all of one length: no line to read off
        return AtLength(y.copy(), 0.0, not bool(low - 1e-9 <= place <= high + 1e-9))
    slope = float((centred * y).mean()) / variance
    residual = y - y.mean() - slope * centred
    reach = place - float(x.mean())
    values = y.mean() + slope * reach + residual * (1 + centred * reach / variance)
    return AtLength(values, slope * float(np.log(2)), not bool(low <= place <= high))


def bins(sound: npt.ArrayLike, words: npt.ArrayLike) -> list[dict[str, Any]]:
    """How many explanations there are of each length, and which share of them is sound, in bins that double."""
    y, length = np.asarray(sound, np.float64), np.asarray(words)
    which = np.searchsorted(EDGES, length, side="right") - 1
    return [
        {
            "words": [low, EDGES[place + 1] - 1 if place + 1 < len(EDGES) else None],
            "items": int((which == place).sum()),
            "sound": float(y[which == place].mean()) if (which == place).any() else None,
        }
        for place, low in enumerate(EDGES)
    ]
