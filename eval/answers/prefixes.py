"""Prompts as a causal LM reads them: tokens or embeddings, padded on the left, encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from presight.errors import PresightError

if TYPE_CHECKING:
    import torch

    Prefix = Sequence[int] | torch.Tensor  # token ids [T], or embeddings [T, d] of text, images and sounds


@dataclass(slots=True)
class Encoded:
    """B prefixes in a cache, and what follows them.

    Attributes:
        cache: keys and values [B, heads, T, d] of every layer.
        logits: of the token after each prefix [B, vocabulary], float32.
        mask: 1 where there is a token, 0 where there is padding [B, T].
        lengths: tokens of each prefix [B].
    """

    cache: Any
    logits: torch.Tensor
    mask: torch.Tensor
    lengths: torch.Tensor

    def select(self, rows: torch.Tensor) -> None:
        """Keep these rows, in this order; a row may be kept several times, one for each of its branches."""
        self.cache.batch_select_indices(rows)
        self.logits, self.mask, self.lengths = self.logits[rows], self.mask[rows], self.lengths[rows]


def encode(model: Any, prefixes: Sequence[Prefix]) -> Encoded:
    """Read prefixes in one forward pass, logits at their last tokens only.

    Padding goes to the left, is masked, and positions count from each prefix's first token, so a prefix is read as if
    it were alone: batches differ in the last digits only. Prefixes of tokens and of embeddings may share a batch.
    """
    import torch
    from torch.nn.functional import pad

    device = model.get_input_embeddings().weight.device
    lengths = torch.tensor([len(prefix) for prefix in prefixes], device=device)
    width = int(lengths.max())
    mask = (torch.arange(width, device=device) >= width - lengths[:, None]).long()  # [B, T]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    if any(isinstance(prefix, torch.Tensor) for prefix in prefixes):
        embed = model.get_input_embeddings()
        vectors = [
            prefix.to(device) if isinstance(prefix, torch.Tensor) else embed(torch.tensor(prefix, device=device))
            for prefix in prefixes
        ]
        rows = torch.stack([pad(each, (0, 0, width - len(each), 0)) for each in vectors]).to(embed.weight.dtype)
        given = {"inputs_embeds": rows}
    else:
        ids = [pad(torch.tensor(prefix, device=device), (width - len(prefix), 0)) for prefix in prefixes]
        given = {"input_ids": torch.stack(ids)}
    read = model(**given, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
    return Encoded(read.past_key_values, read.logits[:, -1].float(), mask, lengths)


def extend(model: Any, encoded: Encoded, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Logits [B, W, vocabulary], float32, at further tokens `ids` [B, W] of the prefixes; `mask` says which are there.

    The cache, the mask and the lengths grow by what was read.
    """
    import torch

    positions = encoded.lengths[:, None] + torch.arange(ids.shape[1], device=ids.device)
    encoded.mask = torch.cat([encoded.mask, mask.long()], 1)
    read = model(
        input_ids=ids,
        attention_mask=encoded.mask,
        position_ids=torch.where(mask.bool(), positions, 0),
        past_key_values=encoded.cache,
        use_cache=True,
    )
    encoded.lengths = encoded.lengths + mask.sum(1)
    return read.logits.float()


def prompt_tokens(tokenizer: Any, prompt: str, chat: bool = False) -> list[int]:
    """Tokens of a prompt, with what the tokenizer puts in front of a text, or within the model's chat template.

    Raises:
        PresightError: no token, or no template where one is asked for.
    """
    text, leading = prompt_text(tokenizer, prompt, chat)
    if not (tokens := leading + plain_tokens(tokenizer, text)):
        raise PresightError("prompt", f"{prompt!r} has no token", "begin with some text, such as 'Answer:'")
    return tokens


def prompt_text(tokenizer: Any, prompt: str, chat: bool) -> tuple[str, list[int]]:
    """The text to be tokenised, and the tokens that go in front; a template has written its own into the text."""
    if not chat:
        return prompt, leading_tokens(tokenizer)
    if not getattr(tokenizer, "chat_template", None):
        raise PresightError("chat", "the tokenizer has no chat template", "ask with plain prompts")
    said = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True), []


def plain_tokens(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a text and nothing else."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def leading_tokens(tokenizer: Any) -> list[int]:
    """The tokens, such as ``<s>``, that the tokenizer puts in front of any text; what it puts behind is left out."""
    alone, whole = plain_tokens(tokenizer, "a"), list(tokenizer("a", verbose=False)["input_ids"])
    return whole[: next(i for i in range(len(whole)) if whole[i : i + len(alone)] == alone)]


def positions_of(model: Any) -> int | None:
    """Tokens that the model has positions for, where it says so."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def require_room(model: Any, tokens: int, place: str) -> None:
    """Refuse what is longer than the model's positions: cutting a prompt would ask another question."""
    limit = positions_of(model)
    if limit is not None and tokens > limit:
        raise PresightError(place, f"{tokens} tokens, the model has positions for {limit}", "shorten the prompt")
