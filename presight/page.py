"""What the pages that Presight writes have in common: their style, and tables that can be searched and sorted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LONG = 8  # rows from which a table can be searched and sorted
FOLD = 30  # rows from which it starts folded
Row = tuple[str, Sequence[str]]  # its class, and its cells as HTML


def style() -> str:
    """The style sheet of every page."""
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def script() -> str:
    """The script of every page: a filter over its long tables, and headers that sort them."""
    return (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Row], fold: bool = True) -> str:
    """A table that scrolls; a long one can be searched and sorted, a very long one starts folded.

    Args:
        head: the names of the columns, as HTML.
        rows: of class ``task`` heads the rows that follow; of class ``open`` is not established.
        fold: whether a very long one starts folded.
    """
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "".join(
        f'<tr class="{style}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n' for style, cells in rows
    ).replace(' class=""', "")
    count = sum("task" not in style.split() for style, _ in rows)
    long = ' class="long"' if count >= LONG else ""
    drawn = f'<div class="scroll"><table{long}><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>\n'
    return (
        drawn
        if count <= FOLD or not fold
        else f'<details class="rows"><summary>{count} rows</summary>{drawn}</details>'
    )
