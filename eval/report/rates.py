"""The section of learning rates: one on the edge of its grid may not be the best."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from eval.report.scores import arm_names, tasks
from eval.report.sheet import Sheet, table
from eval.report.words import plural


def section(sheet: Sheet) -> str:
    """The learning rate of each arm, and what may make a comparison unfair."""
    evidence = sheet.evidence
    if not (arms := evidence.arms):
        return ""
    axis = evidence.families[0].along
    rows: list[tuple[str, Sequence[str]]] = []
    for (task, _, _), every in tasks(arms).items():
        if not (chosen := [arm for arm in every if arm.record["learning_rates"]]):
            continue  # nothing was fitted to answer it
        rows.append(("task", [f"<b>{escape(task)}</b>"]))
        for name, arm in zip(arm_names(chosen, axis), chosen, strict=True):
            rates = ", ".join(f"{rate:g}" for rate in arm.record["learning_rates"])
            place = "<b>on the edge of its grid</b>" if arm.record["edge"] else "within its grid"
            rows.append(("", [escape(name), rates, place, sheet.card(arm.card, "card")]))
    if edges := sum(bool(arm.record["edge"]) for arm in arms):
        said = (
            f'<aside class="box warning">For {edges} of {plural(len(arms), "arm")} the best learning rate lies on '
            "the edge of the grid. A better one may lie beyond it, and comparisons with these arms may be unfair: "
            "widen the grid.</aside>"
        )
    elif not rows:
        said = "<p>No arm was fitted: none has a learning rate.</p>"
    else:
        said = "<p>No arm’s learning rate lies on the edge of the grid it was chosen from.</p>"
    if mixed := evidence.mixed_arithmetic:
        said += (
            '<aside class="box warning">The models were trained by arithmetics that no passport shows to be '
            f"the same to the last bit ({escape('; '.join(mixed))}): part of a difference between them may be "
            "rounding. Train them alike, or give the report a passport.</aside>"
        )
    if shared := sum(map(evidence.shares_search, arms)):
        said += (
            f"<p>In {shared} of {plural(len(arms), 'arm')} one search serves several seeds: the noise of its "
            "choice is in none of the intervals above.</p>"
        )
    return said + (table(["arm", "learning rate", "place", ""], rows) if rows else "")
