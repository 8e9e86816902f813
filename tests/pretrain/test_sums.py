import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.batches import Batch, Segments
from pretrain.sums import Sums

POOLS, LABELS, ITEM = ["a", "b", "c"], ("x", "y"), 12


def batch(draw, rows):
    segments = []
    for _ in range(rows):
        starts = np.unique(np.concatenate([[0], draw.integers(0, ITEM, 3)]))
        segments.append(Segments(starts, draw.random((len(starts), 2)) < 0.5))
    return Batch(
        np.zeros((rows, ITEM), dtype=np.int64), draw.integers(0, 3, rows).astype(np.int16), None, tuple(segments)
    )


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_sums_are_those_of_a_loop_over_tokens_however_the_batch_is_cut(rows, micro, seed):
    draw = np.random.default_rng(seed)
    given_rows, losses, counted = batch(draw, rows), draw.random((rows, ITEM)), draw.random((rows, ITEM)) < 0.8
    losses = losses * counted
    sums = Sums(len(POOLS), len(LABELS))
    for start in range(0, rows, micro):
        part = slice(start, start + micro)
        sums.add(given_rows, part, losses[part], counted[part])
    pools, labels = {}, {}
    for row in range(rows):
        segment = given_rows.segments[row]
        for token in range(ITEM):
            if not counted[row, token]:
                continue
            pools.setdefault(POOLS[given_rows.pools[row]], []).append(losses[row, token])
            has = segment.labels[np.flatnonzero(segment.starts <= token)[-1]]
            for label in np.array(LABELS)[has].tolist():
                labels.setdefault(label, []).append(losses[row, token])
    assert sums.by_source(POOLS) == pytest.approx({name: np.mean(each) for name, each in pools.items()})
    assert sums.by_label(LABELS) == pytest.approx({name: np.mean(each) for name, each in labels.items()})
    assert sum(items for items, _, _ in sums.pools(POOLS).values()) == rows
    if pools:
        assert sums.loss == pytest.approx(np.mean(np.concatenate(list(pools.values()))))


def test_two_halves_of_a_batch_add_up_to_the_whole():
    draw = np.random.default_rng(0)
    whole, losses = batch(draw, 8), draw.random((8, ITEM))
    counted = np.ones((8, ITEM), dtype=bool)
    parts = [Sums(3, 2) for _ in range(3)]
    parts[0].add(whole, slice(0, 8), losses, counted)
    for each, part in zip(parts[1:], (slice(0, 4), slice(4, 8)), strict=True):
        each.add(whole, part, losses[part], counted[part])
    assert parts[1].vector + parts[2].vector == pytest.approx(parts[0].vector)
