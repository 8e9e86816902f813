"""What stands between projection and head: a causal LM, its first blocks, or a plain network of its width."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from presight.errors import PresightError

Structure = Literal["lm", "block", "mlp"]


class TokenMlp(nn.Module):
    """No LM: each token by itself through one hidden layer of four times its width, added to it, and a norm.

    Tokens meet nowhere but in the read-out. Where a token lies is told by sines and cosines (Vaswani et al. 2017) that
    are as long as a text embedding, so that what a patch is and where it is may act together.

    Args:
        embeddings: the LM's text embeddings: they set width and scale.
        seed: of the weights.
    """

    def __init__(self, embeddings: nn.Module, seed: int) -> None:
        super().__init__()
        self.text = embeddings
        width = _weight(embeddings).shape[1]
        self.scale = float(_weight(embeddings).detach().norm(dim=1).mean()) / math.sqrt(width / 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.norm = nn.LayerNorm(width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)
            self.last_norm = nn.LayerNorm(width)

    def get_input_embeddings(self) -> nn.Module:
        """The LM's text embeddings."""
        return self.text

    def forward(self, inputs_embeds: Tensor, **_: Any) -> Any:
        """As a transformers model: ``last_hidden_state`` [B, T, D]."""
        states = inputs_embeds + self.positions(inputs_embeds.shape[1]).to(inputs_embeds)
        states = states + self.down(nn.functional.gelu(self.up(self.norm(states))))
        return SimpleNamespace(last_hidden_state=self.last_norm(states))

    def positions(self, tokens: int) -> Tensor:
        """Sines and cosines [T, D]."""
        width = _weight(self.text).shape[1]
        place = torch.arange(tokens)[:, None]
        angle = place / 10_000 ** (torch.arange(0, width, 2) / width)
        return self.scale * torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]


def load(
    checkpoint: Path,
    structure: Structure = "lm",
    layers: int | None = None,
    bidirectional: bool = False,
    seed: int = 0,
) -> Any:
    """The base model of a transformers causal LM in float32, or what stands in for it.

    Args:
        checkpoint: its folder.
        structure: the LM, its first block alone, or `TokenMlp` of its width.
        layers: the first so many blocks, under the final norm; default all.
        bidirectional: every token sees every other, in place of those before it.
        seed: of `TokenMlp`.

    Raises:
        PresightError: more layers than the LM has.
    """
    from transformers import AutoModelForCausalLM

    backbone = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True).base_model
    if structure == "mlp":
        return TokenMlp(backbone.get_input_embeddings(), seed)
    if structure == "block" or layers is not None:
        shorten(backbone, 1 if structure == "block" else layers or 1)
    if bidirectional:
        backbone.config.is_causal = False
    return backbone


def shorten(backbone: Any, layers: int) -> None:
    """Leave the first ``layers`` blocks of a base model.

    Raises:
        PresightError: it has fewer, or its blocks are not one list.
    """
    config = backbone.config
    depth = int(config.num_hidden_layers)
    if layers > depth:
        raise PresightError("layers", f"{layers} of a model of {depth}", f"give 1 to {depth}")
    children = dict(backbone.named_children())
    lists = [name for name, each in children.items() if isinstance(each, nn.ModuleList) and len(each) == depth]
    if len(lists) != 1:
        problem = f"{type(backbone).__name__} does not hold its {depth} blocks in one list"
        raise PresightError("layers", problem, "leave layers out")
    setattr(backbone, lists[0], children[lists[0]][:layers])
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]


def add_lora(backbone: Any, rank: int, seed: int) -> None:
    """Low-rank updates (Hu et al. 2022) beside every linear map of the blocks, in place, by peft: α = 2r, B = 0.

    Raises:
        PresightError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise PresightError("trained", "lora needs peft, which is not installed", "pip install peft") from None
    maps = [name for name, each in backbone.named_modules() if _linear(each)]
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=maps, lora_dropout=0.0)
    for each in settings.target_modules or ():
        if type(backbone.get_submodule(each)).__name__ == "Conv1D":
            settings.fan_in_fan_out = True  # GPT-2 keeps its matrices transposed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(settings, backbone)


def positions(backbone: Any) -> list[nn.Embedding]:
    """The learned position embeddings: every embedding but that of text."""
    text = backbone.get_input_embeddings()
    return [each for each in backbone.modules() if isinstance(each, nn.Embedding) and each is not text]


def _linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _weight(embeddings: nn.Module) -> Tensor:
    weight = embeddings.weight
    assert isinstance(weight, Tensor)
    return weight
