"""Fit a raw-input classifier: a fixed budget, one learning rate, deterministic order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adapt import examples
from adapt.patches import Floats, Standardiser, image_patches, wave_patches
from presight.console import Track
from presight.errors import EXIT_DIVERGED, PresightError

BATCH = 32


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task as patches: [N, tokens, width] float32, standardised, with labels [N], by split."""

    modality: str
    classes: list[str]
    patches: dict[str, Floats]
    split: dict[str, examples.Examples]

    @classmethod
    def load(cls, folder: Path, patch: int | None, limits: dict[str, int | None]) -> Task:
        """Read the splits named in ``limits``; the training split, always read, sets the scale.

        ``patch`` is a side in pixels or a length in samples; by default the examples' own, else 4 pixels or 25 ms.
        """
        described = examples.index(folder)
        image = described["modality"] == "image"
        size = patch or described["patch"] or (4 if image else round(described["rate"] * 0.025))
        cut = image_patches if image else wave_patches
        split = {name: examples.read(folder, name, limit) for name, limit in {"train": None, **limits}.items()}
        raw = {name: cut(each.data, size) for name, each in split.items()}
        scale = Standardiser.of(raw["train"])
        return cls(
            described["modality"], described["classes"], {name: scale(each) for name, each in raw.items()}, split
        )

    @property
    def width(self) -> int:
        """Values of a patch."""
        return self.patches["train"].shape[2]


@dataclass(slots=True)
class Fit:
    """What a fit went through."""

    trained: list[str]
    losses: list[float] = field(default_factory=list)  # mean training loss of each epoch
    validation: float = float("nan")


def fit(model: Any, task: Task, trained: Any, learning_rate: float, epochs: int, seed: int, what: str) -> Fit:
    """Train the model's chosen part with Adam, 5 % warm-up and cosine, gradient norm 1; end with validation accuracy.

    Raises:
        PresightError: the loss is not finite (exit code 88).
    """
    import torch

    done = Fit(model.freeze(trained))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    x, y = torch.from_numpy(task.patches["train"]), torch.from_numpy(task.split["train"].labels)
    batches = math.ceil(len(y) / BATCH)
    steps, step = batches * epochs, 0
    warmup = max(1, round(0.05 * steps))
    order = np.random.default_rng(seed)
    track = Track(steps, what)
    model.train()
    for _ in range(epochs):
        total = 0.0
        for rows in np.array_split(order.permutation(len(y)), batches):
            rate = min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps)))
            optimizer.param_groups[0]["lr"] = learning_rate * rate
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            if not math.isfinite(loss.item()):
                raise PresightError("learning_rate", f"{learning_rate} diverged", "lower it", EXIT_DIVERGED)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            total += loss.item() * len(rows)
            step += 1
            track.advance()
        done.losses.append(total / len(y))
    predicted, confidence = predict(model, task, "validation")
    if not np.isfinite(confidence).all():  # the last step diverged, whose loss nobody took
        raise PresightError("learning_rate", f"{learning_rate} diverged", "lower it", EXIT_DIVERGED)
    done.validation = float((predicted == task.split["validation"].labels).mean())
    return done


def predict(model: Any, task: Task, split: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Predicted classes [N] and the probabilities given to the true ones [N]; every example once."""
    import torch

    model.eval()
    x, labels = torch.from_numpy(task.patches[split]), torch.from_numpy(task.split[split].labels)
    predicted, confidence = [], []
    with torch.no_grad():
        for start in range(0, len(labels), 256):
            probability = model(x[start : start + 256]).softmax(-1)
            predicted.append(probability.argmax(-1))
            confidence.append(probability.gather(1, labels[start : start + 256, None])[:, 0])
    found = torch.cat(predicted).numpy(), torch.cat(confidence).numpy()
    assert len(found[0]) == len(labels)
    return found
