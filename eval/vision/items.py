"""Questions about pictures, whatever set they are of: the format ``questions``, lines of JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from presight.errors import EXIT_DATA, PresightError

FILE = "questions.jsonl"


@dataclass(frozen=True, slots=True)
class Item:
    """A question, and what counts as its answer.

    Attributes:
        item: its name, unique in its artifact.
        task: the benchmark it is of, as GQA or count.
        group: the ability, as General; empty: none.
        prompt: the question as it is put.
        picture: key in a ``pictures`` artifact; None: no picture.
        options: texts to choose from; empty: the answer is free text.
        answer: index of the right option; or, of free text, all answers that count.
        metric: how a reply is scored, a name of `eval.vision.metrics`; accuracy is right or wrong.
        cluster: what it shares with others, as a picture or a scene; empty: nothing.
        facts: what else is known, as ``{"bucket": "0-30"}``.
    """

    item: str
    task: str
    group: str
    prompt: str
    picture: str | None
    options: tuple[str, ...]
    answer: int | tuple[str, ...]
    metric: str = "accuracy"
    cluster: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.options and not (isinstance(self.answer, int) and 0 <= self.answer < len(self.options)):
            raise PresightError(self.item, f"the answer is {self.answer!r}, which is no option", "give its index")
        if not self.options and (not isinstance(self.answer, tuple) or not self.answer):
            raise PresightError(self.item, "has neither options nor texts that count as answer", "give one of them")
        if self.options and len(set(self.options)) < max(2, len(self.options)):
            raise PresightError(self.item, f"the options are {list(self.options)}", "give two or more, all different")


def write(out: Path, items: Iterable[Item]) -> None:
    """Write the artifact, and ``counts.json``.

    Raises:
        PresightError: two of one name, or none at all.
    """
    names: set[str] = set()
    counts: Counter[str] = Counter()
    with (out / FILE).open("w", encoding="utf-8") as file:
        for each in items:
            if each.item in names:
                raise PresightError(each.item, "names two questions", "give every one a name of its own")
            names.add(each.item)
            counts.update(["questions", f"task {each.task}"])
            file.write(json.dumps(asdict(each), ensure_ascii=False) + "\n")
    if not names:
        raise PresightError("questions", "none were made", "give more scenes, or ask for other groups")
    (out / "counts.json").write_text(json.dumps(dict(sorted(counts.items()))))


def read(folder: Path) -> list[Item]:
    """The questions, in order.

    Raises:
        PresightError: the artifact holds none, or a line is none (exit code 87).
    """
    if not (folder / FILE).exists():
        raise PresightError(str(folder), "holds no questions about pictures", "give an artifact of kind questions")
    found = []
    with (folder / FILE).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                answer = record["answer"]
                record |= {"options": tuple(record["options"])}
                found.append(Item(**{**record, "answer": tuple(answer) if isinstance(answer, list) else answer}))
            except (ValueError, KeyError, TypeError) as error:
                problem = f"is no question ({error})"
                raise PresightError(f"{folder / FILE}, line {number}", problem, "make it again", EXIT_DATA) from error
    return found
