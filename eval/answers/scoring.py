"""Log-probability of options after a prompt, the prompt read once, in every normalisation at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from eval.answers.generation import generate
from eval.answers.prefixes import encode, extend, plain_tokens, prompt_text, prompt_tokens, require_room
from eval.batching import Load, TokenBudget
from eval.checkpoint import reading
from presight.errors import PresightError

if TYPE_CHECKING:
    import torch

    from eval.answers.prefixes import Prefix

Normalisation = Literal["sum", "token", "byte", "pmi"]
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and the options that may follow it, written as they would stand there (a space in front, if any).

    `prompt` is text, or the embeddings [T, d] of a prompt that holds more than text.
    """

    prompt: str | torch.Tensor
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model gives to the options of one request; all tuples have one entry an option.

    Attributes:
        sum: log-probability of the option's tokens after the prompt, natural logarithm.
        tokens: how many they are.
        bytes: UTF-8 bytes of the option, spaces around it not counted.
        greedy: whether the option is what greedy decoding would write.
        unconditional: log-probability after the empty prompt, where that was asked for.
    """

    sum: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]
    greedy: tuple[bool, ...]
    unconditional: tuple[float, ...] | None = None

    def by(self, normalisation: Normalisation) -> tuple[float, ...]:
        """Scores to be compared between options; the largest is the model's choice.

        sum: as it is, right where options are letters. token, byte: the mean over tokens or bytes, which takes off
        that longer options are less probable. pmi: what the prompt adds to the option's log-probability, which takes
        off that some options are commoner (Holtzman et al., 2021, arXiv 2104.08315).

        Raises:
            PresightError: no such normalisation, or pmi without an empty prompt.
        """
        if normalisation == "sum":
            return self.sum
        if normalisation == "pmi" and self.unconditional is not None:
            return tuple(score - prior for score, prior in zip(self.sum, self.unconditional, strict=True))
        if normalisation in ("token", "byte"):
            sizes = self.tokens if normalisation == "token" else self.bytes
            return tuple(score / size for score, size in zip(self.sum, sizes, strict=True))
        mend = "give the scorer an empty prompt" if normalisation == "pmi" else f"known: {', '.join(NORMALISATIONS)}"
        raise PresightError("normalisation", f"{normalisation!r} cannot be had", mend)

    def choice(self, normalisation: Normalisation) -> int:
        """Index of the largest score; the first of equals."""
        scores = self.by(normalisation)
        return scores.index(max(scores))


class Answers(Protocol):
    """What answers questions: a `Scorer`, or whatever else reads its own kind of prompts.

    Attributes:
        chat: whether text prompts go into the tokenizer's chat template.
        empty: tokens of the prompt that unconditional log-probabilities follow; None: there are none.
    """

    chat: bool
    empty: list[int] | None

    def score(self, requests: Sequence[Request]) -> list[Scores]:
        """Scores of each request, in order."""

    def reply(self, prompts: Sequence[Any], tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy replies to prompts, in order."""


class Scorer:
    """Scores requests with one model.

    Args:
        model: a transformers causal LM; left in the mode it was in.
        tokenizer: its tokenizer; needs no padding token.
        empty: the prompt that unconditional log-probabilities follow, as text or as tokens; None leaves them, and pmi,
            out.
        chat: put text prompts into the tokenizer's chat template, the options opening the model's reply.
        budget: tokens of a batch, or a budget shared with others that use the model.
        ends: tokens that end a reply, beside those that end a text.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        empty: str | Sequence[int] | None = "Answer:",
        chat: bool = False,
        budget: TokenBudget | int = 8192,
        ends: Sequence[int] = (),
    ) -> None:
        self.model, self.tokenizer, self.chat = model, tokenizer, chat
        written = prompt_tokens(tokenizer, empty, chat) if isinstance(empty, str) else empty
        self.empty = None if written is None else list(written)
        self.budget = TokenBudget(budget) if isinstance(budget, int) else budget
        self.ends = tuple(ends)

    def score(self, requests: Sequence[Request]) -> list[Scores]:
        """Scores of each request, in order; which requests share a batch changes last digits only.

        Raises:
            PresightError: an option or a prompt without a token, more tokens than the model has positions, or memory
                that does not hold one request.
        """
        branches = [self._branches(place, request) for place, request in enumerate(requests)]
        found = self.budget.map(self._batch, branches, _load)
        if any(math.isnan(total) for scored in found for total, _ in scored):
            raise PresightError("model", "gives log-probabilities that are no numbers", "look at its weights")
        prior = self._unconditional({tokens for branch in branches for tokens in branch.options})
        return [
            Scores(
                tuple(total for total, _ in scored),
                tuple(len(tokens) for tokens in branch.options),
                tuple(max(1, len(option.strip().encode())) for option in request.options),
                tuple(greedy for _, greedy in scored),
                None if prior is None else tuple(prior[tokens] for tokens in branch.options),
            )
            for request, branch, scored in zip(requests, branches, found, strict=True)
        ]

    def reply(self, prompts: Sequence[str | torch.Tensor], tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy replies to prompts, in order, as `generate` gives them.

        Raises:
            PresightError: as `generate`.
        """
        return generate(
            self.model,
            self.tokenizer,
            prompts,
            tokens=tokens,
            stop=stop,
            chat=self.chat,
            budget=self.budget,
            ends=self.ends,
        )

    def _branches(self, place: int, request: Request) -> _Branches:
        if not request.options:
            raise PresightError(f"requests[{place}]", "no options", "give at least one")
        prefix: Prefix
        if isinstance(request.prompt, str):
            prefix, options = segments(self.tokenizer, request.prompt, request.options, self.chat)
        else:
            prefix, options = request.prompt, [tuple(plain_tokens(self.tokenizer, each)) for each in request.options]
        for option, tokens in zip(request.options, options, strict=True):
            if not tokens:
                raise PresightError(f"requests[{place}]", f"option {option!r} has no token", "give it some text")
        if not len(prefix):
            raise PresightError(f"requests[{place}]", "the prompt has no token", "begin with some text")
        branches = _Branches(prefix, options)
        require_room(self.model, _load(branches).length - 1, f"requests[{place}]")
        return branches

    def _batch(self, batch: Sequence[_Branches]) -> list[list[tuple[float, bool]]]:
        return option_logprobs(self.model, [each.prefix for each in batch], [each.options for each in batch])

    def _unconditional(self, options: set[Tokens]) -> Mapping[Tokens, float] | None:
        """Log-probability of every distinct option after the empty prompt, which is read once a batch."""
        if (empty := self.empty) is None:
            return None
        order = sorted(options)
        found = self.budget.map(
            lambda batch: option_logprobs(self.model, [empty], [batch])[0],
            order,
            lambda tokens: Load(len(empty) + len(tokens)),
        )
        return {tokens: total for tokens, (total, _) in zip(order, found, strict=True)}


@dataclass(frozen=True, slots=True)
class _Branches:
    prefix: Prefix
    options: list[Tokens]


def _load(branches: _Branches) -> Load:
    return Load(len(branches.prefix) + max(map(len, branches.options)), len(branches.options))


def segments(
    tokenizer: Any, prompt: str, options: Sequence[str], chat: bool = False
) -> tuple[list[int], list[Tokens]]:
    """Tokens of a prompt, and of each option where it follows the prompt.

    Spaces at the end of the prompt belong to the options, as most tokenizers write a space with the word behind it.
    Where prompt and option together begin with the prompt's tokens, the rest are the option's; where a token would
    straddle the two, the option is tokenised by itself, so that all options follow the same prompt.
    """
    text, leading = prompt_text(tokenizer, prompt, chat)
    stripped = text if chat else text.rstrip(" ")
    spaces, context = text[len(stripped) :], plain_tokens(tokenizer, stripped)
    found = []
    for option in options:
        whole = plain_tokens(tokenizer, stripped + spaces + option)
        joined = whole[: len(context)] == context
        found.append(tuple(whole[len(context) :] if joined else plain_tokens(tokenizer, spaces + option)))
    return leading + context, found


def option_logprobs(
    model: Any, prefixes: Sequence[Prefix], options: Sequence[Sequence[Sequence[int]]]
) -> list[list[tuple[float, bool]]]:
    """Log-probability of each option's tokens after its prefix, and whether greedy decoding writes them.

    Every prefix is read once. Its last logits give all first tokens, so options of one token need no further pass;
    the cache is branched for the others, which are padded on the right. The softmax is in float32.

    Args:
        model: a transformers causal LM.
        prefixes: B lists of token ids, or embeddings [T, d]; none of them empty.
        options: for each prefix its options, lists of at least one token id.

    Returns:
        For each prefix, (log-probability, greedy) of each option.
    """
    import torch

    rows = [(place, list(tokens)) for place, group in enumerate(options) for tokens in group]
    with reading(model):
        encoded = encode(model, prefixes)
        device = encoded.mask.device
        owner = torch.tensor([place for place, _ in rows], device=device)
        opening = torch.tensor([tokens[0] for _, tokens in rows], device=device)
        after = encoded.logits.log_softmax(-1)  # [B, V]
        total = after[owner, opening].double()  # [R]
        greedy = after.argmax(-1)[owner] == opening
        longer = [row for row, (_, tokens) in enumerate(rows) if len(tokens) > 1]
        if longer:
            width = max(len(rows[row][1]) for row in longer)
            ids = torch.tensor([rows[row][1] + [0] * (width - len(rows[row][1])) for row in longer], device=device)
            sizes = torch.tensor([len(rows[row][1]) for row in longer], device=device)
            there = torch.arange(1, width, device=device) < sizes[:, None]  # [R', W - 1], tokens after the first
            encoded.select(owner[longer])
            logprobs = extend(model, encoded, ids[:, :-1], there).log_softmax(-1)
            target = ids[:, 1:]
            each = logprobs.gather(-1, target[..., None])[..., 0].double()
            total[longer] += each.masked_fill(~there, 0).sum(1)
            greedy[longer] &= ((logprobs.argmax(-1) == target) | ~there).all(1)
    flat = iter(zip(total.tolist(), greedy.tolist(), strict=True))
    return [[next(flat) for _ in group] for group in options]
