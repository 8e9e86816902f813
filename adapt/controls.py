"""Controls that keep something of a model's weights and lose the rest: their statistics, or their very values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

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
        rewrite(inputs["model"], out, self.seed, _matched)


class Permuted(Stage):
    """Every tensor's own values in random places within it: what their distribution explains, beyond scale.

    Heavy tails and outliers stay; which weight is where, all that was learnt by placing it, is lost.
    """

    kind = "checkpoint"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    seed: int = Field(0, ge=0, description="of the permutations")

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Permute and save; tied tensors stay tied."""
        rewrite(inputs["model"], out, self.seed, _permuted)


def rewrite(checkpoint: Path, out: Path, seed: int, change: Callable[[Any, Any], Any]) -> None:
    """Save a checkpoint with ``change(tensor, generator)`` in place of every parameter, in order of their names."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in sorted(model.named_parameters()):
            tensor.copy_(change(tensor, generator))
    model.save_pretrained(out)
    for path in checkpoint.glob("tokenizer*.json"):
        shutil.copyfile(path, out / path.name)
    (out / "counts.json").write_text(json.dumps({"tokens": 0}))


def _matched(tensor: Any, generator: Any) -> Any:
    import torch

    noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    spread = noise.std(correction=0) if noise.numel() > 1 else noise.new_ones(())
    noise = (noise - noise.mean()) / spread
    values = tensor.double()
    return values.mean() + values.std(correction=0) * noise


def _permuted(tensor: Any, generator: Any) -> Any:
    import torch

    return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].reshape(tensor.shape)
