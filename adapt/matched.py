"""The statistics-matched control: random weights with each tensor's own mean and deviation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from presight.stage import Needs, Stage


class StatsMatched(Stage):
    """Normal noise in place of every tensor, with its mean and deviation: what scale alone explains.

    Random initialisation differs from trained weights in scale as much as in structure; this control shares the scale.
    """

    kind = "checkpoint"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    seed: int = Field(0, ge=0, description="of the noise")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Draw and save; tied tensors stay tied."""
        import torch
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(inputs["model"], dtype=torch.float32, local_files_only=True)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for _, tensor in sorted(model.named_parameters()):
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                spread = noise.std(correction=0) if noise.numel() > 1 else noise.new_ones(())
                noise = (noise - noise.mean()) / spread
                values = tensor.double()
                tensor.copy_(values.mean() + values.std(correction=0) * noise)
        model.save_pretrained(out)
        for path in inputs["model"].glob("tokenizer*.json"):
            shutil.copyfile(path, out / path.name)
        (out / "counts.json").write_text(json.dumps({"tokens": 0}))
