"""Scores and replies behind prompts that a model takes whole: ids, pixels and whatever its architecture wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from eval.answers.generation import cut, end_tokens
from eval.answers.prefixes import plain_tokens, require_room
from eval.answers.scoring import Request, Scorer, Scores, option_logprobs
from eval.checkpoint import reading
from presight.errors import PresightError

T = TypeVar("T")
Inputs = Mapping[str, Tensor]
PROBE = " yes, it is"  # scored both ways, to see whether they agree
AGREE = 1e-3  # nats of it


class Either:
    """Answers behind whole inputs: by embeddings, which options share, or by forced writing if those say too little.

    Args:
        model: of transformers, for images and text.
        tokenizer: its tokenizer.
        empty: tokens of the prompt that unconditional log-probabilities follow.
        batch_tokens: tokens of a batch.

    Attributes:
        shared: whether embeddings do, by the names of what an input holds; filled in as such inputs come.
    """

    def __init__(self, model: Any, tokenizer: Any, empty: Sequence[int], batch_tokens: int) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.chat = False
        self.empty: list[int] | None = list(empty)
        self.shared: dict[frozenset[str], bool] = {}
        self._scorer = Scorer(model, tokenizer, empty=self.empty, budget=batch_tokens)

    def score(self, requests: Sequence[Request]) -> list[Scores]:
        """Scores of each request, in order; prompts are inputs of the model.

        Raises:
            PresightError: as `Scorer.score`.
        """
        return self._each(
            [each.prompt for each in requests],
            lambda rows, prompts: self._scorer.score(
                [Request(prompt, requests[row].options) for row, prompt in zip(rows, prompts, strict=True)]
            ),
            lambda row: self._forced(row, requests[row]),
        )

    def reply(self, prompts: Sequence[Any], tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy replies to inputs, in order.

        Raises:
            PresightError: as `generate`.
        """
        return self._each(
            prompts,
            lambda rows, embedded: self._scorer.reply(embedded, tokens, stop),
            lambda row: cut(self._write(prompts[row], tokens), tuple(stop))[0],
        )

    def _each(
        self,
        prompts: Sequence[Any],
        together: Callable[[list[int], list[Tensor]], Sequence[T]],
        alone: Callable[[int], T],
    ) -> list[T]:
        """Results in order: of prompts that embeddings stand for together, of the others one by one."""
        rows = [row for row, prompt in enumerate(prompts) if self._shares(prompt)]
        found = dict(zip(rows, together(rows, [_spliced(self.model, prompts[row]) for row in rows]), strict=True))
        return [found[row] if row in found else alone(row) for row in range(len(prompts))]

    def _shares(self, prompt: Inputs) -> bool:
        kind = frozenset(prompt)
        if kind not in self.shared:
            self.shared[kind] = self._agree(prompt)
        return self.shared[kind]

    def _agree(self, prompt: Inputs) -> bool:
        """Whether a text behind a prompt is as probable by its embeddings as by the whole input."""
        tokens = plain_tokens(self.tokenizer, PROBE)
        [(expected, _)] = forced_logprobs(self.model, prompt, [tokens])
        try:
            embeddings = spliced(self.model, prompt)
            if embeddings is None:
                return False
            [[(found, _)]] = option_logprobs(self.model, [embeddings], [[tokens]])
        except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, IndexError):
            return False  # the architecture's own code, given what it does not expect
        return abs(found - expected) < AGREE

    def _forced(self, place: int, request: Request) -> Scores:
        prompt: Any = request.prompt
        options = [tuple(plain_tokens(self.tokenizer, each)) for each in request.options]
        for option, tokens in zip(request.options, options, strict=True):
            if not tokens:
                raise PresightError(f"requests[{place}]", f"option {option!r} has no token", "give it some text")
        length = prompt["input_ids"].shape[1] + max(map(len, options))
        require_room(self.model, length - 1, f"requests[{place}]")
        scored = forced_logprobs(self.model, prompt, options)
        empty = {"input_ids": torch.tensor([self.empty], device=self.model.device)}
        empty["attention_mask"] = torch.ones_like(empty["input_ids"])
        return Scores(
            tuple(total for total, _ in scored),
            tuple(len(tokens) for tokens in options),
            tuple(max(1, len(option.strip().encode())) for option in request.options),
            tuple(greedy for _, greedy in scored),
            tuple(total for total, _ in forced_logprobs(self.model, empty, options)),
        )

    def _write(self, prompt: Inputs, tokens: int) -> str:
        ends = end_tokens(self.model, self.tokenizer)
        written = _generated(self.model, prompt, tokens, eos_token_id=sorted(ends))
        fresh = written[0, prompt["input_ids"].shape[1] :].tolist()
        kept = next((place for place, token in enumerate(fresh) if token in ends), len(fresh))
        return str(self.tokenizer.decode(fresh[:kept], skip_special_tokens=True))


class _Stopped(Exception):
    """The decoder was reached."""


def spliced(model: Any, inputs: Inputs) -> Tensor | None:
    """Embeddings [T, d] that a model's decoder is given, the picture's among the text's; None: it is given none.

    The model runs up to its decoder and no further, so this holds for every way of putting pictures among text.
    """
    caught: dict[str, Any] = {}

    def catch(module: Any, args: Any, given: dict[str, Any]) -> None:
        caught.update(given)
        raise _Stopped

    hook = model.get_decoder().register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with reading(model):
            model(**inputs, use_cache=False)
    except _Stopped:
        pass
    finally:
        hook.remove()
    embeddings = caught.get("inputs_embeds")
    if embeddings is None or len(embeddings) != 1:
        return None
    return Tensor(embeddings[0])


def _spliced(model: Any, inputs: Inputs) -> Tensor:
    found = spliced(model, inputs)
    assert found is not None, "inputs of this kind were tried out"
    return found


def forced_logprobs(model: Any, inputs: Inputs, options: Sequence[Sequence[int]]) -> list[tuple[float, bool]]:
    """Log-probability of each option's tokens behind whole inputs, and whether greedy decoding writes them.

    The model writes with its own hand, held at every token: what positions, masks and caches it wants is its affair.
    All options' first tokens are read off one pass; only what is longer than a token is written out.

    Args:
        model: of transformers, that can generate.
        inputs: of one prompt, as its processor gives them.
        options: lists of at least one token id.

    Returns:
        (log-probability, greedy) of each option.
    """
    found = []
    first: Tensor | None = None
    for tokens in options:
        if len(tokens) > 1 or first is None:
            rows = _held(model, inputs, tokens)
            first = rows[0]
        else:
            rows = [first]
        total = sum(float(row[token]) for row, token in zip(rows, tokens, strict=True))
        found.append((total, all(int(row.argmax()) == token for row, token in zip(rows, tokens, strict=True))))
    return found


def _held(model: Any, inputs: Inputs, tokens: Sequence[int]) -> list[Tensor]:
    """Log-probabilities [vocabulary], float32, at each of the tokens that are written."""
    rows: list[Tensor] = []

    def hold(ids: Tensor, scores: Tensor) -> Tensor:
        rows.append(scores[0].float().log_softmax(-1))
        held = torch.full_like(scores, -torch.inf)
        held[:, tokens[len(rows) - 1]] = 0
        return held

    _generated(model, inputs, len(tokens), logits_processor=[hold])
    return rows


def _generated(model: Any, inputs: Inputs, tokens: int, **how: Any) -> Tensor:
    """Ids [1, T] of prompt and reply; penalties and sampling that the model asks for itself are left aside."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        with reading(model):
            return Tensor(model.generate(**inputs, do_sample=False, max_new_tokens=tokens, **how))
    finally:
        model.generation_config = own
