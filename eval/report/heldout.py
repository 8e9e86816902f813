"""The section of held-out loss: small multiples, one a source, and where the curves end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from eval.report.figures import GRID, Plot, empty, plot, slug, text
from eval.report.sheet import Sheet, key, table
from eval.report.words import once, plural, spread

if TYPE_CHECKING:
    from eval.report.evidence import Evidence, Model

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")


def section(sheet: Sheet) -> str:
    """The curves of all models that bring one."""
    evidence = sheet.evidence
    models = [model for model in evidence.models if model.curve]
    if not models:
        return ""
    sources = once(point["source"] for model in models for point in model.curve)
    groups = once(evidence.group(model) for model in models)
    figures = [
        losses(source, models, evidence, sheet.palette, slug("heldout", str(index), source))
        for index, source in enumerate(sources)
    ]
    legend = [key("line", group, sheet.palette[group]) for group in groups]
    start = [point["bits_per_byte"] for model in models for point in model.curve if not point["tokens"]]
    before = f" Before training it is {spread(start, 'bits per byte')} (0 tokens: not on the axis)." if start else ""
    without = len(evidence.models) - len(models)
    caption = (
        "Bits per byte of text that no mixture reads, against tokens read; lower is better. A line is one "
        "pretraining run, a colour one mixture; each panel has its own scale."
        f"{before} {sheet.cards([m.card for m in models])}"
        + (f" {plural(without, 'model')} without curves." if without else "")
    )
    rows = []
    for source in sources:
        ends = []
        for group in groups:
            final = [_end(m, source) for m in models if evidence.group(m) == group]
            known = [value for value in final if value is not None]
            ends.append(
                f"{sum(known) / len(known):.3f} <small>({min(known):.3f} to {max(known):.3f})</small>" if known else ""
            )
        rows.append(("", [escape(source), *ends]))
    head = ["at the end: mean (lowest to highest run)", *map(escape, groups)]
    return sheet.figure(figures, caption, legend) + table(head, rows)


def losses(source: str, models: Sequence[Model], evidence: Evidence, palette: Mapping[str, str], name: str) -> Plot:
    """Bits per byte of one source's held-out text against tokens read: a colour a group, a line a seed."""
    figure = empty()
    groups = list(dict.fromkeys(map(evidence.group, models)))
    for model in models:
        points = [point for point in model.curve if point["source"] == source and point["tokens"]]
        if not points:
            continue
        group = evidence.group(model)
        figure.add_scatter(
            x=[point["tokens"] for point in points],
            y=[point["bits_per_byte"] for point in points],
            mode="lines+markers",
            line={"color": palette[group], "width": 1.5},
            marker={"size": 5, "symbol": SYMBOLS[groups.index(group) % len(SYMBOLS)]},
            opacity=0.85,
            hovertemplate=f"{text(' · '.join(model.labels.values()))}<br>"
            "%{x:.3s} tokens: %{y:.3f} bits per byte<extra></extra>",
        )
    figure.update_layout(
        margin={"l": 44, "r": 8, "t": 26, "b": 30},
        title={"text": f"<b>{text(source)}</b>", "font": {"size": 13}, "x": 0, "xref": "container", "y": 0.97},
    )
    figure.update_xaxes(type="log", gridcolor=GRID, nticks=5, exponentformat="SI", dtick=1, minor={"ticks": ""})
    figure.update_yaxes(gridcolor=GRID, nticks=5)
    return plot(figure, name, f"Held-out loss on {source}", 200)


def _end(model: Model, source: str) -> float | None:
    return next((point["bits_per_byte"] for point in reversed(model.curve) if point["source"] == source), None)
