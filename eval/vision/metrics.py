"""How a reply to a question is scored: each benchmark's own rule, from 0 to 1.

A metric is called by its name, with what varies between questions behind a colon: ``number:2`` is a number to two
places. Replies to multiple choice are read by `eval.answers.reading`; here ``accuracy`` takes a free answer.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.vision.spelling import folded, vqa_form
from presight.errors import PresightError, nearest

PAIR, CIRCLE = "pair", "circle"  # facts of an item: the name of those it is scored together with, and how
ANNOTATORS_NEEDED = 3  # who agree, for full marks
RELAXED = 0.05  # share by which a number read off a chart may miss
ANLS_THRESHOLD = 0.5  # edits to the length of the longer text; from here on a reply counts as another answer
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?!\w)")
YES_NO = re.compile(r"(?i)\b(yes|no)\b")
STATED = re.compile(r"(?i)\banswer\b(?: is)?\s*:?|=|\bis\b")
SEPARATE = ("?", "!", ";", "\n", ". ")


def exact(reply: str, answers: Sequence[str], _: str = "") -> float:
    """Whether a reply is one of the answers, but for case, space and the marks around it."""
    return float(folded(reply) in {folded(answer) for answer in answers})


def vqa(reply: str, answers: Sequence[str], _: str = "") -> float:
    """Soft accuracy over annotators (VQAv2, TextVQA): three who agree make it right.

    For each annotator the others who gave the reply are counted, three of them for full marks, and the counts are
    averaged. All texts are brought into one form before. Of fewer answers than four anyone's counts in full: there
    are too few to vote.
    """
    said, given = vqa_form(reply), [vqa_form(answer) for answer in answers]
    agreed, all_of_them = given.count(said), len(given)
    if all_of_them <= ANNOTATORS_NEEDED:
        return float(agreed > 0)
    among = agreed * min(1.0, (agreed - 1) / ANNOTATORS_NEEDED)  # left out: one of those who agree
    beside = (all_of_them - agreed) * min(1.0, agreed / ANNOTATORS_NEEDED)
    return (among + beside) / all_of_them


def anls(reply: str, answers: Sequence[str], _: str = "") -> float:
    """One less the edits to the nearest answer, as a share of the longer text; from a half on nought (DocVQA)."""
    said = " ".join(reply.split()).casefold()
    best = 0.0
    for answer in answers:
        wanted = " ".join(answer.split()).casefold()
        share = edits(said, wanted) / max(len(said), len(wanted), 1)
        best = max(best, 1.0 - share if share < ANLS_THRESHOLD else 0.0)
    return best


def edits(first: str, second: str) -> int:
    """Insertions, deletions and replacements of one character that turn one text into the other (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def relaxed(reply: str, answers: Sequence[str], _: str = "") -> float:
    """Whether a number is within a twentieth of the answer's, and any other text the answer but for case (ChartQA).

    A per cent sign divides by a hundred, as the benchmark has it: "12" is no "12%". Nought must be met exactly.
    """
    said = as_number(reply)
    for answer in answers:
        wanted = as_number(answer)
        if said is not None and wanted:
            if abs(said - wanted) <= RELAXED * abs(wanted) * (1 + 1e-12):
                return 1.0
        elif folded(reply) == folded(answer) or (said is not None and said == wanted):
            return 1.0
    return 0.0


def as_number(text: str) -> float | None:
    """The number that a whole text is: ``1,200``, ``-3.5``, ``12%`` as 0.12; None: it is none."""
    bare = text.strip().removesuffix(".").strip()
    percent = bare.endswith("%")
    bare = bare.rstrip("% ")
    if not bare or not NUMBER.fullmatch(bare):
        return None
    return float(bare.replace(",", "")) / (100 if percent else 1)


def contains(reply: str, answers: Sequence[str], _: str = "") -> float:
    """Whether an answer stands in the reply, without regard to case (OCRBench)."""
    said = reply.strip().replace("\n", " ").casefold()
    return float(any(answer.strip().replace("\n", " ").casefold() in said for answer in answers))


def contains_formula(reply: str, answers: Sequence[str], _: str = "") -> float:
    """Whether an answer stands in the reply, without regard to space; case counts (OCRBench's written formulas)."""
    said = "".join(reply.split())
    return float(any("".join(answer.split()) in said for answer in answers))


def yes_no(reply: str, answers: Sequence[str], _: str = "") -> float:
    """Whether the first "yes" or "no" of a reply is the answer (MME); a reply without either is wrong."""
    found = YES_NO.search(reply)
    return float(found is not None and found[1].casefold() in {folded(answer) for answer in answers})


def number(reply: str, answers: Sequence[str], places: str = "") -> float:
    """Whether the number that a reply settles on is the answer, to so many places (MathVista, but for its extractor).

    What follows the last "answer", "is" or "=" comes first; else the last number of the reply. To no places a number
    is cut short, not rounded, as the benchmark has it.
    """
    stated = numbers(STATED.split(reply)[-1])[:1] if STATED.search(reply) else []
    found = [_cut(value, places) for value in stated or numbers(reply)[-1:]]
    return float(any(_cut(value, places) in found for value in map(as_number, answers) if value is not None))


def _cut(value: float, places: str) -> float:
    return float(int(value)) if places in ("", "0") else round(value, int(places))


def numbers(text: str) -> list[float]:
    """All numbers in a text, in order."""
    return [float(each.replace(",", "")) for each in NUMBER.findall(text)]


def open_answer(reply: str, answers: Sequence[str], _: str = "") -> float:
    """Whether a reply comes to the answer: a number to two places, or a text that stands in what it settles on (MMMU).

    What a reply settles on is its last sentence, and what follows the last "answer", "is" or "=" of each sentence.
    """
    sentences = [reply.strip()]
    for mark in SEPARATE:
        sentences = [part.strip() for each in sentences for part in each.split(mark) if part.strip()]
    stated = [STATED.split(each)[-1] for each in sentences if STATED.search(each)]
    settled = [f" {folded(each)} " for each in [*sentences[-1:], *stated]]
    values = {round(value, 2) for each in settled for value in numbers(each)}
    for answer in answers:
        wanted = as_number(answer)
        if wanted is not None:
            if round(wanted, 2) in values:
                return 1.0
        elif any(_stands(folded(answer), each) for each in settled):
            return 1.0
    return 0.0


def _stands(answer: str, text: str) -> bool:
    """Whether a text holds an answer as words; of one letter, too."""
    return bool(answer) and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) is not None


METRICS: Mapping[str, Callable[[str, Sequence[str], str], float]] = {
    "accuracy": exact,
    "exact": exact,
    "vqa": vqa,
    "anls": anls,
    "relaxed": relaxed,
    "contains": contains,
    "contains_formula": contains_formula,
    "yes_no": yes_no,
    "number": number,
    "open": open_answer,
}


def score(metric: str, reply: str, answers: Sequence[str]) -> float:
    """What a reply is worth, from 0 to 1.

    Args:
        metric: a name of `METRICS`, with what it takes behind a colon: ``number:2``.
        reply: as the model wrote it.
        answers: all that count.

    Raises:
        PresightError: there is no such metric, or it takes nothing of the kind.
    """
    name, _, taken = metric.partition(":")
    if name not in METRICS:
        raise PresightError("metric", f"{metric!r} is none", nearest(name, METRICS))
    if taken and (name != "number" or not set(taken) <= set(string.digits)):
        raise PresightError("metric", f"{name} takes no {taken!r}", "write the metric's name alone, or number:2")
    return METRICS[name](reply, answers, taken)


@dataclass(frozen=True, slots=True)
class Unit:
    """What counts once in a mean: a question, or the same question asked with its options in every place.

    Attributes:
        name: of the question, or of the circle.
        rows: which questions it is made of.
        score: from 0 to 1.
    """

    name: str
    rows: tuple[int, ...]
    score: float


def units(names: Sequence[str], facts: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> list[Unit]:
    """What several questions count for together.

    Questions of one circle (``facts["circle"]``: the same question with its options turned, MMBench) count once, and
    are right only if all are. Questions of one pair (``facts["pair"]``: two about an image, one to be affirmed and
    one denied, MME) count each half for itself and half for the pair, so that the mean is that of accuracy and
    "accuracy+"; one whose partner was not asked is a pair by itself. All others stand as they are.

    Args:
        names: of the questions [n].
        facts: of the questions [n].
        scores: of each alone [n].
    """
    circles: dict[str, list[int]] = {}
    pairs: dict[str, list[int]] = {}
    for row, fact in enumerate(facts):
        circles.setdefault(str(fact[CIRCLE]) if CIRCLE in fact else f"\0{row}", []).append(row)
        if PAIR in fact:
            pairs.setdefault(str(fact[PAIR]), []).append(row)
    whole = {row: min(scores[each] for each in rows) for rows in pairs.values() for row in rows}
    found = []
    for circle, rows in circles.items():
        alone = [(scores[row] + whole.get(row, scores[row])) / 2 for row in rows]
        found.append(Unit(names[rows[0]] if circle.startswith("\0") else circle, tuple(rows), min(alone)))
    return found
