import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.world.asking import Ask, dealt, settled, shuffled

COMMON = "abcdefghij"


def pool(seed, count=120, domains=False):
    """Questions whose answers are of very different frequency; of each some other answers are true, too."""
    order = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(COMMON) + 1)
    answers = order.choice(list(COMMON), count, p=weights / weights.sum())
    asks = []
    for number, answer in enumerate(answers.tolist()):
        barred = {answer, *order.choice(list(COMMON), 2).tolist()}
        asks.append(Ask("task", str(number), {}, answer, barred=frozenset(barred), domain=answer if domains else ""))
    return asks


@given(st.integers(0, 999), st.integers(2, 5))
def test_no_wrong_option_is_true_and_no_question_comes_twice(seed, size):
    asks = pool(seed)
    found = dealt(asks, size, 80, np.random.default_rng(seed))
    assert len(found) <= 80
    assert len({ask.picture for ask in found}) == len(found)
    for ask in found:
        assert len(set(ask.options)) == size
        assert [option for option in ask.options if option in ask.barred] == [ask.answer]


def test_domains_of_one_question_differ():
    domains = {letter: letter if letter in "abc" else "" if letter in "de" else "rest" for letter in COMMON}
    asks = [Ask("task", str(i), {}, COMMON[i % 10], domain=domains[COMMON[i % 10]]) for i in range(100)]
    for ask in dealt(asks, 4, 100, np.random.default_rng(0)):
        named = [domains[option] for option in ask.options if domains[option]]
        assert len(set(named)) == len(named)


def test_every_option_of_a_set_is_right_equally_often():
    """However common an answer is: of the first two questions of many pools."""
    right, there = Counter(), Counter()
    for seed in range(1500):
        for ask in dealt(pool(seed, 40), 4, 2, np.random.default_rng(seed)):
            right[ask.answer] += 1
            there.update(ask.options)
    for letter in COMMON:
        share, error = right[letter] / there[letter], math.sqrt(0.25 * 0.75 / there[letter])
        assert abs(share - 0.25) < 4 * error
    assert there["a"] > 3 * there["j"]


def test_options_that_no_picture_speaks_for_are_never_given():
    """All that show a, b or c show the others of these as well: no two of them can stand in one question."""
    asks = [Ask("task", str(i), {}, "abc"[i % 3], barred=frozenset("abc")) for i in range(30)]
    assert dealt(asks, 2, 30, np.random.default_rng(0)) == []
    asks += [Ask("task", str(30 + i), {}, "d", barred=frozenset("d")) for i in range(10)]
    found = dealt(asks, 2, 30, np.random.default_rng(0))
    assert found
    assert all("d" in ask.options for ask in found)


@given(st.integers(0, 99), st.integers(1, 60))
def test_the_right_option_stands_in_every_place_equally_often(seed, count):
    closed = [Ask("task", str(i), {}, "yes", ("yes", "no", "perhaps")) for i in range(count)]
    found = settled(closed, np.random.default_rng(seed))
    places = Counter(ask.options.index(ask.answer) for ask in found)
    assert max(places.values()) - min(places[place] for place in range(3)) <= 1
    assert len(settled(closed, np.random.default_rng(seed), 7)) == min(7, count)


def test_what_is_there_and_what_is_not_is_asked_of_the_same_picture():
    found = settled(pool(0), np.random.default_rng(0), deny="it")
    by_picture = {}
    for ask in found:
        by_picture.setdefault(ask.picture, {})[ask.answer] = ask.words["it"]
    asks = {ask.picture: ask for ask in pool(0)}
    assert len(by_picture) > 50
    for picture, said in by_picture.items():
        assert said["yes"] == asks[picture].answer
        assert said["no"] not in asks[picture].barred
    assert all(set(ask.options) == {"yes", "no"} for ask in found)


def test_an_item_says_all_that_is_known():
    ask = Ask("size", "f00", {"a": "cat"}, "cat", ("dog", "cat"), novel=True, facts={"fraction": 0.5})
    item = ask.item("size-1", "General", "Is it the {a}?")
    assert (item.task, item.prompt, item.answer, item.cluster) == ("size-novel", "Is it the cat?", 1, "f00")
    assert item.facts == {"pictures": "composed", "objects": "novel", "fraction": 0.5}


@pytest.mark.parametrize("place", range(3))
def test_shuffling_puts_the_answer_in_its_place(place):
    ask = shuffled(Ask("task", "", {}, "b", ("a", "b", "c")), place, np.random.default_rng(0))
    assert ask.options[place] == "b"
    assert sorted(ask.options) == ["a", "b", "c"]
