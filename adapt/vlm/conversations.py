"""What is said of pictures, turn by turn: the format ``conversations``, lines of JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from presight.errors import EXIT_DATA, PresightError

FILE = "conversations.jsonl"
TAGS = ("perception", "reasoning", "other", "")


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that alternate, a user's first; the picture, if any, stands before all of them.

    Attributes:
        item: its name, unique in its artifact.
        turns: texts, at even places the user's, at odd ones the assistant's. A caption is one turn of the assistant's
            behind an empty one of the user's.
        picture: key in a ``pictures`` artifact; None: text alone.
        tag: the ability that it trains: perception, reasoning, other; empty: not known.
        split: train, validation or test.
    """

    item: str
    turns: tuple[str, ...]
    picture: str | None = None
    tag: str = ""
    split: str = "train"

    def __post_init__(self) -> None:
        if len(self.turns) < 2 or len(self.turns) % 2 or not all(turn.strip() for turn in self.turns[1::2]):
            problem = "a user's turn and an assistant's must alternate, none of the assistant's empty"
            raise PresightError(self.item, problem, "mend it, or leave it out")
        if self.tag not in TAGS:
            raise PresightError(self.item, f"the tag is {self.tag!r}", f"give one of {', '.join(TAGS[:-1])}, or none")


def write(out: Path, conversations: Iterable[Conversation]) -> None:
    """Write the artifact, and ``counts.json``.

    Raises:
        PresightError: two of one name.
    """
    names: set[str] = set()
    counts: Counter[str] = Counter()
    with (out / FILE).open("w", encoding="utf-8") as file:
        for each in conversations:
            if each.item in names:
                raise PresightError(each.item, "names two conversations", "give every one a name of its own")
            names.add(each.item)
            counts.update(["conversations", f"split {each.split}", f"tag {each.tag or 'none'}"])
            counts["pictured"] += each.picture is not None
            line: dict[str, Any] = {"item": each.item, "turns": list(each.turns)}
            line |= {"picture": each.picture, "tag": each.tag, "split": each.split}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    (out / "counts.json").write_text(json.dumps(dict(sorted(counts.items()))))


def read(folder: Path, split: str = "train") -> list[Conversation]:
    """The conversations of a split, in order.

    Raises:
        PresightError: the artifact holds none, or a line is none (exit code 87).
    """
    if not (folder / FILE).exists():
        raise PresightError(str(folder), "holds no conversations", "give an artifact of kind conversations")
    found = []
    with (folder / FILE).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                each = Conversation(**{**record, "turns": tuple(record["turns"])})
            except (ValueError, KeyError, TypeError) as error:
                problem = f"is no conversation ({error})"
                raise PresightError(f"{folder / FILE}, line {number}", problem, "make it again", EXIT_DATA) from error
            if each.split == split:
                found.append(each)
    return found
