"""Learning rate against progress, and the times at which a run is looked at."""

from __future__ import annotations

import math
from typing import Literal

Name = Literal["cosine", "wsd", "stable", "decay"]


def learning_rate(name: Name, step: int, steps: int, *, warmup: int, decay: int, peak: float, final: float) -> float:
    """Learning rate of a step (0-based) of ``steps``.

    ``cosine``: linear warm-up over ``warmup`` steps, then a half cosine to ``final · peak``. ``wsd``: warm-up, the
    peak, and over the last ``decay`` steps ``1 − √`` down to the final rate (Hägele et al. 2024, arXiv 2405.18392,
    found it better than linear). ``stable`` is that without the end: a trunk, whose rate does not depend on how long
    it will be. ``decay`` is the end alone: a branch off a trunk, which takes all of its steps.
    """
    if name == "decay":
        warmup, decay = 0, steps
    elif name == "stable":
        decay = 0
    if step < warmup:
        return peak * (step + 1) / warmup
    if name == "cosine":
        done = (step - warmup) / max(1, steps - 1 - warmup)
        return peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
    left = steps - step  # the last step has 1
    if left > decay:
        return peak
    return peak * (1 - (1 - final) * math.sqrt((decay - left + 1) / decay))


def milestones(steps: int, count: int) -> list[int]:
    """Up to ``count`` numbers of steps done, log-spaced and ending at ``steps``: 0, …, steps/4, steps/2, steps."""
    points = {0, *(round(steps / 2**power) for power in range(max(0, count - 1)))}
    return sorted(points)
