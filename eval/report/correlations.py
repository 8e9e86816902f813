"""Plots of how groups of questions go together over models: cells, intervals, and the models themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eval.report.figures import (
    COLOURS,
    GREY,
    INK,
    Plot,
    Rows,
    axes,
    empty,
    heading,
    plot,
    rowwise,
    text,
    upright,
    whisker,
)
from eval.report.words import once, plural

if TYPE_CHECKING:
    from eval.report.evidence import Evidence

OURS, FREED, PAPER = "#0072B2", "#C98500", "#882255"
BELOW, ABOVE, OPEN = "#D55E00", "#0072B2", "#eceef0"
Found = Mapping[str, Any]  # structure.json, or an interval in it


def matrix(found: Found, element: str) -> Plot:
    """Correlations of each group with those before it; cells whose interval holds 0 are grey."""
    groups, figure = found["groups"], empty()
    known = {tuple(each["pair"]): each["spearman"] for each in found["correlations"]}
    across, down = groups[:-1], groups[1:]
    cells = [[known.get((x, y)) for x in across] for y in down]
    for shown, colours in (
        (False, [[0, OPEN], [1, OPEN]]),
        (True, [[0, BELOW], [0.5, "#ffffff"], [1, ABOVE]]),
    ):
        chosen = [[each if each and clear(each) == shown else None for each in row] for row in cells]
        figure.add_heatmap(
            x=list(range(len(across))),
            y=list(range(len(down))),
            z=[[each["estimate"] if each else None for each in row] for row in chosen],
            zmin=-1,
            zmax=1,
            colorscale=colours,
            showscale=False,
            xgap=3,
            ygap=3,
            text=[
                [
                    f"<b>{signed(each['estimate'])}</b><br>{between(each).replace(' ', '<br>')}" if each else ""
                    for each in row
                ]
                for row in chosen
            ],
            texttemplate="%{text}",
            textfont={"size": 12, "color": INK if shown else "#6a7178"},
            hoverinfo="skip",
        )
    for pair in kinds(found):
        if pair[0] in across and pair[1] in down:
            x, y = across.index(pair[0]), down.index(pair[1])
            frame = {"x0": x - 0.48, "x1": x + 0.48, "y0": y - 0.46, "y1": y + 0.46}
            figure.add_shape(type="rect", line={"color": INK, "width": 2}, **frame)
    plain = {"showgrid": False, "zeroline": False, "automargin": True, "ticks": ""}
    figure.update_xaxes(tickvals=list(range(len(across))), ticktext=[text(each) for each in across], **plain)
    figure.update_yaxes(
        tickvals=list(range(len(down))), ticktext=[text(each) for each in down], autorange="reversed", **plain
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 30})
    return plot(figure, element, f"Rank correlations of {len(groups)} groups", 60 + 68 * len(down))


def forest(found: Found, element: str) -> Plot:
    """Each correlation: as it is, corrected, and as published; a block for groups of one kind and for the others."""
    rows, figure, alike = Rows(), empty(), kinds(found)
    for head, of in (("groups of one kind", True), ("groups of different kinds", False)):
        rows.head(head)
        for each in found["correlations"]:
            pair = tuple(each["pair"])
            if (pair in alike) != of:
                continue
            name, shown = " · ".join(pair), clear(each["spearman"])
            y = rows.add(name, not shown)
            _drawn(figure, y - 0.16, each["spearman"], OURS, f"{text(name)}, rank correlation")
            if "estimate" in each["corrected"]:
                _drawn(figure, y + 0.16, each["corrected"], FREED, f"{text(name)}, corrected")
            if each["published"] is not None:
                figure.add_scatter(
                    x=[each["published"]],
                    y=[y],
                    mode="markers",
                    marker={"symbol": "diamond", "size": 11, "color": PAPER, "line": {"color": "white", "width": 1.5}},
                    hovertemplate=f"{text(name)}, published: {signed(each['published'])}<extra></extra>",
                )
    rowwise(figure, rows, "correlation over models")
    figure.update_xaxes(range=[-1.03, 1.03], zeroline=False)
    upright(figure, 0.0, "none")
    return plot(figure, element, f"{len(found['correlations'])} correlations with intervals", rows.height + 20)


def apart(found: Found, element: str) -> Plot:
    """Correlations of one kind less those of different kinds, a block for each of the former."""
    rows, figure = Rows(), empty()
    for pair in once(" · ".join(each["within"]) for each in found["differences"]):
        rows.head(f"{pair}, less")
        for each in found["differences"]:
            if " · ".join(each["within"]) == pair:
                name = " · ".join(each["across"])
                y = rows.add(name, not clear(each["difference"]))
                _drawn(figure, y, each["difference"], OURS, f"{text(pair)} less {text(name)}")
    rowwise(figure, rows, "difference of rank correlations")
    figure.update_xaxes(zeroline=False)
    upright(figure, 0.0, "alike")
    return plot(figure, element, f"{len(found['differences'])} differences of correlations", rows.height + 20)


def scatter(found: Found, pair: tuple[str, str], names: Mapping[int, str], evidence: Evidence, element: str) -> Plot:
    """Two groups over all models, a colour a family where `names` has some."""
    figure, models = empty(), found["models"]
    colours = [COLOURS[each["family"] % len(COLOURS)] if names else OURS for each in models]
    x, y = ([100 * each["figures"][group] for each in models] for group in pair)
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"size": 7, "color": colours, "opacity": 0.75, "line": {"color": "white", "width": 0.8}},
        customdata=[[text(evidence.called(each["labels"]))] for each in models],
        hovertemplate="%{customdata[0]}<br>"
        f"{text(pair[0])} %{{x:.1f}} %, {text(pair[1])} %{{y:.1f}} %<extra></extra>",
    )
    axes(figure, pair[0], pair[1])
    figure.update_xaxes(nticks=5)
    figure.update_yaxes(nticks=5)
    known = next((each["spearman"] for each in found["correlations"] if tuple(each["pair"]) == pair), None)
    heading(figure, f"{signed(known['estimate'])}{'' if clear(known) else ', not established'}" if known else "")
    figure.update_layout(margin={"l": 6, "r": 8, "b": 40})
    return plot(figure, element, f"{pair[0]} and {pair[1]} of {plural(len(models), 'model')}", 230)


def _drawn(figure: Any, y: float, found: Found, own: str, name: str) -> None:
    shown = clear(found)
    marker = {
        "size": 9,
        "color": own if shown else "white",
        "line": {"color": "white" if shown else own, "width": 1.8},
    }
    hover = f"{name}<br><b>{signed(found['estimate'])}</b> {between(found)}<extra></extra>"
    limits = found["low"], found["estimate"], found["high"]
    whisker(figure, y, limits, own if shown else GREY, marker=marker, hover=hover)


def kinds(found: Found) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two pairs of groups of one kind."""
    groups = found["groups"]
    return tuple(groups[:2]), tuple(groups[2:])


def clear(found: Found) -> bool:
    """Whether an interval leaves 0 out."""
    return bool(found["low"] > 0 or found["high"] < 0)


def between(found: Found) -> str:
    """``[−0.22, +0.16]``."""
    return f"[{signed(found['low'])}, {signed(found['high'])}]"


def signed(value: float) -> str:
    """``+0.37``."""
    return f"{'−' if value < 0 else '+'}{abs(value):.2f}"
