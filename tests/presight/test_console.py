import pytest

from presight import console


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (41.4, "41 s"), (60, "1 min 00 s"), (200, "3 min 20 s"), (18120, "5 h 02 min")],
)
def test_times_are_for_people(seconds, shown):
    assert console.clock(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (999, "999 B"), (3_200_000, "3.2 MB"), (2e13, "20.0 TB")])
def test_sizes_are_for_people(count, shown):
    assert console.size(count) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0.25, "0.25"), (9.9612, "9.96"), (512, "512"), (409_600, "410k"), (3e10, "30B"), (1e12, "1T")],
)
def test_numbers_are_for_people(count, shown):
    assert console.number(count) == shown


def test_progress_passes_items_through_and_reports_the_last(monkeypatch):
    seen = []
    console.report_to(lambda *event: seen.append(event))
    try:
        assert list(console.progress(range(5), "counting")) == [0, 1, 2, 3, 4]
    finally:
        console.report_to(None)
    assert seen[-1] == (5, 5, "counting")
    assert len(seen) <= 2  # the first comes at once, the rest within one interval


def test_progress_of_unknown_length_and_without_a_listener():
    assert list(console.progress(iter("abc"), "spelling")) == ["a", "b", "c"]


def test_bars_show_a_rate(capsys):
    with console.bars() as drawn:
        task = drawn.add_task("work", total=10)
        drawn.update(task, completed=5)
        assert any(type(column).__name__ == "Rate" for column in drawn.columns)
