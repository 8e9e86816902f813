"""Exact tests for small samples: p-values from counting, without a normal law or a variance.

All are conditional on the sizes of the differences and ask only whether their signs are a fair coin's. Over items they
speak of the two models that gave the scores; over seeds (one difference a seed) of the treatment. Few units bound the
evidence: n units give a two-sided p of at least ``2**(1 - n)``, so five seeds never reach 0.05 and six just do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from eval.stats.margins import Floats, Groups, read_scores, require_same_shape, support_of
from presight.errors import PresightError

__all__ = ["mcnemar", "sign_flip", "sign_test"]

_HALF = 20  # signs enumerated at once: 2**20 sums are 8 MB
_CHUNK = 4_000_000  # random counts held at once: 32 MB


def mcnemar(treatment: ArrayLike, control: ArrayLike, *, mid_p: bool = False) -> float:
    """Two-sided exact McNemar p of two models' right-or-wrong scores on the same items.

    The binomial test of the items that only one model gets right (McNemar, 1947, in its exact form).

    Args:
        treatment: scores [items], each 0 or 1.
        control: scores [items] of the same items in the same order.
        mid_p: as for `sign_test`.

    Raises:
        PresightError: scores other than 0 and 1, wrong shapes.
    """
    first, second = read_scores("treatment", treatment, 1), read_scores("control", control, 1)
    require_same_shape("treatment", first, "control", second)
    if support_of(first, second) is None:
        raise PresightError("scores", "values other than 0 and 1", "use sign_flip for graded scores")
    return sign_test(first - second, mid_p=mid_p)


def sign_test(differences: ArrayLike, *, mid_p: bool = False) -> float:
    """Two-sided exact sign test of a median of 0; differences of exactly 0 say nothing and are left out.

    Args:
        differences: [units], of items or of seeds.
        mid_p: count half of the observed outcome's probability. Less conservative, no longer exact: at 0.05, error
            rates reach 0.077 (16 signs) in the worst number of signs, and average 0.048 over 10 to 100.

    Raises:
        PresightError: not a list of finite numbers.
    """
    from scipy.stats import binom

    values = read_scores("differences", differences, 1)
    above, n = int((values > 0).sum()), int((values != 0).sum())
    fewer = min(above, n - above)
    p = 2 * float(binom.cdf(fewer, n, 0.5))
    return min(1.0, p - float(binom.pmf(fewer, n, 0.5)) if mid_p else p)


def sign_flip(
    differences: ArrayLike, clusters: ArrayLike | None = None, *, draws: int = 100_000, seed: int = 0
) -> float:
    """Two-sided sign-flip p of a mean of 0, for differences that are symmetric about it, of any size (Fisher, 1935).

    Paired differences of two exchangeable arms are symmetric. Up to 40 units the p is exact over all ``2**n`` sign
    patterns: the sums of one half of the units are looked up among the sorted sums of the other, so only ``2**20`` are
    ever held. Beyond, signs are drawn and the p is ``(1 + #{draws as large}) / (1 + draws)``, which is valid for any
    number of draws (Phipson and Smyth, 2010).

    Args:
        differences: [units], of items or of seeds.
        clusters: cluster ids [units]; a cluster's differences keep or change their signs together.
        draws: sign patterns drawn when there are more than 40 units.
        seed: of those draws.

    Raises:
        PresightError: not a list of finite numbers, fewer than two units or clusters, fewer than one draw.
    """
    values = read_scores("differences", differences, 1)
    if draws < 1:
        raise PresightError("draws", f"{draws} sign patterns", "draw at least one")
    sums = np.abs(Groups.of(len(values), clusters).sums(values[None])[0])
    sums = sums[sums > 0]
    observed = abs(float(values.sum()))
    # Equal sums reached in another order differ in their last bits; they must count as equal.
    edge = observed - 1e-9 * float(sums.sum())
    if len(sums) <= 2 * _HALF:
        first, second = _signed_sums(sums[::2]), np.sort(_signed_sums(sums[1::2]))
        above = len(second) - np.searchsorted(second, edge - first)
        # The law is symmetric, so the lower tail is as heavy as the upper one.
        return min(1.0, 2 * float(above.sum()) / 2 ** len(sums))
    sizes, counts = np.unique(sums, return_counts=True)
    rng, step = np.random.default_rng(seed), max(1, _CHUNK // len(sizes))
    extreme = 0
    for start in range(0, draws, step):
        positive = rng.binomial(counts, 0.5, size=(min(step, draws - start), len(sizes)))
        extreme += int((np.abs((2 * positive - counts) @ sizes) >= edge).sum())
    return (1 + extreme) / (1 + draws)


def _signed_sums(values: Floats) -> Floats:
    """Sums of `values` under every choice of signs [2**n]."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums
