"""The paper's panel beside ours: lines over a numeric axis, rows of names over the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eval.report.beside import Beside
from eval.report.evidence import join
from eval.report.figures import COLOURS, GREY, GRID, Plot, Rows, empty, plot, rowwise, text, whisker
from eval.report.paper import Key, number
from eval.report.words import count, plural

LEFT, RIGHT = (0.0, 0.46), (0.54, 1.0)  # of the width: the paper's panel, and ours
TALL, TIGHT = 270, 26  # pixels: a panel of lines, a row of names
SORTED = 6  # labels from which on the paper's values order the rows
Colours = Mapping[tuple[bool, Key], str]  # of a curve, by whether it is ours


def colours_of(beside: Beside) -> dict[tuple[bool, Key], str]:
    """A colour for each curve; ours has that of its partner, where it is the only one at that place."""
    partners = list(beside.partner.values())
    found = {(False, curve): COLOURS[place % len(COLOURS)] for place, curve in enumerate(beside.figure.curves)}
    place = len(found)
    for curve, partner in beside.partner.items():
        if partner is not None and partners.count(partner) == 1:
            found[True, curve] = found[False, partner]
        else:
            found[True, curve] = COLOURS[place % len(COLOURS)]
            place += 1
    return found


def span(found: Iterable[int], noun: str) -> str:
    """``3 seeds``, ``2 to 3 seeds``."""
    low, *_, high = sorted([*found] * 2)
    return plural(low, noun) if low == high else f"{low:,} to {plural(high, noun)}"


def panels(beside: Beside, group: str, colours: Colours, element: str) -> Plot:
    """A group's values: the paper's on the left, ours with intervals on the right, over one axis."""
    figure = empty()
    height, title = (_lines if beside.figure.numeric else _rows)(figure, beside, group, colours)
    seeds = "" if beside.figure.itself else ", " + span((mark.seeds for mark in beside.among(group)), "seed")
    for (low, _), said in ((LEFT, f"published, {beside.figure.sample}"), (RIGHT, f"ours{seeds}")):
        figure.add_annotation(
            x=low, xref="paper", xanchor="left", y=1, yref="paper", yanchor="bottom", yshift=8, showarrow=False,
            text=f"<b>{text(said)}</b>", font={"size": 12},
        )  # fmt: skip
    figure.add_annotation(
        x=0.5, xref="paper", y=0, yref="paper", yanchor="top", yshift=-24, showarrow=False, text=text(title),
        font={"size": 13},
    )  # fmt: skip
    figure.update_layout(margin={"l": 8, "r": 14, "t": 38, "b": 46})
    return plot(figure, element, f"{group}, the paper’s beside ours: {beside.figure.title}", height)


def _lines(figure: Any, beside: Beside, group: str, colours: Colours) -> tuple[int, str]:
    order = beside.order(group)
    places = [number(at) or 0.0 for at in order]
    reach = (max(places) - min(places)) or 1.0
    for curve, points in beside.figure.curves.items():
        shown = [at for at in order if group in points.get(at, {})]
        name, colour = join(filter(None, (beside.figure.called(curve), "published"))), colours[False, curve]
        figure.add_scatter(
            x=[number(at) for at in shown],
            y=[points[at][group] for at in shown],
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 8, "color": colour},
            hovertemplate=f"{text(name)}<br>%{{x}}: <b>%{{y:.4g}}</b><extra></extra>",
        )
    drawn = [curve for curve in beside.marks if group in beside.marks[curve]]
    for index, curve in enumerate(drawn):  # intervals beside, not upon, one another
        aside = 0.012 * reach * (index - (len(drawn) - 1) / 2)
        _curve(figure, beside, curve, group, colours[True, curve], aside)
    _axes(figure, beside, places, reach)
    return TALL, "tokens read" if beside.figure.whole else beside.figure.x


def _curve(figure: Any, beside: Beside, curve: Key, group: str, colour: str, aside: float) -> None:
    """One of ours, with its intervals, on the right."""
    marks = beside.marks[curve][group]
    shown = [at for at in beside.order(group) if at in marks]
    filled = [beside.stands(curve, group, at) for at in shown]
    ends = [marks[at].ends for at in shown]
    name = join(filter(None, (beside.figure.called(curve), "ours")))
    figure.add_scatter(
        x=[(number(at) or 0.0) + aside for at in shown],
        y=[marks[at].value for at in shown],
        xaxis="x2",
        yaxis="y2",
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={
            "size": 9,
            "color": [colour if each else "white" for each in filled],
            "line": {"width": 2, "color": [colour if each else GREY for each in filled]},
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [high - marks[at].value for at, (_, high) in zip(shown, ends, strict=True)],
            "arrayminus": [marks[at].value - low for at, (low, _) in zip(shown, ends, strict=True)],
            "color": colour,
            "thickness": 1.4,
            "width": 4,
        },
        customdata=[[at, *each] for at, each in zip(shown, ends, strict=True)],
        hovertemplate=f"{text(name)}<br>%{{customdata[0]}}: <b>%{{y:.4g}}</b> "
        "[%{customdata[1]:.4g}, %{customdata[2]:.4g}]<extra></extra>",
    )


def _axes(figure: Any, beside: Beside, places: list[float], reach: float) -> None:
    """The same places on both panels; tokens that differ by orders are each counted in their own."""
    spec = beside.figure
    ticks = [places[0], places[len(places) // 2], places[-1]] if len(places) > 6 else places
    totals = {lock.lock["items"] * lock.lock["item"] for lock in beside.evidence.mixtures}
    whole = totals.pop() if len(totals) == 1 else None
    axis: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "tickfont": {"size": 11}, "tickvals": ticks}
    axis["range"] = [min(places) - 0.06 * reach, max(places) + 0.06 * reach]
    for which, domain, tokens in (("xaxis", LEFT, spec.whole), ("xaxis2", RIGHT, spec.whole and whole)):
        unit = " %" if spec.whole else ""
        words = [count(round(each * tokens / 100)) if tokens else f"{each:g}{unit}" for each in ticks]
        figure.update_layout({which: {**axis, "domain": domain, "ticktext": words}})
    value: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "automargin": True, "nticks": 6}
    figure.update_layout(xaxis2={"anchor": "y2"}, yaxis=value, yaxis2={**value, "anchor": "x2"})


def _rows(figure: Any, beside: Beside, group: str, colours: Colours) -> tuple[int, str]:
    """A block for each place where there are several."""
    rows, spec = Rows(), beside.figure
    for curve, partner in beside.pairs:
        theirs = {} if partner is None else spec.curves[partner]
        marks = {} if curve is None else beside.marks[curve].get(group, {})
        shown = [at for at in beside.order(group) if at in marks or group in theirs.get(at, {})]
        if len(spec.order) >= SORTED:
            shown.sort(key=lambda at: -theirs.get(at, {}).get(group, float("-inf")))
        if shown and len(beside.pairs) > 1:
            rows.head(spec.called(curve if curve is not None else partner or ()))
        for at in shown:
            dim = curve is None or not beside.stands(curve, group, at)
            y = rows.add(spec.shown(at), dim)
            if partner is not None and group in theirs.get(at, {}):
                figure.add_scatter(
                    x=[theirs[at][group]],
                    y=[y],
                    mode="markers",
                    marker={"size": 9, "color": colours[False, partner]},
                    hovertemplate=f"{text(spec.shown(at))}, published: <b>%{{x:.4g}}</b><extra></extra>",
                )
            if curve is not None and at in marks:
                colour = GREY if dim else colours[True, curve]
                low, high = marks[at].ends
                shape = {"size": 9, "color": "white" if dim else colour, "line": {"color": colour, "width": 2}}
                hover = f"{text(spec.shown(at))}, ours: <b>%{{x:.4g}}</b> [{low:.4g}, {high:.4g}]<extra></extra>"
                whisker(figure, y, (low, marks[at].value, high), colour, marker=shape, hover=hover)
                figure.data[-1].xaxis = "x2"
    rowwise(figure, rows, "")
    axis: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "nticks": 5, "tickfont": {"size": 11}, "title": None}
    figure.update_layout(xaxis={**axis, "domain": LEFT}, xaxis2={**axis, "domain": RIGHT, "anchor": "y"})
    if spec.itself:  # on one scale in both
        figure.update_layout(xaxis2={"matches": "x"})
    return round(rows.end * TIGHT) + 96, group
