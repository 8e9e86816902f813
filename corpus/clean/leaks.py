"""Leaks of evaluation sets: n-grams of normalised words, hashed, and the documents that hold one of them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import regex
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from corpus.clean.runs import Hasher, runs
from corpus.clean.words import UNSPACED
from presight.errors import PresightError

GRAM = np.dtype([("hash", "<u8"), ("item", "<u4"), ("field", "<u2")])  # a file `ngrams-<words>.npy` of an index
SPELLED = str.maketrans({code: " " for code in range(128) if not chr(code).isalnum()})
MARKS = regex.compile(r"[\p{Mn}\p{Cf}]+")  # accents; soft hyphens, joiners and other marks that are not seen
WORD = regex.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+")
CANARY = regex.compile(r"(?i)canary\s+guid\s+([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
CANARIES = "canary"  # stands for the name of the set
BITS = 26  # of the table looked into first, at most: 64 MB


def normalised(text: str) -> list[str]:
    """The words of a text without what copies differ in: case, punctuation, white space, accents; numbers stay."""
    if text.isascii():  # four times as fast, and the same
        return text.lower().translate(SPELLED).split()
    found: list[str] = WORD.findall(MARKS.sub("", unicodedata.normalize("NFKD", text).casefold()))
    return found


@dataclass(frozen=True)
class Hit:
    """A run of words that a document shares with an item.

    Args:
        ngram: the words, normalised.
        benchmark: name of the evaluation set.
        item: the item in it.
        field: where in the item the words stand.
        matches: positions in the document at which a run of any item begins.
    """

    ngram: str
    benchmark: str
    item: str
    field: str
    matches: int


class LeakIndex:
    """The n-grams of one or more artifacts of kind ``benchmark``.

    Args:
        folders: the artifacts.
        allow: n-grams that are no leaks, as :class:`Hit` gives them.

    Raises:
        PresightError: something is allowed that no evaluation set has.
    """

    def __init__(self, folders: Iterable[Path] = (), allow: Iterable[str] = ()) -> None:
        self.hasher = Hasher()
        self.places: list[tuple[str, str]] = []  # (benchmark, item)
        self.fields: list[str] = []
        parts: dict[int, list[np.ndarray]] = {}
        for folder in folders:
            for path in sorted(folder.glob("ngrams-*.npy")):
                grams = np.load(path)
                grams["item"] += len(self.places)
                grams["field"] += len(self.fields)
                parts.setdefault(int(path.stem.partition("-")[2]), []).append(grams)
            self.fields += json.loads((folder / "benchmark.json").read_text())["fields"]
            with (folder / "items.jsonl").open(encoding="utf-8") as lines:
                self.places += [(row["benchmark"], row["item"]) for row in map(json.loads, lines)]
        allowed: dict[int, list[int]] = {}
        for ngram in allow:
            words = normalised(ngram)
            value = self.hasher.run(words) if words else 0
            if not any((part["hash"] == value).any() for part in parts.get(len(words), ())):
                raise PresightError(
                    "allow", f"{ngram!r} is no n-gram of the evaluation sets", "copy it from the report"
                )
            allowed.setdefault(len(words), []).append(value)
        self.tables = {n: Table(np.concatenate(parts[n]), allowed.get(n, ())) for n in sorted(parts)}

    def find(self, words: Sequence[str]) -> Hit | None:
        """The first run of words that an item has too, the longest of those that begin there; None: no leak.

        Args:
            words: of a document, normalised.
        """
        if not self.tables:
            return None
        best: tuple[int, int, np.void] | None = None
        starts: set[int] = set()
        for length, hashes in runs(self.hasher.words(words), max(self.tables)):
            if length in self.tables:
                positions, grams = self.tables[length].find(hashes)
                starts.update(positions.tolist())
                if len(positions) and (best is None or positions[0] <= best[0]):
                    best = int(positions[0]), length, grams[0]
        if best is None:
            return None
        start, length, gram = best
        benchmark, item = self.places[gram["item"]]
        ngram = " ".join(words[start : start + length])
        return Hit(ngram, benchmark, item, self.fields[gram["field"]], len(starts))


class Table:
    """N-grams of one length, sorted by hash; a table of bits on the leading digits turns nearly all others away."""

    def __init__(self, grams: np.ndarray, without: Sequence[int] = ()) -> None:
        grams = grams[np.argsort(grams["hash"], kind="stable")]
        hashes = grams["hash"].copy()
        first = np.append(True, hashes[1:] != hashes[:-1]) & ~np.isin(hashes, np.array(without, np.uint64))
        self.grams, self.hashes = grams[first], hashes[first]
        bits = min(BITS, max(1, len(hashes)).bit_length() + 4)
        self.shift = np.uint64(64 - bits)
        self.bits = np.zeros(1 << bits, bool)
        self.bits[self.hashes >> self.shift] = True

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of hashes that are here, and their entries."""
        maybe = np.flatnonzero(self.bits[hashes >> self.shift])
        place = np.searchsorted(self.hashes, hashes[maybe])
        place[place == len(self.hashes)] = 0
        here = self.hashes[place] == hashes[maybe] if len(self.hashes) else np.zeros(0, bool)
        return maybe[here], self.grams[place[here]]


def canary(text: str) -> str | None:
    """The identifier by which an evaluation set asks to be left out of training (BIG-bench and its followers)."""
    found = CANARY.search(text)
    return found[1].lower() if found else None


class Leaks(BaseFilter):
    """Drops documents that hold an n-gram of an evaluation set, or its canary; what was found is in ``metadata.leak``.

    Args:
        index: of the evaluation sets.
    """

    name = "Leaks"

    def __init__(self, index: LeakIndex) -> None:
        super().__init__()
        self.index = index

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether to keep the document, or the set that it leaks."""
        guid = canary(doc.text)
        hit = Hit(f"canary GUID {guid}", CANARIES, guid, "", 1) if guid else self.index.find(normalised(doc.text))
        if hit is None:
            return True
        doc.metadata["leak"] = asdict(hit)
        return False, hit.benchmark
