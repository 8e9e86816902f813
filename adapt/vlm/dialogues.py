"""Conversations as LLaVA and Cambrian publish them: records out of JSON one by one, turns mended to alternate."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from presight.errors import PresightError

IMAGE = "<image>"
PLACEHOLDER = re.compile(rf"\s*{IMAGE}\s*")
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
CHUNK = 1 << 20  # characters read at once
NUMERIC = "+-.eE0123456789"
LONGEST = 1 << 26  # of a record: what is longer is not what it is taken for


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A record as it is used.

    Attributes:
        item: its name, not yet unique.
        image: path of its one image as the record has it; None: text alone.
        turns: a user's and an assistant's in turn, without placeholders; a caption stands behind an empty turn.
        mended: whether turns were dropped or joined to make them alternate.
    """

    item: str
    image: str | None
    turns: tuple[str, ...]
    mended: bool = False


class Unusable(Exception):
    """A record that is left out.

    Args:
        kind: a few words, to count by.
        expected: whether it is sound and only not what is read here (several images, a video).
    """

    def __init__(self, kind: str, expected: bool = False) -> None:
        self.kind, self.expected = kind, expected
        super().__init__(kind)


def records(path: Path) -> Iterator[Any]:
    """The records of a file, an array of JSON or a JSON object a line, without holding more than one of them.

    A line that is no JSON is an `Unusable` in its place.

    Raises:
        PresightError: the file is neither, breaks off, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            while (first := file.read(1)).isspace():
                pass
            file.seek(0)
            if first == "[":
                yield from _Array(file, path)
            elif first == "{":
                yield from _lines(file, path)
            else:
                raise _neither(path)
    except UnicodeDecodeError as error:
        raise PresightError(str(path), f"is not UTF-8 ({error.reason})", "give JSON in UTF-8") from error


def _neither(path: Path) -> PresightError:
    return PresightError(str(path), "is neither a JSON array nor a JSON object a line", "give records of LLaVA's form")


def _lines(file: TextIO, path: Path) -> Iterator[Any]:
    first = True
    for line in file:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            if first:
                raise _neither(path) from None
            record = Unusable("is no JSON")
        yield record
        first = False


class _Array:
    """The elements of a JSON array that is read chunk by chunk."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file, self.path = file, path
        self.text, self.at, self.number = "", 0, 0
        self.decoder = json.JSONDecoder()

    def __iter__(self) -> Iterator[Any]:
        self._take("[")
        if self._next() == "]":
            self._take("]")
        else:
            while True:
                yield self._element()
                if self._next() == "]":
                    break
                self._take(",")
            self._take("]")
        if self._next():
            raise PresightError(str(self.path), "goes on behind its array", "give one array, or an object a line")

    def _more(self) -> bool:
        """Read on; false at the end of the file."""
        chunk = self.file.read(CHUNK)
        self.text, self.at = self.text[self.at :] + chunk, 0
        return bool(chunk)

    def _next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more():
                return ""

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise self._broken(f"lacks {character!r} behind record {self.number}")
        self.at += 1

    def _element(self) -> Any:
        self._next()
        self.number += 1
        while True:
            try:
                found, end = self.decoder.raw_decode(self.text, self.at)
            except RecursionError:
                raise self._broken(f"nests too deep in record {self.number}") from None
            except ValueError:
                if len(self.text) - self.at > LONGEST or not self._more():
                    raise self._broken(f"is no JSON from record {self.number} on") from None
                continue
            cut = end == len(self.text) or self.text[end] in NUMERIC  # a number that may go on, as 0 of 0.5
            if not (cut and isinstance(found, (int, float)) and len(self.text) - self.at < LONGEST and self._more()):
                self.at = end
                return found

    def _broken(self, problem: str) -> PresightError:
        return PresightError(str(self.path), problem, "mend it, or fetch it again")


def parse(record: Any, number: int) -> Dialogue:
    """A record as it is used.

    A ``system`` turn goes before the first user's; turns of one speaker in a row become one; what an assistant says
    first, and what a user says last, is dropped; so is a question whose answer is empty. An assistant who speaks alone
    gives a caption.

    Args:
        record: ``{"id", "image", "conversations": [{"from": "human" | "gpt", "value"}]}``; image may be a path, a list
            of one, or absent; ``role`` and ``content`` are read, too.
        number: its place, from 1: the name of a record without one.

    Raises:
        Unusable: it has several images, or nothing to learn.
    """
    if isinstance(record, Unusable):
        raise record
    if not isinstance(record, Mapping):
        raise Unusable("is no record")
    image = _image(record)
    said = [_turn(each) for each in _sequence(record.get("conversations"))]
    if image is not None:
        said = [(role, without_placeholder(text)) for role, text in said]
    elif any(role == "user" and IMAGE in text for role, text in said):
        raise Unusable("speaks of an image that it lacks")
    turns, mended = alternate(said)
    if not turns:
        raise Unusable("has no answer")
    return Dialogue(name_of(record, number), image, turns, mended)


def name_of(record: Any, number: int) -> str:
    """The name of a record, be it usable or not: its id, or its place."""
    name = record.get("id") if isinstance(record, Mapping) else None
    return (clean(str(name)).strip() if isinstance(name, (str, int)) else "") or f"record {number}"


def _image(record: Mapping[str, Any]) -> str | None:
    if record.get("video"):
        raise Unusable("has a video", expected=True)
    given = record.get("image")
    paths = list(given) if isinstance(given, (list, tuple)) else [given]
    paths = [each for each in paths if each is not None and each != ""]
    if not all(isinstance(each, str) for each in paths):
        raise Unusable("names no file as its image")
    if len(paths) > 1:
        raise Unusable("has several images", expected=True)
    return paths[0] if paths else None


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, list) or not value:
        raise Unusable("has no conversations")
    return value


def _turn(value: Any) -> tuple[str, str]:
    if not isinstance(value, Mapping):
        raise Unusable("has a turn that is none")
    role, text = value.get("from", value.get("role")), value.get("value", value.get("content"))
    known = ROLES.get(role) if isinstance(role, str) else None
    if known is None or not isinstance(text, str):
        raise Unusable("has a turn that is none")
    return known, clean(text).strip()


def clean(text: str) -> str:
    """Text that can be written: half a surrogate pair, as broken JSON has them, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def without_placeholder(text: str) -> str:
    """Text without ``<image>``: the picture stands before it all."""
    if IMAGE not in text:  # as most are; the pattern takes half of the time
        return text.strip()
    return PLACEHOLDER.sub(lambda found: "\n" if "\n" in found[0] else " ", text).strip()


def alternate(said: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], bool]:
    """Turns that alternate, a user's first, no answer empty, and whether that took more than leaving them as they are.

    Args:
        said: user, assistant or system, and what they say.
    """
    system = "\n\n".join(text for role, text in said if role == "system" and text)
    spoken = [(role, text) for role, text in said if role != "system"]
    joined = [
        (role, "\n\n".join(text for _, text in turns if text))
        for role, turns in groupby(spoken, key=lambda turn: turn[0])
    ]
    if {role for role, _ in joined} == {"assistant"}:
        joined = [("user", ""), *joined]
    if joined and joined[0][0] == "assistant":
        del joined[0]
    pairs = [(joined[at][1], joined[at + 1][1]) for at in range(0, len(joined) - 1, 2)]
    pairs = [(question, answer) for question, answer in pairs if answer]
    if system and pairs:
        pairs[0] = ("\n\n".join(filter(None, (system, pairs[0][0]))), pairs[0][1])
    kept = tuple(text for pair in pairs for text in pair)
    as_it_was = tuple(text for _, text in said)
    return kept, kept not in (as_it_was, ("", *as_it_was))
