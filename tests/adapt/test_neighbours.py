import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapt.neighbours import neighbour_shares


def slow_shares(known, labels, asked, classes, neighbours):
    """One by one, by angle."""
    found = []
    for vector in asked:
        angles = [-(vector @ other) / np.linalg.norm(vector) / np.linalg.norm(other) for other in known]
        near = sorted(range(len(known)), key=lambda row: angles[row])[:neighbours]
        counts = [
            sum(bool(labels[row][c]) if labels.ndim == 2 else labels[row] == c for row in near) for c in range(classes)
        ]
        found.append([count / len(near) for count in counts])
    return np.array(found)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 15), st.booleans(), st.integers(0, 999))
def test_shares_equal_the_slow_twin(count, asked, neighbours, several, seed):
    order = np.random.default_rng(seed)
    known, vectors = order.normal(size=(count, 3)), order.normal(size=(asked, 3))
    labels = order.random((count, 4)) < 0.5 if several else order.integers(0, 4, count)
    found = neighbour_shares(known, labels, vectors, 4, neighbours)
    assert np.allclose(found, slow_shares(known, labels, vectors, 4, neighbours))
    if not several:
        assert np.allclose(found.sum(1), 1)


def test_many_are_asked_in_parts():
    order = np.random.default_rng(0)
    known, labels, asked = order.normal(size=(50, 4)), order.integers(0, 3, 50), order.normal(size=(600, 4))
    assert np.allclose(neighbour_shares(known, labels, asked, 3), slow_shares(known, labels, asked, 3, 10))
