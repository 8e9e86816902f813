"""Learning-rate search and classification from raw inputs: what an arm scores, item by item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from adapt.arms import Adaptation, trains
from presight.console import say
from presight.errors import EXIT_DIVERGED, PresightError
from presight.stage import Cost, Needs, Stage, scratch

CONFUSED = 50  # classes up to which the whole confusion is written down


class Search(Adaptation):
    """The same learning rates for every arm, chosen on the validation split; the curve is kept.

    The best rate depends on how long is trained: a search has the budget of the fit it chooses for, by default all
    examples and as many epochs. Its noise is part of the result: one search shared by several seeds is not in their
    interval, a search for each seed is.
    """

    kind = "rate"
    version = "2"

    learning_rates: tuple[float, ...] = Field((1e-3, 3e-3, 1e-2, 3e-2), min_length=1, description="to choose from")

    def estimate(self) -> Cost:
        """Arithmetic of all candidates."""
        return self.cost(len(self.learning_rates), scored=0)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Fit once per learning rate; one that diverges loses."""
        from adapt import fitting

        task = self.task(inputs["data"], "validation")
        model = self.classifier(inputs["model"], task)
        trunk, start = trunk_of(self, model, task, inputs), fitting.Start.of(model)
        curve: list[dict[str, Any]] = []
        passes = self.passes(len(task.split["train"]))
        for rate in sorted(self.learning_rates):
            start.restore(model)
            keep = scratch(out) / f"{self.fingerprint}-{rate}.pt"
            try:
                losses = fitting.fit(
                    model, task, rate, passes, self.seed, f"learning rate {rate:g}", trunk=trunk, keep=keep
                )
                found = fitting.value(
                    task, "validation", fitting.predict(model, task, "validation", trunk=trunk, head=self.head)
                )
                curve.append({"learning_rate": rate, "validation": found, "losses": losses})
            except PresightError as error:
                if error.code != EXIT_DIVERGED:
                    raise
                curve.append({"learning_rate": rate, "validation": 0.0, "losses": []})
        best = max(range(len(curve)), key=lambda index: (curve[index]["validation"], -index))
        edge = len(curve) > 1 and best in (0, len(curve) - 1)
        chosen = {"learning_rate": curve[best]["learning_rate"], "edge": edge, "curve": curve}
        if edge:
            say(f"the best learning rate, {chosen['learning_rate']:g}, lies on the edge of those searched: widen them")
        (out / "rate.json").write_text(json.dumps(chosen, indent=1))


class Classify(Adaptation):
    """Fit one arm and score the test split once: a record for every item.

    An item is an example, or a recording whose clips' scores are averaged. Of one label its score is right or wrong;
    of several or none its share of lwlrap (`metrics.lwlrap_items`), the one such metric that is a mean over items.
    """

    kind = "scores"
    version = "2"

    learning_rate: float | Annotated[Stage, Needs("rate")] = Field(description="a number, or a search's choice")

    @model_validator(mode="after")
    def _fair(self) -> Classify:
        search = self.learning_rate
        own = dict(self.arm)
        if isinstance(search, Search) and self.codec is not None and not self.codec_content:
            own["codec_content"] = search.codec_content  # asked again when it is known
        if isinstance(search, Search) and search.arm != own:
            other = next(name for name, value in own.items() if search.arm[name] != value)
            problem = f"the search is of another arm: {other} {search.arm[other]!r}, here {own[other]!r}"
            raise ValueError(f"{problem}; search for every arm by itself")
        return self

    def estimate(self) -> Cost:
        """Arithmetic of the fit, and the items scored."""
        from adapt.arms import sizes_of

        return self.cost(1, scored=sizes_of(self.data)["test"])

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Fit, score, write ``items.parquet`` and ``scores.json``."""
        import pyarrow
        import pyarrow.parquet
        import torch

        from adapt import fitting

        rate, edge = self._rate(inputs)
        task = self.task(inputs["data"], "validation", "test")
        model = self.classifier(inputs["model"], task)
        say(f"{self.trained} {trains(model)}")
        norms = model.norms(torch.from_numpy(task.patches["train"][:256]).to(next(model.parameters()).device))
        trunk = trunk_of(self, model, task, inputs)
        what, keep = f"fitting {task.modality}s", scratch(out) / f"{self.fingerprint}.pt"
        passes = self.passes(len(task.split["train"]))
        losses = fitting.fit(model, task, rate, passes, self.seed, what, trunk=trunk, keep=keep)
        held, scores = (
            fitting.predict(model, task, split, trunk=trunk, head=self.head) for split in ("validation", "test")
        )
        columns, measured = measure(task, scores)
        pyarrow.parquet.write_table(pyarrow.table(columns), out / "items.parquet")
        record = {
            "task": f"{task.modality} classification",
            "modality": task.modality,
            "trained": self.trained,
            "arm": self.arm,
            "parameters_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "examples_trained": len(task.split["train"]),
            "tokens": task.tokens,
            "items": len(scores),
            "classes": task.classes,
            **measured,
            "learning_rate": rate,
            "edge": edge,
            "validation": fitting.value(task, "validation", held),
            "losses": losses,
            **norms,
        }
        (out / "scores.json").write_text(json.dumps(record, indent=1))
        (out / "counts.json").write_text(json.dumps({"items": len(scores)}))

    def _rate(self, inputs: Mapping[str, Path]) -> tuple[float, bool]:
        if not isinstance(self.learning_rate, Stage):
            return self.learning_rate, False
        searched = json.loads((inputs["learning_rate"] / "rate.json").read_text())
        return float(searched["learning_rate"]), bool(searched["edge"])


def trunk_of(stage: Adaptation, model: Any, task: Any, inputs: Mapping[str, Path]) -> Any:
    """Cached features where only the head is trained, which it reads standardised; else all of the model."""
    from adapt import caching, codec
    from adapt.fitting import Trunk

    if stage.trained != "head":
        return Trunk.whole(model, task)
    settings = {
        **{name: value for name, value in stage.arm.items() if name not in ("trained", "rank", "head", "shuffled")},
        "shuffled": stage.shuffled if stage.shuffled != "labels" else "none",
        "readout": "all" if stage.readout == "attention" else stage.readout,
        "examples": len(task.split["train"]),
        "seeds": [stage.input_seed, stage.seed if stage.structure == "mlp" else None],
        "device": next(model.parameters()).device.type,
        "codes": codec.key(stage.codec.expanduser(), inputs["data"], stage.levels) if stage.codec else None,
    }
    key = caching.digest(inputs["model"], inputs["data"], settings)
    features = caching.Features(model, task.patches, key)
    model.standardise(features["train"])
    return Trunk.frozen(features)


def measure(task: Any, scores: np.ndarray[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns of ``items.parquet``, and the metrics, of scores [items, classes] of the test split."""
    from adapt import metrics

    items = task.items("test")
    labels, known = items.labels, task.items("train").labels
    assert len(scores) == len(items.names) == len(set(items.names))
    columns: dict[str, Any] = {"item": list(items.names), "cluster": list(items.clusters)}
    if task.multilabel:
        columns["labels"] = [np.flatnonzero(row).tolist() for row in labels]
        columns["prediction"] = scores.argmax(1)
        columns["lwlrap"] = metrics.lwlrap_items(labels, scores)
        mean, each = metrics.macro_average_precision(labels, scores)
        frequency = np.broadcast_to(known.mean(0), labels.shape)
        return columns, {
            "metric": "lwlrap",
            "lwlrap": float(columns["lwlrap"].mean()),
            "mean_average_precision": mean,
            "average_precision": dict(zip(task.classes, each, strict=True)),
            "d_prime": metrics.d_prime(labels, scores),
            "chance": metrics.lwlrap(labels, frequency),  # every item's classes ranked by how common they are
        }
    predicted = scores.argmax(1)
    columns |= {"label": labels, "prediction": predicted, "correct": predicted == labels}
    columns["confidence"] = scores[np.arange(len(labels)), labels]
    classes = len(task.classes)
    measured: dict[str, Any] = {
        "metric": "accuracy",
        "accuracy": float(columns["correct"].mean()),
        "chance": int(np.bincount(labels).max()) / len(labels),
    }
    if classes <= CONFUSED:
        measured["confusion"] = metrics.confusion(labels, predicted, classes).tolist()
    return columns, measured
