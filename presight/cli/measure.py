"""``presight eval``: the commands that measure — choices, language, bits."""

from __future__ import annotations

import json
import shutil
import string
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from presight.errors import PresightError

if TYPE_CHECKING:
    from presight.stage import Stage

Model = Annotated[Path, typer.Argument(help="A checkpoint: an artifact's folder, or one of transformers.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the result; must not exist yet.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Level = Annotated[float, typer.Option(help="Coverage of the intervals.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Items of each task, the first so many; default: all.")]
Gpu = Annotated[bool, typer.Option("--gpu", help="Measure on a GPU.")]


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
    made = Choices(model=_model(model), questions=questions, limit=limit, level=level, **settings, **_on(gpu))
    found = json.loads((_measure(made, {"model": model}, out) / "scores.json").read_text())
    if json_output:
        print(json.dumps(found, indent=1))
        return
    summary = found["summary"]
    rows = []
    for name, each in summary["accuracy"].items():
        limits = f"{_percent(each['low'])} – {_percent(each['high'])}"
        rows.append([name, _percent(each["estimate"]), limits, _places(summary["letters"][name])])
    title = f"{found['task']}: {summary['items']} questions, chance {_percent(summary['chance'])}"
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
        model=_model(model), suite=suite, tasks=tuple(task or ()), include=include, mirror=mirror, shots=shots,
        limit=limit, level=level, **_on(gpu),
    )  # fmt: skip
    found = json.loads((_measure(stage, {"model": model}, out) / "language.json").read_text())
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

    stage = Bits(
        model=_model(model), texts=texts, context=context, documents=documents, level=level, **_on(gpu)
    )  # fmt: skip
    found = json.loads((_measure(stage, {"model": model}, out) / "bits.json").read_text())
    if json_output:
        print(json.dumps(found, indent=1))
        return
    rows = [
        [source, each["documents"], number(each["bytes"]), *_figures(each["bits_per_byte"])]
        for source, each in found["sources"].items()
    ]
    table("", ["source", "documents", "bytes", "bits a byte", f"{level:.0%} interval"], rows)


def _model(path: Path) -> Stage:
    """A checkpoint in a folder as a stage: for its identity, it is not copied."""
    from pretrain import Checkpoint

    if not (path / "config.json").exists():
        raise PresightError(str(path), "holds no checkpoint", "name a folder with config.json and weights")
    return Checkpoint(path=path).settle(fetch=False)


def _on(gpu: bool) -> dict[str, Any]:
    return {"resources": {"gpus": int(gpu)}}


def _measure(stage: Stage, inputs: dict[str, Path], out: Path) -> Path:
    """Run a stage on folders that are no artifacts; its result is in ``out`` whole, with a card, or not at all."""
    from presight import card
    from presight.console import foreground

    if out.exists():
        raise PresightError(str(out), "is there already", "name another folder, or delete it")
    settled, work = stage.settle(fetch=False), out.with_name(f".{out.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    (work / "payload").mkdir(parents=True)
    started, clock = time.time(), time.monotonic()
    try:
        with foreground(settled.tag()):
            settled.run(work / "payload", inputs)
        card.write(settled, work / "payload", started, time.monotonic() - clock, 1)
        (work / "payload").rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


def _figures(each: dict[str, Any]) -> list[str]:
    return [
        *("–" if each[key] is None else f"{each[key]:.4g}" for key in ("estimate",)),
        " – ".join("?" if each[key] is None else f"{each[key]:.4g}" for key in ("low", "high")),
    ]


def _places(shares: list[float]) -> str:
    return " ".join(f"{letter} {share:.0%}" for letter, share in zip(string.ascii_uppercase, shares, strict=False))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
