"""The section of looking: what answers owe to the picture, what to the words alone, and what a wrong picture costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from eval.report.figures import GREY, Plot, Rows, empty, plot, rowwise, slug, text, upright, whisker
from eval.report.sheet import Sheet, key, p_value, table
from eval.report.words import once

if TYPE_CHECKING:
    from eval.report.evidence import Evidence, Result

LEVELS = ("group", "overall")  # what is drawn; tasks and benchmarks are in the table
ORDER = ("none", "blank", "scrambled", "wrong", "right")


def section(sheet: Sheet) -> str:
    """For each set of models a plot of its groups and a table of all its tasks."""
    return "".join(
        _models(sheet, result, place) for result in sheet.evidence.blindness for place in _places(sheet, result)
    )


def verdicts(evidence: Evidence) -> list[tuple[str, bool]]:
    """For each set of models what the picture adds over all groups."""
    return [
        (f"{evidence.called(figure['labels'])} · {figure['task']}: {told}", established)
        for result in evidence.blindness
        for figure in result.record["figures"]
        if figure["level"] == "overall"
        for told, established in [_told(figure["contrasts"], 1 - result.record["level"])]
    ]


def _told(contrasts: list[Mapping[str, Any]], alpha: float) -> tuple[str, bool]:
    uses = [each for each in contrasts if each["name"].startswith("image use")]
    said = "; ".join(f"{each['name'].removeprefix('image use, ')} {_points(each)}" for each in uses)
    return f"the picture adds, {said} points", any(each["p_holm"] <= alpha for each in uses)


def _places(sheet: Sheet, result: Result) -> list[str]:
    return once(sheet.evidence.called(figure["labels"]) for figure in result.record["figures"])


def _figures(sheet: Sheet, result: Result, place: str) -> Iterator[Mapping[str, Any]]:
    return (figure for figure in result.record["figures"] if sheet.evidence.called(figure["labels"]) == place)


def _models(sheet: Sheet, result: Result, place: str) -> str:
    figures = list(_figures(sheet, result, place))
    drawn = [figure for figure in figures if figure["level"] in LEVELS] or figures
    conditions = [name for name in ORDER if any(name in figure["means"] for figure in figures)]
    contrasts = once(contrast["name"] for figure in figures for contrast in figure["contrasts"])
    rows = []
    for figure in figures:
        established = any(each["p_holm"] <= 1 - result.record["level"] for each in figure["contrasts"])
        cells = [escape(figure["task"]), f"{figure['items']}", f"{100 * figure['chance']:.1f}"]
        for name in conditions:
            mean = figure["means"].get(name)
            cells.append("" if mean is None else f"{100 * mean['estimate']:.1f}")
        known = {each["name"]: each for each in figure["contrasts"]}
        for name in contrasts:
            cells.append(_contrast(known[name]) if name in known else "")
        rows.append(("" if established else "open", cells))
    caption = (
        f"{escape(place)}: the same questions under two conditions, the first less the second, paired by items "
        "and seeds. Thin lines: 95\u00a0% intervals over seeds and items; filled: above or below nought also after "
        "Holm over all contrasts. What is right without a picture, beyond chance, is the language prior: the table "
        f"has it. {sheet.cards([result.card])}"
    )
    legend = [key("dot", "established, also after Holm"), key("ring", "not established", GREY)]
    head = [
        "",
        "items",
        "chance",
        *(f"{escape(name)}, %" for name in conditions),
        *(escape(name) for name in contrasts),
    ]
    chosen = _plot(drawn, slug("blindness", result.card[:8], place), place, 1 - result.record["level"])
    return f"<h3>{escape(place)}</h3>" + sheet.figure([chosen], caption, legend) + table(head, rows)


def _contrast(found: Mapping[str, Any]) -> str:
    return f"{_points(found)}, Holm {p_value(found['p_holm'])}"


def _points(found: Mapping[str, Any]) -> str:
    interval = found["interval"]
    limits = f"[{100 * interval['low']:+.1f}, {100 * interval['high']:+.1f}]"
    return f"{100 * found['estimate']:+.1f} {limits}".replace("-", "−")


def _plot(figures: list[Mapping[str, Any]], element: str, place: str, alpha: float) -> Plot:
    """A block a contrast, a row a group, as points of the score."""
    rows, figure = Rows(), empty()
    for name in once(each["name"] for part in figures for each in part["contrasts"]):
        rows.head(name)
        for part in figures:
            found = next((each for each in part["contrasts"] if each["name"] == name), None)
            if found is None:
                continue
            shown = found["p_holm"] <= alpha
            colour = "#0072B2" if shown else GREY
            limits = tuple(100 * found["interval"][end] for end in ("low", "estimate", "high"))
            y = rows.add(part["task"], not shown)
            marker = {
                "size": 10,
                "color": colour if shown else "white",
                "line": {"color": "white" if shown else GREY, "width": 2},
            }
            hover = f"{text(part['task'])}, {text(name)}<br>{text(found['sentence'])}<extra></extra>"
            whisker(figure, y, (limits[0], limits[1], limits[2]), colour, marker=marker, hover=hover)
    rowwise(figure, rows, "the first condition less the second, points")
    upright(figure, 0.0, "no difference")
    return plot(figure, element, f"What {place} owes to the picture", rows.height)
