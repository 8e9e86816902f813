"""Causal attention in bf16 on a processor, with a backward pass of larger products than torch's.

torch goes back through tiles of 64 queries of one head, too small for the matrix units of a core: with rows of up to
512 tokens it takes about 1.5 times as long as what is here, where a block of queries of several heads meets all keys
up to its last. Its probabilities are made anew, so nothing of the size of a sequence squared is kept. The forward pass
is torch's own: what a model says is the same to the bit. Gradients are as exact as those of eager attention in bf16,
whose scores are rounded, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

ROWS = 128  # queries a block: fewer make small products, more do work above the diagonal
HEADS = 16  # heads a block: what is made of it fits into a core's cache
LONGEST = 512  # tokens: with longer rows torch's is as fast, and faster
SHAPING = ("position_bias", "softcap", "cache")  # what a model may ask of transformers' sdpa beside scores and mask


def pays() -> bool:
    """Whether this processor multiplies bf16 in matrix units (AMX), where it was measured."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # newer than the oldest torch that we run with
    return bool(capabilities and capabilities().get("amx_bf16"))


def install() -> None:
    """Let transformers models of this process that attend by ``sdpa`` learn by `CausalAttention` where they can."""
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
    plain = not settings.get("dropout") and all(settings.get(name) is None for name in SHAPING)
    same = attention_mask is None and causal and plain and query.shape[2] == key.shape[2]
    learns = torch.is_grad_enabled() and query.requires_grad
    kinds = {(each.device.type, each.dtype) for each in (query, key, value)}
    if not (same and learns and query.shape[2] <= LONGEST and kinds == {("cpu", torch.bfloat16)}):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    group, scaling = query.shape[1] // key.shape[1], settings.get("scaling")
    scaling = query.shape[3] ** -0.5 if scaling is None else scaling
    out = CausalAttention.apply(query, repeat_kv(key, group), repeat_kv(value, group), scaling)
    return out.transpose(1, 2).contiguous(), None


class CausalAttention(torch.autograd.Function):
    """``softmax(scaling · q kᵀ) v`` over a token and those before it; all [B, H, L, D], values of any D."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """As torch does it."""
        ctx.save_for_backward(query, key, value)
        ctx.scaling = scaling
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)

    @staticmethod
    def backward(ctx: Any, onward: Tensor) -> Any:
        """Gradients of the three, a block of queries of some heads at a time."""
        query, key, value = ctx.saved_tensors
        rows = [each.flatten(0, 1) for each in (query * ctx.scaling, key, value, onward)]  # [B · H, L, D]
        found = [torch.cat(parts) for parts in zip(*map(_back, *(each.split(HEADS) for each in rows)), strict=True)]
        found[0] *= ctx.scaling
        return *(each.view_as(given) for each, given in zip(found, (query, key, value), strict=True)), None


def _back(query: Tensor, key: Tensor, value: Tensor, onward: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of some heads [N, L, D], of a query that is scaled already."""
    later = query.new_full((ROWS, ROWS), float("-inf")).triu(1)
    to_query = torch.empty_like(query)
    to_key, to_value = key.new_zeros(key.shape, dtype=_exact(key)), value.new_zeros(value.shape, dtype=_exact(value))
    for start in range(0, query.shape[1], ROWS):
        q, g = query[:, start : start + ROWS], onward[:, start : start + ROWS]
        stop = start + q.shape[1]
        k, v = key[:, :stop], value[:, :stop]
        scores = q @ k.mT  # [N, rows, stop]
        scores[:, :, start:] += later[: stop - start, : stop - start]
        seen = scores.softmax(2)
        to_value[:, :stop] += seen.mT @ g
        slope = torch._softmax_backward_data(g @ v.mT, seen, 2, seen.dtype)  # of the scores
        to_query[:, start:stop] = slope @ k
        to_key[:, :stop] += slope.mT @ q
    return to_query, to_key.to(key.dtype), to_value.to(value.dtype)


def _exact(given: Tensor) -> torch.dtype:
    """What blocks are added up in: their rounding would grow with their number."""
    return torch.promote_types(given.dtype, torch.float32)
