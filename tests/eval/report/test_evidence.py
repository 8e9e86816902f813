import pytest

from eval.report.evidence import Arm, Evidence
from eval.report.lineage import Record


@pytest.mark.parametrize(
    ("searches", "shared"),
    [(["a", "a", "a"], True), (["a", "b", "c"], False), (["a", "a", "b"], True), ([None] * 3, False), ([], False)],
)
def test_a_search_that_several_seeds_share_is_seen_on_their_cards(searches, shared):
    scores = [f"score-{number}" for number in range(len(searches))]
    parents = [[{"field": "learning_rate", "kind": "rate", "artifact": each}] if each else [] for each in searches]
    data = {"field": "data", "kind": "examples", "artifact": "the same for all"}
    records = {
        name: Record("scores", name, {"parents": [data, *found]}) for name, found in zip(scores, parents, strict=True)
    }
    arm = Arm({"scores": [*scores, "collected"]}, "card")
    assert (
        Evidence("", (), (), (), {**records, "collected": Record("scores", "collected", None)}).shares_search(arm)
        is shared
    )
