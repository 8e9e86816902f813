"""The answer sheet: what a model made of every item, what that is worth, and the figures of each task."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from eval.answers import wording
from eval.answers.choices import BY, Answered, By, Summary
from eval.answers.position import position_bias
from eval.answers.reading import Reading
from eval.answers.scoring import Normalisation
from eval.stats.intervals import mean_interval
from eval.vision.conditions import Shown
from eval.vision.items import Item
from eval.vision.metrics import PAIR, score, units

Said = Literal["answer", "abstained", "nothing"]
SAID: tuple[Said, ...] = get_args(Said)
GRADED = "anls"  # the one metric whose scores are no shares of right answers


@dataclass(frozen=True, slots=True)
class Entry:
    """An item as it was asked once.

    Attributes:
        item: as it is in its artifact.
        shown: in the picture's place.
        answered: of multiple choice, with options as they were shown.
        reply: what the model wrote; None: it was not let.
    """

    item: Item
    shown: Shown
    answered: Answered | None
    reply: str | None

    def score(self, by: By) -> float:
        """What the answer is worth, from 0 to 1; of a free one by the item's metric."""
        if self.answered is not None:
            return float(self.answered.correct(by))
        assert isinstance(self.item.answer, tuple)
        return score(self.item.metric, self.reply or "", self.item.answer)

    @property
    def said(self) -> Said | None:
        """What the reply does, see `said`; None: there is none."""
        if self.reply is None:
            return None
        return said(self.reply, self.answered.reading if self.answered else None)

    def record(self, by: By) -> dict[str, Any]:
        """A row of ``answers.parquet``; the same columns whatever the item is."""
        found: dict[str, Any] = dict.fromkeys(COLUMNS)
        found |= {"item": self.item.item, "cluster": cluster(self.item), "rotation": 0, "options": 0}
        if self.answered is not None:
            found |= self.answered.record(by)
        found |= {"task": self.item.task, "group": self.item.group, "metric": self.item.metric}
        found |= {"picture": self.shown.key, "view": self.shown.view}
        facts = json.dumps(dict(self.item.facts), ensure_ascii=False, sort_keys=True)
        return found | {"score": self.score(by), "reply": self.reply, "said": self.said, "facts": facts}


COLUMNS = (
    *("item", "task", "group", "cluster", "picture", "view", "metric", "score", "rotation", "options"),
    *("label", "prediction", "correct", "confidence", "logprob", "unconditional", "tokens", "bytes", "greedy"),
    *(f"by_{name}" for name in BY),
    *("reply", "tier", "said", "facts"),
)


def chance(item: Item) -> float:
    """What a guess at an item is worth."""
    if item.options:
        return 1 / len(item.options)
    return 0.5 if item.metric == "yes_no" else 0.0


def said(reply: str, reading: Reading | None) -> Said:
    """Whether a reply gives an answer, right or wrong, declines to, or does neither.

    Args:
        reply: as written.
        reading: of multiple choice; None: of a free answer, which any text is that does not decline.
    """
    if reading is not None:
        return "answer" if reading.choice is not None else "abstained" if reading.tier == "abstained" else "nothing"
    return "nothing" if not reply.strip() else "abstained" if declines(reply) else "answer"


def cluster(item: Item) -> str:
    """What an item shares with others: what it names, or its picture."""
    return item.cluster or item.picture or item.item


def declines(reply: str) -> bool:
    """Whether a free answer is that it cannot be answered."""
    said = wording.cleaned(reply)
    return bool(wording.REFUSAL.search(said) or wording.DOUBT.search(said))


def rows(entries: Sequence[Entry], by: By) -> list[dict[str, Any]]:
    """Rows of ``items.parquet``: what counts once in the mean of its task, as `units` has it.

    An item's score is its mean over the rotations of its options. `chance` is what guessing question by question is
    worth.
    """
    asked: dict[str, list[Entry]] = {}
    for each in entries:
        asked.setdefault(each.item.item, []).append(each)
    tasks: dict[str, list[list[Entry]]] = {}
    for shown in asked.values():
        tasks.setdefault(shown[0].item.task, []).append(shown)
    found = []
    for task, questions in tasks.items():
        items = [each[0].item for each in questions]
        scores = [float(np.mean([entry.score(by) for entry in each])) for each in questions]
        guesses = _guesses(questions)
        for unit in units([each.item for each in items], [each.facts for each in items], scores):
            own = [questions[place] for place in unit.rows]
            replies = [entry.said for each in own for entry in each]
            first = items[unit.rows[0]]
            row: dict[str, Any] = {
                "item": unit.name,
                "task": task,
                "group": first.group,
                "cluster": cluster(first),
                "score": unit.score,
                "chance": math.prod(guesses[place] for place in unit.rows),
                "questions": len(own),
                "asked": len(replies),
            }
            for name in SAID:
                row[name] = None if None in replies else replies.count(name) / len(replies)
            found.append(row)
    return found


def _guesses(questions: Sequence[Sequence[Entry]]) -> list[float]:
    """What a guess is worth, question by question; half of a pair's mark is for both being right."""
    pairs: dict[str, float] = {}
    for each in questions:
        if PAIR in (facts := each[0].item.facts):
            pairs[str(facts[PAIR])] = pairs.get(str(facts[PAIR]), 1.0) * chance(each[0].item)
    items = [each[0].item for each in questions]
    return [(chance(each) + pairs.get(str(each.facts.get(PAIR)), chance(each))) / 2 for each in items]


def metric(items: Sequence[Item]) -> str:
    """What the scores of a task are: accuracy, also where annotators vote; of edits to a text their own measure."""
    graded = {each.metric.partition(":")[0] == GRADED for each in items}
    return "accuracy" if graded == {False} else GRADED if graded == {True} else "score"


def result(items: Sequence[Item], rows: Sequence[Mapping[str, Any]], level: float) -> dict[str, Any]:
    """A task in ``scores.json``: what `eval.records` reads of it, and its figure with its interval."""
    lines = [json.dumps(asdict(each), ensure_ascii=True, sort_keys=True) for each in items]
    scores = [[row["score"] for row in rows]]
    return {
        "task": items[0].task,
        "group": items[0].group,
        "metric": metric(items),
        "column": "score",
        "items": len(rows),
        "questions": len(items),
        "chance": float(np.mean([row["chance"] for row in rows])),
        "version": hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16],
        "score": asdict(mean_interval(scores, [row["cluster"] for row in rows], level)),
        **{name: None if rows[0][name] is None else float(np.mean([row[name] for row in rows])) for name in SAID},
    }


def summary(entries: Sequence[Entry], compared: Normalisation, level: float) -> dict[str, Any]:
    """How a task was answered: of multiple choice as `Summary` and `position_bias` say, of free answers what was said.

    Intervals of multiple choice need two clusters; a task that has fewer, beside free answers, has no such summary.
    """
    choices = [each.answered for each in entries if each.answered is not None]
    free = [each for each in entries if each.answered is None]
    found: dict[str, Any] = {"summary": None, "position": {}, "free": None}
    if len({each.question.cluster for each in choices}) > 1:
        of = Summary.of(choices, compared, level)
        first = [each for each in choices if not each.question.rotation]
        scorers = [name for name in of.accuracy if any(each.choice(name) is not None for each in first)]  # type: ignore[arg-type]
        found["summary"] = of.to_json()
        found["position"] = {name: asdict(position_bias(first, name)) for name in scorers}  # type: ignore[arg-type]
    if free:
        replies = Counter(str(each.said) for each in free)
        scores = {name: [e.score("reply") for e in free if e.item.metric == name] for name in _metrics(free)}
        means = {name: float(np.mean(each)) for name, each in scores.items()}
        found["free"] = {"items": len(free), "said": dict(replies), "metrics": means}
    return found


def _metrics(entries: Sequence[Entry]) -> list[str]:
    return sorted({each.item.metric for each in entries})
