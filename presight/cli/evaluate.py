"""``presight eval``: measure a checkpoint from the command line, and compare what was measured item by item."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from presight.cli import layers, measure
from presight.errors import PresightError

if TYPE_CHECKING:
    from eval.records import Result

app = typer.Typer(help="Measure a checkpoint; compare results item by item.", no_args_is_help=True)
measure.register(app)
layers.register(app)
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Level = Annotated[float, typer.Option(help="Coverage of the intervals.")]


@app.callback()
def evaluation() -> None:
    """Measure a checkpoint; compare results item by item."""


@app.command()
def compare(
    treatment: Annotated[Path, typer.Argument(help="A result: folder of an artifact, or one that `--out` named.")],
    control: Annotated[Path, typer.Argument(help="The result to compare it with, of the same items.")],
    level: Level = 0.95,
    json_output: Json = False,
) -> None:
    """Compare two results item by item.

    Speaks of these two models: whether a mixture does it takes several pretraining seeds a side, and eval.Compare in
    a recipe.
    """
    from eval.records import results
    from eval.stats.deltas import prior_delta
    from eval.stats.multiplicity import holm

    first, second = ({(each.task, each.metric): each for each in results(path)} for path in (treatment, control))
    shared = [key for key in first if key in second]
    if not shared:
        raise PresightError(str(control), "shares no task with the other", "compare results of the same tasks")
    found = [_delta(first[key], second[key], treatment.name, control.name, level, prior_delta) for key in shared]
    adjusted = holm([delta.p for delta in found])
    if json_output:
        rows = [{**delta.to_json(), "p_holm": float(p)} for delta, p in zip(found, adjusted, strict=True)]
        print(json.dumps(rows, indent=1))
        return
    for delta, p in zip(found, adjusted, strict=True):
        print(f"{delta.sentence()} p {delta.p:.2g}, after Holm {p:.2g}.")


@app.command()
def power(
    items: Annotated[int, typer.Option(min=2, help="Items scored, or clusters of them.")],
    seeds: Annotated[int, typer.Option(min=1, help="Pretraining seeds a side.")] = 3,
    accuracy: Annotated[float, typer.Option(min=0, max=1, help="About what is expected.")] = 0.5,
    correlation: Annotated[float, typer.Option(min=-1, max=1, help="Of two models' right answers over items.")] = 0.3,
    seed_sd: Annotated[float, typer.Option(min=0, help="Between seeds; 0.01 is a point.")] = 0.01,
    level: Level = 0.95,
    chance: Annotated[float, typer.Option("--power", help="With which it shall be seen.")] = 0.8,
    json_output: Json = False,
) -> None:
    """The smallest difference of two accuracies that a design would see, before anything is run."""
    from eval.stats.deltas import minimum_detectable_effect, paired_item_sd
    from presight.console import table

    spread = paired_item_sd(accuracy, correlation)
    designs = sorted({1, 2, 3, 5, 8, 12, seeds})
    found = {
        n: minimum_detectable_effect(items, n, item_sd=spread, seed_sd=seed_sd, level=level, power=chance)
        for n in designs
    }
    if json_output:
        seen = {n: effect if effect < math.inf else None for n, effect in found.items()}
        print(json.dumps({"items": items, "item_sd": spread, "seed_sd": seed_sd, "seeds": seen}, indent=1))
        return
    title = f"{items} items, accuracy {accuracy:g}, correlation {correlation:g}"
    title += f", s.d. between seeds {100 * seed_sd:g} points"
    rows = [[f"{n}" + " ←" * (n == seeds), "none" if found[n] > 1 else f"{100 * found[n]:.2f}"] for n in designs]
    print(title)
    table("", ["seeds a side", f"points seen with {chance:.0%} power"], rows)


@app.command()
def records(
    results: Annotated[list[Path], typer.Argument(help="Results: folders of artifacts, or a store of them.")],
    to: Annotated[Path, typer.Option("--to", help="Folder of records; it grows, and nothing in it is rewritten.")],
    json_output: Json = False,
) -> None:
    """Gather results as one typed table.

    A row an item: model, task, versions of task, prompt and parser, metric, score. Files of parquet, one an artifact,
    and schema.json; every tool that reads parquet reads the folder as one table.
    """
    from eval.records import KINDS, keep

    folders = [
        each for path in results for each in ([path] if (path / "card.json").exists() else _within(path, KINDS))
    ]
    if not folders:
        raise PresightError(str(results[0]), "holds no results", f"give artifacts of kind {', '.join(KINDS)}")
    new = [str(folder) for folder in folders if keep(to, folder, json.loads((folder / "card.json").read_text()))]
    if json_output:
        print(json.dumps({"results": len(folders), "new": new}, indent=1))
    else:
        print(f"{to}: {len(new)} of {len(folders)} results are new")


@app.command()
def parse(
    reply: Annotated[str, typer.Argument(help="What a model wrote.")],
    option: Annotated[list[str], typer.Option(help="An option's text; repeat for each, in order.")],
) -> None:
    """Show how a reply is read: the option it chooses, and by what."""
    from eval.answers.reading import read_choice

    found = read_choice(reply, option)
    print(f"{'none' if found.choice is None else option[found.choice]} ({found.tier})")


def _delta(first: Result, second: Result, treatment: str, control: str, level: float, compared: Any) -> Any:
    from eval.records import require_same_items

    require_same_items(first, second, f"{treatment} and {control}")
    return compared(
        first.scores[None], second.scores[None], task=first.task, trained=str(first.facts.get("trained", "")),
        treatment_name=treatment, control_name=control, along="model", labels={}, metric=first.metric,
        clusters=first.clusters, level=level,
    )  # fmt: skip


def _within(path: Path, kinds: tuple[str, ...]) -> list[Path]:
    """The result that a folder is, or those of a store, or of the folder that holds one."""
    if (path / "card.json").exists():
        return [path]
    root = path / "store" if (path / "store").exists() else path
    return sorted(card.parent for kind in kinds for card in root.glob(f"{kind}/*/card.json"))
