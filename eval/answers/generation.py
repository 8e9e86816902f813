"""Greedy replies to prompts, whatever the batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from eval.answers.prefixes import encode, extend, positions_of, prompt_tokens, require_room
from eval.batching import Load, TokenBudget
from eval.checkpoint import reading
from presight.errors import PresightError

if TYPE_CHECKING:
    import torch

    from eval.answers.prefixes import Prefix


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str | torch.Tensor],
    *,
    tokens: int = 64,
    stop: Sequence[str] = (),
    chat: bool = False,
    budget: TokenBudget | int = 8192,
    ends: Iterable[int] = (),
) -> list[str]:
    """The replies that greedy decoding writes, in order.

    The most probable token is taken, always: penalties and sampling that a model's own ``generation_config`` may ask
    for would come back in ``model.generate``. A reply ends before the end-of-text token or a stop string, or when its
    own tokens are used up, so it does not depend on its batch (but for ties in the last digits).

    Args:
        model: a transformers causal LM; left in the mode it was in.
        tokenizer: its tokenizer; needs no padding token.
        prompts: texts, or embeddings [T, d] of prompts that hold more than text.
        tokens: most tokens of a reply; fewer where the model's positions end.
        stop: strings that end a reply and are cut off.
        chat: put text prompts into the tokenizer's chat template.
        budget: tokens of a batch, or a budget shared with others that use the model.
        ends: further tokens that end a text.

    Raises:
        PresightError: a prompt without a token or longer than the model's positions, an empty stop string, fewer than
            one token, or memory that does not hold one prompt.
    """
    if tokens < 1:
        raise PresightError("tokens", f"{tokens} leave no room for a reply", "allow at least one")
    if "" in stop:
        raise PresightError("stop", "an empty string is in every reply", "leave it out")
    prefixes: list[Prefix] = [
        prompt_tokens(tokenizer, prompt, chat) if isinstance(prompt, str) else prompt for prompt in prompts
    ]
    for place, prefix in enumerate(prefixes):
        if not len(prefix):
            raise PresightError(f"prompts[{place}]", "no token", "begin with some text")
        require_room(model, len(prefix), f"prompts[{place}]")
    shared = TokenBudget(budget) if isinstance(budget, int) else budget
    stops = end_tokens(model, tokenizer) | frozenset(ends)
    return shared.map(
        lambda batch: _replies(model, tokenizer, batch, tokens, tuple(stop), stops),
        prefixes,
        lambda prefix: Load(len(prefix) + tokens),
    )


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a text: the tokenizer's, and those of the model's generation configuration."""
    configuration = getattr(model, "generation_config", None)
    named = [getattr(tokenizer, "eos_token_id", None), getattr(configuration, "eos_token_id", None)]
    flat = [token for each in named for token in (each if isinstance(each, list) else [each])]
    return frozenset(token for token in flat if token is not None)


def _replies(
    model: Any, tokenizer: Any, prefixes: Sequence[Prefix], tokens: int, stop: tuple[str, ...], ends: frozenset[int]
) -> list[str]:
    """Replies of one batch; rows that have ended leave the cache."""
    import torch

    limit = positions_of(model)
    written: list[list[int]] = [[] for _ in prefixes]
    replies = [""] * len(prefixes)
    alive = list(range(len(prefixes)))
    with reading(model):
        encoded = encode(model, prefixes)
        while True:
            best, lengths, going = encoded.logits.argmax(-1), encoded.lengths.tolist(), []
            for row, token in enumerate(best.tolist()):
                if token in ends:
                    continue
                mine = written[alive[row]]
                mine.append(token)
                replies[alive[row]], stopped = cut(tokenizer.decode(mine, skip_special_tokens=True), stop)
                if not stopped and len(mine) < tokens and (limit is None or lengths[row] < limit):
                    going.append(row)
            if not going:
                return replies
            alive = [alive[row] for row in going]
            rows = torch.tensor(going, device=best.device)
            if len(going) < len(best):
                encoded.select(rows)
            ids = best[rows][:, None]
            encoded.logits = extend(model, encoded, ids, torch.ones_like(ids))[:, -1]


def cut(reply: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    """The reply up to the first stop string, and whether there was one."""
    ends = [place for each in stop if (place := reply.find(each)) >= 0]
    return (reply[: min(ends)], True) if ends else (reply, False)
