"""What a model makes of texts or images, layer by layer: one vector an item, whatever the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.checkpoint import reading
from presight.errors import PresightError

Features = NDArray[np.float32]


def layer_features(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    pooling: Literal["mean", "last"] = "mean",
    *,
    length: int | None = None,
    batch: int = 32,
) -> Features:
    """Hidden states of texts in every layer of a causal LM: [1 + layers, n, d], the embeddings first.

    Texts of like length go together, padded on the right and masked; which texts share a batch changes last digits
    only.

    Args:
        model: a transformers causal LM, or its base model; left in the mode it was in.
        tokenizer: its tokenizer; needs no padding token.
        texts: n, none of them empty.
        pooling: mean over the text's tokens, or its last token.
        length: tokens a text is cut to; default what the model's positions allow.
        batch: texts at once.

    Raises:
        PresightError: no texts, or one without a token.
    """
    import torch

    if not texts:
        raise PresightError("texts", "none given", "give at least one")
    length = length or getattr(model.config, "max_position_embeddings", None)
    tokens = [ids[:length] for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
    if empty := [place for place, ids in enumerate(tokens) if not ids]:
        raise PresightError(f"texts[{empty[0]}]", "has no token", "leave empty texts out, and their images")
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    base, found = model.base_model, None  # the vocabulary's logits are not needed
    with reading(base) as device:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            lengths = torch.tensor([len(tokens[row]) for row in rows], device=device)
            mask = torch.arange(int(lengths.max()), device=device) < lengths[:, None]  # [B, T]
            ids = torch.zeros(mask.shape, dtype=torch.long, device=device)
            ids[mask] = torch.tensor([token for row in rows for token in tokens[row]], device=device)
            states = base(
                input_ids=ids, attention_mask=mask.long(), output_hidden_states=True, use_cache=False
            ).hidden_states
            if pooling == "last":
                pooled = [state[range(len(rows)), lengths - 1] for state in states]
            else:  # layer by layer: a copy of all states would be as large again as what the model holds
                pooled = [state.float().masked_fill(~mask[..., None], 0).sum(1) / lengths[:, None] for state in states]
            found = _put(found, rows, pooled, len(tokens))
    assert found is not None
    return found


def encoder_features(
    encoder: Any, images: Any, pooling: Literal["cls", "mean"] = "cls", *, batch: int = 32
) -> Features:
    """Hidden states of images in every layer of a vision transformer: [1 + layers, n, d], the embeddings first.

    Works for encoders of transformers that put patches after whatever else they read (CLIP, SigLIP, DINOv2 with and
    without registers, ViT, ViT-MAE); how many tokens are no patches is seen from their number. The masking of
    ViT-MAE is switched off while it is read.

    Args:
        encoder: a transformers vision model, or a two-tower model whose ``vision_model`` is taken.
        images: [n, 3, height, width], as the encoder's image processor makes them.
        pooling: the class token, or the mean over patches.
        batch: images at once.

    Raises:
        PresightError: no images, hidden states that are not patches in every layer (as of a Swin transformer, which
            merges them), or no class token where one is asked for.
    """
    import torch

    pixels = torch.as_tensor(np.asarray(images, dtype=np.float32))
    if pixels.ndim != 4 or not len(pixels):
        raise PresightError("images", f"shape {tuple(pixels.shape)}", "give pixels [n, 3, height, width]")
    tower = getattr(encoder, "vision_model", encoder)
    name, sides = type(tower).__name__, getattr(tower.config, "patch_size", None)
    if sides is None:
        raise PresightError("encoder", f"{name} has no patches", "take a vision transformer")
    high, wide = (sides, sides) if isinstance(sides, int) else sides
    patches, found = (pixels.shape[2] // high) * (pixels.shape[3] // wide), None
    with reading(tower) as device, _unmasked(tower) as masked:
        for start in range(0, len(pixels), batch):
            chunk = pixels[start : start + batch].to(device=device, dtype=tower.dtype)
            ranks = torch.arange(patches, device=device).float().expand(len(chunk), -1)  # or MAE shuffles its patches
            given = {"noise": ranks} if masked else {}
            states = tower(pixel_values=chunk, output_hidden_states=True, **given).hidden_states
            alike = states[0].ndim == 3 and all(state.shape == states[0].shape for state in states)
            others = states[0].shape[1] - patches if alike else -1
            if others < 0:
                raise PresightError("encoder", f"{name}'s states are not its patches in every layer", "take a ViT")
            if pooling == "cls" and not others:
                raise PresightError("pooling", f"{name} has no class token", "take the mean")
            pooled = [state[:, 0] if pooling == "cls" else state[:, others:].float().mean(1) for state in states]
            found = _put(found, range(start, start + len(chunk)), pooled, len(pixels))
    assert found is not None
    return found


def _put(found: Features | None, rows: Sequence[int], pooled: Sequence[Any], items: int) -> Features:
    """Write a batch's vectors, one tensor [B, d] a layer, to their items' rows; the first batch gives the shape."""
    if found is None:
        found = np.empty((len(pooled), items, pooled[0].shape[-1]), np.float32)
    for layer, vectors in zip(found, pooled, strict=True):
        layer[list(rows)] = vectors.float().cpu().numpy()
    return found


@contextmanager
def _unmasked(tower: Any) -> Iterator[bool]:
    """Masked autoencoders read whole images meanwhile; gives whether this is one."""
    ratio = getattr(tower.config, "mask_ratio", None)
    if ratio is None:
        yield False
        return
    tower.config.mask_ratio = 0.0
    try:
        yield True
    finally:
        tower.config.mask_ratio = ratio
