import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.stats.exact import mcnemar, sign_flip, sign_test
from presight.errors import PresightError


def flip_by_enumeration(differences, clusters):
    """Every sign pattern of every cluster, one after the other."""
    names = sorted(set(clusters))
    observed, extreme, patterns = abs(sum(differences)), 0, 0
    for signs in itertools.product((-1, 1), repeat=len(names)):
        flipped = sum(signs[names.index(name)] * d for d, name in zip(differences, clusters, strict=True))
        extreme += abs(flipped) >= observed - 1e-9
        patterns += 1
    return extreme / patterns


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(0, 10**6))
def test_mcnemar_is_the_binomial_test_of_discordant_items(treatment, seed):
    from scipy.stats import binomtest

    control = np.random.default_rng(seed).random(len(treatment)) < 0.5
    better, worse = sum(np.array(treatment) > control), sum(np.array(treatment) < control)
    expected = binomtest(int(better), int(better + worse)).pvalue if better + worse else 1.0
    assert mcnemar(treatment, control) == pytest.approx(expected)
    assert mcnemar(control, treatment) == pytest.approx(expected)
    assert mcnemar(treatment, control, mid_p=True) <= mcnemar(treatment, control)


def test_mid_p_counts_half_of_the_observed_outcome():
    from scipy.stats import binom

    differences = [1.0] * 9 + [-2.0] * 3 + [0.0] * 5
    assert sign_test(differences, mid_p=True) == pytest.approx(2 * binom.cdf(2, 12, 0.5) + binom.pmf(3, 12, 0.5))
    assert sign_test(differences) == pytest.approx(2 * binom.cdf(3, 12, 0.5))
    assert sign_test([1.0, -1.0], mid_p=True) == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9), st.booleans(), st.integers(0, 10**6))
def test_sign_flip_counts_every_pattern(differences, clustered, seed):
    clusters = list(range(len(differences)))
    if clustered:
        clusters = np.random.default_rng(seed).integers(0, 4, len(differences)).tolist()
        clusters[:2] = 0, 1
    scaled = [0.1 * each for each in differences]  # sums of tenths differ in their last bits
    assert sign_flip(scaled, clusters) == pytest.approx(flip_by_enumeration(scaled, clusters))


def test_sign_flip_is_the_permutation_test_of_scipy():
    from scipy.stats import permutation_test

    differences = np.random.default_rng(0).normal(0.4, 1, 13)
    slow = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=10**5)
    assert sign_flip(differences) == pytest.approx(slow.pvalue)


def test_sign_flip_of_graded_signs_is_the_sign_test():
    differences = np.where(np.arange(40) < 27, 1.0, -1.0)
    assert sign_flip(differences) == pytest.approx(sign_test(differences))  # 2**40 patterns, counted


def test_drawn_signs_agree_with_the_sign_test_and_with_their_own_seed():
    differences = np.where(np.arange(60) < 38, 1.0, -1.0)
    drawn = sign_flip(differences, draws=40_000)
    assert drawn == pytest.approx(sign_test(differences), rel=0.1)
    assert drawn == sign_flip(differences, draws=40_000)
    assert drawn != sign_flip(differences, draws=40_000, seed=1)


def test_drawn_signs_never_say_nought():
    assert sign_flip(np.ones(50), draws=99) == 1 / 100


def test_few_units_bound_the_evidence():
    assert sign_flip([1.0, 2, 3, 4, 5]) == 2**-4
    assert sign_test([1.0, 2, 3, 4, 5, 6]) == 2**-5
    assert sign_flip([0.0, 0.0, 0.0]) == sign_test([0.0, 0.0]) == 1


@pytest.mark.parametrize("test", [sign_test, sign_flip])
def test_error_rates_are_at_most_their_level(test):
    rng = np.random.default_rng(0)
    p = np.array([test(rng.standard_t(3, 12)) for _ in range(1500)])
    for alpha in (0.05, 0.2):
        assert (p <= alpha).mean() <= alpha + 3 * np.sqrt(alpha / 1500)
    assert (p <= 0.2).mean() > 0.08


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mcnemar([0.5, 1], [0, 1]), "sign_flip"),
        (lambda: mcnemar([0, 1], [0, 1, 1]), "same items"),
        (lambda: sign_test([np.nan]), "not finite"),
        (lambda: sign_flip([1.0]), "at least two"),
        (lambda: sign_flip([1.0, 2.0], [0, 0]), "clusters"),
        (lambda: sign_flip([1.0, 2.0], draws=0), "draws"),
    ],
)
def test_faults_name_themselves(call, words):
    with pytest.raises(PresightError, match=words):
        call()
