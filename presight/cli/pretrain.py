"""``presight pretrain``: what pretraining takes, before it is begun."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from presight.errors import PresightError

if TYPE_CHECKING:
    from pretrain.budget import Layout, Memory, Prediction, Row

app = typer.Typer(help="What pretraining takes.", no_args_is_help=True)
DAY = 86_400


@app.callback()
def pretrain() -> None:
    """What pretraining takes."""


@app.command("budget")
def budget(
    model: Annotated[str | None, typer.Option(help="A size, as 7b; default: a line for each.")] = None,
    tokens: Annotated[float | None, typer.Option(help="Tokens to be read, as 1e12.")] = None,
    program: Annotated[str | None, typer.Option(help="A programme of runs: see_before_seeing.")] = None,
    gpu: Annotated[str | None, typer.Option(help="A100, A100-40GB, H100, H200; or cpu: this one.")] = None,
    gpus: Annotated[int | None, typer.Option(help="How many; default 8, of a programme 128, of cpu 1.")] = None,
    mfu: Annotated[float | None, typer.Option(help="Share of the peak; default: what others publish.")] = None,
    rate: Annotated[float | None, typer.Option(help="Measured tokens a second over all GPUs.")] = None,
    zero: Annotated[int | None, typer.Option(min=0, max=3, help="ZeRO stage; default: all of them.")] = None,
    dtype: Annotated[Literal["bf16", "fp32"], typer.Option(help="Of weights and arithmetic.")] = "bf16",
    optimizer: Annotated[Literal["adamw", "muon"], typer.Option(help="Whose states are held.")] = "adamw",
    offload: Annotated[bool, typer.Option("--offload", help="Keep the optimizer in the host's memory.")] = False,
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Recompute activations.")] = False,
    micro_batch: Annotated[int, typer.Option(help="Sequences at once, a GPU.")] = 1,
    context: Annotated[int, typer.Option(help="Tokens of a sequence.")] = 2048,
    vocabulary: Annotated[int, typer.Option(help="Of the tokenizer.")] = 32_768,
    full_logits: Annotated[bool, typer.Option("--full-logits", help="A loss that is not chunked.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Predict memory, tokens a second and GPU-hours.

    For one size, for all of them, or for a programme of runs. What is counted and assumed is printed beside the
    numbers: the FLOP formula, the peak, the MFU and who published it.
    """
    from pretrain import budget
    from pretrain.model import SHAPES, shape

    layout = budget.Layout(
        gpus=gpus if gpus is not None else 128 if program else 1 if gpu == "cpu" else 8,
        zero=zero if zero is not None else 1,  # type: ignore[arg-type]
        dtype=dtype,
        optimizer=optimizer,
        offload=offload,
        checkpointing=checkpointing,
        micro_batch=micro_batch,
        context=context,
        vocabulary=vocabulary,
        chunk=0 if full_logits else budget.CHUNK,
    )
    if program:
        if model or tokens or rate:
            raise PresightError("program", "a programme has its own sizes and tokens", "leave model, tokens and rate")
        costs = budget.cost(budget.program(program), gpu=gpu or "A100", layout=layout, mfu=mfu)
        _show_program(program, costs, json_output)
        return
    gpu = gpu or "H100"
    if tokens and model is None:
        raise PresightError("tokens", "whose run is not said", "name a size with --model, or a --program")
    if rate is not None and model is None:
        raise PresightError("rate", "a rate was measured with one size", "name it with --model")
    found: dict[str, Prediction | PresightError] = {}
    for name in [model] if model else SHAPES:
        shape(name)
        try:
            found[name] = budget.predict(name, tokens or 1.0, gpu=gpu, layout=layout, mfu=mfu, rate=rate)
        except PresightError as error:
            if error.field != "mfu" or mfu is not None or tokens:  # without tokens memory alone is an answer
                raise
            found[name] = error
    if json_output:
        print(json.dumps([_record(name, each, layout, tokens) for name, each in found.items()], indent=1))
    elif model:
        _show_one(model, found[model], gpu, tokens, [layout] if zero is not None else _stages(layout))
    else:
        _show_sizes(found, gpu, layout)


@app.command("passport")
def passport(
    artifact: Annotated[Path, typer.Argument(help="Folder of a passport, as runs/passport/passport.")],
    json_output: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show which ways of training are bitwise equal on the machine where a passport was made.

    Make one with `presight run passport`, or with the stage pretrain.Passport on your own mixture.
    """
    from presight.console import table

    path = artifact / "passport.json"
    if not path.exists():
        raise PresightError(str(artifact), "holds no passport", "make one: presight run passport")
    found = json.loads(path.read_text())
    if json_output:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['steps']} steps of {found['model']}: {len(found['ways'])} ways, {len(found['classes'])} classes")
    rows = [
        [number if not line else "", way.replace("/", ", "), f"{found['ways'][way]['distance']:.1e}"]
        for number, ways in enumerate(sorted(found["classes"], key=len, reverse=True), 1)
        for line, way in enumerate(ways)
    ]
    table("", ["class", "way", "furthest loss from the first way"], rows)


def _stages(layout: Layout) -> list[Layout]:
    """The layout at every ZeRO stage that can be."""
    found = []
    for stage in (0, 1, 2, 3):
        try:
            found.append(replace(layout, zero=stage))
        except PresightError:
            continue
    return found


def _record(name: str, found: Prediction | PresightError, layout: Layout, tokens: float | None) -> dict[str, Any]:
    from pretrain.budget import memory
    from pretrain.model import shape

    need = memory(shape(name), layout)
    record = {"model": name, "parameters": shape(name).parameters(layout.vocabulary), "layout": asdict(layout)}
    if isinstance(found, PresightError):
        record["problem"] = str(found)
    else:
        times = {"seconds": found.seconds, "gpu_hours": found.gpu_hours} if tokens else {}
        record |= {**asdict(found), "tokens": tokens, **times}
    return record | {"memory": {**asdict(need), "total": need.total}}


def _basis(found: Prediction) -> list[str]:
    """What the rate stands on, a line each."""
    used, peak = found.utilisation, f"{found.peak / 1e12:.4g} TFLOP/s ({found.gpu}, {found.layout.dtype}, dense)"
    return [f"counted: {found.formula}", f"MFU {used.mfu:.1%} of {peak}: {used.source}"]


def _long(seconds: float) -> str:
    from presight.console import clock

    return f"{seconds / DAY:.1f} days" if seconds >= 2 * DAY else clock(seconds)


def _amount(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"


def _fits(need: Memory, gpu: str) -> str:
    from pretrain.budget import fits

    return {None: "", True: "yes", False: "no"}[fits(need, gpu)]


def _show_one(
    name: str, found: Prediction | PresightError, gpu: str, tokens: float | None, layouts: list[Layout]
) -> None:
    from presight.console import number, size, table
    from pretrain.budget import memory
    from pretrain.model import shape

    layout, model = layouts[0], shape(name)
    flops = model.flops(layout.vocabulary, layout.context)
    print(f"{name}: {number(model.parameters(layout.vocabulary))} parameters, {flops / 1e9:.4g} GFLOP a token")
    if isinstance(found, PresightError):
        print(found)
    else:
        print("\n".join(_basis(found)))
        print(f"{layout.gpus} × {gpu}: {number(found.rate)} tokens/s")
    if tokens and not isinstance(found, PresightError):
        print(f"{number(tokens)} tokens: {_long(found.seconds)}, {_amount(found.gpu_hours)} {gpu}-hours")
    rows = []
    for each in layouts:
        need = memory(model, each)
        terms = (need.weights, need.gradients, need.optimizer, need.activations, need.logits, need.total, need.host)
        rows.append([f"ZeRO {each.zero}", *map(size, terms), _fits(need, gpu)])
    columns = ["stage", "weights", "gradients", "optimizer", "activations", "logits", "total", "host", "fits"]
    table("", columns, rows)


def _show_sizes(found: dict[str, Prediction | PresightError], gpu: str, layout: Layout) -> None:
    from presight.console import number, size, table
    from pretrain.budget import memory
    from pretrain.model import COUNTED, FORMULA, shape

    print(f"{layout.gpus} × {gpu}, ZeRO {layout.zero}, {layout.dtype}; counted: {FORMULA} ({COUNTED})")
    rows = []
    for name, each in found.items():
        need, model = memory(shape(name), layout), shape(name)
        rate = ["", ""] if isinstance(each, PresightError) else [f"{each.utilisation.mfu:.0%}", number(each.rate)]
        rows.append([name, number(model.parameters(layout.vocabulary)), size(need.total), _fits(need, gpu), *rate])
    table("", ["model", "parameters", "memory a GPU", "fits", "MFU", "tokens/s"], rows)


def _show_program(name: str, costs: list[tuple[Row, Prediction]], as_json: bool) -> None:
    from presight.console import number, table

    total = sum(row.runs * each.gpu_hours for row, each in costs)
    runs = sum(row.runs for row, _ in costs)
    if as_json:
        rows = [{**asdict(row), **_record(row.model, each, each.layout, row.tokens)} for row, each in costs]
        print(json.dumps({"program": name, "rows": rows, "runs": runs, "gpu_hours": total}, indent=1))
        return
    for line in dict.fromkeys(line for _, each in costs for line in _basis(each)):
        print(line)
    lines = [
        [
            row.study,
            row.model,
            number(row.tokens),
            row.runs,
            _amount(each.gpu_hours),
            _amount(row.runs * each.gpu_hours),
        ]
        for row, each in costs
    ]
    lines.append(["all", "", "", runs, "", _amount(total)])
    hours = f"{costs[0][1].gpu}-hours"
    table("", ["study", "model", "tokens", "runs", f"{hours} a run", hours], lines)
