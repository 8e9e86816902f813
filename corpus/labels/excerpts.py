"""Windows of documents, to be annotated: of every source a fair sample, whatever the order of its documents."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from corpus.labels.annotations import identify
from presight.console import Track
from presight.errors import PresightError

WINDOW = 2000  # characters
LEAST = 0.25  # of a window: shorter tails of documents are left out, as too little to judge


@dataclass(frozen=True)
class Excerpt:
    """A piece of text: ``text == document[start:end]``; ``id`` is that of annotations."""

    id: str
    source: str
    document: str
    start: int
    end: int
    text: str


def windows(documents: str | Path, per_source: int | None, seed: int = 0, window: int = WINDOW) -> list[Excerpt]:
    """Draw windows, every distinct window of a source being as likely as any other.

    A keyed hash of a window's text decides, so that a smaller sample is part of a larger one, and text that stands
    twice is drawn once. Sources take turns in the list: to stop early is to have less of each.

    Args:
        documents: folder of a ``documents`` artifact, or jsonl or parquet (a file, or a folder of them) with ``text``
            and ``source``; without ``source`` it is the name of the file or folder.
        per_source: windows of a source, at most; None: all.
        seed: the key.
        window: characters. Longer documents are stripped and cut at its multiples; others are taken as they are.

    Raises:
        PresightError: there is no text.
    """
    for field, value in (("per_source", per_source), ("window", window)):
        if value is not None and value < 1:
            raise PresightError(field, f"{value} is too few", "give 1 or more")
    place = Path(documents).expanduser()
    drawn: dict[str, _Smallest] = {}
    track = Track(None, "drawing windows")
    for source, name, text in _documents(place):
        held = drawn.setdefault(source, _Smallest(per_source))
        for start, end in bounds(text, window):
            piece = text[start:end].encode("utf-8", "replace").decode()  # half a surrogate pair cannot be sent
            digest = identify(piece)
            key = int.from_bytes(hashlib.blake2b(f"{seed}/{digest}".encode(), digest_size=8).digest(), "big")
            if held.wants(key):
                held.take(key, Excerpt(digest, source, name, start, end, piece))
        track.advance()
    ranked = [drawn[source].ordered() for source in sorted(drawn)]
    found: dict[str, Excerpt] = {}
    for excerpt in (each for rank in zip_longest(*ranked) for each in rank if each):
        found.setdefault(excerpt.id, excerpt)
    if not found:
        raise PresightError(str(place), "holds no text", "give documents")
    return list(found.values())


def bounds(text: str, window: int) -> Iterator[tuple[int, int]]:
    """Where the windows of a text lie; of a short text all of it."""
    if len(text) <= window:
        if text.strip():
            yield 0, len(text)
        return
    stop = len(text.rstrip())
    first = len(text) - len(text.lstrip())
    for start in range(first, stop, window):
        end = min(start + window, stop)
        if start == first or end - start >= window * LEAST:
            yield start, end


class _Smallest:
    """The excerpts with the smallest keys; of one key the first."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._heap: list[tuple[int, Excerpt]] = []  # the largest key on top
        self._keys: set[int] = set()

    def wants(self, key: int) -> bool:
        return key not in self._keys and (
            self.limit is None or len(self._heap) < self.limit or key < -self._heap[0][0]
        )

    def take(self, key: int, excerpt: Excerpt) -> None:
        heapq.heappush(self._heap, (-key, excerpt))
        self._keys.add(key)
        if self.limit is not None and len(self._heap) > self.limit:
            self._keys.discard(-heapq.heappop(self._heap)[0])

    def ordered(self) -> list[Excerpt]:
        return [excerpt for _, excerpt in sorted(self._heap, reverse=True)]


def _documents(place: Path) -> Iterator[tuple[str, str, str]]:
    """Source, id and text of every document."""
    from corpus.documents import INDEX, read_source
    from corpus.sources.records import Ledger, read

    if (place / INDEX).exists():
        for source in sorted(json.loads((place / INDEX).read_text())["sources"]):
            for document in read_source(place / source):
                yield source, document.id, document.text
        return
    for row in read(place, Ledger(str(place)), metadata_keys=("source",)):
        yield str(row["metadata"].get("source") or place.name.split(".")[0]), row["id"], row["text"]
