from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eval.alignment.neighbours import nearest, neighbours, shared_edges
from presight.errors import PresightError

SMALL = hnp.arrays(np.int64, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=st.integers(-2, 2))


def exact_cosine(a, b):
    """Sign times squared cosine, a fraction: the same order, and ties are ties."""
    dot, size = sum(int(x) * int(y) for x, y in zip(a, b, strict=True)), int(a @ a) * int(b @ b)
    return Fraction(dot * abs(dot), size) if size else Fraction(0)


def tie_order(n, ties):
    """Which of equals comes first, seen from outside: where nothing differs, the order is that of ties alone."""
    return {int(item): place for place, item in enumerate(nearest(np.zeros((1, 1)), np.zeros((n, 1)), n, ties)[0])}


def slow_nearest(queries, features, k, ties, leave_out_self):
    order, found = tie_order(len(features), ties), []
    for i, query in enumerate(queries):
        others = [j for j in range(len(features)) if not (leave_out_self and i == j)]
        others.sort(key=lambda j, query=query: (-exact_cosine(query, features[j]), order[j]))
        found.append(others[:k])
    return found


def slow_shared(first, second, order):
    """Rename the second side's edges and intersect sets."""
    back = np.argsort(order)
    return sum(len(set(first[i].tolist()) & {int(back[j]) for j in second[order[i]]}) for i in range(len(order)))


def random_graphs(rng, layers, n, k):
    return np.array(
        [[rng.choice(np.delete(np.arange(n), i), k, replace=False) for i in range(n)] for _ in range(layers)]
    )


@given(SMALL, st.data())
@settings(max_examples=150, deadline=None)
def test_neighbours_are_those_of_exact_arithmetic_ties_included(features, data):
    k, ties = data.draw(st.integers(1, len(features) - 1)), data.draw(st.integers(0, 3))
    assert neighbours(features, k, ties).tolist() == slow_nearest(features, features, k, ties, True)


@given(SMALL, st.data())
@settings(max_examples=100, deadline=None)
def test_nearest_are_those_of_exact_arithmetic_ties_included(features, data):
    queries = data.draw(hnp.arrays(np.int64, (3, features.shape[1]), elements=st.integers(-2, 2)))
    k, ties = data.draw(st.integers(1, len(features))), data.draw(st.integers(0, 3))
    assert nearest(queries, features, k, ties).tolist() == slow_nearest(queries, features, k, ties, False)


def test_blocks_do_not_change_neighbours(monkeypatch):
    features = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    whole = neighbours(features, 7)
    monkeypatch.setattr("eval.alignment.neighbours._BLOCK", 150)
    assert (neighbours(features, 7) == whole).all()
    assert (nearest(features, features, 8)[:, 1:] == whole).all()


def test_ties_go_by_an_order_that_each_side_has_of_its_own():
    same = np.ones((40, 3))
    first, again, other = (neighbours(same, 5, ties) for ties in (0, 0, 1))
    assert (first == again).all()
    assert len(np.unique(first)) <= 6  # the same few for everybody: 5, and a sixth for those among them
    assert set(np.unique(first)) != set(np.unique(other))
    assert set(np.unique(first)) != set(range(6))


def test_length_of_features_does_not_matter():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((30, 5))
    lengths = 10.0 ** rng.integers(-200, 200, (30, 1))
    assert (neighbours(features * lengths, 4) == neighbours(features, 4)).all()


@given(st.integers(3, 9), st.data())
@settings(max_examples=60, deadline=None)
def test_shared_edges_are_those_of_sets(n, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    k, other = data.draw(st.integers(1, n - 1)), data.draw(st.integers(1, n - 1))
    first, second = random_graphs(rng, 2, n, k), random_graphs(rng, 3, n, other)
    orders = rng.permuted(np.tile(np.arange(n), (4, 1)), axis=1)
    slow = [[[slow_shared(a, b, order) for b in second] for a in first] for order in orders]
    assert shared_edges(first, second, orders).tolist() == slow


def test_shared_edges_do_not_depend_on_how_many_are_looked_up_at_once(monkeypatch):
    rng = np.random.default_rng(2)
    first, second = random_graphs(rng, 2, 20, 4), random_graphs(rng, 3, 20, 4)
    orders = rng.permuted(np.tile(np.arange(20), (7, 1)), axis=1)
    whole = shared_edges(first, second, orders)
    monkeypatch.setattr("eval.alignment.neighbours._LOOKUPS", 500)
    assert (shared_edges(first, second, orders) == whole).all()


def test_permuted_graphs_are_the_graphs_of_permuted_features():
    rng = np.random.default_rng(3)
    features, order = rng.standard_normal((60, 8)), rng.permutation(60)
    assert (neighbours(features[order], 6) == np.argsort(order)[neighbours(features, 6)[order]]).all()


def test_what_cannot_be_compared_is_refused(monkeypatch):
    features = np.ones((4, 2))
    for k in (0, 4):
        with pytest.raises(PresightError, match="among 4 items"):
            neighbours(features, k)
    with pytest.raises(PresightError, match="not finite"):
        neighbours(np.array([[1.0], [np.nan], [2.0]]), 1)
    with pytest.raises(PresightError, match=r"shape \(4,\)"):
        neighbours(np.ones(4), 1)
    with pytest.raises(PresightError, match="3 wide, features 2"):
        nearest(np.ones((1, 3)), features, 1)
    with pytest.raises(PresightError, match="5 neighbours among 4"):
        nearest(features, features, 5)
    monkeypatch.setattr("eval.alignment.neighbours.MOST_ITEMS", 3)
    graph = neighbours(features, 1)[None]
    with pytest.raises(PresightError, match="sample 3"):
        shared_edges(graph, graph, np.arange(4)[None])
