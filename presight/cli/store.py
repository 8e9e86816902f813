"""Commands that read the store: status, show, gc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from presight.cli.runs import HERE, Json, Root


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, show, gc):
        app.command()(command)


def status(root: Root = HERE, json_output: Json = False) -> None:
    """Show what is made, and what is being made.

    Names the process at work on a stage, what was stopped or is broken, and what was made by code that has changed.
    """
    from presight import inventory

    inventory.show_status(inventory.status(root), json_output)


def show(
    artifact: Annotated[str, typer.Argument(help="A fingerprint (its beginning will do) or a path under runs/.")],
    root: Root = HERE,
    stage: Annotated[bool, typer.Option("--stage", help="Print the stage, for `presight stage`.")] = False,
    json_output: Json = False,
) -> None:
    """Show the card of an artifact and the artifacts it stands on."""
    from presight import inventory

    inventory.show(root, artifact, stage, json_output)


def gc(
    root: Root = HERE,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only say what would go.")] = False,
    forget: Annotated[list[str] | None, typer.Option(help="A recipe whose artifacts may go; repeatable.")] = None,
    json_output: Json = False,
) -> None:
    """Find what no registered recipe needs.

    A dry run unless told; work in progress is never touched.
    """
    from presight import inventory

    inventory.collect(Path(root), delete, forget or [], json_output)
