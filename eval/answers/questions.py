"""Multiple-choice questions: read from lines of JSON, written as prompts, their options rotated."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from eval.answers.scoring import Request
from presight.errors import PresightError

PROMPT = "1"  # version of the wording below
Style = Literal["letters", "cloze"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its options, and the index of the right one; `cluster` is what it shares with others."""

    item: str
    prompt: str
    options: tuple[str, ...]
    answer: int
    cluster: str | None = None
    rotation: int = 0

    def rotated(self, places: int) -> Question:
        """The same question with every option that many places further up; what was first goes to the end."""
        n = len(self.options)
        options = self.options[places % n :] + self.options[: places % n]
        answer, rotation = (self.answer - places) % n, (self.rotation + places) % n
        return replace(self, options=options, answer=answer, rotation=rotation)

    def original(self, choice: int) -> int:
        """Where an option of a rotated question stood before."""
        return (choice + self.rotation) % len(self.options)

    def text(self, style: Style = "letters") -> str:
        """The prompt as a model reads it; it ends with "Answer:" and no space."""
        if style == "cloze":
            return f"{self.prompt}\nAnswer:"
        lines = [
            f"{letter}. {option}" for letter, option in zip(letters(len(self.options)), self.options, strict=True)
        ]
        return "\n".join([self.prompt, *lines, "Answer:"])

    def request(self, style: Style = "letters", space: str = " ") -> Request:
        """Prompt and continuations to be scored: letters, or the options' texts; `space` stands in front of them."""
        shown = letters(len(self.options)) if style == "letters" else self.options
        return Request(self.text(style), tuple(space + each for each in shown))


def letters(count: int) -> str:
    """The first letters of the alphabet.

    Raises:
        PresightError: there are not so many.
    """
    if count > len(string.ascii_uppercase):
        raise PresightError("options", f"{count} are more than there are letters", "ask in the cloze style")
    return string.ascii_uppercase[:count]


def rotations(question: Question) -> list[Question]:
    """The question with its options in every cyclic order; each of them stands in each place once."""
    return [question.rotated(places) for places in range(len(question.options))]


def read_questions(path: Path) -> list[Question]:
    """Questions from lines of JSON.

    Fields: ``prompt`` or ``question``; ``options`` or ``choices``, two texts or more; ``answer``, an index from 0, a
    letter, or an option's text; ``item``, by default the line's number; ``cluster``, where questions share something.

    Raises:
        PresightError: no question, or a line that is none, by its number.
    """
    questions = list(_lines(path))
    if not questions:
        raise PresightError(str(path), "no question in it", "write one a line, as JSON")
    places: dict[str, int] = {}
    for place, question in enumerate(questions, 1):
        if question.item in places:
            said = f"item {question.item!r} is that of question {places[question.item]}, too"
            raise PresightError(f"{path}, question {place}", said, "give every item a name of its own")
        places[question.item] = place
    return questions


def _lines(path: Path) -> Iterator[Question]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise PresightError(str(path), f"cannot be read: {error}", "give a file of UTF-8 JSON lines") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise PresightError(place, f"no JSON: {error}", "write one object a line") from error
        if not isinstance(record, dict):
            raise PresightError(place, f"a {type(record).__name__}, no object", "write one object a line")
        yield question_of(record, place, str(number))


def question_of(record: Mapping[str, Any], place: str, item: str) -> Question:
    """The question of a record with the fields that `read_questions` names; `place` is what an error names.

    Raises:
        PresightError: a field is missing, or is not what it must be.
    """
    prompt, options = _one(record, ("prompt", "question"), place), _one(record, ("options", "choices"), place)
    if not isinstance(prompt, str) or not prompt.strip():
        raise PresightError(place, f"the prompt is {prompt!r}", "give it some text")
    if not isinstance(options, list) or not all(isinstance(each, str | int | float) for each in options):
        raise PresightError(place, f"the options are {options!r}", "give a list of texts")
    texts = tuple(str(each) for each in options)
    if len(texts) < 2 or any(not text.strip() for text in texts):
        raise PresightError(place, f"the options are {options!r}", "give at least two, none of them empty")
    if len(set(texts)) < len(texts):
        raise PresightError(place, f"options are the same: {options!r}", "make every option a different text")
    name, cluster = record.get("item", item), record.get("cluster")
    return Question(str(name), prompt, texts, _answer(record, texts, place), None if cluster is None else str(cluster))


def _one(record: Mapping[str, Any], names: Sequence[str], place: str) -> Any:
    there = [name for name in names if name in record]
    if len(there) != 1:
        said = f"both {names[0]!r} and {names[1]!r}" if there else f"no {names[0]!r} or {names[1]!r}"
        raise PresightError(place, said, f"give {names[0]!r}")
    return record[there[0]]


def _answer(record: Mapping[str, Any], options: Sequence[str], place: str) -> int:
    """Index of the right option; a text that is an option's is not taken for a letter."""
    if "answer" not in record:
        raise PresightError(place, "no 'answer'", "give an index from 0, a letter or an option's text")
    answer = record["answer"]
    if isinstance(answer, str) and answer in options:
        return options.index(answer)
    if isinstance(answer, str) and len(answer) == 1 and answer.upper() in string.ascii_uppercase[: len(options)]:
        return string.ascii_uppercase.index(answer.upper())
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return answer
    last = string.ascii_uppercase[len(options) - 1 : len(options)]
    raise PresightError(
        place,
        f"the answer is {answer!r}, which is no option",
        f"give 0 to {len(options) - 1}, A to {last} or an option's text",
    )
