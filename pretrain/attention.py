"""Causal attention in bf16 on a processor, its backward pass of large products: torch's own takes twice as long.

torch goes back through tiles of 64 queries of one head, too small for the matrix units of a core. Here a block of
queries meets all keys up to its last over all heads at once; its probabilities are made anew, so nothing of the size
of a sequence squared is kept. The forward pass is torch's own: what a model says is the same to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

ROWS = 128  # queries a block: fewer make small products, more do work above the diagonal


def install() -> None:
    """Let transformers models of this process that attend by ``sdpa`` learn by `CausalAttention` where it pays."""
    from transformers import AttentionInterface

    AttentionInterface.register("sdpa", attend)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """What transformers does for ``sdpa``; `CausalAttention` where that is the same, and quicker to go back through.

    Args:
        module: the attention layer.
        query: [B, H, L, D]. ``key`` and ``value`` may have fewer heads, of which each serves a group of the query's.
        attention_mask: none where a token sees all before it.
        settings: of the model: ``scaling`` (by default 1/√D), ``dropout`` and others.

    Returns:
        [B, L, H, D], and no weights.
    """
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    causal = settings.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    shaped = any(settings.get(name) for name in ("dropout", "softcap", "cache")) or "position_bias" in settings
    training = torch.is_grad_enabled() and query.requires_grad
    quicker = training and query.device.type == "cpu" and query.dtype == torch.bfloat16
    if not quicker or attention_mask is not None or not causal or shaped or query.shape[2] != key.shape[2]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    group = query.shape[1] // key.shape[1]
    scaling = settings.get("scaling") or query.shape[3] ** -0.5
    out = CausalAttention.apply(query, repeat_kv(key, group), repeat_kv(value, group), scaling)
    return out.transpose(1, 2).contiguous(), None


class CausalAttention(torch.autograd.Function):
    """``softmax(scaling · q kᵀ) v`` over a token and those before it; all [B, H, L, D]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """As torch does it."""
        ctx.save_for_backward(query, key, value)
        ctx.scaling = scaling
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)

    @staticmethod
    def backward(ctx: Any, onward: Tensor) -> Any:
        """Gradients of the three, a block of queries at a time."""
        query, key, value = ctx.saved_tensors
        shape = query.shape
        given = (query * ctx.scaling, key, value, onward)
        query, key, value, onward = (each.flatten(0, 1) for each in given)  # [N, L, D]
        later = torch.full((ROWS, ROWS), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
        to_query, to_key, to_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for start in range(0, shape[2], ROWS):
            q, g = query[:, start : start + ROWS], onward[:, start : start + ROWS]
            rows = q.shape[1]
            stop = start + rows
            k, v = key[:, :stop], value[:, :stop]
            scores = q @ k.mT  # [N, rows, stop]
            scores[:, :, start:] += later[:rows, :rows]
            seen = scores.softmax(2)
            to_value[:, :stop] += seen.mT @ g
            slope = torch._softmax_backward_data(g @ v.mT, seen, 2, seen.dtype)  # of the scores
            to_query[:, start:stop] = slope @ k
            to_key[:, :stop] += slope.mT @ q
        return to_query.mul_(ctx.scaling).view(shape), to_key.view(shape), to_value.view(shape), None
