import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from corpus.mixing.permutation import ROUNDS, Streams, stream_key

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def slow_draw(seed, name, supply, k):
    """The scalar twin, in Python integers."""
    epoch, x = divmod(k, supply)
    side = math.isqrt(supply - 1) + 1
    key = mix((epoch * GAMMA + stream_key(seed, name)) & MASK)
    while True:
        left, right = divmod(x, side)
        for i in range(ROUNDS):
            shift = (mix((key + (ROUNDS * right + i + 1) * GAMMA) & MASK) >> 32) * side >> 32
            left, right = right, (left + shift) % side
        x = left * side + right
        if x < supply:
            return epoch, x


def draw(streams, pool, start, stop):
    k = np.arange(start, stop)
    epoch, position = streams.draw(np.full(len(k), pool, dtype=np.int16), k)
    return epoch.astype(np.int64), position.astype(np.int64)


@given(st.integers(0, 2**40), st.lists(st.integers(1, 10**9), min_size=1, max_size=5), st.data())
@settings(max_examples=50)
def test_draws_equal_the_scalar_twin(seed, supplies, data):
    names = [f"pool {i}" for i in range(len(supplies))]
    streams = Streams(seed, names, supplies)
    wanted = data.draw(st.lists(st.tuples(st.integers(0, len(supplies) - 1), st.integers(0, 10**10)), max_size=30))
    pool, k = np.array([p for p, _ in wanted], dtype=np.int16), np.array([k for _, k in wanted], dtype=np.int64)
    epoch, position = streams.draw(pool, k)
    assert [*zip(epoch.tolist(), position.tolist(), strict=True)] == [
        slow_draw(seed, names[p], supplies[p], k) for p, k in wanted
    ]


@given(st.integers(0, 1000), st.integers(1, 700), st.integers(0, 50))
def test_an_epoch_visits_each_position_once(seed, supply, epoch):
    epochs, positions = draw(Streams(seed, ["a"], [supply]), 0, epoch * supply, (epoch + 1) * supply)
    assert (epochs == epoch).all()
    assert (np.sort(positions) == np.arange(supply)).all()


def test_streams_differ_by_seed_name_and_epoch_and_not_by_their_company():
    one = Streams(0, ["a", "b"], [1000, 1000])
    first = draw(one, 0, 0, 1000)[1]
    others = [draw(one, 1, 0, 1000), draw(one, 0, 1000, 2000), draw(Streams(1, ["a"], [1000]), 0, 0, 1000)]
    assert all((first == other).mean() < 0.02 for _, other in others)
    assert (first == draw(Streams(0, ["z", "a"], [7, 1000]), 1, 0, 1000)[1]).all()


def looks_like(counts, expected, freedom):
    assert 1e-4 < chi2.sf(((counts - expected) ** 2 / expected).sum(), freedom) < 1 - 1e-4


@pytest.mark.parametrize("supply", [100, 1009, 10**6])
def test_order_looks_random(supply):
    epochs = 10**6 // supply
    tenth = draw(Streams(3, ["a"], [supply]), 0, 0, supply * epochs)[1].reshape(epochs, supply) * 10 // supply
    stand = np.arange(supply) * 10 // supply
    width = np.bincount(stand)
    # Where a draw falls, given where it stands in its epoch; margins are fixed.
    table = np.bincount((stand * 10 + tenth).ravel(), minlength=100).reshape(10, 10)
    looks_like(table, epochs * np.outer(width, width) / supply, 81)
    # Where the next one of the epoch falls: any position but the same.
    pairs = np.bincount((tenth[:, :-1] * 10 + tenth[:, 1:]).ravel(), minlength=100).reshape(10, 10)
    looks_like(pairs, epochs * (np.outer(width, width) - np.diag(width)) / supply, 90)


@pytest.mark.parametrize("supply", [2, 3, 4])
def test_every_order_of_a_tiny_pool_occurs_about_equally_often(supply):
    epochs = 12000
    positions = draw(Streams(0, ["a"], [supply]), 0, 0, supply * epochs)[1].reshape(epochs, supply)
    counts = [(positions == order).all(1).sum() for order in itertools.permutations(range(supply))]
    assert np.allclose(counts, epochs / len(counts), rtol=0.25)
