"""Masks as annotations write them: polygons, or the lengths of runs, column by column, plain or packed into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.world.truth import Mask, runs_of

Runs = npt.NDArray[np.int64]
CONTINUED, NEGATIVE, BITS, FIRST = 32, 16, 5, 48  # of a packed number's characters, from "0" on


def unpacked(text: str | bytes) -> Runs:
    """Lengths of runs from COCO's packed text.

    A number is written five bits a character, the lowest first, and from the fourth on as the difference to the last
    but one.

    Raises:
        ValueError: it is no such text.
    """
    codes = np.frombuffer(text.encode("ascii") if isinstance(text, str) else text, np.uint8).astype(np.int64) - FIRST
    if not len(codes) or codes.min() < 0 or codes.max() >= 2 * CONTINUED or codes[-1] & CONTINUED:
        raise ValueError("its runs are no packed text")
    last = np.flatnonzero(~codes & CONTINUED)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    if place.max() > 8:  # more than a number of 45 bits
        raise ValueError("its runs are no packed text")
    numbers = np.add.reduceat((codes & (CONTINUED - 1)) << (BITS * place), first)
    numbers -= np.where(codes[last] & NEGATIVE, np.int64(1) << (BITS * (last - first + 1)), 0)
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers


def runs_in(segmentation: Any, height: int, width: int) -> Runs:
    """The runs of one annotation, whichever way it is written.

    Args:
        segmentation: polygons ``[[x, y, x, y, …], …]``, together; or ``{"size": [height, width], "counts": …}`` with
            a list of lengths or packed text.
        height: of the picture.
        width: of the picture.

    Returns:
        Lengths of runs, column by column, of what is outside first.

    Raises:
        ValueError: it is neither, or of another size than the picture.
    """
    if isinstance(segmentation, Mapping):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if list(size or ()) != [height, width]:
            raise ValueError(f"its size is {size}, the picture's {[height, width]}")
        runs = unpacked(counts) if isinstance(counts, str | bytes) else np.asarray(counts, np.int64)
        if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
            raise ValueError("its runs do not make up the picture")
        return runs
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
        raise ValueError("it is neither polygons nor runs")
    mask = np.zeros((height, width), bool)
    for polygon in segmentation:
        mask |= filled(polygon, height, width)
    return runs_of(mask).astype(np.int64)


def filled(polygon: Sequence[float], height: int, width: int) -> Mask:
    """The pixels [height, width] whose centres lie within a polygon ``x, y, x, y, …``, by the even-odd rule.

    Raises:
        ValueError: it has no three corners.
    """
    points = np.asarray(polygon, np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise ValueError("a polygon has no three corners")
    corners = points.reshape(-1, 2)
    crossed = np.zeros((height, width + 1), np.int64)  # edges that a row meets just before a column's centre
    for (x, y), (to_x, to_y) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        top, bottom = np.clip(np.ceil(np.array([min(y, to_y), max(y, to_y)]) - 0.5), 0, height).astype(int)
        rows = np.arange(top, bottom)
        if len(rows):
            meets = x + (rows + 0.5 - y) * (to_x - x) / (to_y - y)
            crossed[rows, np.clip(np.ceil(meets - 0.5), 0, width).astype(int)] += 1
    inside: Mask = np.cumsum(crossed, axis=1)[:, :width] % 2 == 1
    return inside


def covered(masks: Sequence[Runs]) -> int:
    """How many pixels at least one of these masks of a picture holds."""
    bounds = [np.cumsum(runs) for runs in masks]
    starts = np.concatenate([each[: len(each) - len(each) % 2 : 2] for each in bounds])
    ends = np.concatenate([each[1::2] for each in bounds])
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    before = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]]) if len(ends) else ends
    return int(np.maximum(ends - np.maximum(starts, before), 0).sum())
