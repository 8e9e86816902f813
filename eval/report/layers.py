"""The section of probes: what each layer holds of raw inputs, beside what goes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.report.figures import GREY, GRID, INK, Plot, empty, plot, slug, text
from eval.report.sheet import Sheet, key, table
from eval.report.words import once, plural
from eval.stats.deltas import Interval, crossed_interval, mean_interval
from presight.errors import PresightError

if TYPE_CHECKING:
    from eval.report.evidence import Evidence, Probed

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy over the layers of models that differ in their seed alone.

    Attributes:
        name: their place on the axes but for the seed.
        layers: which.
        accuracy: of each layer, over seeds and items.
        gains: over what goes in (layer 0), or over chance where that was not probed; all layers allowed for.
        chosen: the layer that validation chooses, by the mean over seeds.
    """

    name: str
    layers: tuple[int, ...]
    accuracy: tuple[Interval, ...]
    gains: tuple[Interval | None, ...]
    chosen: int
    probes: tuple[Probed, ...]

    @classmethod
    def of(cls, name: str, probes: Sequence[Probed]) -> Curve:
        """The curve of several seeds' probes.

        Raises:
            PresightError: they scored other items or layers.
        """
        first = probes[0]
        for each in probes:
            if (each.layers, each.items) != (first.layers, first.items):
                raise PresightError("probes", f"the seeds of {name} have other items or layers", "probe them alike")
        correct = np.stack([each.correct for each in probes], 1).astype(np.float64)  # [layers, seeds, items]
        each_level = 1 - (1 - LEVEL) / max(1, len(first.layers) - (0 in first.layers))
        below = correct[first.layers.index(0)] if 0 in first.layers else None
        chance = np.full(correct.shape[1:], first.record["chance"])
        gains: list[Interval | None] = []
        for layer, row in zip(first.layers, correct, strict=True):
            if layer == 0:
                gains.append(None)
            elif below is not None:
                gains.append(crossed_interval(row, below, first.clusters, each_level))
            else:
                gains.append(crossed_interval(row, chance, first.clusters, each_level))
        held = np.mean([[layer["validation"] for layer in each.record["layers"]] for each in probes], 0)
        accuracy = tuple(mean_interval(row, first.clusters, LEVEL) for row in correct)
        return cls(name, first.layers, accuracy, tuple(gains), int(held.argmax()), tuple(probes))

    def established(self, place: int) -> bool:
        """Whether the layer at that place differs from what goes in."""
        gain = self.gains[place]
        return gain is not None and gain.excludes(0.0)


def curves(evidence: Evidence) -> dict[tuple[str, str], list[Curve]]:
    """All curves, by task and method."""
    groups: dict[tuple[str, str], dict[str, list[Probed]]] = {}
    for each in evidence.probes:
        of = groups.setdefault((each.record["task"], each.record["method"]), {})
        of.setdefault(evidence.place(each.labels), []).append(each)
    return {kind: [Curve.of(name, probes) for name, probes in places.items()] for kind, places in groups.items()}


def section(sheet: Sheet) -> str:
    """A plot and a table for each task and method."""
    return "".join(_task(sheet, *kind, found) for kind, found in curves(sheet.evidence).items())


def _task(sheet: Sheet, task: str, method: str, found: Sequence[Curve]) -> str:
    first = found[0].probes[0].record
    compared = "what goes in (layer 0)" if 0 in found[0].layers else "chance"
    probe = "Linear probes" if method == "linear" else "Nearest neighbours"
    caption = (
        f"{probe} on the frozen features of every layer, {plural(first['items'], 'test item')}; bands are "
        f"{100 * LEVEL:g}\u00a0% intervals over seeds and items. Filled marks: the layer differs from {compared}, all "
        f"layers of a curve allowed for (Bonferroni). {sheet.cards([each.card for c in found for each in c.probes])}"
    )
    legend = [key("line", curve.name, sheet.palette[curve.name]) for curve in found]
    legend += [key("dot", f"differs from {compared}"), key("ring", "not established", GREY)]
    element = slug("layers", task, method)
    head = [
        "layer",
        "accuracy, %",
        f"{100 * LEVEL:g}\u00a0% interval",
        "over layer 0" if 0 in found[0].layers else "over chance",
        "interval",
        "seeds",
        "",
    ]
    rows: list[tuple[str, Sequence[str]]] = []
    for curve in found:
        rows.append(("task", [f"<b>{escape(curve.name)}</b>"]))
        rows += [_row(curve, place) for place in range(len(curve.layers))]
    title = f"<h3>{escape(task)} <small>({escape(first['modality'])}, {escape(method)})</small></h3>"
    return title + sheet.figure([by_layer(found, sheet.palette, element)], caption, legend) + table(head, rows)


def _row(curve: Curve, place: int) -> tuple[str, list[str]]:
    accuracy, gain, layer = curve.accuracy[place], curve.gains[place], curve.layers[place]
    cells = ["0, what goes in" if layer == 0 else f"{layer}", f"{100 * accuracy.estimate:.1f}"]
    cells.append(f"[{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]")
    if gain is None:
        cells += ["", ""]
    else:
        cells += [_signed(gain.estimate), f"[{_signed(gain.low)}, {_signed(gain.high)}]"]
    notes = ["validation’s choice"] * (place == curve.chosen)
    edges = sum(bool(each.record["layers"][place]["edge"]) for each in curve.probes)
    notes += [f"strength on the edge in {edges} of {len(curve.probes)}"] * bool(edges)
    style = "" if gain is None or curve.established(place) else "open"
    return style, [*cells, f"{len(curve.probes)}", "; ".join(notes)]


def by_layer(found: Sequence[Curve], palette: Mapping[str, str], element: str) -> Plot:
    """Accuracy against layer, a colour a place on the axes; marks are filled where the layer adds to what goes in."""
    figure = empty()
    for curve in found:
        colour, layers = palette[curve.name], list(curve.layers)
        low, middle, high = (
            [100 * getattr(each, which) for each in curve.accuracy] for which in ("low", "estimate", "high")
        )
        figure.add_scatter(
            x=[*layers, *reversed(layers)],
            y=[*high, *reversed(low)],
            fill="toself",
            fillcolor=colour,
            opacity=0.13,
            mode="none",
            hoverinfo="skip",
        )
        shown = [None if gain is None else curve.established(place) for place, gain in enumerate(curve.gains)]
        figure.add_scatter(
            x=layers,
            y=middle,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={
                "size": 10,
                "color": [colour if each else "white" for each in shown],
                "line": {"width": 2, "color": [GREY if each is False else colour for each in shown]},
            },
            customdata=list(zip(low, high, strict=True)),
            hovertemplate=f"{text(curve.name)}, layer %{{x}}<br><b>%{{y:.1f}} %</b> [%{{customdata[0]:.1f}}, "
            "%{customdata[1]:.1f}]<extra></extra>",
        )
    for chance in once(f"{100 * curve.probes[0].record['chance']:.4g}" for curve in found):
        figure.add_hline(float(chance), line={"color": INK, "width": 1.2, "dash": "dash"})
        figure.add_annotation(
            x=1, xref="paper", xanchor="right", y=float(chance), yanchor="bottom", text="chance", showarrow=False,
            font={"size": 12},
        )  # fmt: skip
    layers = sorted({layer for curve in found for layer in curve.layers})
    ticks: dict[str, Any] = {}
    if len(layers) <= 14:
        ticks = {"tickvals": layers, "ticktext": ["input" if layer == 0 else f"{layer}" for layer in layers]}
    ends = [100 * end for curve in found for each in curve.accuracy for end in (each.low, each.high)]
    ends += [100 * curve.probes[0].record["chance"] for curve in found]
    pad = 0.05 * (max(ends) - min(ends))
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True}
    figure.update_xaxes(title={"text": "layer", "standoff": 6, "font": {"size": 13}}, **axis, **ticks)
    figure.update_yaxes(
        title={"text": "accuracy, %", "standoff": 6, "font": {"size": 13}},
        range=[min(ends) - pad, max(ends) + pad],
        **axis,
    )
    figure.update_layout(margin={"l": 8, "r": 14, "t": 12, "b": 46})
    return plot(figure, element, f"Accuracy of probes over layers, {plural(len(found), 'curve')}", 340)


def _signed(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{100 * abs(share):.1f}"
