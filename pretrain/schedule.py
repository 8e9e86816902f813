"""Learning rate against progress."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, warmup: int, peak: float, final: float) -> float:
    """Learning rate of a step (0-based): linear warm-up over ``warmup`` steps, then cosine to ``final · peak``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return peak * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def milestones(steps: int, count: int) -> list[int]:
    """Up to ``count`` numbers of steps done, log-spaced and ending at ``steps``: 0, …, steps/4, steps/2, steps."""
    points = {0, *(round(steps / 2**power) for power in range(max(0, count - 1)))}
    return sorted(points)
