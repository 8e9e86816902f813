"""Adjusted p-values for several tests: family-wise error, and the false-discovery rate.

Family-wise (`holm`): the chance of even one false claim among all tests, for a list of claims each of which is to
stand alone. False-discovery rate (`benjamini_hochberg`, `benjamini_yekutieli`): the expected share of false claims
among those made, for a map of many points from which a few are followed up. Adjusted values are compared with the
level itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.margins import Floats
from presight.errors import PresightError

__all__ = ["benjamini_hochberg", "benjamini_yekutieli", "holm"]


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjustment [tests]: below 0.05 means significant with family-wise error at most 0.05.

    Holds for any dependence between the tests (Holm, 1979).

    Raises:
        PresightError: values outside 0 to 1 or not one-dimensional.
    """
    p = _read(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Step-up adjustment [tests]: of those below 0.05, at most 0.05 are expected to be false.

    Holds for independent tests and for positively dependent ones, such as arms that share one control (Benjamini and
    Hochberg, 1995; Benjamini and Yekutieli, 2001, theorem 1.2).

    Raises:
        PresightError: as `holm`.
    """
    return _step_up(_read(p_values), 1.0)


def benjamini_yekutieli(p_values: ArrayLike) -> Floats:
    """`benjamini_hochberg` times ``1 + 1/2 + … + 1/n``: holds for any dependence (2001, theorem 1.3).

    Raises:
        PresightError: as `holm`.
    """
    p = _read(p_values)
    return _step_up(p, float((1 / np.arange(1, len(p) + 1)).sum()))


def _step_up(p: Floats, factor: float) -> Floats:
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (factor * len(p)) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted


def _read(p_values: ArrayLike) -> Floats:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise PresightError("p_values", "not a list of probabilities", "give numbers from 0 to 1")
    return p
