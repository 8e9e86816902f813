"""The section of ladders: which control already explains a gain, rung by rung, within the margin stated before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from eval.report.figures import GREY, INK, Plot, Rows, empty, plot, rowwise, slug, text, upright, whisker
from eval.report.sheet import Sheet, key, p_value, table
from eval.report.words import once

if TYPE_CHECKING:
    from eval.report.evidence import Family

BAND = "#009E73"
SYMBOLS = {"explains": "circle", "falls short": "diamond", "unresolved": "circle"}


def section(sheet: Sheet) -> str:
    """A plot, the verdicts and a table for each ladder artifact."""
    families = [family for family in sheet.evidence.families if family.ladder and family.ladder["ladders"]]
    return "".join(_family(sheet, family, family.ladder or {}) for family in families)


def verdicts(ladder: Mapping[str, Any] | None) -> list[tuple[str, bool]]:
    """A few words on each ladder, and whether it is settled which rung explains the gain."""
    said = []
    for each in ladder["ladders"] if ladder else ():
        treatment, rungs = each["treatment"], each["rungs"]
        unit = " points" if each["metric"] == "accuracy" else ""
        margin = f"{(100 if unit else 1) * rungs[0]['equivalence']['margin']:g}{unit}"
        if each["verdict"] == "none":
            words = f"no control explains what {treatment} gains: each falls short of doing as well within {margin}"
        elif each["verdict"] == "unresolved":
            words = f"unresolved for {', '.join(each['unresolved'])}"
            words += f"; {each['more_seeds']} more seeds would tell" if each["more_seeds"] else ""
        else:
            words = f"{each['verdict']} does as well as {treatment} within {margin}"
            words += f", unresolved for {', '.join(each['unresolved'])} above it" if each["unresolved"] else ""
        said.append((f"{_place(each)}: {words}", each["verdict"] != "unresolved"))
    return said


def _family(sheet: Sheet, family: Family, ladder: Mapping[str, Any]) -> str:
    treatment = ladder["treatment"]
    said = "".join(
        f"<li{' class=open' if each['verdict'] == 'unresolved' else ''}>{escape(each['sentence'])}</li>"
        for each in ladder["ladders"]
    )
    parts = [f"<h3>What {escape(treatment)} gains, rung by rung</h3><ul class='verdicts'>{said}</ul>"]
    legend = [
        key("dot", "explains the gain: less than the margin is lacking"),
        key("diamond", "falls short of it"),
        key("ring", "unresolved", GREY),
        key("band", "within the margin, or better", BAND),
    ]
    for metric in once(each["metric"] for each in ladder["ladders"]):
        chosen = [each for each in ladder["ladders"] if each["metric"] == metric]
        level = chosen[0]["rungs"][0]["equivalence"]["interval"]["level"]
        caption = (
            f"What {escape(treatment)} gains over each control, the lowest first, with its {100 * level:g}\u00a0% "
            "interval over seeds and items, that of two one-sided tests. A rung explains the gain if the gain over it "
            "is shown to be less than the margin; standings allow for the number of rungs (Holm), intervals do not. "
            f"{sheet.cards([family.card])}"
        )
        element = slug("ladder", ladder["along"], metric, family.card[:8])
        figure = rungs(chosen, ladder["margin"], treatment, sheet.palette, element)
        parts += [sheet.figure([figure], caption, legend), _numbers(chosen, treatment)]
    return "".join(parts)


def rungs(
    ladders: Sequence[Mapping[str, Any]], margin: float, treatment: str, palette: Mapping[str, str], element: str
) -> Plot:
    """Gains over every rung with their intervals, a block for each ladder; grey is unresolved, shaded the margin.

    Args:
        ladders: of ``ladder.json``, all of one metric.
        margin: in units of the score.
        treatment: what gains.
        palette: colours of the rungs.
        element: id of the plot.
    """
    rows, figure = Rows(), empty()
    scale = 100.0 if ladders[0]["metric"] == "accuracy" else 1.0
    ends = [-margin * scale, margin * scale, 0.0]
    for ladder in ladders:
        rows.head(_place(ladder))
        for rung in ladder["rungs"]:
            found, standing = rung["equivalence"]["interval"], rung["standing"]
            limits = scale * found["low"], scale * found["estimate"], scale * found["high"]
            ends += limits
            open_ = standing == "unresolved"
            y, colour = rows.add(rung["rung"], open_), GREY if open_ else palette.get(rung["rung"], INK)
            marker = {"size": 11, "symbol": SYMBOLS[standing], "color": "white" if open_ else colour}
            marker["line"] = {"color": colour if open_ else "white", "width": 2}
            hover = (
                f"{text(_place(ladder))}<br>{text(treatment)} − {text(rung['rung'])}: <b>{limits[1]:+.3g}</b> "
                f"[{limits[0]:+.3g}, {limits[2]:+.3g}]<br>{standing}: p {rung['p_explains']:.2g} of the margin or "
                f"more, {rung['p_differs']:.2g} of no difference<extra></extra>"
            )
            whisker(figure, y, limits, colour, marker=marker, hover=hover)
    unit = "percentage points of accuracy" if scale == 100 else ladders[0]["metric"].replace("_", " ")
    rowwise(figure, rows, f"gain of {treatment}, {unit}")
    pad = 0.04 * (max(ends) - min(ends))
    low, high = min(ends) - pad, max(ends) + pad
    figure.add_vrect(low, margin * scale, fillcolor=BAND, opacity=0.1, line_width=0, layer="below")
    figure.update_xaxes(range=[low, high], zeroline=True, zerolinecolor=INK, zerolinewidth=1.5)
    upright(figure, margin * scale, f"margin {margin * scale:g}", BAND)
    count = sum(len(ladder["rungs"]) for ladder in ladders)
    return plot(figure, element, f"Gains over {count} controls with the margin that counts as none", rows.height + 20)


def _place(ladder: Mapping[str, Any]) -> str:
    return " · ".join([ladder["task"], *ladder["labels"].values()])


def _numbers(ladders: Sequence[Mapping[str, Any]], treatment: str) -> str:
    rows: list[tuple[str, Sequence[str]]] = []
    scale = 100.0 if ladders[0]["metric"] == "accuracy" else 1.0
    level = ladders[0]["rungs"][0]["equivalence"]["interval"]["level"]
    for ladder in ladders:
        rows.append(("task", [f"<b>{escape(_place(ladder))}</b>"]))
        for rung in ladder["rungs"]:
            found, open_ = rung["equivalence"]["interval"], rung["standing"] == "unresolved"
            low, gain, high = (_signed(scale * found[which]) for which in ("low", "estimate", "high"))
            more = "" if rung["more_seeds"] is None else f"{rung['more_seeds']}"
            highest = rung["rung"] == ladder["verdict"]
            name = f"<b>{escape(rung['rung'])}</b>" if highest else escape(rung["rung"])
            standing = f"<b>{rung['standing']}, the highest</b>" if highest else rung["standing"]
            cells = [name, gain, f"[{low}, {high}]", p_value(rung["p_explains"]), p_value(rung["p_differs"]), more]
            rows.append(("open" if open_ else "", [*cells, standing]))
    head = [f"gain of {escape(treatment)} over", "", f"{100 * level:g}\u00a0% interval", "p, margin or more (Holm)"]
    return table([*head, "p, none (Holm)", "more seeds would tell", "standing"], rows)


def _signed(value: float) -> str:
    size = f"{abs(value):.1f}" if abs(value) >= 1 else f"{abs(value):.2g}"
    return ("−" if value < 0 else "+") + size
