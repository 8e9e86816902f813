"""A text LM on raw inputs: patches or codes go through a projection straight into its layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from adapt import backbones

Readout = Literal["mean", "last", "attention"]
Interface = Literal["matched", "orthogonal"]
GAIN = 2**0.5  # of the projection without a norm: that of the frozen pretrained transformer


class AttentionPool(nn.Module):
    """A learnt query [D] weighs the tokens; it begins at nought, which is their mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, D] of hidden states [B, T, D]."""
        weights = (hidden @ self.query / hidden.shape[-1] ** 0.5).softmax(-1)  # [B, T]
        return (weights[..., None] * hidden).sum(1)


class RawInputClassifier(nn.Module):
    """Patches → orthogonal projection → norm matched to the text embeddings → causal LM → read-out → linear head.

    The projection's scale is the confounder that comparisons of text and random weights forget: their embeddings
    differ in norm. Here every backbone meets inputs as long as its own embeddings. ``interface="orthogonal"`` leaves
    the norm out, as frozen pretrained transformers do (Lu et al. 2021).

    Args:
        backbone: a transformers base model that takes ``inputs_embeds``.
        width: values of a patch; or codes, with ``codes``.
        classes: outputs.
        seed: of projection and head: equal for every backbone of that width.
        readout: mean over tokens, the last token, or a learnt weighing of them.
        interface: whether inputs are made as long as text embeddings.
        codes: inputs are codes, each with an embedding of its own.
        projection: seed of the projection, if it is another one.
        precision: ``bfloat16`` multiplies the backbone's matrices in it; weights stay float32.
    """

    def __init__(
        self,
        backbone: Any,
        width: int,
        classes: int,
        seed: int,
        readout: Readout = "mean",
        interface: Interface = "matched",
        codes: bool = False,
        projection: int | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__()
        self.centre: Tensor
        self.spread: Tensor
        self.backbone, self.readout, self.precision = backbone, readout, precision
        embeddings = backbone.get_input_embeddings().weight
        depth = embeddings.shape[1]
        self.text_norm = float(embeddings.detach().norm(dim=1).mean())
        self.project: nn.Module
        self.norm: nn.Module
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed if projection is None else projection)
            if codes:
                self.project = nn.Embedding(width, depth)
            else:
                linear = nn.Linear(width, depth)
                nn.init.orthogonal_(linear.weight, gain=1.0 if interface == "matched" else GAIN)
                nn.init.zeros_(linear.bias)
                self.project = linear
            if projection is not None:
                torch.manual_seed(2**32 + seed)  # the head's draws must not be the projection's again
            self.head = nn.Linear(depth, classes)
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)
        self.norm = nn.Identity()
        if interface == "matched":
            self.norm = nn.LayerNorm(depth)
            nn.init.constant_(self.norm.weight, self.text_norm / depth**0.5)
        self.pool = AttentionPool(depth) if readout == "attention" else None
        self.register_buffer("centre", torch.zeros(depth))
        self.register_buffer("spread", torch.ones(depth))

    @classmethod
    def load(cls, checkpoint: Path, width: int, classes: int, seed: int) -> RawInputClassifier:
        """On the weights of a transformers checkpoint, in float32."""
        return cls(backbones.load(checkpoint), width, classes, seed)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class logits [B, classes] of patches [B, T, width] or codes [B, T]."""
        return self.classify(self.features(inputs))

    def features(self, inputs: Tensor) -> Tensor:
        """What the head is given: the embedding [B, D], or with attention all hidden states [B, T, D]."""
        below = (self.project, self.norm, self.backbone)
        trains = any(parameter.requires_grad for part in below for parameter in part.parameters())
        with torch.set_grad_enabled(trains and torch.is_grad_enabled()):
            embedded = self.norm(self.project(inputs))  # [B, T, D]
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                hidden = self.backbone(inputs_embeds=embedded, use_cache=False).last_hidden_state  # [B, T, D]
            hidden = hidden.float()
            if self.readout == "attention":
                return hidden
            return hidden[:, -1] if self.readout == "last" else hidden.mean(1)

    def classify(self, features: Tensor) -> Tensor:
        """Class logits [B, classes] of `features`."""
        logits: Tensor = self.head((self.embed(features) - self.centre) / self.spread)
        return logits

    def standardise(self, features: Any) -> None:
        """Let the head read embeddings by their mean and deviation over these features, an array [N, D] or [N, T, D].

        For a frozen trunk: a linear head can say the same with and without, but finds it in few steps only with. What
        a text LM's embeddings have in common is many times what tells them apart.
        """
        pooled = features if features.ndim == 2 else features.mean(1)
        mean, spread = pooled.mean(0, dtype="float64"), pooled.std(0, dtype="float64")
        self.centre.copy_(torch.from_numpy(mean))
        self.spread.copy_(torch.from_numpy(spread).clamp(min=1e-6))

    def embed(self, features: Tensor) -> Tensor:
        """The embedding [B, D] of `features`."""
        pooled: Tensor = self.pool(features) if self.pool is not None else features
        return pooled

    def train(self, mode: bool = True) -> RawInputClassifier:
        """Training mode; of a backbone that is frozen whole nothing drops out."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def norms(self, inputs: Tensor) -> dict[str, float]:
        """Mean lengths: of text embeddings, of projected inputs, and of what the LM is given in the end."""
        with torch.no_grad():
            projected = self.project(inputs)
            given = self.norm(projected)
        return {
            "text_norm": self.text_norm,
            "projected_norm": float(projected.norm(dim=-1).mean()),
            "input_norm": float(given.norm(dim=-1).mean()),
        }
