"""The section of differences: a forest plot and a table for each family of comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from eval.report.evidence import places
from eval.report.figures import GREY, INK, Plot, Rows, empty, plot, rowwise, slug, text, ticks, whisker
from eval.report.sheet import Sheet, key, p_value, table

if TYPE_CHECKING:
    from eval.report.evidence import Comparison, Family

FINDINGS = {
    "established": "established",
    "established alone": "alone, not after Holm",
    "these models": "of these models only",
    "not established": "not established",
}


def section(sheet: Sheet) -> str:
    """All families."""
    return "".join(_family(sheet, family) for family in sheet.evidence.families)


def _family(sheet: Sheet, family: Family) -> str:
    if not family.comparisons:
        return f"<p>Nothing was compared along {escape(family.along)}.</p>"
    treatment = escape(family.treatment)
    controls = list(dict.fromkeys(each.delta.control for each in family.comparisons))
    legend = [key("dot", f"against {control}", sheet.palette[control]) for control in controls]
    legend += [
        key("ring", "alone, not after Holm; or one seed"),
        key("ring", "not established", GREY),
        key("thin", "over seeds and items"),
        key("thick", "these models"),
        key("tick", "one seed"),
    ]
    caption = (
        f"{treatment} less its control on the same items with the same seeds: right of 0, {treatment} scores "
        f"higher. {sheet.cards([family.card])}"
    )
    *most, last = controls
    against = escape(f"{', '.join(most)} and {last}" if most else last)
    parts = [f"<h3>{treatment} against {against}</h3>"]
    for metric in dict.fromkeys(each.delta.metric for each in family.comparisons):
        chosen = [each for each in family.comparisons if each.delta.metric == metric]
        element = slug("forest", family.along, metric, family.card[:8])
        parts.append(sheet.figure([forest(chosen, sheet.palette, element)], caption, legend))
        parts.append(_numbers(chosen))
    words = "".join(f"<li>{escape(each.delta.sentence())}</li>" for each in family.comparisons)
    return "".join(parts) + f"<details><summary>The same in sentences</summary><ul>{words}</ul></details>"


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
            for place, each in zip(places([each.delta.labels for each in block]), block, strict=True)
        ]
        for task, block in found.items()
    }


def forest(comparisons: Sequence[Comparison], palette: Mapping[str, str], element: str) -> Plot:
    """Differences with both intervals, a block for each task; colour is the control, grey is not established.

    All comparisons must share axis and metric, so that they share a scale.
    """
    rows, figure = Rows(), empty()
    for task, block in blocks(comparisons).items():
        rows.head(task)
        for name, each in block:
            delta, scale, dim = each.delta, each.scale, each.verdict == "not established"
            y = rows.add(name, dim)
            colour = GREY if dim else palette[delta.control]
            for interval, width, cap in ((delta.interval, 1.6, 5), (delta.these_models, 6, 0)):
                limits = scale * interval.low, scale * delta.estimate, scale * interval.high
                whisker(figure, y, limits, colour, width, cap)
            ticks(figure, y, [scale * value for value in delta.per_seed], colour, _SEED)
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
                hovertemplate=f"{text(task)}<br>{text(name)}<br><b>{each.signed(delta.estimate)}</b>"
                f" {each.between(delta.interval)} over seeds and items<br>"
                f"{each.between(delta.these_models)} these models<br>"
                f"p = {delta.p:.2g}, Holm {each.holm:.2g}: {each.verdict}<extra></extra>",
            )
    percent = comparisons[0].scale == 100
    unit = "percentage points of accuracy" if percent else comparisons[0].delta.metric.replace("_", " ")
    rowwise(figure, rows, f"difference, {unit}")
    figure.update_xaxes(zeroline=True, zerolinecolor=INK, zerolinewidth=1.5, rangemode="tozero")
    return plot(figure, element, f"Forest plot of {len(comparisons)} differences with their intervals", rows.height)


_SEED = "one seed: %{x:+.1f}<extra></extra>"


def _numbers(chosen: Sequence[Comparison]) -> str:
    """The comparisons of one metric as a table, a block for each task."""
    level, unit = f"{100 * chosen[0].delta.interval.level:g}\u00a0%", chosen[0].unit
    rows: list[tuple[str, Sequence[str]]] = []
    for task, block in blocks(chosen).items():
        rows.append(("task", [f"<b>{escape(task)}</b>"]))
        for name, each in block:
            delta = each.delta
            clusters = f" in {delta.n_clusters:,} clusters" if delta.n_clusters != delta.n_items else ""
            estimate = each.signed(delta.estimate)
            cells = [
                f'<a href="#card-{each.card}">{escape(name)}</a>',
                f"<b>{estimate}</b>" if each.general else estimate,
                each.between(delta.interval),
                each.between(delta.these_models),
                p_value(delta.p),
                p_value(each.holm),
                f"{each.scale * delta.mde:.2g}",
                f"{delta.n_seeds} × {delta.n_items:,}{clusters}",
                FINDINGS[each.verdict],
            ]
            rows.append(("" if each.general else "open", cells))
    head = [
        f"difference, {escape(unit)}",
        "",
        f"{level} interval, seeds and items",
        f"{level}, these models",
        "p",
        "p, Holm",
        "would detect",
        "seeds × items",
        "finding",
    ]
    return table(head, rows)
