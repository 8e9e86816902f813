import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.labels.budget import Amount, Budget, Exhausted
from presight.errors import PresightError

AMOUNTS = st.builds(Amount, st.integers(0, 50), st.integers(0, 20))


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(st.tuples(AMOUNTS, st.floats(0, 1), st.integers(0, 3)), max_size=25),
    workers=st.integers(1, 8),
    tokens=st.integers(0, 600),
    cost=st.none() | st.floats(0, 2e-3),
)
def test_what_is_spent_and_in_flight_never_exceeds_the_limits_and_nobody_waits_for_ever(
    requests, workers, tokens, cost
):
    budget = Budget(tokens, cost, (2.0, 5.0))
    queue = iter(requests)
    refused = []
    in_flight = Amount()

    async def work():
        nonlocal in_flight
        for most, share, turns in queue:
            try:
                async with budget.reserve(most):
                    in_flight += most
                    worst = budget.spent + in_flight
                    assert worst.tokens <= tokens
                    assert cost is None or worst.cost((2.0, 5.0)) <= cost
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    in_flight -= most
                    budget.spend(Amount(int(most.prompt * share), int(most.answer * share)))
            except Exhausted:
                refused.append(most)

    async def run():
        await asyncio.wait_for(asyncio.gather(*(work() for _ in range(workers))), 10)

    asyncio.run(run())
    for most in refused:
        assert (budget.spent + most).tokens > tokens or (cost is not None)


def test_no_limit_lets_everything_through():
    budget = Budget(None, None, None)

    async def run():
        async with budget.reserve(Amount(10**12, 10**12)):
            budget.spend(Amount(1, 2))

    asyncio.run(run())
    assert budget.spent == Amount(1, 2)
    assert budget.left == ""


def test_what_is_left_is_said():
    budget = Budget(1000, 0.5, (1000.0, 0.0))
    budget.spend(Amount(300, 100))
    assert budget.left == "600 tokens and 0.2 of max_cost"


@pytest.mark.parametrize(
    "limits", [(None, 1.0, None), (-1, None, None), (None, -0.1, (1.0, 1.0)), (None, None, (-1.0, 1.0))]
)
def test_limits_without_sense_are_refused(limits):
    with pytest.raises(PresightError):
        Budget(*limits)
