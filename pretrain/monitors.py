"""Curves where people watch them: TensorBoard, Weights & Biases. ``metrics.jsonl`` is the record; these follow it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from presight.errors import PresightError

Name = Literal["tensorboard", "wandb"]


class Monitor(Protocol):
    """Takes numbers by name."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of a step."""

    def close(self) -> None:
        """Write out what waits."""


class TensorBoard:
    """Event files under ``log/tensorboard`` of the run's folder.

    Args:
        folder: for them.
        step: of the checkpoint that the run goes on from: what an earlier attempt showed after it is taken back.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush the files."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases, one and the same through all attempts; ``WANDB_*`` in the environment has its say.

    Args:
        folder: for its files.
        name: of the run, and its id.
        fields: of the stage.
    """

    def __init__(self, folder: Path, name: str, fields: Mapping[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        project = os.environ.get("WANDB_PROJECT", "presight")
        self._run = wandb.init(
            project=project, id=name, name=name, resume="allow", dir=str(folder), config=dict(fields)
        )
        # steps are an axis of its own: W&B's counter cannot go back, and a run that resumes does
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values with their step."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        """Finish the run: one that resumes takes it up again."""
        self._run.finish()


def monitors(names: tuple[Name, ...], folder: Path, step: int, run: str, fields: Mapping[str, Any]) -> list[Monitor]:
    """The monitors of these names.

    Args:
        names: which.
        folder: the run's log.
        step: that it begins or goes on from.
        run: its name.
        fields: its settings, for people.

    Raises:
        PresightError: a package is missing.
    """
    found: list[Monitor] = []
    for name in names:
        try:
            if name == "tensorboard":
                found.append(TensorBoard(folder / name, step))
            else:
                found.append(WandB(folder / name, run, fields))
        except ImportError as error:
            raise PresightError("monitors", f"{name} is not installed", f"pip install {name}") from error
    return found


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of a curve by name: ``loss``, ``loss_by_source/web``, ``heldout/web/bits_per_byte``."""
    prefix = f"heldout/{line['source']}/" if "source" in line else ""
    return {prefix + name: value for name, value in _numbers(line) if name not in ("step", "tokens")}


def _numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield prefix + name, float(value)
