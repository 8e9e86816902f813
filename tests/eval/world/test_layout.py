import math
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eval.world import layout
from eval.world.layout import GAP, SMALLEST, Slot

seeds = st.integers(0, 2**32)


def inside(slot):
    return all(slot.side / 2 <= at <= 1 - slot.side / 2 for at in (slot.x, slot.y))


@given(seeds, st.integers(1, 7), st.sampled_from([0.3, 1.0]))
def test_scattered_slots_lie_inside_and_apart(seed, count, largest):
    slots = layout.scattered(np.random.default_rng(seed), count, largest)
    assert len(slots) == count
    assert all(inside(slot) and SMALLEST - 1e-9 <= slot.side <= largest for slot in slots)
    for place, one in enumerate(slots):
        for other in slots[:place]:
            across, down = (abs(getattr(one, axis) - getattr(other, axis)) for axis in "xy")
            assert max(across, down) >= (one.side + other.side) / 2 + GAP


def test_no_slot_is_larger_for_its_place_in_the_list():
    order = np.random.default_rng(0)
    first = Counter(int(np.argmax([slot.side for slot in layout.scattered(order, 3)])) for _ in range(900))
    assert all(abs(first[place] - 300) < 4 * math.sqrt(200) for place in range(3))


@given(seeds)
def test_overlapping_slots_share_some_area_and_neither_holds_the_other(seed):
    behind, front = layout.overlapping(np.random.default_rng(seed))
    assert inside(behind)
    assert inside(front)
    far = math.hypot(behind.x - front.x, behind.y - front.y)
    assert 0 < far < (behind.side + front.side) / 2
    assert inside(layout.lone(np.random.default_rng(seed))[0])


@given(seeds, st.floats(0.08, 0.92), st.floats(0.3, 1.0))
def test_a_close_view_covers_what_is_asked_unless_too_much_would_be_cut_off(seed, fraction, fill):
    """An object that fills a share of its square evenly; the square's part in the picture is computed exactly."""

    def covers(slot):
        width, height = (max(0.0, min(1, at + slot.side / 2) - max(0, at - slot.side / 2)) for at in (slot.x, slot.y))
        return fill * width * height, width * height / slot.side**2

    covered, within = covers(layout.close(np.random.default_rng(seed), fraction, covers))
    assert within >= layout.INSIDE - 0.01
    assert covered <= fraction + 0.01 or covered < fill * SMALLEST**2 + 0.01
    assert abs(covered - fraction) < 0.02 or within < layout.INSIDE + 0.02 or fraction < fill * SMALLEST**2


def test_each_split_has_its_share_of_arrangements_and_keeps_it():
    digests = [layout.digest(number) for number in range(3000)]
    splits = [layout.split_of(each, 0) for each in digests]
    counts = Counter(splits)
    for split, share in zip(("train", "validation", "test"), layout.SHARES, strict=True):
        assert abs(counts[split] - 3000 * share) < 4 * math.sqrt(3000 * share * (1 - share))
    assert splits == [layout.split_of(each, 0) for each in digests]
    assert splits != [layout.split_of(each, 1) for each in digests]


def test_what_an_arrangement_is_known_by():
    one, two = Slot(0.2, 0.2, 0.2), Slot(0.7, 0.7, 0.4)
    assert layout.identity(["a", "b"], [one, two]) == layout.identity(["b", "a", "a"], [two, one, one])
    assert layout.identity(["a", "b"], [one, two]) != layout.identity(["a", "c"], [one, two])
    assert layout.identity(["a"], [one]) == layout.identity(["a"], [Slot(0.22, 0.21, 0.21)])
    assert len({layout.identity(["a"], [slot]) for slot in (one, two, Slot(0.2, 0.2, 0.4), Slot(0.2, 0.7, 0.2))}) == 4
    assert layout.identity(["a", "a"], [one, two]) == layout.identity(["a", "a"], [two, one])
    assert layout.identity(["a", "a"], [one, two]) != layout.identity(["a"], [one])
