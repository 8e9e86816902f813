"""``presight eval``: the commands that look into layers — align, probe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from presight.cli.measurement import Json, Level, checkpoint, examples, loading, measure, names, percent, read
from presight.errors import PresightError

Layers = Annotated[str | None, typer.Option(help="Which, as 0,6,12; 0 is the input. Default: all.")]
Out = Annotated[
    Path, typer.Option("--out", help="Folder for the result; of several, a folder in it for each. Made ones are kept.")
]
SAMPLE = "sample"
ENCODER = "efficientnet"  # what the sample's is called


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (align, probe):
        app.command()(command)


def align(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL", help="Checkpoints: folders of artifacts or of transformers.")
    ],
    out: Out,
    pairs: Annotated[
        str, typer.Option(help="sample: emoji and their names; or a folder of images with captions.")
    ] = SAMPLE,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="NAME=sample, or NAME=folder of a transformers vision encoder; repeat for several."),
    ] = None,
    items: Annotated[int, typer.Option(min=3, help="Pairs, drawn from all.")] = 1024,
    k: Annotated[int, typer.Option(min=1, help="Neighbours.")] = 20,
    tags: Annotated[bool, typer.Option("--tags", help="Captions of the sample with their keywords.")] = False,
    text: Annotated[
        Literal["mean", "last"], typer.Option(help="A caption: the mean over its tokens, or the last.")
    ] = "mean",
    image: Annotated[
        Literal["cls", "mean"], typer.Option(help="An image: the class token, or the mean over patches.")
    ] = "cls",
    permutations: Annotated[int, typer.Option(min=19, help="Draws of the null.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the pairs drawn and of the null.")] = 0,
    json_output: Json = False,
) -> None:
    """Does a language model order captions as an eye orders their images?

    The share of nearest neighbours that captions and images have in common, in the best pair of layers, beside the
    same figure of captions and images dealt out at random. Read it beside a control's: captions that share words share
    neighbours in any model.

    For example, a model beside its random weights, on your own pairs and by two encoders:
    presight eval align lm random --pairs captions --encoder clip=clip-b16 --encoder dino=dinov2-b --out aligned
    """
    from eval import Align
    from presight.assembly import build
    from presight.console import table

    encoders = dict(map(_encoder, encoder or [f"{ENCODER}={SAMPLE}"]))
    place = pairs if pairs == SAMPLE else Path(pairs)
    fields: dict[str, Any] = {"pairs": place, "encoders": encoders, "tags": tags, "items": items, "k": k}
    fields |= {"text": text, "image": image, "permutations": permutations, "seed": seed}
    found = []
    for name, path, folder in _places(models, out):
        stage = build(Align, {"model": checkpoint(path), **fields}, "align").settle(fetch=True)
        with loading(path):
            found.append({"model": name, **read(measure(stage, {"model": path}, folder, "keep"), "alignment.json")})
    if json_output:
        print(json.dumps(found, indent=1))
        return
    first = found[0]
    print(
        f"{first['items']} pairs, {first['k']} neighbours: a pair of layers shares {percent(first['chance'])} of them "
        f"by chance, the best pair more; mean of {len(encoders)} encoder{'s' * (len(encoders) > 1)}"
    )
    rows = []
    for each in found:
        low, middle, high = (percent(each["quantiles"][level]) for level in ("0.05", "0.5", "0.95"))
        best = ", ".join(f"{pair[0]} × {name} {pair[1]}" for name, pair in each["best"].items())
        z = "–" if each["z"] is None else f"{each['z']:.1f}"
        rows.append(
            [each["model"], percent(each["estimate"]), f"{middle} ({low} – {high})", f"{each['p']:.2g}", z, best]
        )
    table("", ["model", "shared", "unpaired, 90 %", "p", "z", "best layers"], rows)


def probe(
    model: Annotated[Path, typer.Argument(help="A checkpoint: an artifact's folder, or one of transformers.")],
    data: Annotated[
        list[Path], typer.Argument(metavar="DATA", help="Examples, as `presight data import` writes them.")
    ],
    out: Out,
    method: Annotated[
        Literal["linear", "knn"], typer.Option(help="Logistic regression, or nearest neighbours.")
    ] = "linear",
    layers: Layers = None,
    fraction: Annotated[
        list[float] | None, typer.Option(help="Also with this share of the training examples; repeat for a curve.")
    ] = None,
    shots: Annotated[
        list[int] | None, typer.Option(min=1, help="Also with so many training examples a class; repeat for a curve.")
    ] = None,
    patch: Annotated[int | None, typer.Option(min=1, help="Side in pixels, or length in samples.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the projection that patches enter by.")] = 0,
    level: Level = 0.95,
    json_output: Json = False,
) -> None:
    """What does each layer of a frozen model hold of raw images or sounds?

    A small probe on every layer, its strength chosen on validation and scored once on the test split. Layer 0 is what
    goes in: a layer that does no better has added nothing.

    For example: presight data import image-folder --from ~/pets --to pets --set side=32, then
    presight eval probe lm pets --layers 0,6,12 --fraction 0.1 --fraction 1 --out probed
    """
    from eval import Probe
    from presight.assembly import build

    fields: dict[str, Any] = {"method": method, "layers": _layers(layers), "patch": patch, "seed": seed}
    fields |= {"fractions": tuple(fraction or ()), "shots": tuple(shots or ())}
    found = []
    for name, path, folder in _places(data, out):
        stage = build(Probe, {"model": checkpoint(model), "data": _single(path), **fields}, "probe")
        with loading(model):
            done = measure(stage, {"model": model, "data": path}, folder, "keep")
        found.append({"data": name, **read(done, "probe.json")})
        for layer, interval in zip(found[-1]["layers"], _intervals(done, level), strict=True):
            layer["interval"] = interval
    if json_output:
        print(json.dumps(found, indent=1))
        return
    for each in found:
        _show(each, level)


def _show(each: dict[str, Any], level: float) -> None:
    """A probe as tables: every layer, and the best one's curves."""
    from presight.console import table

    print(
        f"{each['data']}: {each['task']}, {each['items']} items, chance {percent(each['chance'])}; ← the layer that "
        "validation chooses"
    )
    rows, notes, best = [], [], each["layers"][0]
    for layer in each["layers"]:
        chosen = layer["layer"] == each["best"]
        best = layer if chosen else best
        limits = f"{percent(layer['interval']['low'])} – {percent(layer['interval']['high'])}"
        name = f"{layer['layer']}" + " input" * (layer["layer"] == 0) + " ←" * chosen
        rows.append([name, percent(layer["accuracy"]), limits, percent(layer["validation"]), f"{layer['strength']:g}"])
        notes += [f"layer {layer['layer']}: {note}" for note in layer["warnings"]]
    strength = "penalty" if each["method"] == "linear" else "neighbours"
    table("", ["layer", "accuracy", f"{level:.0%} interval", "validation", strength], rows)
    for name, column in (("shots", "examples a class"), ("fractions", "share of the examples")):
        if curve := best.get(name):
            rows = [
                [f"{amount:g}", percent(mean), f"{percent(min(draws))} – {percent(max(draws))}"]
                for amount, mean, draws in zip(curve["amounts"], curve["accuracy"], curve["draws"], strict=True)
            ]
            table("", [f"{column}, layer {best['layer']}", "accuracy", "lowest – highest draw"], rows)
    for note in notes:
        print(note)


def _intervals(folder: Path, level: float) -> list[dict[str, Any]]:
    """Of each layer's accuracy over test items, or clusters of them; the model is taken as given."""
    from dataclasses import asdict

    from eval.probe.emerge import read_items
    from eval.stats.deltas import mean_interval

    _, _, clusters, correct = read_items(folder)
    return [asdict(mean_interval(row[None].astype(float), clusters=clusters, level=level)) for row in correct]


def _single(path: Path) -> Any:
    """Examples that have one class each."""
    found = examples(path)
    if read(path, "examples.json").get("multilabel"):
        raise PresightError(str(path), "may have several classes an example", "probe data of one class each")
    return found


def _encoder(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise PresightError("--encoder", f"{text!r} names no encoder", "write NAME=sample or NAME=folder")
    return name, place


def _layers(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(each) for each in (text or "").split(",") if each.strip()}))
    except ValueError:
        raise PresightError("--layers", f"{text!r} is no list of layers", "write numbers from 0, as 0,6,12") from None


def _places(paths: list[Path], out: Path) -> list[tuple[str, Path, Path]]:
    """Name, folder, and folder of the result: ``out``, or of several one in it for each."""
    named = names(paths)
    if len(paths) == 1:
        return [(named[0], paths[0], out)]
    if (out / "card.json").exists():
        raise PresightError(str(out), "is a result itself", "name another folder, or delete it")
    return [(name, path, out / name) for name, path in zip(named, paths, strict=True)]
