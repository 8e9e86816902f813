"""The section of emergence: text minus control over milestones and layers, and from how many tokens on it shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from eval.report.figures import INK, Plot, empty, plot, slug
from eval.report.sheet import Sheet, key, p_value, table
from eval.report.words import count, plural

if TYPE_CHECKING:
    from eval.report.evidence import Result

BELOW, ABOVE, OPEN = "#0072B2", "#D55E00", "#eceef0"
MOST_WORDS = 160  # cells up to which each says its number


def section(sheet: Sheet) -> str:
    """A map and a table for each artifact."""
    return "".join(_artifact(sheet, each) for each in sheet.evidence.emergences)


def verdict(each: Result) -> tuple[str, bool]:
    """A sentence, and whether a prior is established in any layer."""
    found = each.record
    shown = [(onset, layer) for onset, layer in zip(found["onset"], found["layers"], strict=True) if onset is not None]
    of = f"{len(found['layers'])} layers" if len(found["layers"]) > 1 else "the one layer"
    end = f"{count(found['tokens'][-1])} tokens"
    if not shown:
        return f"{found['task']}: in none of {of} text differs from its control by {end}", False
    first, layer = min(shown)
    where = f"in {'all' if len(shown) == len(found['layers']) else len(shown)} of {of}"
    since = f"first from {count(first)} tokens on (layer {layer})"
    return f"{found['task']}: text differs from its control {where}, {since}", True


def _artifact(sheet: Sheet, each: Result) -> str:
    found = each.record
    seeds, items = plural(len(found["seeds"]), "seed"), plural(found["items"], "test item")
    caption = (
        f"Accuracy of {'linear' if found['method'] == 'linear' else 'nearest-neighbour'} probes on text weights less "
        f"that on the control’s, in points; {seeds} × {items}. Grey: the interval holds 0. Intervals allow for all "
        f"{len(found['layers'])} layers at {100 * found['level']:g}\u00a0%. Framed: from here on the interval leaves "
        "0 and stays out, which is when the design could tell, not when the difference arose. "
        f"{sheet.cards([each.card])}"
    )
    legend = [
        key("dot", "text higher", ABOVE),
        key("dot", "control higher", BELOW),
        key("dot", "not established", "#c9cdd2"),
        key("frame", "established from here on"),
    ]
    element = slug("emergence", found["task"], each.card[:8])
    title = f"{escape(found['task'])} <small>({escape(found['modality'])}, along {escape(found['along'])})</small>"
    return f"<h3>{title}</h3>" + sheet.figure([heat(each, element)], caption, legend) + _numbers(found)


def heat(each: Result, element: str) -> Plot:
    """Differences in points over milestones × layers; cells whose interval holds 0 are grey, onsets are framed."""
    found, figure = each.record, empty()
    layers, times = found["layers"], found["tokens"]
    points = [[100 * row[place] for row in found["estimate"]] for place in range(len(layers))]  # [L, T]
    limits = [
        [[100 * found[end][time][place] for end in ("low", "high")] for time in range(len(times))]
        for place in range(len(layers))
    ]
    shown = [[low > 0 or high < 0 for low, high in row] for row in limits]
    reach = max((abs(each) for row in points for each in row), default=1.0) or 1.0
    words = len(layers) * len(times) <= MOST_WORDS
    hover = "layer %{y}, %{customdata[2]} tokens<br><b>%{customdata[3]:+.1f} points</b> [%{customdata[0]:+.1f}, "
    hover += "%{customdata[1]:+.1f}]<br>Holm p over all cells %{customdata[4]:.2g}<extra></extra>"
    data = [
        [[*limits[p][t], count(times[t]), points[p][t], found["p_holm"][t][p]] for t in range(len(times))]
        for p in range(len(layers))
    ]
    common: dict[str, Any] = {"x": list(range(len(times))), "y": list(range(len(layers))), "xgap": 2, "ygap": 2}
    common |= {"customdata": data, "hovertemplate": hover, "hoverongaps": False}
    for which, colours in ((False, [[0, OPEN], [1, OPEN]]), (True, [[0, BELOW], [0.5, "#ffffff"], [1, ABOVE]])):
        cells = [
            [p if s == which else None for p, s in zip(*rows, strict=True)] for rows in zip(points, shown, strict=True)
        ]
        said = [["" if p is None else _signed(p) for p in row] for row in cells] if words else None
        figure.add_heatmap(
            z=cells,
            zmin=-reach,
            zmax=reach,
            colorscale=colours,
            showscale=which and not words,
            colorbar={"title": {"text": "points"}, "thickness": 12},
            text=said,
            texttemplate="%{text}" if words else None,
            textfont={"size": 11, "color": INK if which else "#6a7178"},
            **common,
        )
    for place, onset in enumerate(found["onset"]):
        if onset is not None:
            x = times.index(onset)
            frame = {"x0": x - 0.48, "x1": x + 0.48, "y0": place - 0.47, "y1": place + 0.47}
            figure.add_shape(type="rect", line={"color": INK, "width": 2}, **frame)
    row = max(18, min(34, 700 // len(layers)))
    figure.update_xaxes(
        title={"text": "tokens of text read", "standoff": 8, "font": {"size": 13}},
        tickvals=common["x"],
        ticktext=[count(each) for each in times],
        showgrid=False,
        zeroline=False,
        automargin=True,
    )
    figure.update_yaxes(
        title={"text": "layer", "standoff": 6, "font": {"size": 13}},
        tickvals=common["y"],
        ticktext=["input" if layer == 0 else f"{layer}" for layer in layers],
        showgrid=False,
        zeroline=False,
        automargin=True,
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 48})
    label = f"Differences between text and control over {len(times)} milestones and {len(layers)} layers"
    return plot(figure, element, label, 80 + row * len(layers))


def _numbers(found: Any) -> str:
    rows: list[tuple[str, Sequence[str]]] = []
    for place, layer in enumerate(found["layers"]):
        onset = found["onset"][place]
        low, end, high = (_signed(100 * found[which][-1][place]) for which in ("low", "estimate", "high"))
        text, control = (f"{100 * found[side][-1][place]:.1f}" for side in ("text", "control"))
        cells = ["0, what goes in" if layer == 0 else f"{layer}", text, control, end, f"[{low}, {high}]"]
        cells += [p_value(found["p_holm"][-1][place]), "not established" if onset is None else f"{onset:,}"]
        rows.append(("open" if onset is None else "", cells))
    head = [
        "layer",
        "text, %",
        "control, %",
        "difference",
        "interval",
        "p, Holm over all cells",
        "established from, tokens",
    ]
    return f"<p class='facts'>At {found['tokens'][-1]:,} tokens:</p>" + table(head, rows)


def _signed(points: float) -> str:
    return f"{'−' if points < 0 else '+'}{abs(points):.1f}"
