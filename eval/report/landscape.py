"""The section of responses: figures over the shares of a mixture, where they are best, and what to run next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from eval.report.figures import GREY, INK, Plot, Rows, empty, plot, rowwise, slug, text, upright, whisker
from eval.report.sheet import Sheet, key, p_value, table
from eval.report.surfaces import BEST, BEYOND, LINE, NEXT, SCORES, surface
from eval.report.words import listing, plural
from eval.response.landscape import MEAN

if TYPE_CHECKING:
    from eval.report.evidence import Evidence, Result

Found = Mapping[str, Any]  # a figure of landscape.json
ORDERS = ("quadratic", "linear", "constant")
HALVES = (("early", "#56B4E9", -0.17), ("late", "#332288", 0.17))  # of a share's range: colour, and place on the row


def section(sheet: Sheet) -> str:
    """For each study its surface, the verdict on every share, the runs to do next, and all figures beside it."""
    return "".join(_study(sheet, each) for each in sheet.evidence.landscapes)


def verdicts(evidence: Evidence) -> list[tuple[str, bool]]:
    """Of each study's chosen figure: the optimum and the response to every share, and whether it is established."""
    return [
        (f"{_chosen(each)['called']}: {words}", shown)
        for each in evidence.landscapes
        for words, shown in _sentences(_chosen(each))
    ]


def _chosen(each: Result) -> Found:
    found: Found = each.record["figures"][each.record["of"]]
    return found


def _sentences(found: Found) -> Iterator[tuple[str, bool]]:
    """What is said of a figure, and whether it is established."""
    if best := found.get("optimum"):
        yield best["sentence"], _settled(found)
        if not found["predicts"]:
            yield MEAN, False
    for each in found["responses"].values():
        yield each["sentence"], each["verdict"] != "not resolvable"
    yield from ((each, False) for each in found["unsaid"])


def _settled(found: Found) -> bool:
    """Whether a figure's optimum lies among what was mixed: its surface predicts, and all that may be it is inside."""
    return bool(found["predicts"] and found["optimum"]["settled"])


def _study(sheet: Sheet, each: Result) -> str:
    record, found, of = each.record, _chosen(each), each.record["of"]
    others = [figure for name, figure in record["figures"].items() if name != of]
    level = f"{100 * record['level']:g}\u00a0%"
    said = "".join(f"<li{'' if ok else ' class=open'}>{escape(words)}</li>" for words, ok in _sentences(found))
    parts = [
        f"<h3>{escape(found['called'])} over {escape(listing(found['names']))}</h3>",
        f"<p class='facts'>{_design(record)}</p>",
    ]
    element = slug("response", each.card[:8], of)
    if large := surface(found, element):
        caption = f"{_caption(found, level)} {sheet.cards([each.card])}"
        parts.append(sheet.figure([large], caption, _legend(found)))
    else:
        parts.append(f"<p class='facts'>{plural(len(found['names']), 'share')} vary: no map of them can be drawn, the "
                     f"tables have all that is known. {sheet.cards([each.card])}</p>")  # fmt: skip
    parts += [f"<ul class='verdicts'>{said}</ul>", _further(found)]
    small = [surface(other, slug("response", each.card[:8], other["called"]), False) for other in others]
    if drawn := [one for one in small if one]:
        parts.append(sheet.figure(drawn, "The other figures over the same shares, each with a scale of its own."))
    if any(figure["responses"] for figure in record["figures"].values()):
        slopes = _slopes(record, slug("slopes", each.card[:8]))
        caption = (
            f"What ten points more of a share bring, in its lower and its upper half, with {level} intervals; the "
            "other shares fixed. Filled: the interval leaves 0 out. Both right of 0: it still helps. Right of 0 only "
            "below the middle: saturating. Right of 0 below and left of it above: peaked."
        )
        legend = [key("dot", "lower half", HALVES[0][1]), key("dot", "upper half", HALVES[1][1])]
        legend.append(key("ring", "not established", GREY))
        parts += [sheet.figure([slopes], caption, legend), _responses(record)]
    return "".join([*parts, _fits(record), _points(record)])


def _design(record: Found) -> str:
    """How much was run, and what was not varied."""
    found = record["figures"][record["of"]]
    said = [f"{plural(found['mixtures'], 'mixture')}, {plural(found['runs'], 'run')}"]
    said += [f"{name} fixed at {share:g}\u00a0%" for name, share in record["held"].items()]
    said += [f"{record['rest']} is what they leave"] * bool(record["rest"])
    return escape(" · ".join(said))


def _caption(found: Found, level: str) -> str:
    best, two = found.get("optimum"), len(found["names"]) == 2
    if best is None:
        return "The runs alone: no surface can be fitted to them."
    said = ["A quadratic surface of the shares, fitted to the means of mixtures."]
    if two:
        said.append(
            "Dots have the colour of what was scored, the ground that of what is fitted; the nearer, the better."
        )
    else:
        said.append(f"Band: {level} interval of the fitted line, point by point. Hollow dots are single runs.")
    if best["part"] == 1:
        said.append("Any mixture may be the optimum: none is significantly worse than another.")
    else:
        where = "within the dark line" if two else "shaded"
        said.append(f"Any mixture {where} may be the optimum ({level}, tested jointly); ")
        said[-1] += "whiskers take each share by itself." if two else "the whisker is that of resampled lines."
    if best["place"] != "inside":
        said.append("It is highest where mixing stops, which is no optimum of its own.")
    elif not best["settled"]:
        said.append("They reach the border, so better ones may lie beyond what was mixed.")
    if not found["predicts"]:
        said.append("Grey: it predicts mixtures it has not seen no better than their mean does. Do not use it.")
    return " ".join(said)


def _legend(found: Found) -> list[str]:
    two, best = len(found["names"]) == 2, found.get("optimum")
    said = [key("dot", "a mixture that was run", SCORES[-1] if two else INK)]
    if best:
        inside, colour = best["place"] == "inside", BEST if found["predicts"] else "#6a7178"
        words = "fitted optimum" if inside else "highest, on the border"
        said.append(key("diamond", words, colour) if inside else f"<span>◇ {words}</span>")
        if best["part"] < 1:
            said.append(key("line", "may be the optimum", INK) if two else key("band", "may be the optimum", BEST))
        said += [key("thick", "outside the runs", BEYOND)] if two else [key("line", "fitted", LINE)]
    if found.get("proposals"):
        said.append(f'<span><b style="color:{NEXT}">✕</b> further run, proposed</span>')
    return said


def _further(found: Found) -> str:
    """The proposed runs as a table."""
    proposals = found.get("proposals")
    if not proposals:
        return ""
    head = ["further run", *(f"{escape(name)}, %" for name in proposals["mixtures"][0]), "repeats"]
    rows: list[tuple[str, Sequence[str]]] = [
        ("", [f"next{place + 1}", *(f"{share:.4g}" for share in each.values()), f"{proposals['repeats']}"])
        for place, each in enumerate(proposals["mixtures"])
    ]
    note = " Chosen by a surface that does not predict: mixtures far from these may tell as much."
    words = escape(proposals["sentence"]) + ("" if found["predicts"] else note)
    return f"<p class='facts'>{words} As axes of a recipe: next.yaml.</p>" + table(head, rows)


def _slopes(record: Found, element: str) -> Plot:
    """A block a share, a row a figure, on it the slopes in the lower and upper half of the share's range."""
    rows, figure = Rows(), empty()
    figures = record["figures"]
    for share in record["figures"][record["of"]]["names"]:
        known = {each["called"]: each["responses"][share] for each in figures.values() if share in each["responses"]}
        if not known:
            continue
        middle = 50 * sum(next(iter(known.values()))[end] for end in ("low", "high"))
        rows.head(f"{share}, below and above {middle:g} %")
        for name, found in known.items():
            y = rows.add(name, found["verdict"] == "not resolvable")
            for half, own, shift in HALVES:
                low, slope, high = (found[half][end] / 10 for end in ("low", "estimate", "high"))
                shown = low > 0 or high < 0
                colour = own if shown else GREY
                marker = {"size": 9, "color": own if shown else "white", "line": {"color": own, "width": 1.8}}
                hover = f"{text(name)}, {half} half of {text(share)}<br><b>{slope:+.2f}</b> [{low:+.2f}, {high:+.2f}]"
                hover += f" per 10 points<br>{found['verdict']}<extra></extra>"
                whisker(figure, y + shift, (low, slope, high), colour, marker=marker, hover=hover)
    rowwise(figure, rows, "points gained per 10 points of share")
    figure.update_xaxes(zeroline=False)
    upright(figure, 0.0, "no change")
    return plot(figure, element, "How figures change with each share, in its lower and upper half", rows.height + 20)


def _responses(record: Found) -> str:
    rows: list[tuple[str, Sequence[str]]] = []
    for figure in record["figures"].values():
        for share, found in figure["responses"].items():
            verdict, open_ = found["verdict"], found["verdict"] == "not resolvable"
            if open_:
                verdict += f"; about {found['more_runs']} more runs would tell" if found["more_runs"] else ""
            cells = [f"{escape(figure['called'])} · {escape(share)}", _slope(found["early"]), _slope(found["late"])]
            cells += [p_value(found[f"p_{which}"]) for which in ("change", "bend", "peak")]
            rows.append(("open" if open_ else "", [*cells, verdict]))
    head = ["figure · share", "per 10 points, lower half", "upper half"]
    return table([*head, "p of no change", "of a line", "of no turn", "verdict"], rows)


def _fits(record: Found) -> str:
    """How each figure's surface fits, predicts and peaks."""
    names = record["figures"][record["of"]]["names"]
    fits: list[tuple[str, Sequence[str]]] = []
    peaks: list[tuple[str, Sequence[str]]] = []
    for found in record["figures"].values():
        name, best = found["called"], found.get("optimum")
        if best is None:
            fits.append(("open", [escape(name), *[""] * 6, escape(" ".join(found["unsaid"]))]))
            continue
        cells = [escape(name), *(_number(found["leave_one_out"].get(order)) for order in ORDERS)]
        cells += [_number(found["r2"]), f"{_number(found['noise']['sd'])} ({escape(found['noise']['source'])})"]
        cells.append(p_value(found["lack_of_fit"]["p"]) if found["lack_of_fit"] else "")
        predicts = "better than the mean" if found["predicts"] else "no better than the mean"
        fits.append(("" if found["predicts"] else "open", [*cells, predicts]))
        cells = [escape(name)]
        for share in names:
            low, high = (100 * end for end in best["intervals"][share])
            cells.append(f"{100 * best['shares'][share]:.1f} [{low:.1f}, {high:.1f}]")
            cells.append("{:.0f} to {:.0f}".format(*(100 * end for end in best["region"][share])))
        peaks.append(("" if _settled(found) else "open", [*cells, f"{best['place']}, of a {best['form']}"]))
    head = ["figure", *(f"left-out error, {order}" for order in ORDERS), "R²", "noise of a run (from)"]
    parts = [table([*head, "p, lack of fit", "predicts"], fits)]
    if peaks:
        head = ["figure"]
        for share in names:
            head += [f"best {escape(share)}, %", "may be best"]
        parts.append(table([*head, "place"], peaks))
    return "".join(parts)


def _points(record: Found) -> str:
    """The mixtures that were run and what they scored."""
    figures, names = record["figures"], record["figures"][record["of"]]["names"]
    rows: list[tuple[str, Sequence[str]]] = []
    for place, point in enumerate(figures[record["of"]]["points"]):
        cells = [", ".join(f"{100 * share:.4g}" for share in point["shares"]), f"{len(point['runs'])}"]
        rows.append(("", [*cells, *(f"{figure['points'][place]['mean']:.2f}" for figure in figures.values())]))
    return table(
        [f"{escape(', '.join(names))}, %", "runs", *(f"{escape(figure['called'])}, %" for figure in figures.values())],
        rows,
    )


def _slope(found: Found) -> str:
    low, slope, high = (_signed(found[end] / 10) for end in ("low", "estimate", "high"))
    return f"{slope} [{low}, {high}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{abs(value):.2f}"
