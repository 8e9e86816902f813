"""Losses that should stop a run: no number, or far above what they just were."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

WINDOW = 128  # losses that a new one is measured against
LEAST = 32  # before that many there is no spread to speak of
SIGMAS = 6.0


class Guard:
    """Judges each loss against the mean and spread of the last ``WINDOW``.

    Six standard deviations are what OLMo's runs use. The spread is taken around a line: early in a run, losses fall
    faster than they scatter, and the fall must not hide a spike.

    Args:
        losses: of the steps before, oldest first.
    """

    def __init__(self, losses: Iterable[float] = ()) -> None:
        self._losses: deque[float] = deque(losses, maxlen=WINDOW)

    def fault(self, loss: float) -> str | None:
        """What is wrong with a loss, None where nothing is; a good one is remembered."""
        if not math.isfinite(loss):
            return f"is {loss}"
        if len(self._losses) >= LEAST:
            expected, spread = self._line()
            if loss > expected + SIGMAS * spread:
                return f"is {loss:.4f} where {expected:.4f} ± {spread:.4f} was to be expected"
        self._losses.append(loss)
        return None

    def _line(self) -> tuple[float, float]:
        """Where the least-squares line through the losses stands at the next step, and their scatter about it."""
        n = len(self._losses)
        middle, mean = (n - 1) / 2, sum(self._losses) / n
        square = n * (n * n - 1) / 12
        slope = sum((i - middle) * (loss - mean) for i, loss in enumerate(self._losses)) / square
        rest = sum((loss - mean - slope * (i - middle)) ** 2 for i, loss in enumerate(self._losses))
        return mean + slope * (n - middle), math.sqrt(rest / (n - 2))
