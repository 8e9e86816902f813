"""How much of a score is seen: the same items with the right picture, a blank, a wrong one, disorder, and none.

What a model answers without looking is its *language prior*; what it gains by the right picture over a blank or a
wrong one is *image use*; what a wrong picture costs it beside none at all is *distraction*.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from presight.errors import PresightError
from presight.stage import Labelled, Needs, Stage

if TYPE_CHECKING:
    from eval.records import Result
    from eval.stats.margins import Floats
    from eval.vision.looking import Part


class Blindness(Stage):
    """Language prior, image use and distraction by task and by group, paired by items and seeds; what is said unseen.

    An artifact of `eval.Ask` says under which condition it was made; the other labels hold arms apart. Without a
    picture worth looking at, a reply that gives an answer is a hallucination, one that declines an abstention.
    Figures of groups are means over benchmarks, as `eval.Groups` has them, of what is there.
    """

    kind = "blindness"
    version = "1"

    scores: tuple[Annotated[Labelled, Needs("scores")], ...] = Field(description="$scores[*]: of eval.Ask")
    along: str = Field("condition", description="the axis of conditions")
    replicate: str = Field("init", description="the axis of seeds: the unit of replication")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``blindness.json``.

        Raises:
            PresightError: scores without a condition, given twice, or of one condition alone.
        """
        from eval.stats.multiplicity import holm
        from eval.vision.looking import lookings

        found = [
            each.record()
            for labels, parts in self._parts(inputs)
            for each in lookings(labels, parts, self.along, self.level)
        ]
        if not found:
            mend = "ask the same questions under at least two conditions"
            raise PresightError("scores", "no task was asked under two conditions", mend)
        contrasts = [contrast for each in found for contrast in each["contrasts"]]
        for contrast, adjusted in zip(contrasts, holm([each["p"] for each in contrasts]), strict=True):
            contrast["p_holm"] = float(adjusted)
        conditions = sorted({name for each in found for name in each["means"]})
        told = {
            "along": self.along,
            "replicate": self.replicate,
            "level": self.level,
            "conditions": conditions,
            "figures": found,
        }
        (out / "blindness.json").write_text(json.dumps(told, indent=1))
        counts = {"figures": len(found), "conditions": len(conditions), "contrasts": len(contrasts)}
        (out / "counts.json").write_text(json.dumps(counts))

    def _parts(self, inputs: Mapping[str, Path]) -> list[tuple[dict[str, str], list[Part]]]:
        """The tasks at each place on the axes other than that of conditions."""
        from eval.compare import Arm
        from eval.records import results
        from eval.vision.looking import Part

        places: dict[tuple[Any, ...], dict[tuple[str, str], dict[str, dict[str, tuple[str, Result]]]]] = {}
        said: dict[tuple[Any, ...], Floats] = {}
        for index, each in enumerate(self.scores):
            labels = {axis: label for axis, label in each.labels.items() if axis != self.along}
            seed = labels.pop(self.replicate, "-")
            place = tuple(sorted(labels.items()))
            folder = inputs[f"scores[{index}]"]
            replies = _replies(folder)
            for result in results(folder):
                if "condition" not in result.facts:
                    mend = "give scores of eval.Ask"
                    raise PresightError(f"scores[{index}]", "do not say what was shown", mend)
                condition = str(result.facts["condition"])
                task = places.setdefault(place, {}).setdefault((result.task, result.metric), {})
                if seed in task.setdefault(condition, {}):
                    problem = f"{condition} of {labels}, {self.replicate} {seed}, is given twice"
                    raise PresightError("scores", problem, "label them apart")
                task[condition][seed] = (each.stage.fingerprint, result)
                ordered = _in_order(result, replies.get(result.task, {}))
                if ordered is not None:
                    said[place, result.task, condition, seed] = ordered
        found = []
        for place, tasks in places.items():
            parts = []
            for (called, _), conditions in tasks.items():
                arms = {name: Arm.of({**dict(place), self.along: name}, seeds) for name, seeds in conditions.items()}
                shares = {
                    name: {
                        seed: said[place, called, name, seed] for seed in seeds if (place, called, name, seed) in said
                    }
                    for name, seeds in conditions.items()
                }
                parts.append(Part(arms, shares))
            found.append((dict(place), parts))
        return found


def _replies(folder: Path) -> dict[str, dict[str, list[float | None]]]:
    """By task and item, the shares of its replies that do what `SAID` lists."""
    import pyarrow.parquet

    from eval.vision.looking import SAID

    table = pyarrow.parquet.read_table(folder / "items.parquet")
    if not {"task", *SAID} <= set(table.column_names):
        return {}
    found: dict[str, dict[str, list[float | None]]] = {}
    for row in table.select(["task", "item", *SAID]).to_pylist():
        found.setdefault(row["task"], {})[row["item"]] = [row[name] for name in SAID]
    return found


def _in_order(result: Result, said: Mapping[str, list[float | None]]) -> Floats | None:
    """Rows in the order of a result's items; None where there are no replies."""
    import numpy as np

    rows = [said.get(item, [None]) for item in result.items]
    return None if any(None in row for row in rows) else np.array(rows, dtype=np.float64)
