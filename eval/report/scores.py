"""The section of scores: every task's arms with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from eval.report.evidence import places
from eval.report.figures import GREY, Plot, Rows, empty, plot, rowwise, slug, text, ticks, upright, whisker
from eval.report.sheet import Sheet, table
from eval.report.words import plural

if TYPE_CHECKING:
    from eval.report.evidence import Arm


def section(sheet: Sheet) -> str:
    """A plot and a table for each task."""
    parts = []
    for (task, modality, metric), arms in tasks(sheet.evidence.arms).items():
        axis = sheet.evidence.families[0].along
        caption = (
            f"{plural(arms[0].record['n_items'], 'test item')}; intervals over seeds and items, small marks are "
            f"single seeds. {sheet.cards(list(dict.fromkeys(arm.card for arm in arms)))}"
        )
        figure = accuracies(arms, axis, sheet.palette, slug("accuracy", task, metric))
        rows = [("", _arm(sheet, *pair)) for pair in zip(arm_names(arms, axis), arms, strict=True)]
        head = [metric + ", %" * (metric == "accuracy"), "mean", "interval", "single seeds", "chance", "scores"]
        parts += [f"<h3>{escape(task)} <small>({escape(modality)})</small></h3>", sheet.figure([figure], caption)]
        parts.append(table(head, rows))
    return "".join(parts)


def tasks(arms: Sequence[Arm]) -> dict[tuple[str, str, str], list[Arm]]:
    """Arms by task, modality and metric."""
    found: dict[tuple[str, str, str], list[Arm]] = {}
    for arm in arms:
        found.setdefault((arm.record["task"], arm.record["modality"], arm.record["metric"]), []).append(arm)
    return found


def arm_names(arms: Sequence[Arm], axis: str) -> list[str]:
    """What tells the arms of one task apart: their place on `axis` and on whatever else varies."""
    several = len({arm.record["trained"] for arm in arms}) > 1
    found = places([arm.record["labels"] for arm in arms], axis)
    return [" · ".join([*place, *[arm.record["trained"]] * several]) for place, arm in zip(found, arms, strict=True)]


def accuracies(arms: Sequence[Arm], axis: str, palette: Mapping[str, str], element: str) -> Plot:
    """Mean score of each arm of one task with its interval, a small mark for each seed, chance as a dashed line."""
    rows, figure = Rows(), empty()
    scale = arms[0].scale
    for name, arm in zip(arm_names(arms, axis), arms, strict=True):
        record, y = arm.record, rows.add(name)
        colour = palette.get(record["labels"].get(axis, ""), GREY)
        low, mean, high = (scale * record["mean"][which] for which in ("low", "estimate", "high"))
        values = [scale * value for value in record["per_seed"]]
        ticks(figure, y, values, colour, "seed %{customdata}: %{x:.4g}<extra></extra>", record["seeds"])
        hover = f"{text(name)}<br><b>{mean:.4g}</b> [{low:.4g}, {high:.4g}]<extra></extra>"
        whisker(figure, y, (low, mean, high), colour, marker={"size": 10, "color": colour}, hover=hover)
    rowwise(figure, rows, "accuracy, %" if scale == 100 else arms[0].record["metric"].replace("_", " "))
    for chance in sorted({arm.record["chance"] for arm in arms if arm.record.get("chance") is not None}):
        upright(figure, scale * chance, "chance")
    return plot(figure, element, f"Scores of {len(arms)} arms with their intervals", rows.height + 20)


def _arm(sheet: Sheet, name: str, arm: Arm) -> list[str]:
    record, found = arm.record, arm.record["mean"]
    seeds = [f"seed {seed}" for seed in record["seeds"]]
    return [
        escape(name),
        f"<b>{arm.number(found['estimate'])}</b>",
        f"[{arm.number(found['low'])}, {arm.number(found['high'])}]",
        ", ".join(map(arm.number, record["per_seed"])),
        f"{arm.scale * record['chance']:.3g}" if record.get("chance") is not None else "",
        " ".join(sheet.card(*pair) for pair in zip(record["scores"], seeds, strict=False)),
    ]
