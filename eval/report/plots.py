"""The figures of a report, as Plotly JSON."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.report.evidence import Arm, Comparison, Evidence, Lock, Model

# From Okabe and Ito's and Tol's palettes, which colour-blind readers tell apart, without what is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#882255", "#C98500", "#56B4E9", "#CC79A7", "#332288")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
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


def forest(comparisons: Sequence[Comparison], palette: Mapping[str, str], element: str) -> Plot:
    """Differences with both intervals, a block for each task; colour is the control, grey is not established.

    All comparisons must share axis and metric, so that they share a scale.
    """
    go = _plotly()
    rows = _Rows()
    figure = go.Figure()
    for task, block in blocks(comparisons).items():
        rows.head(task)
        for name, each in block:
            delta, scale, dim = each.delta, each.scale, each.verdict == "not established"
            y = rows.add(name, dim)
            colour = GREY if dim else palette[delta.control]
            hover = (
                f"{_text(task)}<br>{_text(name)}<br><b>{each.signed(delta.estimate)}</b>"
                f" {each.between(delta.interval)} over seeds and items<br>"
                f"{each.between(delta.these_models)} these models<br>"
                f"p = {delta.p:.2g}, Holm {each.holm:.2g}: {each.verdict}<extra></extra>"
            )
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
    unit = (
        "percentage points of accuracy"
        if comparisons[0].scale == 100
        else comparisons[0].delta.metric.replace("_", " ")
    )
    _rowwise(figure, rows, f"difference, {unit}")
    figure.update_xaxes(zeroline=True, zerolinecolor=INK, zerolinewidth=1.5, rangemode="tozero")
    return _plot(figure, element, f"Forest plot of {len(comparisons)} differences with their intervals", rows.height)


def accuracies(arms: Sequence[Arm], axis: str, palette: Mapping[str, str], element: str) -> Plot:
    """Mean score of each arm of one task with its interval, a small mark for each seed, chance as a dashed line."""
    go = _plotly()
    rows = _Rows()
    figure = go.Figure()
    scale = arms[0].scale
    for name, arm in zip(arm_names(arms, axis), arms, strict=True):
        record, y = arm.record, rows.add(name)
        colour = palette.get(record["labels"].get(axis, ""), GREY)
        found = {key: scale * record["mean"][key] for key in ("estimate", "low", "high")}
        figure.add_scatter(
            x=[scale * value for value in record["per_seed"]],
            y=[y + 0.3] * len(record["per_seed"]),
            mode="markers",
            marker={"symbol": "line-ns", "size": 7, "line": {"width": 1.5, "color": colour}},
            customdata=record["seeds"],
            hovertemplate="seed %{customdata}: %{x:.4g}<extra></extra>",
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
            hovertemplate=f"{_text(name)}<br><b>{found['estimate']:.4g}</b>"
            f" [{found['low']:.4g}, {found['high']:.4g}]<extra></extra>",
        )
    unit = "accuracy, %" if scale == 100 else arms[0].record["metric"].replace("_", " ")
    _rowwise(figure, rows, unit)
    for chance in sorted({arm.record["chance"] for arm in arms if arm.record.get("chance") is not None}):
        figure.add_vline(scale * chance, line={"color": INK, "width": 1.2, "dash": "dash"})
        figure.add_annotation(
            x=scale * chance, y=1, yref="paper", yanchor="bottom", text="chance", showarrow=False, font={"size": 12}
        )
    return _plot(figure, element, f"Scores of {len(arms)} arms with their intervals", rows.height + 20)


def losses(source: str, models: Sequence[Model], evidence: Evidence, palette: Mapping[str, str], name: str) -> Plot:
    """Bits per byte of one source's held-out text against tokens read: a colour a group, a line a seed."""
    go = _plotly()
    figure = go.Figure()
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
            constraintext="inside",
            hovertemplate=f"{_text(source)}: %{{x:.2f}} %<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.3, margin={"l": 8, "r": 8, "t": 4, "b": 44}, showlegend=True)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "xref": "container", "y": 0, "yref": "container", "traceorder": "normal"}
    )
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    figure.update_xaxes(range=[0, 100], showgrid=False, showticklabels=False, zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(mixtures))),
        ticktext=[_text(each) for each in names],
        autorange="reversed",
        automargin=True,
    )
    return _plot(figure, name, f"Shares of the sources in {len(mixtures)} mixtures", 100 + 62 * len(mixtures))


def blocks(comparisons: Iterable[Comparison]) -> dict[str, list[tuple[str, Comparison]]]:
    """Comparisons by task, each named by what tells it from the others of its task."""
    every = list(comparisons)
    several = len({each.delta.trained for each in every}) > 1
    found: dict[str, list[Comparison]] = {}
    for each in every:
        trained = f" ({each.delta.trained} trained)" if several else ""
        found.setdefault(each.delta.task + trained, []).append(each)
    return {
        task: [
            (" · ".join([*place, f"{each.delta.treatment} − {each.delta.control}"]), each)
            for place, each in zip(_places([each.delta.labels for each in block]), block, strict=True)
        ]
        for task, block in found.items()
    }


def arm_names(arms: Sequence[Arm], axis: str) -> list[str]:
    """What tells the arms of one task apart: their place on `axis` and on whatever else varies."""
    several = len({arm.record["trained"] for arm in arms}) > 1
    places = _places([arm.record["labels"] for arm in arms], axis)
    return [" · ".join([*place, *[arm.record["trained"]] * several]) for place, arm in zip(places, arms, strict=True)]


def _places(labels: Sequence[Mapping[str, str]], axis: str = "") -> list[list[str]]:
    shown = {key for each in labels for key in each if len({other.get(key) for other in labels}) > 1} | {axis}
    return [[value for key, value in each.items() if key in shown] for each in labels]


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

    def add(self, name: str, grey: bool = False) -> float:
        self.names.append(name)
        self.at.append(self.end)
        self.grey.append(grey)
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
    figure.update_layout(margin={"l": 8, "r": 14, "t": 18, "b": 48}, meta={"rows": True})
    figure.update_xaxes(
        title={"text": _text(title), "standoff": 8, "font": {"size": 13}}, gridcolor=GRID, automargin=True, nticks=8
    )
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
