"""What all figures of a report share: colours, rows, Plotly's ways, and a figure as JSON."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.report.evidence import Evidence

# From Okabe and Ito's and Tol's palettes, which colour-blind readers tell apart, without what is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#882255", "#C98500", "#56B4E9", "#CC79A7", "#332288")
GREY, INK, GRID = "#9aa0a6", "#1f2328", "#e6e8eb"
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
    for kind in (evidence.models, evidence.alignments, evidence.probes):
        names |= {evidence.place(each.labels): None for each in kind}
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def slug(*parts: str) -> str:
    """An element id made of words; different words may give the same."""
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)


class Rows:
    """Rows of a plot from top to bottom; heads stand over their block."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.at: list[float] = []
        self.grey: list[bool] = []
        self.heads: list[tuple[float, str]] = []
        self.end = 0.0

    def head(self, name: str) -> None:
        """Begin a block."""
        self.heads.append((self.end, name))
        self.end += 0.95

    def add(self, name: str, grey: bool = False) -> float:
        """Add a row; where it lies."""
        self.names.append(name)
        self.at.append(self.end)
        self.grey.append(grey)
        self.end += 1
        return self.at[-1]

    @property
    def height(self) -> int:
        """Of the plot, in pixels."""
        return round(self.end * ROW) + 66


def rowwise(figure: Any, rows: Rows, title: str) -> None:
    """Name the rows on the left, and the axis below; on a phone the page puts names over their rows."""
    ticks = [
        f'<span style="color:#6a7178">{text(name)}</span>' if grey else text(name)
        for name, grey in zip(rows.names, rows.grey, strict=True)
    ]
    figure.update_layout(margin={"l": 8, "r": 14, "t": 18, "b": 48}, meta={"rows": True})
    figure.update_xaxes(
        title={"text": text(title), "standoff": 8, "font": {"size": 13}}, gridcolor=GRID, automargin=True, nticks=8
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
            x=0, xref="paper", y=y, text=f"<b>{text(name)}</b>", showarrow=False, xanchor="left", bgcolor="white"
        )


def whisker(
    figure: Any,
    y: float,
    limits: tuple[float, float, float],
    colour: str,
    width: float = 1.6,
    cap: int = 5,
    marker: Mapping[str, Any] | None = None,
    hover: str | None = None,
) -> None:
    """An estimate (low, estimate, high) on a row with its interval; without a marker the interval alone."""
    low, estimate, high = limits
    figure.add_scatter(
        x=[estimate],
        y=[y],
        mode="markers",
        marker={"size": 0.1, "color": colour} if marker is None else dict(marker),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - estimate],
            "arrayminus": [estimate - low],
            "color": colour,
            "thickness": width,
            "width": cap,
        },
        **({"hoverinfo": "skip"} if hover is None else {"hovertemplate": hover}),
    )


def ticks(figure: Any, y: float, values: Sequence[float], colour: str, hover: str, names: Sequence[str] = ()) -> None:
    """A small mark below a row for each of the values, as of single seeds; hover text may use ``%{customdata}``."""
    figure.add_scatter(
        x=list(values),
        y=[y + 0.3] * len(values),
        mode="markers",
        marker={"symbol": "line-ns", "size": 7, "line": {"width": 1.5, "color": colour}},
        customdata=list(names) or None,
        hovertemplate=hover,
    )


def upright(figure: Any, x: float, words: str, colour: str = INK) -> None:
    """A dashed line across all rows, named at its top."""
    figure.add_vline(x, line={"color": colour, "width": 1.2, "dash": "dash"})
    figure.add_annotation(
        x=x, y=1, yref="paper", yanchor="bottom", text=text(words), showarrow=False, font={"size": 12}
    )


def axes(figure: Any, across: str, up: str) -> None:
    """Name both axes of a plot of numbers against numbers."""
    for axis, words in ((figure.update_xaxes, across), (figure.update_yaxes, up)):
        axis(
            title={"text": text(words), "standoff": 6, "font": {"size": 13}},
            gridcolor=GRID,
            zeroline=False,
            automargin=True,
            nticks=8,
        )
    figure.update_layout(margin={"l": 8, "r": 14, "t": 12, "b": 46})


def heading(figure: Any, words: str) -> None:
    """Name one of several small plots at its top."""
    figure.update_layout(
        title={"text": f"<b>{text(words)}</b>", "font": {"size": 13}, "x": 0, "xref": "container", "y": 0.97},
        margin={"t": 28},
    )


def text(words: str) -> str:
    """Plotly reads a little HTML in its texts."""
    return html.escape(words, quote=False)


def empty() -> Any:
    """A figure without anything."""
    import plotly.graph_objects

    return plotly.graph_objects.Figure()


def plot(figure: Any, name: str, label: str, height: int) -> Plot:
    """A figure as the page shows it."""
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
