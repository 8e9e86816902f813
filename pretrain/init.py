"""The random control: a model with the initial weights of a seed, never trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from presight.stage import Needs, Stage


class Init(Stage):
    """Fresh weights as a checkpoint: byte for byte where ``Train`` of the same model and seed begins."""

    kind = "checkpoint"
    version = "2"

    tokenizer: Annotated[Stage, Needs("tokenizer")]
    model: str = Field("1m", description="a size of the table in pretrain/model.py")
    context: int = Field(256, ge=8, description="tokens the model is made for")
    seed: int = Field(0, ge=0, description="of the weights")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Initialise and save."""
        from pretrain.model import configuration, initialise
        from pretrain.vocabulary import words

        size, end = words(inputs["tokenizer"])
        initialise(configuration(self.model, size, self.context, end), self.seed).save_pretrained(out)
        for path in inputs["tokenizer"].glob("tokenizer*.json"):
            shutil.copyfile(path, out / path.name)
        (out / "counts.json").write_text(json.dumps({"tokens": 0}))
