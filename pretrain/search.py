"""The learning rate of a pretraining run, chosen among trial runs by their held-out loss."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from presight.errors import PresightError
from presight.stage import Labelled, Needs, Stage
from pretrain.curves import HELDOUT


class Search(Stage):
    """Chooses among runs that differ in nothing but their learning rate; the curve is kept.

    A comparison of optimizers or schedules is fair when every arm's rate is chosen so, among the same rates, on a seed
    that the comparison does not use again. A run that diverged is no candidate: lower the rates.
    """

    kind = "rate"
    version = "1"

    runs: tuple[Annotated[Labelled, Needs("checkpoint")], ...] = Field(description="$trial[rate=*]")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``rate.json``: the rate of the lowest final held-out loss (bits a byte, mean over sources).

        Raises:
            PresightError: not two runs, runs without a rate or with one rate twice, or that differ in something else.
        """
        rates = self._rates()
        curve = sorted(
            (
                {"learning_rate": rate, "bits_per_byte": final_bits(inputs[f"runs[{i}]"])}
                for i, rate in enumerate(rates)
            ),
            key=lambda point: point["learning_rate"],
        )
        best = min(range(len(curve)), key=lambda index: curve[index]["bits_per_byte"])
        edge = best in (0, len(curve) - 1)
        found = {"learning_rate": curve[best]["learning_rate"], "edge": edge, "curve": curve}
        (out / "rate.json").write_text(json.dumps(found, indent=1))

    def _rates(self) -> list[float]:
        """The rate of every run, once each, and nothing else that tells them apart."""
        if len(self.runs) < 2:
            raise PresightError("runs", f"{len(self.runs)} leaves nothing to choose from", "give $trial[rate=*]")
        rates = [getattr(each.stage, "learning_rate", None) for each in self.runs]
        if any(not isinstance(rate, float) for rate in rates):
            raise PresightError("runs", "not every run has a learning rate of its own", "give pretrain.Train runs")
        if len(set(rates)) < len(rates):
            raise PresightError("runs", "one learning rate is given twice", "pin every axis but that of the rates")
        same = {each.stage.changed(learning_rate=1.0).fingerprint for each in self.runs}
        if len(same) > 1:
            problem = "runs differ in more than their learning rate"
            raise PresightError("runs", problem, "gather along the axis of the rates alone: $trial[rate=*]")
        return [float(rate) for rate in rates]  # type: ignore[arg-type]


def final_bits(folder: Path) -> float:
    """Held-out loss at the end of a run, bits a byte, mean over sources.

    Raises:
        PresightError: the run took no held-out loss, or it is no number.
    """
    path = folder / HELDOUT
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    last = [line["bits_per_byte"] for line in lines if line["step"] == lines[-1]["step"]]
    if not last:
        raise PresightError(str(path), "has no held-out loss", "hold some text out of the tokens")
    if not math.isfinite(mean := sum(last) / len(last)):
        raise PresightError(str(path), f"ends at {mean}", "leave that run out: it diverged")
    return float(mean)


def chosen(rate: float | Stage, inputs: Mapping[str, Path]) -> float:
    """A learning rate that is a number, or the choice of a search among the inputs of a stage."""
    if not isinstance(rate, Stage):
        return rate
    return float(json.loads((inputs["learning_rate"] / "rate.json").read_text())["learning_rate"])
