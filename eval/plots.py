"""The figures of a report, as Plotly JSON."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.stats import PriorDelta

if TYPE_CHECKING:
    from eval.report import Arm, Comparison, Evidence, Lock, Model

# Okabe and Ito's colours, which the common colour blindnesses tell apart; their yellow is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B4C9A", "#7F5A1E")
GREY, INK, GRID = "#9aa0a6", "#1f2328", "#e6e8eb"
TINTS = ("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#DDDDDD")  # Tol's light scheme
PATTERNS = ("", "/", ".", "x")  # a second round of tints is told apart by these
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
ROW = 34  # pixels


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure: its element id, what it says to those who cannot see it, its height in pixels, its JSON."""

    name: str
    label: str
    height: int
    json: str


def colours(evidence: Evidence) -> dict[str, str]:
    """One colour for each label, the same in every figure: controls and treatments first, then models' groups."""
    names: dict[str, None] = {}
    for family in evidence.families:
        for each in family.comparisons:
            names |= {each.delta.treatment: None, each.delta.control: None}
    names |= {evidence.group(model): None for model in evidence.models}
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def forest(comparisons: Sequence[Comparison], palette: Mapping[str, str], name: str) -> Plot:
    """Differences with both intervals, a block for each task; colour is the control, grey is not established.

    All comparisons must share axis and metric, so that they share a scale.
    """
    go = _plotly()
    rows = _Rows()
    figure = go.Figure()
    for task in dict.fromkeys(_task(each.delta) for each in comparisons):
        rows.head(task)
        block = [each for each in comparisons if _task(each.delta) == task]
        shown = varying(each.delta.labels for each in block)
        for each in block:
            delta, scale = each.delta, each.scale
            place = [value for axis, value in delta.labels.items() if axis in shown]
            y = rows.add(
                " · ".join([*place, f"{delta.treatment} − {delta.control}"]), open_=each.verdict == "not established"
            )
            colour = GREY if each.verdict == "not established" else palette[delta.control]
            hover = (
                f"{_text(task)}<br>{_text(rows.names[-1])}<br><b>{scale * delta.estimate:+.1f}</b>"
                f" [{scale * delta.interval.low:+.1f}, {scale * delta.interval.high:+.1f}] over seeds and items<br>"
                f"[{scale * delta.these_models.low:+.1f}, {scale * delta.these_models.high:+.1f}] these models<br>"
                f"p = {delta.p:.2g}, Holm {each.holm:.2g}: {each.verdict}<extra></extra>"
            ).replace("-", "−")
            for interval, width, cap in ((delta.interval, 1.6, 5), (delta.these_models, 6, 0)):
                figure.add_scatter(
                    x=[scale * delta.estimate],
                    y=[y],
                    mode="markers",
                    marker={"size": 0.1, "color": colour},
                    error_x={
                        "type": "data",
                        "symmetric": False,
                        "array": [scale * (interval.high - delta.estimate)],
                        "arrayminus": [scale * (delta.estimate - interval.low)],
                        "color": colour,
                        "thickness": width,
                        "width": cap,
                    },
                    hoverinfo="skip",
                )
            figure.add_scatter(
                x=[scale * value for value in delta.per_seed],
                y=[y + 0.3] * len(delta.per_seed),
                mode="markers",
                marker={"symbol": "line-ns", "size": 7, "line": {"width": 1.5, "color": colour}},
                hovertemplate="one seed: %{x:+.1f}<extra></extra>",
            )
            filled = each.verdict == "established"
            figure.add_scatter(
                x=[scale * delta.estimate],
                y=[y],
                mode="markers",
                marker={
                    "size": 11,
                    "symbol": "circle",
                    "color": colour if filled else "white",
                    "line": {"color": colour if not filled else "white", "width": 2},
                },
                hovertemplate=hover,
            )
    unit = "percentage points of accuracy" if comparisons[0].scale == 100 else comparisons[0].delta.metric
    _rowwise(figure, rows, f"difference, {unit}")
    figure.update_xaxes(zeroline=True, zerolinecolor=INK, zerolinewidth=1.5, rangemode="tozero")
    return _plot(figure, name, f"Forest plot of {len(comparisons)} differences with their intervals", rows.height)


def accuracies(arms: Sequence[Arm], axis: str, palette: Mapping[str, str], name: str) -> Plot:
    """Accuracy of each arm of one task with its interval, a small mark for each seed, chance as a dashed line."""
    go = _plotly()
    rows = _Rows()
    figure = go.Figure()
    shown = varying(arm.record["labels"] for arm in arms)
    several = len({arm.record["trained"] for arm in arms}) > 1
    scale = arms[0].scale
    for arm in arms:
        record = arm.record
        place = [value for key, value in record["labels"].items() if key in shown or key == axis]
        y = rows.add(" · ".join([*place, *[record["trained"]] * several]))
        colour = palette.get(record["labels"].get(axis, ""), GREY)
        found = {key: scale * record["accuracy"][key] for key in ("estimate", "low", "high")}
        figure.add_scatter(
            x=[scale * value for value in record["per_seed"]],
            y=[y + 0.3] * len(record["per_seed"]),
            mode="markers",
            marker={"symbol": "line-ns", "size": 7, "line": {"width": 1.5, "color": colour}},
            customdata=record["seeds"],
            hovertemplate="seed %{customdata}: %{x:.1f}<extra></extra>",
        )
        figure.add_scatter(
            x=[found["estimate"]],
            y=[y],
            mode="markers",
            marker={"size": 10, "color": colour},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [found["high"] - found["estimate"]],
                "arrayminus": [found["estimate"] - found["low"]],
                "color": colour,
                "thickness": 1.6,
                "width": 5,
            },
            hovertemplate=f"{_text(rows.names[-1])}<br><b>{found['estimate']:.1f}</b>"
            f" [{found['low']:.1f}, {found['high']:.1f}]<extra></extra>",
        )
    unit = "accuracy, %" if scale == 100 else arms[0].record["metric"]
    _rowwise(figure, rows, unit)
    for chance in sorted({arm.record["chance"] for arm in arms if arm.record.get("chance") is not None}):
        figure.add_vline(scale * chance, line={"color": INK, "width": 1.2, "dash": "dash"})
        figure.add_annotation(
            x=scale * chance, y=1, yref="paper", yanchor="bottom", text="chance", showarrow=False, font={"size": 12}
        )
    return _plot(figure, name, f"Accuracy of {len(arms)} arms with their intervals", rows.height + 20)


def losses(source: str, models: Sequence[Model], evidence: Evidence, palette: Mapping[str, str], name: str) -> Plot:
    """Bits per byte of one source's held-out text against tokens read: a colour for each group, a line for each seed."""
    go = _plotly()
    figure = go.Figure()
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
            marker={"size": 4},
            opacity=0.85,
            hovertemplate=f"{_text(' · '.join(model.labels.values()))}<br>"
            "%{x:.3s} tokens: %{y:.3f} bits per byte<extra></extra>",
        )
    figure.update_layout(
        margin={"l": 44, "r": 8, "t": 26, "b": 30},
        title={"text": f"<b>{_text(source)}</b>", "font": {"size": 13}, "x": 0, "xref": "container", "y": 0.97},
    )
    figure.update_xaxes(type="log", gridcolor=GRID, nticks=5, exponentformat="SI", dtick=1, minor={"ticks": ""})
    figure.update_yaxes(gridcolor=GRID, nticks=5)
    return _plot(figure, name, f"Held-out loss on {source}", 200)


def shares(mixtures: Sequence[Lock], names: Sequence[str], name: str) -> Plot:
    """What each mixture holds, as stacked bars of realised shares."""
    go = _plotly()
    figure = go.Figure()
    given = [{pool["name"]: 100 * pool["realised"] for pool in each.lock["pools"]} for each in mixtures]
    for index, source in enumerate(dict.fromkeys(source for each in given for source in each)):
        x = [each.get(source, 0.0) for each in given]
        figure.add_bar(
            x=x,
            y=list(range(len(mixtures))),
            orientation="h",
            name=_text(source),
            marker={
                "color": TINTS[index % len(TINTS)],
                "line": {"color": "white", "width": 1},
                "pattern": {"shape": PATTERNS[index // len(TINTS) % len(PATTERNS)], "size": 5, "fgcolor": "#555"},
            },
            text=[f"{_text(source)}<br>{value:.3g}" if value >= 4 else "" for value in x],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": INK, "size": 11},
            constraintext="none",
            hovertemplate=f"{_text(source)}: %{{x:.2f}} %<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.3, margin={"l": 8, "r": 8, "t": 4, "b": 44}, showlegend=True)
    figure.update_layout(legend={"orientation": "h", "y": -0.0, "yref": "container", "traceorder": "normal"})
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    figure.update_xaxes(range=[0, 100], showgrid=False, showticklabels=False)
    figure.update_yaxes(
        tickvals=list(range(len(mixtures))),
        ticktext=[_text(each) for each in names],
        autorange="reversed",
        automargin=True,
    )
    return _plot(figure, name, f"Shares of the sources in {len(mixtures)} mixtures", 100 + 62 * len(mixtures))


def varying(labels: Iterable[Mapping[str, str]]) -> set[str]:
    """The axes on which things differ: what a row must be labelled with."""
    seen: dict[str, set[str | None]] = {}
    every = list(labels)
    for axis in {axis for each in every for axis in each}:
        seen[axis] = {each.get(axis) for each in every}
    return {axis for axis, values in seen.items() if len(values) > 1}


def slug(*parts: str) -> str:
    """An element id made of words."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)


class _Rows:
    """Rows of a plot from top to bottom; heads stand over their block."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.at: list[float] = []
        self.grey: list[bool] = []
        self.heads: list[tuple[float, str]] = []
        self.end = 0.0

    def head(self, name: str) -> None:
        self.heads.append((self.end, name))
        self.end += 0.95

    def add(self, name: str, open_: bool = False) -> float:
        self.names.append(name)
        self.at.append(self.end)
        self.grey.append(open_)
        self.end += 1
        return self.at[-1]

    @property
    def height(self) -> int:
        return round(self.end * ROW) + 66


def _rowwise(figure: Any, rows: _Rows, title: str) -> None:
    ticks = [
        f'<span style="color:#6a7178">{_text(name)}</span>' if grey else _text(name)
        for name, grey in zip(rows.names, rows.grey, strict=True)
    ]
    figure.update_layout(margin={"l": 8, "r": 14, "t": 18, "b": 48})
    figure.update_xaxes(title={"text": _text(title), "standoff": 8}, gridcolor=GRID, automargin=True, nticks=8)
    figure.update_yaxes(
        tickvals=rows.at,
        ticktext=ticks,
        range=[rows.end - 0.35, -0.6],
        showgrid=False,
        zeroline=False,
        automargin=True,
    )
    for y, name in rows.heads:
        figure.add_annotation(
            x=0, xref="paper", y=y, text=f"<b>{_text(name)}</b>", showarrow=False, xanchor="left", bgcolor="white"
        )


def _task(delta: PriorDelta) -> str:
    return f"{delta.task} ({delta.trained} trained)" if delta.trained else delta.task


def _text(text: str) -> str:
    """Plotly reads a little HTML in its texts."""
    return html.escape(text, quote=False)


def _plotly() -> Any:
    import plotly.graph_objects

    return plotly.graph_objects


def _plot(figure: Any, name: str, label: str, height: int) -> Plot:
    layout = {
        "template": "none",
        "height": height,
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "dragmode": False,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "white", "font": {"size": 12, "color": INK}, "align": "left"},
    }
    figure.update_layout(layout)
    if figure.layout.showlegend is None:
        figure.update_layout(showlegend=False)
    return Plot(name, label, height, figure.to_json())
