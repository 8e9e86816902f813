"""A text LM on raw inputs: patches go through a linear projection straight into its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

Trained = Literal["head", "input", "norms", "full"]


class RawInputClassifier(nn.Module):
    """Patches → orthogonal projection → norm matched to the text embeddings → causal LM → mean → linear head.

    The projection's scale is the confounder that comparisons of text and random weights forget: their embeddings
    differ in norm. Here every backbone meets inputs as long as its own embeddings.

    Args:
        backbone: a transformers base model that takes ``inputs_embeds``.
        width: values of a patch.
        classes: outputs.
        seed: of projection and head: equal for every backbone of that width.
    """

    def __init__(self, backbone: Any, width: int, classes: int, seed: int) -> None:
        super().__init__()
        self.backbone = backbone
        embeddings = backbone.get_input_embeddings().weight
        depth = embeddings.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.project = nn.Linear(width, depth)
            nn.init.orthogonal_(self.project.weight)
            nn.init.zeros_(self.project.bias)
            self.norm = nn.LayerNorm(depth)
            self.head = nn.Linear(depth, classes)
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)
        self.text_norm = float(embeddings.detach().norm(dim=1).mean())
        nn.init.constant_(self.norm.weight, self.text_norm / depth**0.5)

    @classmethod
    def load(cls, checkpoint: Path, width: int, classes: int, seed: int) -> RawInputClassifier:
        """On the weights of a transformers checkpoint, in float32."""
        from transformers import AutoModel

        backbone = AutoModel.from_pretrained(checkpoint, dtype=torch.float32, local_files_only=True)
        return cls(backbone, width, classes, seed)

    def forward(self, patches: Tensor) -> Tensor:
        """Class logits [B, classes] of patches [B, tokens, width]."""
        embedded = self.norm(self.project(patches))  # [B, T, D]
        hidden = self.backbone(inputs_embeds=embedded, use_cache=False).last_hidden_state  # [B, T, D]
        return self.head(hidden.mean(1))

    def freeze(self, trained: Trained) -> list[str]:
        """Leave only the named part trainable; the names of what trains are returned.

        ``head``: the read-out. ``input``: projection, its norm and the read-out. ``norms``: these and the LM's own
        norms, as in frozen pretrained transformers. ``full``: everything but the unused text embeddings.
        """
        own = {"head": ("head.",), "input": ("head.", "project.", "norm.")}.get(
            trained, ("head.", "project.", "norm.")
        )
        text = {id(parameter) for parameter in self.backbone.get_input_embeddings().parameters()}
        layers = [module for module in self.backbone.modules() if "norm" in type(module).__name__.lower()]
        norms = {id(parameter) for module in layers for parameter in module.parameters(recurse=False)}
        for name, parameter in self.named_parameters():
            within = name.startswith("backbone.")
            chosen = within and (trained == "full" or (trained == "norms" and id(parameter) in norms))
            parameter.requires_grad = (chosen and id(parameter) not in text) or (not within and name.startswith(own))
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]
