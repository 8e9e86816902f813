import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    label_ranking_average_precision_score,
    roc_auc_score,
)

from adapt import metrics
from presight.errors import PresightError


@st.composite
def tables(draw, levels=4):
    """Truth and scores [items, classes] with many equal scores; every class has positives and negatives."""
    items, classes = draw(st.integers(2, 12)), draw(st.integers(1, 5))
    order = np.random.default_rng(draw(st.integers(0, 10_000)))
    truth = order.random((items, classes)) < 0.4
    truth[0], truth[1] = True, False
    return truth, order.integers(0, levels, (items, classes)) / levels


@settings(deadline=None)
@given(tables())
def test_average_precision_is_scikit_learns(table):
    truth, scores = table
    mean, each = metrics.macro_average_precision(truth, scores)
    expected = [average_precision_score(t, s) for t, s in zip(truth.T, scores.T, strict=True)]
    assert each == pytest.approx(expected, abs=1e-12)
    assert mean == pytest.approx(np.mean(expected), abs=1e-12)


@settings(deadline=None)
@given(tables())
def test_area_and_d_prime_are_scikit_learns_and_scipys(table):
    truth, scores = table
    areas = [roc_auc_score(t, s) for t, s in zip(truth.T, scores.T, strict=True)]
    found = [metrics.area_under_curve(t, s) for t, s in zip(truth.T, scores.T, strict=True)]
    assert found == pytest.approx(areas, abs=1e-12)
    if 0.5 / truth.size < np.mean(areas) < 1 - 0.5 / truth.size:
        assert metrics.d_prime(truth, scores) == pytest.approx(math.sqrt(2) * norm.ppf(np.mean(areas)), abs=1e-9)


def slow_lwlrap(truth, scores):
    """By its definition: over all pairs of an item and a label of it, the mean precision at the label's rank."""
    precisions = []
    for true, values in zip(truth, scores, strict=True):
        for label in np.flatnonzero(true):
            ranked = [other for other in range(len(values)) if values[other] >= values[label]]
            precisions.append(sum(bool(true[other]) for other in ranked) / len(ranked))
    return sum(precisions) / len(precisions)


@settings(deadline=None)
@given(tables())
def test_lwlrap_is_its_definition_and_scikit_learns_weighted(table):
    truth, scores = table
    assert metrics.lwlrap(truth, scores) == pytest.approx(slow_lwlrap(truth, scores), abs=1e-12)
    labelled = truth.any(1)
    weighted = label_ranking_average_precision_score(
        truth[labelled], scores[labelled], sample_weight=truth[labelled].sum(1)
    )
    assert metrics.lwlrap(truth, scores) == pytest.approx(weighted, abs=1e-12)


@settings(deadline=None)
@given(tables())
def test_items_have_their_share_of_lwlrap(table):
    truth, scores = table
    items = metrics.lwlrap_items(truth, scores)
    assert items.mean() == pytest.approx(slow_lwlrap(truth, scores), abs=1e-12)
    assert not items[~truth.any(1)].any()
    one = truth.sum(1) == 1
    assert (items[one] <= len(truth) / truth.sum() + 1e-12).all()


def test_right_rankings_are_perfect_and_wrong_ones_are_not():
    truth = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], dtype=bool)
    assert metrics.lwlrap(truth, truth.astype(float)) == 1.0
    assert metrics.lwlrap(truth, 1.0 - truth) == pytest.approx(
        (1 / 2 + 1 / 2 + 1 / 4) / 3
    )  # labels tie for the last rank
    assert metrics.macro_average_precision(truth, truth.astype(float)) == (1.0, [1.0, 1.0, None, 1.0])


def test_chance_is_nought_in_d_prime():
    order = np.random.default_rng(0)
    truth, scores = order.random((4000, 3)) < 0.3, order.random((4000, 3))
    assert abs(metrics.d_prime(truth, scores)) < 0.1
    assert metrics.d_prime(truth, np.zeros((4000, 3))) == 0.0
    assert metrics.d_prime(truth, truth + 0.0) < 10  # perfect, and finite


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(2, 5), st.integers(0, 999))
def test_confusion_is_scikit_learns(items, classes, seed):
    labels, predicted = np.random.default_rng(seed).integers(0, classes, (2, items))
    expected = confusion_matrix(labels, predicted, labels=range(classes))
    assert metrics.confusion(labels, predicted, classes).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: metrics.average_precision(np.zeros(3, bool), np.zeros(3)), "no positive"),
        (lambda: metrics.macro_average_precision(np.zeros((3, 2), bool), np.zeros((3, 2))), "no positive"),
        (lambda: metrics.area_under_curve(np.ones(3, bool), np.zeros(3)), "one kind"),
        (lambda: metrics.d_prime(np.ones((3, 2), bool), np.zeros((3, 2))), "no class"),
        (lambda: metrics.lwlrap(np.zeros((3, 2), bool), np.zeros((3, 2))), "no label"),
    ],
)
def test_nothing_to_score_is_one_sentence(call, what):
    with pytest.raises(PresightError, match=what):
        call()
