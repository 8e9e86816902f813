"""LLaVA's and Cambrian's conversations with their images, as they lie on the user's disk, made into artifacts."""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import Field

from adapt.vlm import conversations
from adapt.vlm.conversations import Conversation
from adapt.vlm.dialogues import Dialogue, Unusable, name_of, parse, records
from presight import index
from presight.console import Track, say
from presight.errors import PresightError
from presight.stage import Cost, FrozenMap, Stage, scratch

if TYPE_CHECKING:
    from adapt.vlm.pictures import Writer

LEFT_OUT = "left_out.json"
NAMED = 10_000  # left out, that are named; all are counted
HOPELESS = 100  # left out without a single one kept: a wrong folder need not cost hours
_SUFFIX = re.compile(r"[a-z0-9]{1,5}")


class Conversations(Stage):
    """Conversations of LLaVA's form and their images: kind ``conversations``, and ``pictures`` in the same folder.

    Records are ``{"id", "image", "conversations": [{"from": "human" | "gpt", "value"}]}``, an array or an object a
    line. Placeholders of the image go, since the picture stands before all turns. Records with several images or a
    video are left out and counted; so is what is broken (an image that is missing or cannot be read, turns that cannot
    be mended), up to ``tolerance``. Names that come twice are numbered. Content is identity, place is not; a folder
    too big to hash may be declared as ``name@version``.
    """

    kind = "conversations"
    version = "1"

    path: str = Field(exclude=True, description="file of JSON, or of JSON lines")
    images: str | None = Field(None, exclude=True, description="folder that the records' paths begin in")
    declared: str | None = Field(None, description="name@version of the images, taken at your word, not hashed")
    limit: int | None = Field(None, ge=1, description="conversations, at most; smaller draws are parts of larger ones")
    validation: float = Field(0.0, ge=0, lt=1, description="share drawn for validation, a picture on one side only")
    tolerance: float = Field(0.01, ge=0, le=1, description="share of the records that may be broken; 0: none")
    shard: int = Field(1000, ge=1, description="pictures of a shard")
    seed: int = Field(0, ge=0, description="of both draws")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digests of file and images; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Index file and images; images that are declared are not read.

        Raises:
            PresightError: one of them is not here, or the declaration has no version.
        """
        if self.content:
            return self
        if self.declared is not None and ("@" not in self.declared or self.images is None):
            problem = f"{self.declared!r} has no version" if self.images else "says what no images are"
            raise PresightError("declared", problem, "write name@version of the folder in images")
        return self.changed(content=FrozenMap(self._digests()))

    def estimate(self) -> Cost:
        """As many conversations as are drawn, where a limit says how many."""
        return Cost(items=self.limit or 0)

    def _digests(self) -> dict[str, str]:
        given = {"path": self.path, "images": self.images}
        places = {name: Path(place).expanduser() for name, place in given.items() if place}
        for name, place in places.items():
            if not (place.is_dir() if name == "images" else place.is_file()):
                raise PresightError(name, f"{str(place)!r} is not here", f"name a {_WANTED[name]} that is")
        return {
            name: self.declared if name == "images" and self.declared else index.content(place)
            for name, place in places.items()
        }

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write conversations, pictures and ``left_out.json``; what was found whole or broken is not decoded again.

        Raises:
            PresightError: files changed since they were planned, a path that leads out of the folder, nothing that can
                be used, or more that is broken than is tolerated.
        """
        from adapt.vlm.pictures import Writer

        if self._digests() != dict(self.content):
            raise PresightError("path", "its files changed since it was planned", "run again")
        images = Path(self.images).expanduser() if self.images else None
        with Writer(out, "image", self.shard) as pictures, _Album(pictures, images, scratch(out)) as album:
            reading = _Reading(self, album)
            conversations.write(out, reading.conversations())
        reading.check(len(reading.names))
        counts = json.loads((out / "counts.json").read_text()) | {"pictures": album.count} | reading.counts
        (out / "counts.json").write_text(json.dumps(dict(sorted(counts.items()))))
        named = {"counts": dict(reading.left.most_common()), "named": reading.named}
        (out / LEFT_OUT).write_text(json.dumps(named, ensure_ascii=False, indent=1))
        if reading.left:
            said = ", ".join(f"{kind}: {count:,}" for kind, count in reading.left.most_common())
            say(f"left out {reading.left.total():,} records ({said}), first {reading.named[0][0]}; see {LEFT_OUT}")


_WANTED = {"path": "file", "images": "folder"}


class _Reading:
    """One pass over the records: what is kept, renamed, mended, and what is left out and why."""

    def __init__(self, stage: Conversations, album: _Album) -> None:
        self.stage, self.album = stage, album
        self.names: set[str] = set()
        self.left: Counter[str] = Counter()
        self.named: list[tuple[str, str]] = []
        self.worst: list[str] = []  # the first that are broken
        self.mended = self.renamed = self.broken = 0
        self.sound = 0  # records that could be used, whether a limit leaves them or not

    @property
    def counts(self) -> dict[str, int]:
        """For ``counts.json``."""
        found = {"mended": self.mended, "renamed": self.renamed}
        return found | {f"left out, {kind}": count for kind, count in self.left.items()}

    def conversations(self) -> Iterator[Conversation]:
        """What is kept, in the order of the file."""
        from adapt.layouts.entries import fraction

        chosen, track = self._chosen(), Track(None, "importing conversations")
        for number, name, dialogue in self._dialogues():
            track.advance()
            if isinstance(dialogue, Unusable):
                self._leave(name, str(dialogue), dialogue.kind, dialogue.expected)
                continue
            self.sound += 1
            if chosen is not None and number not in chosen:
                continue
            try:
                key = self.album.key(dialogue.item, dialogue.image) if dialogue.image is not None else None
            except Unusable as error:
                self.sound -= 1
                self._leave(dialogue.item, f"{dialogue.image}: {error}", error.kind, error.expected)
                continue
            self.mended += dialogue.mended
            drawn = fraction(self.stage.seed, "split", key or dialogue.item)  # a picture is on one side only
            split = "validation" if drawn < self.stage.validation else "train"
            yield Conversation(self._name(dialogue.item), dialogue.turns, key, split=split)

    def _dialogues(self) -> Iterator[tuple[int, str, Dialogue | Unusable]]:
        """Number, name and what is left of every record."""
        for number, record in enumerate(records(Path(self.stage.path).expanduser()), 1):
            try:
                yield number, name_of(record, number), parse(record, number)
            except Unusable as error:
                yield number, name_of(record, number), error

    def _chosen(self) -> set[int] | None:
        """Numbers of the records that a limit leaves; None: all."""
        from adapt.layouts.entries import fraction

        if self.stage.limit is None:
            return None
        usable = (number for number, _, each in self._dialogues() if isinstance(each, Dialogue))
        drawn = ((fraction(self.stage.seed, "draw", str(number)), number) for number in usable)
        return {number for _, number in heapq.nsmallest(self.stage.limit, drawn)}

    def _name(self, item: str) -> str:
        """The record's own name, or with the first number that tells it from those before."""
        name, number = item, 1
        while name in self.names:
            number += 1
            name = f"{item}#{number}"
        self.names.add(name)
        self.renamed += number > 1
        return name

    def _leave(self, item: str, why: str, kind: str, expected: bool) -> None:
        self.left[kind] += 1
        if not expected:
            self.broken += 1
            self.worst += [f"{item} ({why})"] if len(self.worst) < 3 else []
        if len(self.named) < NAMED:
            self.named.append((item, why))
        if not expected and (not self.stage.tolerance or (self.broken >= HOPELESS and not self.sound)):
            raise self._too_many()

    def check(self, kept: int) -> None:
        """Refuse a result with too much left out, or nothing kept."""
        if self.broken > self.stage.tolerance * (self.sound + self.broken):
            raise self._too_many()
        if not kept:
            mend = "give conversations with one image each, or with text alone"
            raise PresightError("path", f"holds {self.left.total()} records, none of which can be used", mend)

    def _too_many(self) -> PresightError:
        problem = f"{self.broken} of {self.sound + self.broken} records cannot be used, as {'; '.join(self.worst)}"
        return PresightError("path", problem, "mend them, name the right folder in images, or raise tolerance")


class _Album:
    """Images by their path, each read once; verdicts on contents outlive a kill."""

    def __init__(self, pictures: Writer, folder: Path | None, keep: Path) -> None:
        self.pictures, self.folder = pictures, folder
        self.keys: dict[str, str | Unusable] = {}
        journal = keep / "decoded.jsonl"
        self.known = dict(_verdicts(journal))
        self._journal = journal.open("a", encoding="utf-8")

    def __enter__(self) -> _Album:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    @property
    def count(self) -> int:
        """Pictures kept."""
        return len({each for each in self.keys.values() if isinstance(each, str)})

    def key(self, item: str, image: str) -> str:
        """The key of a picture.

        Raises:
            Unusable: it is not there, or cannot be read.
            PresightError: its path leads out of the folder, or there is no folder.
        """
        if image not in self.keys:
            self.keys[image] = self._read(item, image)
        found = self.keys[image]
        if isinstance(found, Unusable):
            raise found
        return found

    def _read(self, item: str, image: str) -> str | Unusable:
        if self.folder is None:
            raise PresightError("images", f"{item} has the image {image!r}, and no folder is given", "name one")
        place = PurePosixPath(image)
        if place.is_absolute() or ".." in place.parts or "\0" in image:
            problem = f"its image {image!r} leads out of the folder"
            raise PresightError(item, problem, "write paths that begin in images")
        try:
            content = (self.folder / place).read_bytes()
        except OSError as error:
            missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            return Unusable("image is missing" if missing else "image cannot be read")
        if self._verdict(image, content):
            return Unusable("image cannot be read")
        suffix = place.suffix.lower().lstrip(".")
        return self.pictures.add(content, suffix if _SUFFIX.fullmatch(suffix) else "img")

    def _verdict(self, name: str, content: bytes) -> str:
        """Why a picture cannot be read; empty: it can."""
        from adapt.vlm.pictures import key_of, picture

        key = key_of(content)
        if key not in self.known:
            try:
                picture(name, content)
                self.known[key] = ""
            except Exception as error:  # decoders raise whatever they like
                self.known[key] = type(error).__name__
            self._journal.write(json.dumps([key, self.known[key]]) + "\n")
        return self.known[key]


def _verdicts(journal: Path) -> Iterator[tuple[str, str]]:
    """What was decoded before; a line that a kill cut short is passed over."""
    if not journal.exists():
        return
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            key, why = json.loads(line)
        except ValueError:
            continue
        yield key, why
