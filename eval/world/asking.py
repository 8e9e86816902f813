"""Options for questions, such that nothing about the right one can be told from the words.

A set of options is drawn first, and only if for each of them there is a picture of which it alone is true; then chance
decides which of these pictures is shown. Whatever the words are, each option is right with the same probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eval.vision.items import Item

OPTIONS = 4
TRIES = 300  # sets of options drawn in vain, after which there are held to be no more
YES_NO = ("yes", "no")
NOVEL = "-novel"  # behind the name of a task about what was held out


@dataclass(frozen=True, slots=True)
class Ask:
    """A question whose options may still have to be found.

    Attributes:
        task: what is asked for, a name of `eval.world.tasks.TASKS` or `eval.world.hearing.TASKS`.
        picture: its key.
        words: what the wording is filled with.
        answer: the right option.
        options: all of them, if they follow from the question; empty: they are dealt.
        barred: texts that are true as well, or nearly.
        domain: what the answer shares with others; options of one question are of different domains, if of any.
        novel: whether it is about what was held out.
        facts: what else is known.
    """

    task: str
    picture: str
    words: Mapping[str, str]
    answer: str
    options: tuple[str, ...] = ()
    barred: frozenset[str] = frozenset()
    domain: str = ""
    novel: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def item(self, name: str, group: str, wording: str) -> Item:
        """It as an item, once it has options."""
        return Item(
            item=name,
            task=self.task + NOVEL * self.novel,
            group=group,
            prompt=wording.format(**self.words),
            picture=self.picture,
            options=self.options,
            answer=self.options.index(self.answer),
            cluster=self.picture,
            facts={"pictures": "composed", "objects": "novel" if self.novel else "seen", **self.facts},
        )


def settled(
    asks: Sequence[Ask], order: np.random.Generator, limit: int | None = None, size: int = OPTIONS, deny: str = ""
) -> list[Ask]:
    """Questions of one task with their options in random order, the right one in every place equally often.

    Args:
        asks: what might be asked.
        order: of the draws.
        limit: questions at most, drawn from all alike; None: all that can be given options.
        size: options to a question, where they are dealt.
        deny: the word of the wording that names what is asked for, if the answers are yes and no: each question is
            asked twice, of what is in the picture and of what is not.
    """
    size = 2 if deny else size
    most = len(asks) if limit is None else -(-limit // 2) if deny else limit
    if all(each.options for each in asks):
        chosen = [asks[place] for place in order.permutation(len(asks))[:most]]
    else:
        chosen = dealt(asks, size, most, order)
    if deny:
        chosen = [
            replace(each, words={deny: text}, options=YES_NO, answer=YES_NO[text != each.answer])
            for each in chosen
            for text in each.options
        ]
    return [shuffled(each, place, order) for each, place in zip(chosen, _places(chosen, order), strict=True)]


def _places(asks: Sequence[Ask], order: np.random.Generator) -> list[int]:
    """Where the right options are to stand: in each place equally often, give or take one."""
    found = np.zeros(len(asks), dtype=np.int64)
    sizes = np.array([len(each.options) for each in asks])
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        found[rows] = order.permutation(np.arange(len(rows)) % size)
    return found.tolist()


def shuffled(ask: Ask, place: int, order: np.random.Generator) -> Ask:
    """The question with its wrong options in random order and the right one in its place."""
    others = [each for each in ask.options if each != ask.answer]
    mixed = [others[each] for each in order.permutation(len(others))]
    return replace(ask, options=(*mixed[:place], ask.answer, *mixed[place:]))


def dealt(asks: Sequence[Ask], size: int, most: int, order: np.random.Generator) -> list[Ask]:
    """Questions with the answers of others for wrong options, each question used once at most.

    Answers come into a set of options as often as there are questions left that have them, so that few questions are
    left over: of those that are too common for sets of this size, or true where most others are.

    Args:
        asks: without options.
        size: options to a question.
        most: questions to return at most.
        order: of the draws.
    """
    left: dict[str, list[Ask]] = {}
    for place in order.permutation(len(asks)):
        left.setdefault(asks[place].answer, []).append(asks[place])
    found: list[Ask] = []
    vain = 0
    while len(found) < most and len(left) >= size and vain < TRIES:
        options = _drawn(left, size, order)
        shown = [_alone(left[option], options) for option in options] if options else []
        if not shown or None in shown:
            vain += 1
            continue
        chance = int(order.integers(size))
        ask = shown[chance]
        assert ask
        left[ask.answer].remove(ask)
        if not left[ask.answer]:
            del left[ask.answer]
        found.append(replace(ask, options=tuple(options)))
        vain = 0
    return found


def _drawn(left: Mapping[str, Sequence[Ask]], size: int, order: np.random.Generator) -> list[str]:
    """Answers of different domains, if they are of any; empty: the first ones drawn leave none for the rest."""
    answers = list(left)
    counts = np.array([len(left[answer]) for answer in answers])
    # in this order they come as if drawn one after the other, each as probable as it is common
    places = np.argsort(order.exponential(size=len(answers)) / counts)
    options: list[str] = []
    domains: set[str] = set()
    for place in places.tolist():
        domain = left[answers[place]][0].domain
        if not domain or domain not in domains:
            options.append(answers[place])
            domains.add(domain)
            if len(options) == size:
                return options
    return []


def _alone(asks: Sequence[Ask], options: Sequence[str]) -> Ask | None:
    """The first question of these for which no other option is true."""
    return next((ask for ask in asks if not any(each in ask.barred for each in options if each != ask.answer)), None)
