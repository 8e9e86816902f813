"""The model as it was at a milestone of its pretraining: a checkpoint like any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from presight.errors import PresightError
from presight.stage import Needs, Stage


class Milestone(Stage):
    """One of the models that pretraining kept on its way (``keep_milestones``), with the tokenizer of the run."""

    kind = "checkpoint"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    number: int = Field(ge=0, description="which, in order of tokens; 0 is before the first step")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Copy it.

        Raises:
            PresightError: the run kept no models, or fewer.
        """
        kept = sorted((inputs["model"] / "milestones").glob("[0-9]*"))
        if not kept:
            raise PresightError("model", "kept no milestones", "pretrain with keep_milestones: true")
        if self.number >= len(kept):
            last = len(kept) - 1
            raise PresightError("number", f"{self.number} of {len(kept)} milestones", f"give 0 to {last}")
        chosen = kept[self.number]
        for path in (*chosen.iterdir(), *inputs["model"].glob("tokenizer*.json")):
            shutil.copyfile(path, out / path.name)
        (out / "counts.json").write_text(json.dumps({"tokens": int(chosen.name)}))
