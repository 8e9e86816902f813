import logging
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.batching import Load, TokenBudget, plan, tokens_of
from presight.errors import PresightError

LOADS = st.lists(st.builds(Load, st.integers(1, 40), st.integers(1, 6)), max_size=40)


def slow_plan(loads, budget):
    """Take the largest that is left; open a batch whenever the padded rectangle would outgrow the budget."""
    left, batches = list(enumerate(loads)), []
    while left:
        place, load = min(left, key=lambda each: (-each[1].length, -each[1].rows, each[0]))
        left.remove((place, load))
        fits = batches and tokens_of([*(loads[i] for i in batches[-1]), load]) <= budget
        if fits:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


@given(LOADS, st.integers(1, 300))
@settings(max_examples=200, deadline=None)
def test_every_item_occurs_once_and_no_batch_outgrows_the_budget_unless_it_is_one_item(loads, budget):
    batches = plan(loads, budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(loads)))
    for batch in batches:
        assert len(batch) == 1 or tokens_of([loads[place] for place in batch]) <= budget
    assert batches == slow_plan(loads, budget)
    assert batches == plan(loads, budget)


@given(LOADS, st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_the_longest_item_is_in_the_first_batch(loads, budget):
    lengths = [max(loads[place].length for place in batch) for batch in plan(loads, budget)]
    assert lengths == sorted(lengths, reverse=True)


class Device:
    """Doubles words' lengths, and has memory for so many padded characters."""

    def __init__(self, memory, error=RuntimeError):
        self.memory, self.error, self.batches = memory, error, []

    def __call__(self, words):
        self.batches.append(len(words) * max(map(len, words)))
        if self.batches[-1] > self.memory:
            raise self.error("CUDA out of memory. Tried to allocate 2 GiB")
        return [2 * len(word) for word in words]


@given(st.lists(st.text("ab", min_size=1, max_size=12), max_size=40), st.integers(12, 100), st.integers(1, 400))
@settings(max_examples=150, deadline=None)
def test_results_keep_the_order_of_items_whatever_memory_there_is(words, memory, budget):
    device, tokens = Device(memory), TokenBudget(budget)
    assert tokens.map(device, words, lambda word: Load(len(word))) == [2 * len(word) for word in words]
    failed = [held for held in device.batches if held > memory]
    assert all(later <= earlier // 2 for earlier, later in pairwise(failed))
    again = Device(memory)
    tokens.map(again, words, lambda word: Load(len(word)))
    assert all(held <= memory for held in again.batches)


def test_a_budget_that_failed_is_halved_said_once_and_remembered(caplog):
    device, tokens = Device(50), TokenBudget(1000)
    words = ["a" * 10] * 20
    with caplog.at_level(logging.WARNING):
        tokens.map(device, words, lambda word: Load(len(word)))
    assert device.batches == [200, 100, *[50] * 4]
    assert tokens.tokens == 50
    assert len(caplog.messages) == 2
    assert "200 tokens a batch; going on with 100" in caplog.messages[0]
    tokens.map(device, words, lambda word: Load(len(word)))
    assert device.batches[6:] == [50] * 4


def test_torch_s_own_error_counts_as_out_of_memory():
    import torch

    assert TokenBudget(100).map(Device(20, torch.OutOfMemoryError), ["ab"] * 20, lambda _: Load(2)) == [4] * 20


def test_an_item_that_memory_cannot_hold_alone_is_named():
    with pytest.raises(PresightError, match="memory: exhausted by one item of 1 rows × 30 tokens"):
        TokenBudget(1000).map(Device(20), ["a" * 30, "b"], lambda word: Load(len(word)))


def test_other_errors_pass_and_results_must_be_one_an_item():
    def broken(_):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        TokenBudget(10).map(broken, ["a"], lambda _: Load(1))
    with pytest.raises(PresightError, match="1 results for 2 items"):
        TokenBudget(10).map(lambda batch: batch[:1], ["a", "b"], lambda _: Load(1))
    with pytest.raises(PresightError, match="tokens: 0 is no budget"):
        TokenBudget(0)
    assert TokenBudget(10).map(broken, [], lambda _: Load(1)) == []
