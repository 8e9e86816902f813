"""What a model chooses: every question scored by log-probability and by its reply, and how far the two agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np

from eval.answers.cache import Cache, scores_from_json, scores_to_json
from eval.answers.questions import Question, Style, rotations
from eval.answers.reading import Reading, read_choice
from eval.answers.scoring import NORMALISATIONS, Answers, Normalisation, Request, Scores
from eval.stats.intervals import mean_interval
from eval.stats.margins import Interval
from presight.errors import PresightError

By = Normalisation | Literal["reply"]
BY: tuple[By, ...] = (*NORMALISATIONS, "reply")
STOP = ("\n\n", "\nQuestion:")  # what follows is no part of the reply


class Look(Protocol):
    """Puts a question's text before a model that reads more than text."""

    @property
    def space(self) -> str:
        """What stands between the prompt and an option that is scored."""

    def seen(self, question: Question) -> Any:
        """As JSON: what the prompt holds beside the text, and how the two are put together."""

    def prompt(self, question: Question, text: str) -> Any:
        """The prompt, as the scorer reads it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question as it was shown, and what a model made of it."""

    question: Question
    scores: Scores
    reply: str | None = None
    reading: Reading | None = None

    def choice(self, by: By) -> int | None:
        """The option chosen, as a place among those shown; None where the reply chooses none or was not asked for.

        Raises:
            PresightError: no such scorer, or pmi that was not asked for.
        """
        if by == "reply":
            return self.reading.choice if self.reading else None
        return self.scores.choice(by)

    def correct(self, by: By) -> bool:
        """Whether the right option is chosen; no choice is wrong."""
        return self.choice(by) == self.question.answer

    def record(self, by: By) -> dict[str, Any]:
        """A row of ``items.parquet``; `prediction`, `correct` and `confidence` are those of the scorer `by`.

        Options are numbered as shown; ``(option + rotation) % options`` is their place in the question as given.
        `confidence` is the probability of the right option among the options, by the plain log-probabilities.
        """
        asked = self.question
        top = max(self.scores.sum)
        weights = [math.exp(score - top) for score in self.scores.sum]
        return {
            "item": asked.item,
            "cluster": asked.cluster if asked.cluster is not None else asked.item,
            "rotation": asked.rotation,
            "options": len(asked.options),
            "label": asked.answer,
            "prediction": self.choice(by),
            "correct": self.correct(by),
            "confidence": weights[asked.answer] / sum(weights),
            "logprob": list(self.scores.sum),
            "unconditional": None if self.scores.unconditional is None else list(self.scores.unconditional),
            "tokens": list(self.scores.tokens),
            "bytes": list(self.scores.bytes),
            "greedy": list(self.scores.greedy),
            **{f"by_{name}": self.choice(name) for name in _available(self)},
            "reply": self.reply,
            "tier": self.reading.tier if self.reading else None,
        }


def ask(
    scorer: Answers,
    questions: Sequence[Question],
    style: Style = "letters",
    *,
    replies: bool = True,
    rotate: bool = False,
    tokens: int = 32,
    stop: Sequence[str] = STOP,
    cache: Cache | None = None,
    look: Look | None = None,
) -> list[Answered]:
    """Score questions by both ways with the same prompts, in order; rotations of a question follow one another.

    Args:
        scorer: the model, its tokenizer and budget, and whether to use its chat template.
        questions: as read.
        style: letters: options are listed, their letters scored; cloze: only the question is shown, and the options'
            texts are scored.
        replies: also let the model write a reply and read its choice from it.
        rotate: ask with the options in every cyclic order.
        tokens: most tokens of a reply.
        stop: strings that end a reply.
        cache: of answers that this model gave before, to be asked first.
        look: puts the questions before a model that sees; None: the prompt is the text.

    Raises:
        PresightError: as `Scorer.score` and `generate`.
    """
    cache = cache or Cache(None)
    shown = [each for question in questions for each in rotations(question)] if rotate else list(questions)
    space = look.space if look else "" if scorer.chat else " "
    requests = [question.request(style, space) for question in shown]
    scores = cache.through(
        [
            ["scores", each.prompt, each.options, scorer.chat, scorer.empty, *_seen(look, question)]
            for each, question in zip(requests, shown, strict=True)
        ],
        lambda rows: scorer.score([_looked_at(look, shown[row], requests[row]) for row in rows]),
        scores_to_json,
        scores_from_json,
    )
    if not replies:
        return [Answered(question, scored) for question, scored in zip(shown, scores, strict=True)]
    said = reply(scorer, shown, style, tokens=tokens, stop=stop, cache=cache, look=look)
    return [
        Answered(question, scored, written, read_choice(written, question.options))
        for question, scored, written in zip(shown, scores, said, strict=True)
    ]


def reply(
    scorer: Answers,
    questions: Sequence[Question],
    style: Style = "letters",
    *,
    tokens: int = 32,
    stop: Sequence[str] = STOP,
    cache: Cache | None = None,
    look: Look | None = None,
) -> list[str]:
    """What the model writes to questions, in order; arguments as `ask`. The questions may be without options.

    Raises:
        PresightError: as `generate`.
    """
    cache = cache or Cache(None)
    prompts = [question.text(style) for question in questions]

    def write(rows: list[int]) -> list[str]:
        shown = [look.prompt(questions[row], prompts[row]) if look else prompts[row] for row in rows]
        return scorer.reply(shown, tokens, stop)

    kept = [
        ["reply", prompt, tokens, list(stop), scorer.chat, *_seen(look, question)]
        for prompt, question in zip(prompts, questions, strict=True)
    ]
    return cache.through(kept, write, str, str)


def _seen(look: Look | None, question: Question) -> list[Any]:
    return [look.seen(question)] if look else []


def _looked_at(look: Look | None, question: Question, request: Request) -> Request:
    return Request(look.prompt(question, str(request.prompt)), request.options) if look else request


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of one model on one set of questions.

    Attributes:
        items: questions, their rotations counted as one.
        shown: times a question was asked.
        accuracy: by scorer, over questions or their clusters; a question's score is its mean over rotations.
        chance: mean of 1 / options over questions.
        parsed: share of replies that choose an option; None without replies.
        tiers: how many replies were read in which tier, or not, and why.
        agreement: share of the parsed replies that choose what the scorer `compared` does.
        kappa: that agreement beyond chance (Cohen, 1960, doi 10.1177/001316446002000104); None where chance alone
            would give all of it.
        compared: the log-probability scorer that replies are compared with.
        letters: by scorer, share of the choices that fall on each place; of replies, those that are parsed.
        answers: share of the right options that stand in each place.
    """

    items: int
    shown: int
    accuracy: Mapping[str, Interval]
    chance: float
    parsed: float | None
    tiers: Mapping[str, int]
    agreement: float | None
    kappa: float | None
    compared: str
    letters: Mapping[str, tuple[float, ...]]
    answers: tuple[float, ...]

    @property
    def abstained(self) -> float | None:
        """Share of replies that decline to answer; None without replies."""
        return self.tiers.get("abstained", 0) / self.shown if self.tiers else None

    @classmethod
    def of(cls, answered: Sequence[Answered], compared: Normalisation = "sum", level: float = 0.95) -> Summary:
        """Summary of what `ask` gave.

        Args:
            answered: of at least two questions, which an interval needs.
            compared: the log-probability scorer to compare replies with.
            level: of the intervals.

        Raises:
            PresightError: fewer than two questions or clusters.
        """
        if not answered:
            raise PresightError("answered", "no question", "ask at least two")
        scorers = [name for name in BY if all(name in _available(each) for each in answered)]
        places = max(len(each.question.options) for each in answered)
        pairs = [(choice, each.choice(compared)) for each in answered if (choice := each.choice("reply")) is not None]
        replied = "reply" in scorers
        options = {each.question.item: len(each.question.options) for each in answered}
        return cls(
            items=len({each.question.item for each in answered}),
            shown=len(answered),
            accuracy={name: accuracy(answered, name, level) for name in scorers},
            chance=float(np.mean([1 / count for count in options.values()])),
            parsed=len(pairs) / len(answered) if replied else None,
            tiers=dict(Counter(each.reading.tier for each in answered if each.reading)) if replied else {},
            agreement=float(np.mean([first == second for first, second in pairs])) if pairs else None,
            kappa=kappa(pairs) if pairs else None,
            compared=compared,
            letters={name: shares([each.choice(name) for each in answered], places) for name in scorers},
            answers=shares([each.question.answer for each in answered], places),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and finite numbers."""
        return asdict(self) | {"abstained": self.abstained}


def accuracy(answered: Sequence[Answered], by: By, level: float = 0.95) -> Interval:
    """Share of right choices over questions, or over their clusters where there are any, with its interval.

    Raises:
        PresightError: fewer than two questions or clusters; some questions have a cluster and others none.
    """
    scores: dict[str, list[bool]] = {}
    for each in answered:
        scores.setdefault(each.question.item, []).append(each.correct(by))
    clusters = {each.question.item: each.question.cluster for each in answered}
    if None in (named := set(clusters.values())) and len(named) > 1:
        raise PresightError("cluster", "some questions have one and some have none", "give all of them one")
    ids = None if None in named else [str(clusters[item]) for item in scores]
    return mean_interval([[float(np.mean(each)) for each in scores.values()]], ids, level)


def shares(choices: Sequence[int | None], places: int) -> tuple[float, ...]:
    """Share of the choices that fall on each place, those that are none left out; nought of nought is 0."""
    made = [choice for choice in choices if choice is not None]
    return tuple(made.count(place) / len(made) if made else 0.0 for place in range(places))


def kappa(pairs: Sequence[tuple[int | None, int | None]]) -> float | None:
    """Cohen's kappa of two raters' choices; None where both always choose the same one."""
    n = len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(first[choice] * second[choice] for choice in first) / n**2
    if expected == 1:
        return None
    return (sum(a == b for a, b in pairs) / n - expected) / (1 - expected)


def _available(answered: Answered) -> tuple[By, ...]:
    """Scorers that can speak of this question."""
    left_out = {"pmi"} if answered.scores.unconditional is None else set()
    left_out |= {"reply"} if answered.reading is None else set()
    return tuple(name for name in BY if name not in left_out)
