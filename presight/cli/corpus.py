"""``presight corpus``: annotate, classify, label, mix, check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from presight.cli import labels
from presight.errors import EXIT_USER

app = typer.Typer(
    help="Label text, mix it to exact proportions, and check what a mixture promises.", no_args_is_help=True
)
labels.register(app)
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command("mix")
def mix(
    spec: Annotated[
        Path, typer.Argument(help="A YAML file: fields of corpus.Mix, `tokens:` and `cells:` as folders.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for mixture.lock, or for a folder a grid point.")],
    json_output: Json = False,
) -> None:
    """Compile mixtures into locks.

    A lock holds exact quotas, the hashes of the shards and the order. SPEC names the folders of token shards (and of
    cells, for amounts by label), relative to itself, and gives the fields of the stage corpus.Mix (`presight schema
    corpus.Mix`). `grid: {x: 50..85 step 5}` compiles one lock for each point; `$x` stands for its value.
    """
    from corpus.mixing import grid

    points = grid.compile_spec(spec, out)
    if json_output:
        print(json.dumps([each.row() for each in points], indent=1))
    else:
        grid.show(points)
    if any(each.refused for each in points):
        raise typer.Exit(EXIT_USER)


@app.command("check")
def check(
    lock: Annotated[Path, typer.Argument(help="A mixture.lock, or the folder it lies in.")],
    read: Annotated[bool, typer.Option(help="Hash the shards too.")] = True,
    json_output: Json = False,
) -> None:
    """Hold a mixture against what it promises.

    Plan, quotas, order, ranks, shards, pools apart; what shares of families truly are.
    """
    from corpus import audit
    from presight.console import foreground, table

    with foreground("checking"):
        found = list(audit.check(lock, read))
    if json_output:
        print(json.dumps([{"check": each.check, "holds": each.holds, "says": each.says} for each in found], indent=1))
    else:
        table("", ["", "check", ""], [["✓" if each.holds else "✗", each.check, each.says] for each in found])
    if not all(each.holds for each in found):
        raise typer.Exit(EXIT_USER)


@app.command("diff")
def diff(
    one: Annotated[Path, typer.Argument(help="A mixture.lock, or its folder.")],
    two: Annotated[Path, typer.Argument(help="Another.")],
    json_output: Json = False,
) -> None:
    """Show what differs between two mixtures.

    And, pool by pool, how much they read in common.
    """
    from corpus import audit
    from presight.console import table

    found = audit.diff(one, two)
    if json_output:
        print(json.dumps(found, indent=1))
        return
    if found["same_plan"]:
        print("one plan: the same items in the same order")
        return
    for name, (left, right) in found["fields"].items():
        print(f"{name}: {left} → {right}")
    rows: list[list[Any]] = [
        [
            row["name"],
            f"{row['share'][0]:.2%} → {row['share'][1]:.2%}",
            f"{row['quota'][0]:,} → {row['quota'][1]:,}",
            f"{row['epochs'][0]:.2f} → {row['epochs'][1]:.2f}",
            f"{row['common']:.1%}",
        ]
        for row in found["pools"]
    ]
    table("", ["pool", "share", "items", "epochs", "in common"], rows)


@app.command("sources")
def sources(json_output: Json = False) -> None:
    """Show public datasets for the paper's sources.

    For each of its sixteen our stand-in: id on the hub, tokens, licence; then captions and instructions to adapt with.
    """
    from corpus.sources import public
    from presight.console import table

    rows = public.rows()
    if json_output:
        print(json.dumps(rows, indent=1))
        return
    table("", ["source", "stand-in", "holds", "licence"], [list(row.values())[:4] for row in rows])
