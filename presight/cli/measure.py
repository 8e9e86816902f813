"""``presight eval``: the commands that measure — choices, language, bits."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from presight.cli.measurement import Gpu, Json, Level, Limit, Model, Out, checkpoint, measure, on, percent, read


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (choices, language, bits):
        app.command()(command)


def choices(
    model: Model,
    questions: Annotated[Path, typer.Argument(help="Lines of JSON: prompt, options, answer (, item, cluster).")],
    out: Out,
    by: Annotated[
        Literal["sum", "token", "byte", "pmi", "reply"], typer.Option(help="The scorer that counts.")
    ] = "sum",
    style: Annotated[
        Literal["letters", "cloze"], typer.Option(help="Score letters, or the options' own texts.")
    ] = "letters",
    rotate: Annotated[bool, typer.Option("--rotate", help="Ask in every order of the options.")] = False,
    replies: Annotated[bool, typer.Option(help="Also read written replies.")] = True,
    chat: Annotated[bool, typer.Option("--chat", help="Use the tokenizer's chat template.")] = False,
    limit: Limit = None,
    level: Level = 0.95,
    gpu: Gpu = False,
    json_output: Json = False,
) -> None:
    """Ask multiple-choice questions.

    Every question is answered twice, by the log-probability of its options and by a written reply. Shown beside the
    accuracies: chance, how many replies could be read, how far the two ways agree, and where the choices fall.
    """
    from eval import Choices
    from presight.console import table

    settings: dict[str, Any] = {"by": by, "style": style, "rotate": rotate, "replies": replies, "chat": chat}
    made = Choices(model=checkpoint(model), questions=questions, limit=limit, level=level, **settings, **on(gpu))
    found = read(measure(made, {"model": model}, out), "scores.json")
    if json_output:
        print(json.dumps(found, indent=1))
        return
    summary = found["summary"]
    rows = []
    for name, each in summary["accuracy"].items():
        limits = f"{percent(each['low'])} – {percent(each['high'])}"
        rows.append([name, percent(each["estimate"]), limits, _places(summary["letters"][name])])
    title = f"{found['task']}: {summary['items']} questions, chance {percent(summary['chance'])}"
    title += f"; right answers {_places(summary['answers'])}"
    print(title)
    table("", ["by", "accuracy", f"{level:.0%} interval", "choices"], rows)
    if summary["parsed"] is not None:
        agreed = "" if summary["agreement"] is None else f", {summary['agreement']:.0%} of them agree with {by}"
        print(f"replies read: {summary['parsed']:.0%}{agreed}; declined: {summary['abstained']:.0%}")


def language(
    model: Model,
    out: Out,
    suite: Annotated[str | None, typer.Option(help="see_before_seeing: nine accuracies, two perplexities.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="A task, group or tag of lm-eval or your own.")] = None,
    include: Annotated[Path | None, typer.Option(help="Folder of YAML tasks of your own.")] = None,
    mirror: Annotated[Path | None, typer.Option(help="Folder of data sets by hub id, for work offline.")] = None,
    shots: Annotated[int | None, typer.Option(min=0, help="Examples before each item.")] = None,
    limit: Limit = None,
    level: Level = 0.95,
    gpu: Gpu = False,
    json_output: Json = False,
) -> None:
    """Run language tasks by lm-eval, with an interval for every figure and a record of every item."""
    from eval import Language
    from presight.console import table

    stage = Language(
        model=checkpoint(model), suite=suite, tasks=tuple(task or ()), include=include, mirror=mirror, shots=shots,
        limit=limit, level=level, **on(gpu),
    )  # fmt: skip
    found = read(measure(stage, {"model": model}, out), "language.json")
    if json_output:
        print(json.dumps(found, indent=1))
        return
    rows = [
        [name, metric.removesuffix(",none"), *_figures(each)]
        for name, metrics in found["intervals"].items()
        for metric, each in metrics.items()
    ]
    table("", ["task", "metric", "value", f"{level:.0%} interval"], rows)


def bits(
    model: Model,
    texts: Annotated[Path, typer.Argument(help="Folder of SOURCE.jsonl (text, cluster) or SOURCE.txt.")],
    out: Out,
    context: Annotated[int | None, typer.Option(min=1, help="Tokens of a window; default: the model's.")] = None,
    documents: Annotated[int | None, typer.Option(min=1, help="Of each source, the first so many.")] = None,
    level: Level = 0.95,
    gpu: Gpu = False,
    json_output: Json = False,
) -> None:
    """Bits per byte of your own texts by source: comparable across tokenizers."""
    from eval import Bits
    from presight.console import number, table

    stage = Bits(model=checkpoint(model), texts=texts, context=context, documents=documents, level=level, **on(gpu))
    found = read(measure(stage, {"model": model}, out), "bits.json")
    if json_output:
        print(json.dumps(found, indent=1))
        return
    rows = [
        [source, each["documents"], number(each["bytes"]), *_figures(each["bits_per_byte"])]
        for source, each in found["sources"].items()
    ]
    table("", ["source", "documents", "bytes", "bits a byte", f"{level:.0%} interval"], rows)


def _figures(each: dict[str, Any]) -> list[str]:
    return [
        *("–" if each[key] is None else f"{each[key]:.4g}" for key in ("estimate",)),
        " – ".join("?" if each[key] is None else f"{each[key]:.4g}" for key in ("low", "high")),
    ]


def _places(shares: list[float]) -> str:
    return " ".join(f"{letter} {share:.0%}" for letter, share in zip(string.ascii_uppercase, shares, strict=False))
