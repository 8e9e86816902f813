"""``presight data``: real sample data out of ordinary packages, and the user's own collections."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from presight.errors import EXIT_USER, PresightError

app = typer.Typer(help="Real sample data out of ordinary packages; your own images and sounds.", no_args_is_help=True)


LLAVA = "llava"  # conversations about images; all other layouts are of classified ones


class Tier(StrEnum):
    """A set of roles: to train on, or to find the text of the published labels."""

    small = "small"
    full = "full"
    labels = "labels"


@app.command("list")
def list_roles(
    tier: Annotated[Tier | None, typer.Option(help="Only what belongs to it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show the sample data: what there is, where it comes from, and what is here already."""
    from presight.packages import cached, packages, roles

    rows: list[dict[str, Any]] = []
    for role in (each for each in roles().values() if tier is None or tier in each.tiers):
        found = cached(role.name)
        made_of = [packages()[name] for name in role.sources]
        rows.append(
            {
                "role": role.name,
                "tiers": role.tiers,
                "packages": [
                    {
                        "name": package.name,
                        "registry": package.registry,
                        "version": package.versions[0],
                        "licence": package.licence,
                        "bytes": package.bytes,
                    }
                    for package in made_of
                ],
                "bytes": role.bytes,
                "cached": found is not None,
                "digest": found.digest if found else None,
            }
        )
    if as_json:
        typer.echo(json.dumps({"roles": rows, "bytes": _bytes(rows)}, indent=1))
        return
    _print_table(rows)


def _bytes(rows: list[dict[str, Any]]) -> int:
    """Size of the downloads: a package that several roles read is fetched once."""
    return sum({package["name"]: package["bytes"] for row in rows for package in row["packages"]}.values())


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_footer=True, box=None, padding=(0, 2, 0, 0))
    table.add_column("role", "in all", overflow="fold")
    for name in ("package", "licence"):
        table.add_column(name, overflow="fold")  # a name that is cut off cannot be installed
    table.add_column("MB", f"{_bytes(rows) / 1e6:.1f}", justify="right")
    table.add_column("tiers")
    table.add_column("cached", f"{sum(row['cached'] for row in rows)} of {len(rows)}")
    for row in rows:
        for k, package in enumerate(row["packages"]):
            made_of = f"{package['name']} {package['version']} ({package['registry']})"
            last = [" ".join(row["tiers"]), "yes" if row["cached"] else "–"] if k == 0 else []
            first = row["role"] if k == 0 else ""
            table.add_row(first, made_of, package["licence"], f"{package['bytes'] / 1e6:.1f}", *last)
    console = Console()
    if not console.is_terminal:
        console.width = 180  # a pipe has no width to fit into
    console.print(table)


@app.command("get")
def get_roles(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ROLES]...", help="All of the tier by default.")
    ] = None,
    tier: Annotated[Tier, typer.Option(help="How much, where no role is named.")] = Tier.small,
) -> None:
    """Fetch sample data into the cache, and say what could not be had."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from presight.packages import cache_root, fetch_all, role, roles

    wanted = [role(name).name for name in names or [r.name for r in roles().values() if tier in r.tiers]]
    console = Console(stderr=True)
    say = partial(console.print, highlight=False, soft_wrap=True)
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), DownloadColumn()),
        *(TransferSpeedColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("starting", total=None)

        def show(done: int, total: int, description: str) -> None:
            bars.update(bar, completed=done, total=total, description=description)

        have, missing = fetch_all(wanted, show)
    for name, fetched in have.items():
        licences = "; ".join(sorted(set(fetched.licences.values())))
        say(f"[green]have[/] {name}: {', '.join(fetched.archives)} ({licences})")
    for name, error in missing.items():
        say(f"[red]lack[/] {name}: {escape(str(error))}")
    say(f"{len(have)} of {len(wanted)} roles in {escape(str(cache_root()))}")
    if not have:
        raise typer.Exit(EXIT_USER)


@app.command("import")
def import_collection(
    name: Annotated[str, typer.Argument(help="Layout: `presight schema adapt.Import` lists them; or llava.")],
    source: Annotated[str, typer.Option("--from", help="The collection's folder or archive; of llava its JSON.")],
    out: Annotated[Path, typer.Option("--to", help="A new or empty folder.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Another field of the stage, as seconds=4; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Make examples out of images or sounds in their official layout.

    CIFAR-10, Fashion-MNIST, GTZAN, FSD50K, or a folder with a sub folder for each class. The folder that is written
    holds webdataset shards and an index; a recipe does the same with the stage adapt.Import.

    Conversations about images, as of LLaVA or Cambrian, are told by llava (the stage adapt.Conversations):
    presight data import llava --from llava.json --set images=pictures --to llava
    """
    from tempfile import TemporaryDirectory

    from adapt.importers import Import
    from adapt.vlm.importer import Conversations
    from presight.assembly import build
    from presight.console import foreground
    from presight.document import parse

    cls, fields = (Conversations, {}) if name == LLAVA else (Import, {"layout": name})
    fields["path"] = source
    for setting in settings or ():
        field, equals, value = setting.partition("=")
        if not equals:
            raise PresightError("--set", f"{setting!r} gives no value", "write field=value")
        fields[field] = parse(value, f"--set {field}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PresightError("--to", f"{str(out)!r} is not empty", "name a new folder")
    stage = build(cls, fields, "import").settle(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:  # whole or not there at all
        made = Path(scratch, "made")
        made.mkdir()
        with foreground(f"importing {name}"):
            stage.run(made, {})
        made.replace(out)
    (_show_conversations if name == LLAVA else _show_examples)(out, as_json)


def _show_examples(out: Path, as_json: bool) -> None:
    from adapt import examples
    from presight.console import table

    described = examples.index(out)
    if as_json:
        typer.echo(json.dumps(described, indent=1))
        return
    rows = [[split, each["items"], len(each["skipped"])] for split, each in described["splits"].items()]
    title = f"{len(described['classes'])} classes of {described['modality']}s"
    table(title, ["split", "examples", "left out"], rows)


def _show_conversations(out: Path, as_json: bool) -> None:
    from presight.console import table

    counts: dict[str, int] = json.loads((out / "counts.json").read_text())
    if as_json:
        typer.echo(json.dumps(counts, indent=1))
        return
    table("", ["", "conversations"], [[name, f"{count:,}"] for name, count in counts.items()])
