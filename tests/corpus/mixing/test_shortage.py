import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.mixing.families import Bound, Cell, solve
from presight.errors import PresightError

NONE, VISUAL, REASONING = frozenset(), frozenset({"visual"}), frozenset({"reasoning"})
CELLS = [
    Cell("literature", VISUAL, 60),
    Cell("math", REASONING, 1_000),
    Cell("web", NONE, 2_000),
    Cell("web", VISUAL, 35),
    Cell("web", REASONING | VISUAL, 5),
]


def refusal(cells=CELLS, items=4_000, max_epochs=4, families=None, **options):
    with pytest.raises(PresightError) as refused:
        solve(cells, families=families or {}, items=items, max_epochs=max_epochs, **options)
    return refused.value


def test_the_binding_supply_is_named_with_its_mends():
    assert str(refusal(families={"visual": 0.15}, item=1_024)) == (
        "families.visual: 15 % of 4,000 items asked, but the supply of visual text (literature, web) × max_epochs 4"
        " gives at most 400; raise max_epochs to 6, lower the budget to 2,729,984 tokens or lower visual to 10 %."
    )


def test_other_requests_that_take_part_are_named():
    found = refusal(families={"visual": 0.1}, overlaps={("reasoning", "visual"): Bound(0, 0.002)})
    assert found.field == "families.visual"
    assert "gives at most 388 beside at most 0.2 % reasoning & visual" in found.problem
    assert "lower visual to 9.7 %" in found.mend
    assert "raise reasoning & visual to 0.5 %" in found.mend


def test_a_share_too_low_for_the_rest_to_fill_is_named():
    found = refusal(families={"reasoning": 0.1}, items=9_500)
    assert found.problem == (
        "10 % of 9,500 items asked, but the supply of text that is not reasoning (literature, web) × max_epochs 4"
        " leaves at least 1,120 of it"
    )
    assert found.mend == ("raise max_epochs to 4.09, lower the budget to 9,311 items or raise reasoning to 11.8 %")


def test_a_source_and_the_whole_are_named():
    found = refusal(sources={"literature": 0.1}, max_epochs={"literature": 2, "math": 4, "web": 4})
    assert found.field == "sources.literature"
    assert found.problem.endswith("the supply of literature text × max_epochs 2 gives at most 120")
    assert found.mend.startswith("raise every max_epochs 3.34-fold")
    whole = refusal(items=20_000)
    assert (whole.field, whole.problem) == ("budget", "20,000 items asked, but the whole supply gives 12,400")
    assert whole.mend == "raise max_epochs to 6.46 or lower the budget to 12,400 items"


def test_what_no_text_could_meet_is_told_from_what_this_text_cannot():
    contradiction = refusal(
        families={"visual": 0.8, "reasoning": 0.6}, overlaps={("reasoning", "visual"): Bound(0, 0.1)}
    )
    assert str(contradiction) == (
        "families.reasoning: 60 % reasoning, 80 % visual, at most 10 % reasoning & visual cannot hold at once;"
        " lower reasoning to 30 %, lower visual to 50 % or raise reasoning & visual to 40 %."
    )
    assert refusal(sources={"web": 0.7, "math": 0.6}).field == "sources.math"
    lacking = refusal(families={"reasoning": 0.3}, sources={"literature": 0.8}, max_epochs=1_000)
    assert lacking.problem.startswith("30 % of 4,000 items asked, but the supply of reasoning text (math, web)")
    assert ", at any max_epochs, gives at most 800 beside 80 % literature" in lacking.problem
    assert lacking.mend == "lower reasoning to 20 % or lower literature to 70 %"


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_the_mends_mend(data):
    """Each mend of a refused mixture is accepted, and a hundredth of an epoch or one item less is not."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    sets = (NONE, VISUAL, REASONING, VISUAL | REASONING)
    cells = [Cell(f"s{s}", families, int(rng.integers(0, 200))) for s in range(3) for families in sets]
    asked = {"reasoning": round(float(rng.uniform(0, 0.7)), 2), "visual": round(float(rng.uniform(0, 0.5)), 2)}
    items, epochs = int(rng.integers(100, 3_000)), float(rng.choice([0.5, 1, 1.15, 3]))

    def accepted(items=items, epochs=epochs, **changed):
        try:
            solve(cells, families=asked | changed, items=items, max_epochs=epochs)
        except PresightError as error:
            return error
        return None

    error = accepted()
    if error is None:
        return
    raised = re.search(r"raise max_epochs to ([\d.]+)", error.mend)
    lowered = re.search(r"lower the budget to ([\d,]+) items", error.mend)
    assert raised
    assert accepted(epochs=float(raised[1])) is None
    assert accepted(epochs=float(raised[1]) - 0.01) is not None
    if lowered:
        most = int(lowered[1].replace(",", ""))
        assert accepted(items=most) is None
        assert accepted(items=most + 1) is not None
    for name, share in re.findall(r"(?:lower|raise) (reasoning|visual) to ([\d.]+) %", error.mend):
        assert accepted(**{name: round(float(share) / 100, 10)}) is None
