import pytest

from eval.report.words import count, listing, plural, spread


@pytest.mark.parametrize(
    ("values", "said"),
    [((4.12, 17), "4.1 to 17 points"), ((3, 3), "3 points"), ((1.6, 113), "1.6 to 113 points")],
)
def test_a_spread_is_never_in_powers_of_ten(values, said):
    assert spread(values, "points") == said


def test_numbers_and_lists():
    assert [count(each) for each in (0, 999, 51_200, 2_050_000)] == ["0", "999", "51.2k", "2.05M"]
    assert (plural(1, "seed"), plural(1200, "item")) == ("1 seed", "1,200 items")
    assert [listing("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
