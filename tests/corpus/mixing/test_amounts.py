from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.mixing.amounts import Amount, caps, cut, take
from presight.errors import PresightError

SUPPLIES = {"web": 1000, "math": 50, "code": 200}


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "half", None, True])
def test_a_share_that_is_none_is_refused(bad):
    with pytest.raises(PresightError, match=r"^sources\.code: .* is no share; write a number of 0 or more\.$"):
        take({"web": 1, "code": bad}, SUPPLIES, 10, 8)


@pytest.mark.parametrize("shares", [{}, {"web": 0, "code": 0.0}])
def test_nothing_to_mix_is_refused(shares):
    with pytest.raises(PresightError, match=r"^sources: "):
        take(shares, SUPPLIES, 10, 8)


def test_unknown_sources_are_refused_by_their_nearest_or_dropped():
    asked = {"web": 60, "maths": 20, "code": 20}
    with pytest.raises(PresightError, match=r"^sources\.maths: .*did you mean math\?"):
        take(asked, SUPPLIES, 100, 8)
    taken = take(asked, SUPPLIES, 100, 8, "renormalise")
    assert taken.quotas == {"code": 25, "web": 75}
    assert taken.shares == {"code": Fraction(1, 4), "web": Fraction(3, 4)}
    assert taken.dropped == {"maths": 0.2}
    with pytest.raises(PresightError, match="no source with a positive share"):
        take(asked, {"other": 1}, 100, 8, "renormalise")


def test_tokens_and_epochs_are_taken_off_first():
    taken = take({"web": 3, "code": 1, "math": Amount(epochs=1.5)}, SUPPLIES, 475, 8)
    assert taken.quotas == {"web": 300, "code": 100, "math": 75}
    assert sum(taken.shares.values()) == 1
    taken = take({"web": 1, "math": Amount(tokens=87)}, SUPPLIES, 20, 8)
    assert taken.quotas == {"web": 10, "math": 10}  # whole items only
    taken = take({"math": Amount(epochs=2), "code": Amount(tokens=80)}, SUPPLIES, None, 8)
    assert taken.quotas == {"math": 100, "code": 10}
    assert taken.total is None


@pytest.mark.parametrize(
    ("amounts", "items", "says"),
    [
        ({"web": 1, "math": Amount(epochs=3)}, 100, "ask for 150 of 100 items; raise the budget to 1200"),
        ({"math": Amount(epochs=1)}, 100, "add up to 50 of 100 items"),
        ({"web": 1, "math": Amount(epochs=1)}, None, "budget: is not given, but shares are"),
        ({"math": Amount(tokens=5)}, None, "less than one item; ask for 8 tokens or more"),
    ],
)
def test_amounts_that_miss_the_budget_are_refused(amounts, items, says):
    with pytest.raises(PresightError, match=says):
        take(amounts, SUPPLIES, items, 8)


@pytest.mark.parametrize(
    "fields", [{}, {"share": 1, "tokens": 2}, {"epochs": -1}, {"share": 1, "max_epochs": 0}, {"tokens": True}]
)
def test_an_amount_is_said_in_one_way(fields):
    with pytest.raises(ValidationError):
        Amount(**fields)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 10_000))
def test_phases_end_where_they_should(shares, items):
    sizes = cut(shares, items)
    assert sum(sizes) == items
    assert min(sizes) >= 0
    for k in range(len(shares)):
        assert abs(sum(sizes[: k + 1]) - Fraction(sum(shares[: k + 1]), sum(shares)) * items) <= Fraction(1, 2)


@given(st.data())
def test_quotas_add_up(data):
    names = data.draw(st.lists(st.sampled_from(sorted(SUPPLIES)), min_size=1, unique=True))
    kinds = st.one_of(
        st.floats(0.5, 100).map(lambda share: round(share, 2)),
        st.integers(0, 900).map(lambda tokens: Amount(tokens=tokens)),
        st.floats(0, 0.3).map(lambda epochs: Amount(epochs=epochs)),
    )
    amounts = {name: data.draw(kinds) for name in names}
    items = data.draw(st.integers(1, 2000))
    try:
        taken = take(amounts, SUPPLIES, items, 8)
    except PresightError:
        fixed = sum(
            int(a.tokens // 8) if a.tokens is not None else a.epochs * SUPPLIES[n]
            for n, a in amounts.items()
            if isinstance(a, Amount)
        )
        assert fixed > items - 3 or not any(not isinstance(a, Amount) for a in amounts.values())
        return
    assert sum(taken.quotas.values()) == items
    assert sum(taken.shares.values()) == 1


def test_tokens_of_a_source_that_is_not_there_are_recorded_as_their_share():
    taken = take({"web": 1, "novels": Amount(tokens=80)}, SUPPLIES, 100, 8, "renormalise")
    assert taken.dropped == {"novels": 0.1}


def test_a_cap_holds_for_all_phases_together():
    phases = [{"web": Amount(share=1, max_epochs=8), "math": 1}, {"web": Amount(share=1, max_epochs=3)}, {"web": 1}]
    assert caps(phases, ["math", "web"], 4) == {"math": 4, "web": 3}
