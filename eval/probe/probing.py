"""Probing as a stage: what every layer of a language model holds of raw images or sounds, item by item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from eval.probe.probe import NEIGHBOURS, STRENGTHS, DataCurve, ProbeScores, Split, fit_neighbours, fit_probe
from presight.console import progress
from presight.errors import PresightError
from presight.stage import Cost, Needs, Stage

_BATCH = 256  # examples read at once
_SPLITS = ("train", "validation", "test")


class Probe(Stage):
    """A probe on every layer of a frozen model that reads raw patches: fitted, chosen on validation, scored once.

    Patches enter through the projection that `adapt` classifies with, which is drawn from the seed and never trained;
    a layer's features are its mean over patches. Layer 0 is what goes in: nothing of the model but the length of its
    embeddings, which a linear probe does not see, so that it tells chance findings from true ones.
    """

    kind = "probe"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    data: Annotated[Stage, Needs("examples")]
    layers: tuple[Annotated[int, Field(ge=0)], ...] = Field((), description="which, 0 the input; default all of them")
    method: Literal["linear", "knn"] = Field("linear", description="logistic regression, or nearest neighbours")
    strengths: tuple[float, ...] = Field(STRENGTHS, min_length=1, description="ridge penalties to choose from")
    neighbours: tuple[int, ...] = Field(NEIGHBOURS, min_length=1, description="numbers of neighbours to choose from")
    shots: tuple[int, ...] = Field((), description="examples a class of a few-shot curve; none: no curve")
    fractions: tuple[float, ...] = Field((), description="shares of the training split of such a curve")
    folds: int = Field(3, ge=1, description="draws of the training examples, of each amount of a curve")
    seed: int = Field(0, ge=0, description="of the projection")
    patch: int | None = Field(None, ge=1, description="side in pixels or length in samples")

    def estimate(self) -> Cost:
        """Items scored."""
        return Cost(items=int(getattr(self.data, "sizes", {}).get("test", 0)))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``items.parquet``, a row an item and layer, and ``probe.json``.

        Raises:
            PresightError: a layer that the model has not, or as `fit_probe`, `few_shot` and `data_fractions`.
        """
        import pyarrow
        import pyarrow.parquet

        from adapt import Task

        task = Task.load(inputs["data"], self.patch, dict.fromkeys(_SPLITS))
        features = raw_features(inputs["model"], task, self.seed)
        depth = len(features["train"])
        layers = list(self.layers or range(depth))
        if max(layers) >= depth:
            raise PresightError("layers", f"{max(layers)} of a model of {depth - 1}", f"give 0 to {depth - 1}")
        test, tables, records = task.split["test"], [], []
        for layer in progress(layers, f"probing {task.modality}s"):
            splits = [
                Split(features[name][layer], task.split[name].labels) for name in ("train", "validation", "test")
            ]
            done = self._probe(*splits)
            columns = {
                "layer": np.full(len(test), layer),
                "item": list(test.items),
                "cluster": list(test.clusters),
                "label": test.labels,
                "prediction": done.predicted,
                "correct": done.correct,
                "confidence": done.confidence,
            }
            tables.append(pyarrow.table(columns))
            records.append({"layer": layer, **described(done), **self._curves(*splits)})
        pyarrow.parquet.write_table(pyarrow.concat_tables(tables), out / "items.parquet")
        best = max(records, key=lambda record: record["validation"])  # the first of equals: validation chooses alone
        counts = np.bincount(test.labels)
        found = {
            "task": f"{task.modality} classification",
            "modality": task.modality,
            "metric": "accuracy",
            "method": self.method,
            "tokens": tokens_of(inputs["model"]),
            "items": len(test),
            "classes": task.classes,
            "chance": int(counts.max()) / len(test),
            "best": best["layer"],
            "accuracy": best["accuracy"],
            "layers": records,
        }
        (out / "probe.json").write_text(json.dumps(found, indent=1))
        (out / "counts.json").write_text(json.dumps({"items": len(test), "layers": len(layers)}))

    @property
    def _probe(self) -> Any:
        if self.method == "linear":
            return partial(fit_probe, strengths=self.strengths)
        return partial(fit_neighbours, neighbours=self.neighbours)

    def _curves(self, train: Split, validation: Split, test: Split) -> dict[str, Any]:
        """Curves over amounts of data; every model draws the same examples, whatever the seed of its projection."""
        from eval.probe.probe import data_fractions, few_shot

        draws, found = range(self.folds), {}
        if self.shots:
            found["shots"] = curve(few_shot(train, validation, test, self.shots, draws, self._probe))
        if self.fractions:
            found["fractions"] = curve(data_fractions(train, validation, test, self.fractions, draws, self._probe))
        return found


def raw_features(checkpoint: Path, task: Any, seed: int) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Mean over patches in every layer of a frozen model: by split, [1 + layers, n, d], the input first.

    The last is after the model's final norm, as transformers gives it.

    Args:
        checkpoint: of a causal LM.
        task: an `adapt.Task`, whose patches [n, T, width] are read.
        seed: of the projection.
    """
    import torch

    from adapt import RawInputClassifier

    model = RawInputClassifier.load(checkpoint, task.width, len(task.classes), seed).eval()
    found = {}
    with torch.inference_mode():
        for split, patches in task.patches.items():
            parts = []
            for start in range(0, len(patches), _BATCH):
                embedded = model.norm(model.project(torch.from_numpy(patches[start : start + _BATCH])))  # [B, T, D]
                states = model.backbone(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
                parts.append(torch.stack([state.mean(1) for state in states.hidden_states]))  # [1 + L, B, D]
            found[split] = torch.cat(parts, 1).numpy()
    return found


def described(done: ProbeScores) -> dict[str, Any]:
    """What a probe came to, and how it was chosen."""
    return {
        "accuracy": done.accuracy,
        "validation": done.validation,
        "strength": done.strength,
        "edge": done.edge,
        "curve": [trial._asdict() for trial in done.curve],
        "warnings": done.warnings(),
    }


def curve(done: DataCurve) -> dict[str, Any]:
    """Accuracy over amounts of data: of every draw, and in the mean."""
    return {
        "amounts": list(done.amounts),
        "accuracy": done.accuracy.tolist(),
        "draws": done.correct.mean(2).tolist(),
        "edges": int(done.edges.sum()),
    }


def tokens_of(checkpoint: Path) -> int | None:
    """Tokens that a model has read, where its makers say so."""
    counts = checkpoint / "counts.json"
    found = json.loads(counts.read_text()).get("tokens") if counts.exists() else None
    return None if found is None else int(found)
