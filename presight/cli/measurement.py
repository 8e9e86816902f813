"""What the measuring commands share: options, folders that stand for stages, and results that are there whole."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from presight.errors import PresightError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from presight.stage import Stage

Model = Annotated[Path, typer.Argument(help="A checkpoint: an artifact's folder, or one of transformers.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the result; must not exist yet.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Level = Annotated[float, typer.Option(help="Coverage of the intervals.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Items of each task, the first so many; default: all.")]
Gpu = Annotated[bool, typer.Option("--gpu", help="Measure on a GPU.")]


def checkpoint(path: Path) -> Stage:
    """A checkpoint in a folder as a stage: for its identity, it is not copied.

    Raises:
        PresightError: there is none.
    """
    from pretrain import Checkpoint

    if not (path / "config.json").exists():
        raise PresightError(str(path), "holds no checkpoint", "name a folder with config.json and weights")
    return Checkpoint(path=path).settle(fetch=False)


def examples(path: Path) -> Stage:
    """Examples in a folder as a stage, known by their content.

    Raises:
        PresightError: there are none.
    """
    from presight import index
    from presight.stage import Stage

    class Examples(Stage):
        """Examples that lie there already."""

        kind = "examples"
        version = "1"

        content: str

    if not (path / "examples.json").exists():
        mend = "name a folder that `presight data import` or an adapt stage wrote"
        raise PresightError(str(path), "holds no examples", mend)
    return Examples(content=index.content(path))


def on(gpu: bool) -> dict[str, Any]:
    """The fields of a stage that measures on a GPU, or not."""
    return {"resources": {"gpus": int(gpu)}}


def measure(stage: Stage, inputs: Mapping[str, Path], out: Path, again: Literal["refuse", "keep"] = "refuse") -> Path:
    """Run a stage on folders that are no artifacts; its result is in ``out`` whole, with a card, or not at all.

    Args:
        stage: what to run; it is settled here.
        inputs: the folder of each of its inputs.
        out: where the result shall be.
        again: whether the very same result, if it is in ``out`` already, is given back.

    Raises:
        PresightError: something else is in ``out``; or as the stage.
    """
    from presight import card
    from presight.console import foreground

    settled = stage.settle(fetch=False)
    if out.exists():
        known = card.read(out) if again == "keep" else None
        if known and known["artifact"] == settled.fingerprint:
            return out
        what = "is there already" if again == "refuse" else "is there already, of other fields or files"
        raise PresightError(str(out), what, "name another folder, or delete it")
    work = out.with_name(f".{out.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    (work / "payload").mkdir(parents=True)
    started, clock = time.time(), time.monotonic()
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for each model that is loaded says nothing
    try:
        with foreground(settled.tag()):
            settled.run(work / "payload", inputs)
        card.write(settled, work / "payload", started, time.monotonic() - clock, 1)
        (work / "payload").rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return out


@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Say in one sentence what transformers says in many, of a folder that it cannot load."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        if isinstance(error, OSError) and error.filename:  # a file of the system's, not transformers' complaint
            raise
        said = " ".join(str(error).split())[:200].rstrip(".")
        mend = "save model and tokenizer there with save_pretrained"
        raise PresightError(str(path), f"cannot be read ({said})", mend) from error


def names(paths: Sequence[Path]) -> list[str]:
    """A name for each of the paths, all different: its last part, or as many of its last parts as it takes.

    Raises:
        PresightError: one is given twice.
    """
    whole = [Path(os.path.abspath(path)).parts[1:] for path in paths]  # links are not followed: they have the name
    for depth in range(1, max(map(len, whole), default=0) + 1):
        found = ["-".join(parts[-depth:]) for parts in whole]
        if len(set(found)) == len(found):
            return found
    raise PresightError(str(paths[-1]), "is given twice", "name every folder once")


def percent(share: float) -> str:
    """``93.1 %``."""
    return f"{100 * share:.1f} %"


def read(folder: Path, name: str) -> Any:
    """A JSON file of a result."""
    return json.loads((folder / name).read_text(encoding="utf-8"))
