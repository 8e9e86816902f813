import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_seeing import KEYS, questions

from eval.vision.conditions import NOTHING, Shown, shown, strangers
from eval.vision.items import Item
from presight.errors import PresightError

ITEMS = list(questions())


def item(n, task, picture):
    return Item(str(n), task, "", "?", picture, ("u", "v"), 0)


worlds = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([*KEYS, None])), min_size=2, max_size=40)


@given(worlds, st.integers(0, 5))
def test_a_wrong_picture_is_never_the_right_one_and_of_the_same_task_if_it_can_be(world, seed):
    items = [item(n, task, picture) for n, (task, picture) in enumerate(world)]
    pictures = {each.picture for each in items} - {None}
    if len(pictures) == 1:
        with pytest.raises(PresightError, match="no wrong picture: all questions are about one"):
            shown(items, "wrong", seed)
        return
    found = shown(items, "wrong", seed)
    for each, other in zip(items, found, strict=True):
        if each.picture is None:
            assert other == NOTHING
            continue
        assert other.view == "plain"
        assert other.key in pictures - {each.picture}
        own = {one.picture for one in items if one.task == each.task} - {None}
        assert len(own) == 1 or other.key in own
        place = (each.task, each.picture)
        alike = {seen for one, seen in zip(items, found, strict=True) if (one.task, one.picture) == place}
        assert alike == {other}  # whatever is asked about a picture sees the same wrong one


@given(worlds, st.randoms(use_true_random=False))
def test_wrong_pictures_depend_on_the_items_and_not_on_their_order(world, order):
    items = [item(n, task, picture) for n, (task, picture) in enumerate(world)]
    if len({each.picture for each in items} - {None}) == 1:
        return
    mixed = items.copy()
    order.shuffle(mixed)
    assert strangers(items) == strangers(mixed)


def test_within_a_task_every_picture_is_taken_once():
    other = strangers(ITEMS)
    taken = Counter((task, key) for (task, _), key in other.items())
    assert set(taken.values()) == {1}
    assert {task for task, _ in other} == {"colour", "where", "read"}
    differing = [sum(strangers(ITEMS, seed)[place] != other[place] for place in other) for seed in range(1, 4)]
    assert min(differing) > len(other) / 2
    pairs = [other["colour", key] != other["where", key] for key in KEYS]
    assert any(pairs)  # the circle of a task is its own


def test_conditions_say_what_stands_in_the_place_of_a_picture():
    pictured = [each for each in ITEMS if each.picture]
    assert shown(pictured, "right") == [Shown(each.picture) for each in pictured]
    assert shown(pictured, "blank") == [Shown(each.picture, "blank") for each in pictured]
    assert shown(pictured, "scrambled") == [Shown(each.picture, "scrambled") for each in pictured]
    assert shown(pictured, "none") == [NOTHING] * len(pictured)
    for condition in ("right", "blank", "wrong", "scrambled", "none"):
        assert shown(ITEMS, condition)[-1] == NOTHING  # it has no picture
    with pytest.raises(PresightError, match="condition: 'left' is none; known: right, blank, wrong, scrambled, none"):
        shown(ITEMS, "left")


def test_a_subset_of_tasks_keeps_its_wrong_pictures():
    few = [each for each in ITEMS if each.task == "colour"]
    random.Random(0).shuffle(few)
    whole = strangers(ITEMS)
    assert strangers(few) == {place: key for place, key in whole.items() if place[0] == "colour"}
