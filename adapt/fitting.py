"""Fit a raw-input classifier: a fixed budget, one learning rate, deterministic order; stopped fits go on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from adapt.metrics import lwlrap
from adapt.neighbours import neighbour_shares
from adapt.task import Task
from presight.console import Track
from presight.errors import EXIT_DIVERGED, PresightError

BATCH = 32
SCORED = 256  # examples scored at once
SECONDS = 60.0  # between two states of a fit that are kept


class Trunk(NamedTuple):
    """What a head stands on: inputs by split, and how features come of a batch of them."""

    inputs: Mapping[str, Any]
    features: Callable[[Any], Any]

    @classmethod
    def whole(cls, model: Any, task: Task) -> Trunk:
        """Every batch through projection and backbone."""
        return cls(task.patches, model.features)

    @classmethod
    def frozen(cls, features: Mapping[str, Any]) -> Trunk:
        """Features that are there already."""
        return cls(features, lambda batch: batch)


def fit(
    model: Any,
    task: Task,
    learning_rate: float,
    epochs: int,
    seed: int,
    what: str,
    trunk: Trunk | None = None,
    keep: Path | None = None,
) -> list[float]:
    """Train what is trainable with Adam, 5 % warm-up and cosine, gradient norm 1; the mean loss of each epoch.

    Cross-entropy, or binary cross-entropy of each class where an item may have several labels. A fit that was stopped
    goes on from the last state in ``keep``, and ends as one that was not, to the bit.

    Args:
        model: a `RawInputClassifier`, frozen as its arm says.
        task: the data.
        learning_rate: the largest.
        epochs: passes over the training split.
        seed: of the order and of what drops out.
        what: name, for progress.
        trunk: inputs and what becomes of them below the head; default all of the model.
        keep: file of states.

    Raises:
        PresightError: the loss is not finite (exit code 88).
    """
    import torch

    inputs, features = trunk or Trunk.whole(model, task)
    device = next(model.parameters()).device
    x, y = inputs["train"], torch.from_numpy(task.split["train"].labels).to(device)
    loss_of: Callable[..., Any] = torch.nn.functional.cross_entropy
    if task.multilabel:
        loss_of, y = torch.nn.functional.binary_cross_entropy_with_logits, y.float()
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    optimizer = torch.optim.Adam(trained.values(), lr=learning_rate)
    batches = math.ceil(len(y) / BATCH)
    steps = batches * epochs
    warmup = max(1, round(0.05 * steps))
    state: dict[str, Any] = {"step": 0, "total": 0.0, "losses": []}
    if keep is not None and keep.exists():
        state = _restore(keep, trained, optimizer)
    order, track, saved = np.random.default_rng(seed), Track(steps, what), time.monotonic()
    model.train()
    with torch.random.fork_rng(devices=[]):
        for epoch in range(epochs):
            rows = np.array_split(order.permutation(len(y)), batches)
            for step, chosen in enumerate(rows, epoch * batches):
                track.advance()
                if step < state["step"]:
                    continue
                torch.manual_seed(seed * steps + step)  # of what drops out
                rate = min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps)))
                optimizer.param_groups[0]["lr"] = learning_rate * rate
                batch = torch.from_numpy(np.array(x[chosen])).to(device)
                loss = loss_of(model.classify(features(batch)), y[chosen])
                if not math.isfinite(loss.item()):
                    raise diverged(learning_rate)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
                optimizer.step()
                state["total"] += loss.item() * len(chosen)
                state["step"] = step + 1
                if state["step"] % batches == 0:
                    state["losses"].append(state["total"] / len(y))
                    state["total"] = 0.0
                if keep is not None and (time.monotonic() - saved >= SECONDS or state["step"] == steps):
                    _save(keep, state, trained, optimizer)
                    saved = time.monotonic()
    losses: list[float] = state["losses"]
    return losses


def predict(
    model: Any, task: Task, split: str, trunk: Trunk | None = None, head: Literal["linear", "knn"] = "linear"
) -> npt.NDArray[np.float64]:
    """Scores [items, classes] of a split from 0 to 1: mean over the examples of an item, every example read once.

    ``linear``: probabilities. ``knn``: shares of the nearest training examples.

    Raises:
        PresightError: they are not finite, since the last step diverged, whose loss nobody took (exit code 88).
    """
    import torch

    trunk = trunk or Trunk.whole(model, task)
    model.eval()
    if head == "knn":
        known, asked = (_run(model, model.embed, trunk, name) for name in ("train", split))
        if not np.isfinite(known).all() or not np.isfinite(asked).all():
            raise diverged()
        found = neighbour_shares(known, task.split["train"].labels, asked, len(task.classes))
    else:
        squash = torch.sigmoid if task.multilabel else (lambda logits: logits.softmax(-1))
        found = _run(model, lambda features: squash(model.classify(features)), trunk, split)
    if not np.isfinite(found).all():
        raise diverged()
    return task.items(split).mean(found)


def value(task: Task, split: str, scores: npt.NDArray[np.float64]) -> float:
    """The figure of a split's scores that arms and learning rates are compared by: accuracy, or lwlrap."""
    labels = task.items(split).labels
    return lwlrap(labels, scores) if task.multilabel else float((scores.argmax(1) == labels).mean())


def diverged(learning_rate: float | None = None) -> PresightError:
    """The error of a fit that left the numbers."""
    problem = f"{learning_rate} diverged" if learning_rate is not None else "the fit diverged in its last step"
    return PresightError("learning_rate", problem, "lower it", EXIT_DIVERGED)


def _run(model: Any, network: Callable[[Any], Any], trunk: Trunk, split: str) -> npt.NDArray[Any]:
    """``network`` of the features of every example of a split, once, in order."""
    import torch

    inputs, parts, device = trunk.inputs[split], [], next(model.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(inputs), SCORED):
            batch = torch.from_numpy(np.array(inputs[start : start + SCORED]))
            parts.append(network(trunk.features(batch.to(device))).float().cpu())
    found: npt.NDArray[Any] = torch.cat(parts).numpy()
    assert len(found) == len(inputs)
    return found


@dataclass(frozen=True, slots=True)
class Start:
    """Where a fit begins: the trainable weights, to fit again from them."""

    weights: dict[str, Any]

    @classmethod
    def of(cls, model: Any) -> Start:
        """A copy of what is trainable now."""
        return cls({name: each.detach().clone() for name, each in model.named_parameters() if each.requires_grad})

    def restore(self, model: Any) -> None:
        """Put them back."""
        _put(self.weights, dict(model.named_parameters()))


def _put(weights: Mapping[str, Any], into: Mapping[str, Any]) -> None:
    import torch

    with torch.no_grad():
        for name, each in weights.items():
            into[name].copy_(each)


def _save(path: Path, state: dict[str, Any], trained: Mapping[str, Any], optimizer: Any) -> None:
    import torch

    partial = path.with_suffix(".partial")
    weights = {name: each.detach() for name, each in trained.items()}
    torch.save({**state, "weights": weights, "optimizer": optimizer.state_dict()}, partial)
    partial.replace(path)


def _restore(path: Path, trained: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    import torch

    kept = torch.load(path, weights_only=True, map_location="cpu")
    _put(kept.pop("weights"), trained)
    optimizer.load_state_dict(kept.pop("optimizer"))
    return dict(kept)
