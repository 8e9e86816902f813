from itertools import permutations as every_order

import numpy as np
import pytest

from eval.alignment.mutual import Alignment, align, alignment_table, clamped, mutual_knn
from eval.alignment.neighbours import neighbours, shared_edges
from presight.errors import PresightError


def layers(rng, depth, n, width, signal=0.0):
    """Random walks over depth; with `signal`, all of them hold one and the same direction of items."""
    own = rng.standard_normal((depth, n, width)).cumsum(0)
    return own + signal * np.random.default_rng(99).standard_normal((n, width))


def slow_mutual(first, second, k, clamp=1.0):
    def links(features):
        limit = np.mean([np.quantile(np.abs(row), clamp) for row in features]) if clamp < 1 else np.inf
        rows = [np.clip(row, -limit, limit) for row in features]
        cosine = [[a @ b / np.sqrt((a @ a) * (b @ b)) for b in rows] for a in rows]
        return [set(sorted(set(range(len(rows))) - {i}, key=lambda j: -cosine[i][j])[:k]) for i in range(len(rows))]

    return np.mean([len(a & b) / k for a, b in zip(links(first), links(second), strict=True)])


# --- the measure --------------------


@pytest.mark.parametrize("clamp", [1.0, 0.8])
def test_mutual_knn_is_that_of_loops(clamp):
    rng = np.random.default_rng(0)
    first, second = rng.standard_t(2, (25, 6)), rng.standard_t(2, (25, 9))
    second[:, :6] += first
    assert mutual_knn(first, second, 4, clamp) == pytest.approx(slow_mutual(first, second, 4, clamp))
    assert slow_mutual(first, second, 4, 1.0) != pytest.approx(slow_mutual(first, second, 4, 0.8))


def test_mutual_knn_of_known_neighbours():
    corners = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])  # two pairs
    assert mutual_knn(corners, -3 * corners, 1, 1.0) == 1
    assert mutual_knn(corners, corners[[0, 2, 1, 3]], 1, 1.0) == 0


def test_table_is_mutual_knn_of_every_pair():
    rng = np.random.default_rng(1)
    lm, encoder = layers(rng, 3, 40, 5, 2.0), layers(rng, 2, 40, 7)[:, :, :5] + layers(rng, 2, 40, 5, 2.0)
    table = alignment_table(lm, encoder, 5)
    assert table.shape == (3, 2)
    assert table == pytest.approx(np.array([[mutual_knn(a, b, 5) for b in encoder] for a in lm]))


def test_chance_is_the_mean_over_every_order():
    rng = np.random.default_rng(2)
    first, second = (neighbours(rng.standard_normal((6, 3)), 2)[None] for _ in range(2))
    counts = shared_edges(first, second, np.array(list(every_order(range(6)))))
    assert counts.mean() / (6 * 2) == pytest.approx(Alignment({}, 0.0, np.zeros(1), k=2, items=6).chance)


def test_clamping_cuts_at_the_mean_quantile_of_items():
    rows = np.array([[0.0, 1, 2, 3, -100], [0, 0, 0, 0, 4]])
    limit = (np.quantile([0, 1, 2, 3, 100], 0.75) + 0) / 2
    assert clamped(rows, 0.75) == pytest.approx(np.clip(rows, -limit, limit))
    assert (clamped(rows, 1) == rows).all()


# --- the null --------------------


def test_null_is_that_of_recomputing_on_permuted_features():
    rng = np.random.default_rng(3)
    lm = layers(rng, 3, 30, 8)
    encoders = {"a": layers(rng, 2, 30, 6), "b": layers(rng, 4, 30, 5)}
    done = align(lm, encoders, 5, permutations=25, seed=7)
    orders = np.random.default_rng(7).permuted(np.tile(np.arange(30), (25, 1)), axis=1)
    slow = [
        np.mean([alignment_table(lm, layers[:, order], 5).max() for layers in encoders.values()]) for order in orders
    ]
    assert done.null == pytest.approx(np.array(slow))
    tables = {name: alignment_table(lm, each, 5) for name, each in encoders.items()}
    assert done.estimate == pytest.approx(np.mean([table.max() for table in tables.values()]))
    for name, table in tables.items():
        assert (done.tables[name] == table).all()
        assert table[done.best[name]] == table.max()


def test_p_z_and_quantile_of_a_null():
    done = Alignment({}, 0.3, np.array([0.1, 0.2, 0.3, 0.4]), k=2, items=11)
    assert done.p == pytest.approx(3 / 5)
    assert done.z == pytest.approx((0.3 - 0.25) / np.std([0.1, 0.2, 0.3, 0.4], ddof=1))
    assert (done.quantile(0.5), done.quantile(0.75), done.chance) == (0.2, 0.3, 0.2)
    assert done.calibrated(0.5) == pytest.approx((0.3 - 0.2) / 0.8)
    assert done.calibrated(0.95) == 0


def test_order_of_items_does_not_matter_and_the_seed_does():
    rng = np.random.default_rng(4)
    lm, encoder, order = layers(rng, 2, 50, 8, 1.0), layers(rng, 2, 50, 8, 1.0), rng.permutation(50)
    done = align(lm, {"e": encoder}, 5, permutations=50)
    assert align(lm[:, order], {"e": encoder[:, order]}, 5, permutations=50).estimate == done.estimate
    assert (align(lm, {"e": encoder}, 5, permutations=50).null == done.null).all()
    assert (align(lm, {"e": encoder}, 5, permutations=50, seed=1).null != done.null).any()


def test_unrelated_features_are_found_to_align_one_time_in_twenty():
    """The maximum over pairs lies above chance every time; its p does not."""
    rng, sets = np.random.default_rng(5), 300
    done = [
        align(layers(rng, 3, 60, 8), {"e": layers(rng, 4, 60, 8)}, 5, permutations=39, seed=s) for s in range(sets)
    ]
    assert 0.02 <= np.mean([each.p <= 0.05 for each in done]) <= 0.085  # standard error 0.013
    assert 0.42 <= np.mean([each.p <= 0.5 for each in done]) <= 0.58
    assert np.mean([each.estimate > each.chance for each in done]) > 0.95


def test_related_features_are_found():
    rng = np.random.default_rng(6)
    done = align(layers(rng, 3, 80, 8, 1.5), {"e": layers(rng, 2, 80, 8, 1.5)}, 5, permutations=199)
    assert done.p == 1 / 200
    assert done.z > 5
    assert 0 < done.calibrated() < done.estimate


def test_layers_that_hold_nothing_do_not_align():
    nothing = np.ones((1, 200, 4))
    done = align(nothing, {"e": nothing}, 10, permutations=99)
    assert done.estimate < 0.5
    assert done.p > 0.05


def test_what_cannot_be_aligned_is_refused():
    rng = np.random.default_rng(8)
    lm, encoder = layers(rng, 2, 20, 4), layers(rng, 2, 21, 4)
    with pytest.raises(PresightError, match="20 texts, 21 images"):
        align(lm, {"e": encoder}, 5)
    with pytest.raises(PresightError, match="20 texts, 21 images"):
        alignment_table(lm, encoder, 5)
    with pytest.raises(PresightError, match="cannot give p"):
        align(lm, {"e": lm}, 5, permutations=18)
    with pytest.raises(PresightError, match="encoders"):
        align(lm, {}, 5)
    with pytest.raises(PresightError, match="no layers"):
        align([], {"e": lm}, 5)
    with pytest.raises(PresightError, match="different numbers of items"):
        align([lm[0], encoder[0]], {"e": lm}, 5)
    with pytest.raises(PresightError, match="20 neighbours among 20"):
        align(lm, {"e": lm}, 20)
    with pytest.raises(PresightError, match="clamp"):
        mutual_knn(lm[0], lm[0], 5, clamp=1.5)
