import pytest

from presight import axes
from presight.errors import PresightError


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ("50..85 step 5", ["50", "55", "60", "65", "70", "75", "80", "85"]),
        ("0..1 step 0.1", ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1"]),
        ("1..3", ["1", "2", "3"]),
        ("5..9 step 3", ["5", "8"]),
        (["a", 2, 0.5], ["a", "2", "0.5"]),
        ({"x": {"a": 1}, "y": "$stage"}, ["x", "y"]),
    ],
)
def test_labels(given, labels):
    found = axes.values("a", given)
    assert list(found) == labels
    if isinstance(given, str):
        assert [float(label) for label in labels] == list(found.values())


def test_steps_between_two_mixtures_meet_the_papers():
    """Mixes 0 to 6 of the paper's table are a straight line."""
    first = {"web": 50.0, "encyclopedia": 2.5, "literature": 20, "code": 20}
    last = {"web": 40.0, "encyclopedia": 8.0, "literature": 2, "code": 35}
    found = axes.values("mixture", {"between": [first, last], "steps": 7})
    assert list(found) == [str(k) for k in range(7)]
    assert found["0"] == first
    assert found["6"] == last
    assert found["3"] == {"web": 45.0, "encyclopedia": 5.25, "literature": 11.0, "code": 27.5}
    assert axes.values("m", {"between": [{"a": 1}, {"b": 1}], "steps": 2})["1"] == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize(
    "given",
    [
        "5..1",
        "1..5 step 0",
        "0..1 step 0.00001",
        "many",
        "1...2",
        {"between": [{"a": 1}], "steps": 3},
        {"between": [{"a": 1}, {"a": "x"}], "steps": 3},
        {"between": [{"a": 1}, {"a": 2}], "steps": 1},
        {"between": [{"a": 1}, {"a": True}], "steps": 2},
        3,
        [],
        {},
        [1, 1],
        [{"x": 1}],
        {1: "a", "1": "b"},
        {"between": [{"a": 1}, {"a": float("nan")}], "steps": 2},
        {"between": [{"a": 1}, {"a": float("inf")}], "steps": 2},
    ],
)
def test_what_is_no_axis_is_refused(given):
    with pytest.raises(PresightError, match=r"^axes\.a: .*; .*\.$"):
        axes.values("a", given)
