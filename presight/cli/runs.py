"""Commands that read a recipe: run, plan, report, stage."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

Recipe = Annotated[str, typer.Argument(help="A recipe: a path, or the name of one (`quickstart`).")]
Root = Annotated[Path, typer.Option("--root", envvar="PRESIGHT_ROOT", help="Folder of store/ and runs/.")]
Scale = Annotated[str | None, typer.Option("--scale", help="A scale of the recipe, such as `small`.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override: stage.field=value or axis=[…]; repeatable.")]
Until = Annotated[str | None, typer.Option("--until", help="Make only this stage and what it stands on.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (run, plan, report, stage):
        app.command()(command)


def run(
    recipe: Recipe,
    scale: Scale = None,
    set_: Set = None,
    until: Until = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Workers; default: cores ÷ threads of a stage.")] = None,
    root: Root = HERE,
    json_output: Json = False,
) -> None:
    """Make what a recipe describes and is not made yet.

    Interrupt it as you like: finished stages are kept, the rest continues where it stopped.
    """
    import json

    from presight import inventory, overview, registry
    from presight import recipe as recipes
    from presight.console import clock, say
    from presight.executor import describe, execute
    from presight.expansion import expand
    from presight.live import Live, settling
    from presight.store import Store

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _stop)
    read = recipes.read(recipe, scale, set_ or ())
    with settling():
        graph = expand(read, fetch=True)
    for reason in graph.left_out:
        say(f"left out: {reason}")
    store, titles = Store(root / "store"), graph.titles()
    made = [artifact for each in graph.instances if (artifact := store.find(each.stage))]
    if stale := inventory.changed(made):
        say(f"{len(stale)} artifacts of another release were made by other code: see `presight status`")
    targets = graph.targets(until)
    registry.register(graph, store, scale, list(set_ or ()))  # before the work: gc keeps it from the first stage on
    with Live(graph, store, until) as live:
        outcome = execute(targets, store, jobs, live)
    folder = registry.link(graph, store, root / "runs")
    found = {
        "recipe": read.name,
        "ran": [titles[each.fingerprint] for each in outcome.ran],
        "reused": len(outcome.reused),
        "failed": {titles[each.stage.fingerprint]: each.problem for each in outcome.failures},
        "skipped": [titles[each.fingerprint] for each in outcome.skipped],
        "seconds": round(live.seconds, 1),
        "runs": str(folder),
    }
    if json_output:
        print(json.dumps(found, indent=1))
    for failure in outcome.failures:
        say(f"presight: {describe(failure, titles[failure.stage.fingerprint])}")
    if outcome.failures:
        say(f"{len(outcome.skipped)} stages wait for that; what is done is kept, run again to continue")
    else:
        say(f"{read.name}: {len(outcome.ran)} stages made, {clock(live.seconds)}")
    overview.refresh(root)
    if outcome.failures:
        raise typer.Exit(outcome.failures[0].code)
    page = folder / "report.html"
    if page.exists() and not json_output:
        print(page)


def _stop(signal_number: int, _: object) -> NoReturn:
    print("presight: interrupted; run again to continue where it stopped", file=sys.stderr)
    sys.exit(128 + signal_number)


def plan(
    recipe: Recipe,
    scale: Scale = None,
    set_: Set = None,
    gpu: Annotated[str | None, typer.Option(help="A100, H100, …: memory, tokens/s, GPU-hours of pretraining.")] = None,
    mfu: Annotated[float | None, typer.Option(help="Share of its peak; default: what others publish.")] = None,
    root: Root = HERE,
    json_output: Json = False,
) -> None:
    """Show what a recipe would do and could detect.

    The tree of its stages: what is done, what is to run, tokens, minutes, and the smallest detectable effect of each
    comparison with the variances it assumes. With --gpu, or where the recipe asks for GPUs, what pretraining takes
    there; and what chains of budgets save.
    """
    from presight import planner
    from presight import recipe as recipes
    from presight.cli import forecasts
    from presight.expansion import expand
    from presight.store import Store

    graph = expand(recipes.read(recipe, scale, set_ or ()))
    found = planner.plan(graph, Store(root / "store"))
    planner.show(found, json_output, forecasts.of(graph, gpu, mfu))


def report(
    recipe: Annotated[str | None, typer.Argument(help="A recipe; without one, the index of all runs.")] = None,
    root: Root = HERE,
) -> None:
    """Print the path of a recipe's report, or the index of all runs.

    The index, runs/index.html, says of each recipe what it expected, what it found, at which scale and on how many
    seeds, and leads to its newest report; it can be searched and sorted. It is written here, and after every run.
    """
    from presight import overview
    from presight import recipe as recipes
    from presight.errors import PresightError

    if recipe is None:
        print(overview.write(root))
        return
    name = recipes.read(recipe).name
    page = root / "runs" / name / "report.html"
    if not page.exists():
        raise PresightError(str(page), "is not there", f"presight run {recipe}")
    print(page)


def stage(
    file: Annotated[Path, typer.Argument(help="A stage as `presight show --stage` prints it.")],
    root: Root = HERE,
    shard: Annotated[int | None, typer.Option(help="One shard of a sharded stage.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait where another process is at it.")] = False,
) -> None:
    """Run one stage: what every executor calls.

    One process at a time works on a stage: a second is refused, or waits. Stages that many processes may share
    (pretraining) are started by all of them:
    torchrun --nproc-per-node 8 -m presight stage lm.json, or the same under deepspeed or srun.
    """
    import json

    from presight import assembly
    from presight.console import foreground
    from presight.errors import PresightError
    from presight.ranks import ranks
    from presight.stage import ShardedStage
    from presight.store import Store

    try:
        document: Any = json.loads(file.read_text())
        made = assembly.load(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PresightError(str(file), f"is no stage ({error})", "write one with presight show --stage") from error
    store, (rank, world) = Store(root / "store"), ranks()
    if world > 1 and not made.parallel:
        raise PresightError(str(file), f"{made.tag()} is run by one process, not {world}", "start it without torchrun")
    if rank:
        store.assist(made)
        return

    def refuse(owner: dict[str, Any]) -> None:
        who = f"process {owner.get('pid')} on {owner.get('host')}"
        raise PresightError(str(file), f"{who} is at it", "stop that, or let this one follow with --wait")

    waiting = None if wait else refuse
    with foreground(made.tag()):
        if shard is None:
            print(store.perform(made, waiting).path)
        elif isinstance(made, ShardedStage) and 0 <= shard < made.shards():
            store.perform_shard(made, shard, waiting)
        else:
            raise PresightError(
                "--shard", f"{made.tag()} has no shard {shard}", "leave it out, or give a lower number"
            )
