"""Cross-entropy of next tokens in chunks: the logits of a whole batch never exist."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pretrain.batches import IGNORED

CHUNK = 512  # tokens whose logits are held at once

# What a configuration may do to its logits between the output matrix and the loss; such models get full logits.
SHAPED = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class Objective(nn.Module):
    """A causal LM with its loss: the module that DeepSpeed trains.

    Args:
        model: any ``transformers`` causal LM.
        chunk: tokens whose logits are held at once; 0 for all of them, as plain loops do.
    """

    def __init__(self, model: Any, chunk: int = CHUNK) -> None:
        super().__init__()
        self.model = model
        self.chunk = 0 if shaped(model) else chunk

    def forward(self, tokens: Tensor, targets: Tensor, weights: Tensor, positions: Tensor | None = None) -> Any:
        """Weighted sum of the losses, to go backward from, and the loss of every position.

        Args:
            tokens: [B, L] int64.
            targets: [B, L]; ``IGNORED`` where nothing is predicted.
            weights: [B, L] of the sum.
            positions: [B, L], beginning anew where a document does: then no token sees another document's.

        Returns:
            A scalar, and float32 [B, L] without a graph, 0 where ignored.
        """
        rows = tokens.shape[0]
        if not self.chunk:
            logits = self.model(input_ids=tokens, position_ids=positions, use_cache=False).logits.float()
            each = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            each = each.view(rows, -1)
            return (each * weights).sum(), each.detach()
        decoder = getattr(self.model, self.model.base_model_prefix)
        hidden = decoder(input_ids=tokens, position_ids=positions, use_cache=False).last_hidden_state  # [B, L, D]
        weight = self.model.get_output_embeddings().weight
        total, each = ChunkedLoss.apply(
            hidden.flatten(0, 1), weight, targets.flatten(), weights.flatten(), self.chunk, torch.is_grad_enabled()
        )
        return total, each.view(rows, -1)


def shaped(model: Any) -> bool:
    """Whether a causal LM's logits are more than a product with its output matrix."""
    bias = getattr(model.get_output_embeddings(), "bias", None)
    return bias is not None or any(getattr(model.config, each, None) for each in SHAPED)


class ChunkedLoss(torch.autograd.Function):
    """Cross-entropy of ``hidden @ weight.T`` with its gradients, taken chunk by chunk while the logits are there.

    The weights of the sum are known beforehand, so both gradients can be made in the forward pass (the idea of Liger
    Kernel, arXiv 2410.10989): no second product for the logits, and ``chunk · V`` numbers held instead of ``N · V``.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor, chunk: int, needed: bool
    ) -> tuple[Tensor, Tensor]:
        """Sum of weighted losses, and losses [N]; ``hidden`` [N, D], ``weight`` [V, D]; gradients where ``needed``.

        A frozen weight gets none.
        """
        losses = torch.zeros(len(hidden), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if needed else None
        trained = needed and weight.requires_grad
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if trained else None
        for start in range(0, len(hidden), chunk):
            part = slice(start, start + chunk)
            h, goal = hidden[part], targets[part]  # [C, D], [C]
            logits = (h @ weight.T).float()  # [C, V]
            kept = goal != IGNORED
            index = goal.clamp(min=0)[:, None]
            norm = logits.logsumexp(1, keepdim=True)
            losses[part] = (norm - logits.gather(1, index)).squeeze(1) * kept
            if grad_hidden is None:
                continue
            slope = logits.sub_(norm).exp_()  # [C, V]: probabilities, then d loss / d logits
            slope.scatter_add_(1, index, -torch.ones_like(norm))
            slope = slope.mul_((weights[part] * kept)[:, None]).to(h.dtype)
            torch.matmul(slope, weight, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight += slope.T @ h
        if needed:
            ctx.save_for_backward(grad_hidden, None if grad_weight is None else grad_weight.to(weight.dtype))
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, total: Tensor, losses: Tensor) -> Any:
        """Both gradients, times what arrives from above."""
        hidden, weight = ctx.saved_tensors
        onward = None if weight is None else weight * total.to(weight.dtype)
        return hidden * total.to(hidden.dtype), onward, None, None, None, None
