"""The figures of many models side by side: what each scores on groups of benchmarks, and how surely."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError
from presight.stage import Labelled

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cohort:
    """Figures of many models, each the mean of its benchmarks, with what their items leave uncertain.

    Attributes:
        labels: of each model, the seed among them [models].
        families: of each model [models]: models that differ in their seed alone are one family.
        names: of the figures [figures]: groups, and the mean over all.
        scores: [models, figures].
        halves: the same out of either half of the items [models, figures, 2].
        errors: variance of a score that is the items' doing [figures].
    """

    labels: list[dict[str, str]]
    families: npt.NDArray[np.int64]
    names: list[str]
    scores: Floats
    halves: Floats
    errors: Floats

    @classmethod
    def of(
        cls,
        scores: Sequence[Labelled],
        inputs: Mapping[str, Path],
        replicate: str,
        benchmarks: Mapping[str, tuple[str, ...]],
        partial: bool = False,
    ) -> Cohort:
        """Read scores; several artifacts with the same labels are one model's.

        All models answered the same items, so what an item adds to all of them is no error: the variance is that of a
        model's items about the mean over models, by clusters. Items are halved by a hash of their clusters' names.

        Raises:
            PresightError: a task twice, other items in one model than in another, scores that are no shares, or no
                group whole.
        """
        from eval.compare import Arm
        from eval.records import require_same_items, results
        from eval.vision.figures import rows

        found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        for index, each in enumerate(scores):
            own = found.setdefault(tuple(sorted(each.labels.items())), {})
            for result in results(inputs[f"scores[{index}]"]):
                if result.scores.min() < 0 or result.scores.max() > 1:
                    problem = f"{result.metric} of {result.task} is no share"
                    raise PresightError("scores", problem, "leave it out")
                if result.task in own:
                    problem = f"{dict(each.labels)} have {result.task} twice"
                    raise PresightError("scores", problem, "label the models apart, or give one metric")
                own[result.task] = result
        models = list(found.values())
        shared = {task: result for task, result in models[0].items() if all(task in each for each in models[1:])}
        for other in models[1:]:
            for task, result in shared.items():
                require_same_items(result, other[task], "two models")
        arms = {task: Arm.of({}, {"-": ("", result)}) for task, result in shared.items()}
        figures = [row for row in rows(arms, benchmarks, partial)[0] if row.level != "benchmark"]
        tasks = {task: np.stack([each[task].scores for each in models]) for task in shared}
        means = {task: table.mean(axis=1) for task, table in tasks.items()}
        halves = {task: _halves(table, shared[task].clusters) for task, table in tasks.items()}
        errors = {task: _error(table, shared[task].clusters) for task, table in tasks.items()}
        labels = [dict(key) for key in found]
        kinds = [tuple(item for item in key if item[0] != replicate) for key in found]
        return cls(
            labels=labels,
            families=np.array([list(dict.fromkeys(kinds)).index(kind) for kind in kinds]),
            names=[row.name for row in figures],
            scores=np.stack([sum_of(means, row.weights) for row in figures], axis=1),
            halves=np.stack([sum_of(halves, row.weights) for row in figures], axis=1),
            errors=np.array([sum(w**2 * errors[task] for task, w in row.weights.items()) for row in figures]),
        )

    def column(self, name: str) -> int:
        """The place of a figure."""
        return self.names.index(name)


def sum_of(values: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The weighted mean of tasks' values; weights are made to add up to one."""
    total = sum(weights.values())
    return np.asarray(sum(weight / total * values[task] for task, weight in weights.items()))


def _halves(table: Floats, clusters: npt.NDArray[Any]) -> Floats:
    """Means over either half of the items [models, 2]; a cluster is in one half."""
    names = sorted(set(clusters.tolist()), key=lambda name: hashlib.blake2b(str(name).encode()).digest())
    if len(names) < 2:
        raise PresightError("scores", "a task of one cluster cannot be halved", "ask more questions")
    first = np.isin(clusters, names[::2])
    return np.stack([table[:, first].mean(axis=1), table[:, ~first].mean(axis=1)], axis=1)


def _error(table: Floats, clusters: npt.NDArray[Any]) -> float:
    """Variance of a model's mean that is chance of the items, what is shared by all models taken off."""
    models, items = table.shape
    if models < 2:
        return 0.0
    own = table - table.mean(axis=0)
    own -= own.mean(axis=1, keepdims=True)
    names, index = np.unique(clusters, return_inverse=True)
    sums = np.zeros((models, len(names)))
    np.add.at(sums.T, index, own.T)
    spread = (sums**2).sum(axis=1) * len(names) / max(len(names) - 1, 1) / items**2
    return float(spread.mean() * models / (models - 1))
