"""Commands for clusters: the recipe's stages as SLURM jobs, watched and tried again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from presight.cli.runs import HERE, Json, Recipe, Root, Scale, Set, Until

if TYPE_CHECKING:
    from presight.expansion import Graph
    from presight.store import Store
    from slurm.ledger import Ledger
    from slurm.profile import Profile
    from slurm.script import Setting

app = typer.Typer(no_args_is_help=True)
PROFILE = "A profile: a path, or a name in ~/.config/presight/slurm."
Named = Annotated[str | None, typer.Option("--profile", help=PROFILE)]
Name = Annotated[str, typer.Argument(help="The recipe that was submitted.")]


@app.command()
def check(
    profile: Annotated[str, typer.Argument(help=PROFILE)],
    root: Root = HERE,
    wait: Annotated[float, typer.Option(min=1, help="Seconds that its job may take, the queue included.")] = 600,
    json_output: Json = False,
) -> None:
    """Try a profile: submit a job of a minute, and say what it saw."""
    import json
    from dataclasses import asdict

    from presight.console import say
    from slurm import check as checks
    from slurm import profile as profiles

    read = profiles.read(profile)
    setting = _setting("check", root / "runs" / ".slurm-check", root, read)
    found = checks.check(setting, wait, lambda entry: say(f"job {entry.job}: {entry.state} {entry.reason}"))
    if json_output:
        print(json.dumps(asdict(found), indent=1, default=str))
    else:
        for name, value in {**found.site, **found.seen}.items():
            print(f"{name}: {value}")
        say(f"job {found.job} {found.state}; its log is {found.log}")
    if found.problem:
        say(f"presight: profile {read.name}: {found.problem}")
        raise typer.Exit(1)


@app.command()
def submit(
    recipe: Recipe,
    profile: Named = None,
    scale: Scale = None,
    set_: Set = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs and their scripts; submit none.")] = False,
    root: Root = HERE,
    json_output: Json = False,
) -> None:
    """Submit what a recipe needs and is neither made nor under way.

    Data are downloaded here, on the login node; jobs run offline, on a copy of this code. Submitting again adds only
    what is new, what was cancelled, and what had no room in the queue.
    """
    _submit(recipe, profile, scale, list(set_ or ()), until, None, dry_run, root, json_output)


@app.command()
def retry(
    recipe: Name,
    stage: Annotated[list[str] | None, typer.Argument(help="Names of stages; default: all that failed.")] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="Another than it was submitted with.")] = None,
    root: Root = HERE,
    json_output: Json = False,
) -> None:
    """Submit what failed again, on the code as it is now, and what waits for it; release what is held."""
    given = _ledger(recipe, root).arguments
    _submit(
        given["recipe"],
        profile or given["profile"],
        given["scale"],
        given["set"],
        given["until"],
        list(stage or ()),
        False,
        root,
        json_output,
    )


@app.command()
def status(recipe: Name, root: Root = HERE, json_output: Json = False) -> None:
    """Show the grid: stage by state, attempts, tokens, loss, time left; why something failed, and how to run it."""
    from slurm import watch

    ledger = _ledger(recipe, root)
    found = watch.standings(ledger)
    _link(ledger)
    watch.show(found, json_output)
    page = ledger.folder.parent / "report.html"
    if page.exists() and not json_output:
        print(page)


@app.command()
def logs(
    recipe: Name,
    stage: Annotated[str, typer.Argument(help="A stage: its name, or its title such as lm[init=0].")],
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="Lines of each log.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with the newest as it grows.")] = False,
    root: Root = HERE,
) -> None:
    """Print the last lines of a stage's newest logs."""
    from slurm import watch

    watch.logs(_ledger(recipe, root), stage, lines, follow)


@app.command()
def cancel(
    recipe: Name,
    stage: Annotated[str | None, typer.Argument(help="Only this stage; what stands on it is cancelled, too.")] = None,
    root: Root = HERE,
) -> None:
    """Cancel a recipe's jobs; what they did is kept, and submitting again goes on."""
    from slurm import watch

    gone = watch.cancel(_ledger(recipe, root), stage)
    print(f"{len(gone)} jobs cancelled" + (f": {', '.join(gone)}" if gone else ""))


@app.command(hidden=True)
def anew(
    folder: Path,
    job: str,
    key: str,
    restarts: int = 100,
    hold: bool = False,
    exclude: str = "",
) -> None:
    """Let another job go on for this one; called by jobs where the site has no requeue."""
    from slurm.submission import anew

    print(anew(folder.resolve(), job, key, restarts, hold, exclude))


def _submit(
    recipe: str,
    profile: str | None,
    scale: str | None,
    overrides: list[str],
    until: str | None,
    again: list[str] | None,
    dry: bool,
    root: Path,
    as_json: bool,
) -> None:
    import json

    from presight import overview, registry
    from presight import recipe as recipes
    from presight.console import say
    from presight.expansion import expand
    from presight.live import settling
    from presight.store import Store
    from slurm import profile as profiles
    from slurm.submission import submit

    read = recipes.read(recipe, scale, overrides)
    site = profiles.read(profile, read.path)
    with settling():
        graph = expand(read, fetch=not dry)
    for reason in graph.left_out:
        say(f"left out: {reason}")
    root = root.resolve()
    store = Store(root / "store")
    packages = sorted({each.stage.tag().partition(".")[0] for each in graph.instances})
    setting = _setting(read.name, root / "runs" / read.name / "slurm", root, site, packages, write=not dry)
    arguments = {
        "recipe": str(read.path.resolve()),
        "profile": str(Path(profile).resolve()) if profile and Path(profile).is_file() else profile,
        "scale": scale,
        "set": overrides,
        "until": until,
        "root": str(root),
        "python": setting.python,
    }
    if not dry:
        registry.register(graph, store, scale, overrides)
    done = submit(graph, store, setting, until, again, arguments, dry)
    if not dry:
        registry.link(graph, store, root / "runs")
        overview.refresh(root)
    titles = graph.titles()
    failed = sorted({titles[task.stage.fingerprint] for task in done.failed})
    found = {
        "submitted": {name: [task.title for task in job.tasks.values()] for name, job in done.jobs.items()},
        "done": done.done,
        "under_way": done.going,
        "left": done.left,
        "failed": failed,
        "folder": str(setting.folder),
    }
    if as_json:
        print(json.dumps({**found, **({"scripts": done.scripts} if dry else {})}, indent=1))
        return
    for name, job in done.jobs.items():
        after = job.dependency({}) or "nothing"
        print(f"{name}: {len(job.tasks)} task{'s' * (len(job.tasks) > 1)}, after {after}" if dry else name)
        if dry:
            print(done.scripts[name])
    count = sum(len(job.tasks) for job in done.jobs.values())
    say(f"{count} tasks in {len(done.jobs)} jobs; {done.done} stages found made, {done.going} tasks under way")
    if done.left:
        say(f"{done.left} tasks wait for room in the queue: submit again ({done.full or 'max_submit of the profile'})")
    if failed:
        say(f"{len(failed)} stages failed or wait for one that did: `presight slurm retry {read.name}`")


def _setting(
    recipe: str, folder: Path, root: Path, site: Profile, packages: list[str] | None = None, write: bool = True
) -> Setting:
    import sys

    from presight.packages import cache_root
    from slurm.code import freeze
    from slurm.script import Setting

    root = root.resolve()
    code = freeze(root / "store", packages or (), write)
    return Setting(recipe, root, folder.resolve(), code, cache_root().resolve(), sys.executable, site)


def _ledger(recipe: str, root: Path) -> Ledger:
    from slurm.ledger import Ledger

    path = Path(recipe)
    return Ledger.of(root, path.stem if path.suffix else recipe)


def _link(ledger: Ledger) -> None:
    """Name what is made meanwhile under ``runs/``, where the recipe can still be read."""
    from presight import overview, registry
    from presight import recipe as recipes
    from presight.errors import PresightError
    from presight.expansion import expand
    from presight.store import Store

    given, root = ledger.arguments, Path(ledger.arguments["root"])
    try:
        graph: Graph = expand(recipes.read(given["recipe"], given["scale"], given["set"]))
    except PresightError:
        return
    store: Store = Store(root / "store")
    registry.link(graph, store, root / "runs")
    overview.refresh(root)
