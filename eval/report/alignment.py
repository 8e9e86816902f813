"""The section of alignment: neighbours that captions and images share, beside what unpaired ones would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from eval.report.figures import GREY, Plot, Rows, empty, plot, rowwise, slug, text, upright, whisker
from eval.report.sheet import Sheet, key, p_value, table
from eval.report.words import once, plural
from eval.stats.deltas import holm

if TYPE_CHECKING:
    from eval.report.evidence import Evidence, Result

LEVEL = 0.95
Judged = tuple["Result", float]  # an alignment with its p, adjusted for all others


def section(sheet: Sheet) -> str:
    """A plot and a table for all alignments of as many pairs and neighbours."""
    groups: dict[tuple[int, int], list[Judged]] = {}
    for each, p in judged(sheet.evidence):
        groups.setdefault((each.record["items"], each.record["k"]), []).append((each, p))
    return "".join(_group(sheet, found) for found in groups.values())


def judged(evidence: Evidence) -> list[Judged]:
    """The alignments, each with its p by Holm for all of them together; by place, then seed."""
    every = sorted(evidence.alignments, key=lambda each: _order(evidence, each))
    if not every:
        return []
    return [(each, float(p)) for each, p in zip(every, holm([each.record["p"] for each in every]), strict=True)]


def verdicts(evidence: Evidence) -> list[tuple[str, bool]]:
    """A sentence for each place on the axes, and whether all its seeds lie above their null."""
    groups: dict[str, list[Judged]] = {}
    for each, p in judged(evidence):
        groups.setdefault(evidence.place(each.labels), []).append((each, p))
    said = []
    for place, found in groups.items():
        shares = [100 * each.record["estimate"] for each, _ in found]
        null = [100 * each.record["quantiles"]["0.5"] for each, _ in found]
        above = sum(p <= 1 - LEVEL for _, p in found)
        seeds = f" in {above} of {plural(len(found), 'model')}" if above and len(found) > 1 else ""
        beyond = f"beyond chance{seeds}" if above else "not established beyond chance"
        mean, by_chance = sum(shares) / len(shares), sum(null) / len(null)
        words = f"{place}: {mean:.1f} % of neighbours shared, {by_chance:.1f} % if unpaired: {beyond}"
        said.append((words, above == len(found)))
    return said


def _order(evidence: Evidence, each: Result) -> tuple[int, str]:
    known = once(evidence.place(other.labels) for other in evidence.alignments)
    return known.index(evidence.place(each.labels)), evidence.seed(each.labels)


def _group(sheet: Sheet, found: Sequence[Judged]) -> str:
    first = found[0][0].record
    encoders = once(name for each, _ in found for name in each.record["tables"])
    caption = (
        f"{plural(first['items'], 'pair')} of caption and image, {first['k']} nearest neighbours: the share that the "
        f"best pair of layers has in common, mean over {', '.join(map(escape, encoders))}. Grey bars: 5 to 95\u00a0% "
        "of the same best share with captions and images dealt out at random, the small mark its median; it exceeds "
        "the chance of one pair of layers because the best of many is taken. Filled: above its null after Holm. "
        "Captions that share words share neighbours in any model: read a model beside its control. "
        f"{sheet.cards([each.card for each, _ in found])}"
    )
    legend = [key("dot", "above its null, also after Holm"), key("ring", "not established", GREY)]
    legend.append(key("thick", "captions and images unpaired", "#c9cdd2"))
    element = slug("alignment", str(first["items"]), str(first["k"]))
    rows = [("" if p <= 1 - LEVEL else "open", _cells(sheet, each, p)) for each, p in found]
    head = ["neighbours shared, %", "", "unpaired, 5 to 95\u00a0%", "chance of one pair", "p", "p, Holm", "z"]
    head += ["calibrated", "best layers: LM × encoder"]
    return sheet.figure([shares(found, sheet.evidence, sheet.palette, element)], caption, legend) + table(head, rows)


def _cells(sheet: Sheet, each: Result, p: float) -> list[str]:
    found, null = each.record, each.record["quantiles"]
    best = ", ".join(f"{lm} × {escape(name)} {eye}" for name, (lm, eye) in found["best"].items())
    return [
        sheet.card(each.card, sheet.evidence.called(each.labels)),
        f"<b>{100 * found['estimate']:.2f}</b>",
        f"{100 * null['0.05']:.2f} to {100 * null['0.95']:.2f}",
        f"{100 * found['chance']:.2f}",
        p_value(found["p"]),
        p_value(p),
        "" if found["z"] is None else f"{found['z']:.1f}",
        f"{100 * found['calibrated']:.2f}",
        best,
    ]


def shares(found: Sequence[Judged], evidence: Evidence, palette: Mapping[str, str], element: str) -> Plot:
    """Each model's share on its null, a bar from its 5th to its 95th percentile; grey rings lie within theirs."""
    rows, figure = Rows(), empty()
    for each, p in found:
        record, shown = each.record, p <= 1 - LEVEL
        name = evidence.called(each.labels)
        y, colour = rows.add(name, not shown), palette[evidence.place(each.labels)]
        low, middle, high = (100 * record["quantiles"][level] for level in ("0.05", "0.5", "0.95"))
        whisker(figure, y, (low, middle, high), "#c9cdd2", 12, 0)
        figure.add_scatter(
            x=[middle],
            y=[y],
            mode="markers",
            marker={"symbol": "line-ns", "size": 7, "line": {"width": 1.5, "color": "#6a7178"}},
            hovertemplate=f"{text(name)}, unpaired: {middle:.2f} % [{low:.2f}, {high:.2f}]<extra></extra>",
        )
        share = 100 * record["estimate"]
        figure.add_scatter(
            x=[share],
            y=[y],
            mode="markers",
            marker={
                "size": 11,
                "color": colour if shown else "white",
                "line": {"color": "white" if shown else GREY, "width": 2},
            },
            hovertemplate=f"{text(name)}<br><b>{share:.2f} %</b>, unpaired {low:.2f} to {high:.2f}<br>"
            f"p = {record['p']:.2g}, Holm {p:.2g}<extra></extra>",
        )
    rowwise(figure, rows, "neighbours shared by the best pair of layers, %")
    figure.update_xaxes(rangemode="tozero")
    for chance in once(f"{100 * each.record['chance']:.6g}" for each, _ in found):
        upright(figure, float(chance), "chance of one pair of layers")
    return plot(figure, element, f"Alignment of {plural(len(found), 'model')} beside its null", rows.height + 20)
