"""Plots of a fitted surface with the runs behind it: a map over two shares, a line over one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.figures import GREY, INK, Plot, axes, empty, heading, plot, text

SCORES, UNTRUSTED = ("#fbfcfd", "#b3d3ea", "#4b9acb"), ("#fbfbfc", "#e0e3e6", "#b4bac1")
BEYOND, BEST, NEXT, LINE = "#e6e8eb", "#D55E00", "#882255", "#0072B2"
Found = Mapping[str, Any]  # a figure of landscape.json


def surface(found: Found, element: str, large: bool = True) -> Plot | None:
    """The surface of a figure over its shares; None where more than two of them vary.

    Where it predicts no better than the mean of all runs it is grey.

    Args:
        found: of ``landscape.json``.
        element: id of the plot.
        large: else one of several small ones, under its name.
    """
    drawn = {1: _line, 2: _map}.get(len(found["names"]))
    if drawn is None:
        return None
    figure, name = empty(), found["called"]
    drawn(figure, found, name, large)
    if not large:
        heading(figure, name if _trusted(found) else f"{name}: not established")
        figure.update_layout(margin={"l": 6, "r": 8, "b": 40})
    shares = " and ".join(found["names"])
    return plot(figure, element, f"{name} over {shares}: {found['mixtures']} mixtures", 470 if large else 250)


def _map(figure: Any, found: Found, name: str, large: bool) -> None:
    first, second = found["names"]
    raster, points = found.get("raster"), found["points"]
    x, y = ([100 * point["shares"][place] for point in points] for place in (0, 1))
    means = [point["mean"] for point in points]
    fitted = [value for row in _within(raster, "value") for value in row if value is not None] if raster else []
    low, high = min([*means, *fitted]), max([*means, *fitted])
    shades = SCORES if _trusted(found) else UNTRUSTED
    colours = [[place / (len(shades) - 1), colour] for place, colour in enumerate(shades)]
    edges = [_reach(values) for values in (x, y)]
    if raster:
        _ground(figure, raster, found["names"], {"colorscale": colours, "zmin": low, "zmax": high}, large)
        _outside(figure, raster["hull"], edges)
    if large:
        bar = {"orientation": "h", "thickness": 10, "y": 1.0, "yref": "container", "yanchor": "top"}
        bar |= {
            "title": {"text": f"{text(name)}, %", "side": "top"},
            "len": 0.6,
            "x": 0.5,
            "xanchor": "center",
            "outlinewidth": 0,
            "nticks": 6,
        }
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers+text" if large else "markers",
        text=[f"{mean:.1f}" for mean in means],
        textposition="top center",
        textfont={"size": 11, "color": INK},
        marker={
            "size": 12 if large else 8,
            "color": means,
            "cmin": low,
            "cmax": high,
            "colorscale": colours,
            "line": {"color": INK, "width": 1},
            **({"colorbar": bar, "showscale": True} if large else {}),
        },
        customdata=[[_runs(point["runs"])] for point in points],
        hovertemplate=f"{text(first)} %{{x:.3g}} %, {text(second)} %{{y:.3g}} %<br>"
        "<b>%{marker.color:.2f} %</b>, %{customdata[0]}<extra></extra>",
    )
    _further(figure, found, lambda shares: shares)
    if best := found.get("optimum"):
        at = [100 * best["shares"][share] for share in found["names"]]
        errors = [_whisker(best, share, _colour(found)) for share in found["names"]]
        _best(figure, found, at, {"error_x": errors[0], "error_y": errors[1]}, large)
    axes(figure, f"{first}, %", f"{second}, %")
    figure.update_xaxes(range=edges[0], showgrid=not raster)
    figure.update_yaxes(range=edges[1], showgrid=not raster)
    if large:
        figure.update_layout(margin={"t": 66})


def _ground(figure: Any, raster: Found, names: Sequence[str], scale: Mapping[str, Any], large: bool) -> None:
    """The surface itself, the border of what may be its optimum, and what is said where one points."""
    x, y = ([100 * share for share in shares] for shares in raster["axes"])
    figure.add_contour(
        x=x,
        y=y,
        z=raster["value"],
        contours={"coloring": "heatmap", "showlabels": not large, "labelfont": {"size": 10, "color": INK}},
        line={"color": "rgba(255,255,255,.85)", "width": 1},
        ncontours=12 if large else 7,
        showscale=False,
        hoverinfo="skip",
        **scale,
    )
    figure.add_contour(
        x=x,
        y=y,
        z=raster["excess"],
        contours={"coloring": "none", "start": 0, "end": 0, "size": 1},
        line={"color": INK, "width": 2.5 if large else 1.8},
        showscale=False,
        hoverinfo="skip",
    )
    limits = zip(raster["low"], raster["high"], raster["excess"], strict=True)
    figure.add_heatmap(
        x=x,
        y=y,
        z=_within(raster, "value"),
        customdata=[
            [
                [low, high, f"{'may be' if surely is not None and surely <= 0 else 'not'} the optimum"]
                for low, high, surely in zip(*rows, strict=True)
            ]
            for rows in limits
        ],
        hovertemplate=f"{text(names[0])} %{{x:.3g}} %, {text(names[1])} %{{y:.3g}} %<br>surface %{{z:.2f}} % "
        "[%{customdata[0]:.2f}, %{customdata[1]:.2f}]<br>%{customdata[2]}<extra></extra>",
        hoverongaps=False,
        opacity=0,
        showscale=False,
    )


def _outside(figure: Any, hull: Sequence[Sequence[float]], edges: Sequence[Sequence[float]]) -> None:
    """Cover what lies outside the hull: round the plot one way, then round the hull the other."""
    (left, right), (bottom, top) = edges
    corners = [[100 * share for share in corner] for corner in [*hull, hull[0]]]
    frame = [[left, bottom], [left, top], [right, top], [right, bottom], [left, bottom]]
    path = [*frame, *corners, frame[0]]
    figure.add_scatter(
        x=[x for x, _ in path],
        y=[y for _, y in path],
        fill="toself",
        fillcolor=BEYOND,
        mode="none",
        hoverinfo="skip",
    )


def _line(figure: Any, found: Found, name: str, large: bool) -> None:
    (share,) = found["names"]
    raster, points, colour = found.get("raster"), found["points"], LINE if _trusted(found) else GREY
    if raster:
        x = [100 * each for each in raster["axes"][0]]
        for start, end in _spans(x, raster["excess"]):
            figure.add_vrect(start, end, fillcolor=BEST, opacity=0.1, line_width=0, layer="below")
        band = {"fill": "toself", "fillcolor": colour, "opacity": 0.15, "mode": "none", "hoverinfo": "skip"}
        figure.add_scatter(x=[*x, *reversed(x)], y=[*raster["high"], *reversed(raster["low"])], **band)
        figure.add_scatter(
            x=x,
            y=raster["value"],
            mode="lines",
            line={"color": colour, "width": 2.2},
            customdata=list(zip(raster["low"], raster["high"], strict=True)),
            hovertemplate=f"{text(share)} %{{x:.3g}} %<br>fitted <b>%{{y:.2f}} %</b> "
            "[%{customdata[0]:.2f}, %{customdata[1]:.2f}]<extra></extra>",
        )
    single = [(100 * point["shares"][0], run) for point in points for run in point["runs"] if len(point["runs"]) > 1]
    figure.add_scatter(
        x=[at for at, _ in single],
        y=[run for _, run in single],
        mode="markers",
        marker={"size": 6, "color": "white", "line": {"color": INK, "width": 1}},
        hovertemplate="one run: %{y:.2f} %<extra></extra>",
    )
    figure.add_scatter(
        x=[100 * point["shares"][0] for point in points],
        y=[point["mean"] for point in points],
        mode="markers",
        marker={"size": 10 if large else 8, "color": INK, "line": {"color": "white", "width": 1.5}},
        customdata=[[_runs(point["runs"])] for point in points],
        hovertemplate=f"{text(share)} %{{x:.3g}} %<br><b>%{{y:.2f}} %</b>, %{{customdata[0]}}<extra></extra>",
    )
    floor = min([run for _, run in single] + [p["mean"] for p in points] + (raster["low"] if raster else []))
    _further(figure, found, lambda shares: [*shares, floor])
    if best := found.get("optimum"):
        at = [100 * best["shares"][share], best["value"]]
        _best(figure, found, at, {"error_x": _whisker(best, share, _colour(found))}, large)
    axes(figure, f"{share}, %", f"{name}, %" if large else "%")


def _best(figure: Any, found: Found, at: Sequence[float], errors: Mapping[str, Any], large: bool) -> None:
    """The optimum: filled inside, hollow on the border, where it is only the end of what was mixed."""
    inside, colour = found["optimum"]["place"] == "inside", _colour(found)
    place = "fitted optimum, inside" if inside else f"highest on the border ({found['optimum']['place']})"
    figure.add_scatter(
        x=[at[0]],
        y=[at[1]],
        mode="markers",
        marker={
            "symbol": "diamond",
            "size": 14 if large else 10,
            "color": colour if inside else "white",
            "line": {"color": "white" if inside else colour, "width": 1.5 if inside else 2.5},
        },
        hovertemplate=f"{place}<br>" + "%{x:.1f} %: surface " + f"{found['optimum']['value']:.2f} %<extra></extra>",
        **errors,
    )


def _further(figure: Any, found: Found, placed: Any) -> None:
    """The proposed runs as crosses; `placed` gives the place of shares on the plot."""
    if not found.get("proposals"):
        return
    at = [placed([100 * share for share in shares]) for shares in found["proposals"]["shares"]]
    figure.add_scatter(
        x=[x for x, _ in at],
        y=[y for _, y in at],
        mode="markers",
        marker={"symbol": "x-thin", "size": 11, "line": {"color": NEXT, "width": 3}},
        customdata=[[f"next{place + 1}"] for place in range(len(at))],
        hovertemplate=f"further run %{{customdata[0]}}, {text(found['names'][0])} %{{x:.3g}} %<extra></extra>",
    )


def _whisker(best: Found, share: str, colour: str) -> dict[str, Any]:
    low, high = (100 * end for end in best["intervals"][share])
    at = 100 * best["shares"][share]
    ends = {"array": [max(high - at, 0.0)], "arrayminus": [max(at - low, 0.0)]}
    return {"type": "data", "symmetric": False, "color": colour, "thickness": 1.8, "width": 5, **ends}


def _trusted(found: Found) -> bool:
    return bool(found.get("predicts"))


def _colour(found: Found) -> str:
    return BEST if _trusted(found) else "#6a7178"


def _within(raster: Found, which: str) -> list[list[float | None]]:
    """Values of a map, without those outside the hull of the runs."""
    rows = zip(raster[which], raster["inside"], strict=True)
    return [[value if inside else None for value, inside in zip(*row, strict=True)] for row in rows]


def _reach(values: Sequence[float]) -> list[float]:
    pad = 0.07 * (max(values) - min(values))
    return [min(values) - pad, max(values) + pad]


def _spans(x: Sequence[float], excess: Sequence[float]) -> list[tuple[float, float]]:
    """Stretches of x over which the excess is 0 or below, their ends where it crosses."""
    found, start = [], x[0] if excess[0] <= 0 else None
    for a, b, one, other in zip(x, x[1:], excess, excess[1:], strict=False):
        if (one <= 0) == (other <= 0):
            continue
        crossing = a + (b - a) * one / (one - other)
        if start is None:
            start = crossing
        else:
            found.append((start, crossing))
            start = None
    return found if start is None else [*found, (start, x[-1])]


def _runs(runs: Sequence[float]) -> str:
    return "one run" if len(runs) == 1 else f"mean of {len(runs)} runs: " + ", ".join(f"{run:.2f}" for run in runs)
