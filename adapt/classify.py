"""Learning-rate search and classification from raw inputs: what an arm scores, item by item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from presight.errors import EXIT_DIVERGED, PresightError
from presight.stage import Cost, Needs, Stage

Trained = Literal["head", "input", "norms", "full"]


class Search(Stage):
    """The same learning rates for every arm, chosen on the validation split; the curve is kept.

    The best rate depends on how long is trained: a search has the budget of the fit it chooses for, by default all
    examples and as many epochs. Its noise is part of the result: one search shared by several seeds is not in their
    interval, a search for each seed is.
    """

    kind = "rate"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    data: Annotated[Stage, Needs("examples")]
    learning_rates: tuple[float, ...] = Field((1e-3, 3e-3, 1e-2, 3e-2), min_length=1, description="to choose from")
    trained: Trained = Field("norms", description="head; input: + projection; norms: + the LM's norms; full")
    epochs: int = Field(4, ge=1, description="passes over the training examples")
    items: int | None = Field(None, ge=1, description="training examples used; default all")
    seed: int = Field(0, ge=0, description="of projection, head and order")
    patch: int | None = Field(None, ge=1, description="side in pixels or length in samples")

    def estimate(self) -> Cost:
        """Arithmetic of all candidates."""
        sizes = sizes_of(self.data)
        passes = self.epochs * (self.items or sizes["train"]) + sizes["validation"] / 3
        return Cost(flops=len(self.learning_rates) * passes * example_flops(self.model, self.data))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Fit once per learning rate; one that diverges loses."""
        from adapt.fitting import Task, fit
        from adapt.raw import RawInputClassifier

        task = Task.load(inputs["data"], self.patch, {"train": self.items, "validation": None})
        curve = []
        for rate in sorted(self.learning_rates):
            model = RawInputClassifier.load(inputs["model"], task.width, len(task.classes), self.seed)
            try:
                done = fit(model, task, self.trained, rate, self.epochs, self.seed, f"learning rate {rate:g}")
                curve.append({"learning_rate": rate, "validation": done.validation, "losses": done.losses})
            except PresightError as error:
                if error.code != EXIT_DIVERGED:
                    raise
                curve.append({"learning_rate": rate, "validation": 0.0, "losses": []})
        best = max(range(len(curve)), key=lambda index: (curve[index]["validation"], -index))
        edge = len(curve) > 1 and best in (0, len(curve) - 1)
        found = {"learning_rate": curve[best]["learning_rate"], "edge": edge, "curve": curve}
        (out / "rate.json").write_text(json.dumps(found, indent=1))


class Classify(Stage):
    """Fit one arm and score the test split once: a record for every item."""

    kind = "scores"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    data: Annotated[Stage, Needs("examples")]
    learning_rate: float | Annotated[Stage, Needs("rate")] = Field(description="a number, or a search's choice")
    trained: Trained = Field("norms", description="head; input: + projection; norms: + the LM's norms; full")
    epochs: int = Field(4, ge=1, description="passes over the training examples")
    items: int | None = Field(None, ge=1, description="training examples used; default all")
    seed: int = Field(0, ge=0, description="of projection, head and order")
    patch: int | None = Field(None, ge=1, description="side in pixels or length in samples")

    def estimate(self) -> Cost:
        """Arithmetic of the fit, and the items scored."""
        sizes = sizes_of(self.data)
        passes = self.epochs * (self.items or sizes["train"]) + (sizes["validation"] + sizes["test"]) / 3
        return Cost(flops=passes * example_flops(self.model, self.data), items=sizes["test"])

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Fit, score, write ``items.parquet`` and ``scores.json``."""
        import pyarrow
        import pyarrow.parquet

        from adapt.fitting import Task, fit, predict
        from adapt.raw import RawInputClassifier

        if isinstance(self.learning_rate, Stage):
            searched = json.loads((inputs["learning_rate"] / "rate.json").read_text())
            rate, edge = float(searched["learning_rate"]), bool(searched["edge"])
        else:
            rate, edge = self.learning_rate, False
        task = Task.load(inputs["data"], self.patch, {"train": self.items, "validation": None, "test": None})
        model = RawInputClassifier.load(inputs["model"], task.width, len(task.classes), self.seed)
        done = fit(model, task, self.trained, rate, self.epochs, self.seed, f"fitting {task.modality}s")
        predicted, confidence = predict(model, task, "test")
        test = task.split["test"]
        correct = predicted == test.labels
        columns = {
            "item": list(test.items),
            "cluster": list(test.clusters),
            "label": test.labels,
            "prediction": predicted,
            "correct": correct,
            "confidence": confidence,
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), out / "items.parquet")
        per_class = [int((test.labels == label).sum()) for label in range(len(task.classes))]
        record = {
            "task": f"{task.modality} classification",
            "modality": task.modality,
            "metric": "accuracy",
            "trained": self.trained,
            "parameters_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "items": len(test),
            "classes": task.classes,
            "accuracy": float(correct.mean()),
            "chance": max(per_class) / len(test),
            "learning_rate": rate,
            "edge": edge,
            "validation": done.validation,
            "losses": done.losses,
            "text_norm": model.text_norm,
        }
        (out / "scores.json").write_text(json.dumps(record, indent=1))
        (out / "counts.json").write_text(json.dumps({"items": len(test)}))


def sizes_of(data: Stage) -> dict[str, int]:
    """Examples of each split, for estimates: as the data's stage says, else a thousand."""
    return {"train": 1000, "validation": 1000, "test": 1000, **getattr(data, "sizes", {})}


def example_flops(model: Stage, data: Stage) -> float:
    """Arithmetic of one example through the LM and back, for estimates; the output embedding is not used."""
    from pretrain import SHAPES

    size: object = model
    while isinstance(size, Stage):
        size = getattr(size, "model", "1m")
    tokens = getattr(data, "tokens", 50)
    return float(tokens * SHAPES.get(str(size), SHAPES["1m"]).flops(0, tokens))
