"""Evaluation sets as an index of n-grams, so that what is trained on can be kept apart from what is measured on."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from presight import index
from presight.console import Track
from presight.errors import PresightError, nearest
from presight.stage import FrozenMap, Stage

BENCHMARK = "benchmark.json"
SHOWN = 20  # templates listed
# Arrow's own are among them
UNREADABLE = (OSError, EOFError, zlib.error, ValueError, LookupError, NotImplementedError, RecursionError)
Spans = list[tuple[int, list[str]]]  # (field, normalised words)


class Benchmark(Stage):
    """N-grams of questions, of answers, and of each question followed by each of its answers.

    A text of ``minimum`` to ``n - 1`` words is looked for as a whole; a shorter one proves nothing and is counted. An
    n-gram of more than ``template`` items of one set is the set's own wording, no item's: it is left out and counted.

    Writes ``ngrams-<words>.npy`` (``hash``, ``item``, ``field``; sorted by hash), ``items.jsonl`` and
    ``benchmark.json``.
    """

    kind = "benchmark"
    version = "2"

    paths: FrozenMap[str, str] = Field(exclude=True, description="name of the set: file or folder")
    questions: tuple[str, ...] = Field(("question",), min_length=1, description="keys of what is asked")
    answers: tuple[str, ...] = Field(("answer", "choices"), description="keys of answers and options, listed or not")
    item: str = Field("id", description="key of an item's name; else its number")
    n: int = Field(12, ge=4, le=64, description="words of an n-gram")
    minimum: int = Field(8, ge=4, description="words of a text that is looked for as a whole, at least")
    template: int = Field(10, ge=1, description="items that may share an n-gram")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digest of each set; filled in")

    formats: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".txt")

    def settle(self, fetch: bool) -> Stage:
        """Index the files."""
        if self.content:
            return self
        if not self.paths:
            raise PresightError("paths", "names no evaluation set", "write name: file or folder")
        found = {name: index.content(Path(place).expanduser()) for name, place in self.paths.items()}
        return self.changed(content=FrozenMap(found))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Read every set and write the index.

        Raises:
            PresightError: a set changed since it was planned, cannot be read, or has nothing to look for.
        """
        fields = list(dict.fromkeys([*self.questions, *self.answers, *self._joined()]))
        described: dict[str, Any] = {}
        grams: dict[int, list[np.ndarray]] = {}
        with (out / "items.jsonl").open("w", encoding="utf-8") as items:
            before = 0
            for name, place in sorted(self.paths.items()):
                path = Path(place).expanduser()
                if index.content(path) != self.content.get(name):
                    raise PresightError(f"paths.{name}", "its files changed since it was planned", "run again")
                names, found, described[name] = self._read(name, path, fields)
                items.writelines(json.dumps({"benchmark": name, "item": item}) + "\n" for item in names)
                for length, each in found.items():
                    each["item"] += before
                    grams.setdefault(length, []).append(each)
                before += len(names)
        for length, parts in sorted(grams.items()):
            merged = np.concatenate(parts)
            merged = merged[np.argsort(merged["hash"], kind="stable")]
            np.save(out / f"ngrams-{length}.npy", merged[_first(merged["hash"])])
        words = {"n": self.n, "minimum": self.minimum, "template": self.template}
        (out / BENCHMARK).write_text(json.dumps({**words, "fields": fields, "benchmarks": described}, indent=1))
        shown = ("items", "ngrams", "uncovered", "templates")
        (out / "counts.json").write_text(
            json.dumps({name: {key: each[key] for key in shown} for name, each in described.items()})
        )

    def _read(
        self, name: str, path: Path, fields: list[str]
    ) -> tuple[list[str], dict[int, np.ndarray], dict[str, Any]]:
        """Names of a set's items, its n-grams by length, and what there is to say of it."""
        from corpus.clean.leaks import GRAM
        from corpus.clean.runs import Hasher, runs

        hasher, track = Hasher(), Track(None, f"indexing {name}")
        names: list[str] = []
        short: Counter[str] = Counter()
        uncovered = 0
        found: dict[int, list[np.ndarray]] = {}
        for number, (item, spans) in enumerate(self._items(name, path, fields)):
            names.append(item)
            long = [(field, words) for field, words in spans if len(words) >= self.minimum]
            short.update(fields[field] for field, words in spans if len(words) < self.minimum)
            uncovered += not long
            for field, words in long:
                length = min(len(words), self.n)
                *_, (_, hashes) = runs(hasher.words(words), length)
                rows = np.zeros(len(hashes), GRAM)
                rows["hash"], rows["item"], rows["field"] = hashes, number, field
                found.setdefault(length, []).append(rows)
            track.advance()
        if not found:
            raise PresightError(
                f"paths.{name}", f"no text in it has {self.minimum} words", "lower minimum or check the keys"
            )
        kept: dict[int, np.ndarray] = {}
        templates: list[tuple[int, int, int, int]] = []  # (items, length, hash, an item that has it)
        for length, parts in sorted(found.items()):
            rows = np.concatenate(parts)
            rows = rows[np.lexsort((rows["field"], rows["item"], rows["hash"]))]
            rows = rows[_first(rows["hash"]) | _first(rows["item"])]  # once an item
            first = np.flatnonzero(_first(rows["hash"]))
            shared = np.diff(first, append=len(rows))
            kept[length] = rows[first[shared <= self.template]]
            common = shared > self.template
            templates += [
                (int(count), length, int(row["hash"]), int(row["item"]))
                for count, row in zip(shared[common], rows[first[common]], strict=True)
            ]
        if not any(map(len, kept.values())):
            problem = f"every n-gram in it stands in more than {self.template} items"
            raise PresightError(f"paths.{name}", problem, "raise template, or see that no item is there twice")
        described = {
            "items": len(names),
            "ngrams": sum(map(len, kept.values())),
            "short": dict(sorted(short.items())),
            "uncovered": uncovered,
            "templates": len(templates),
            "commonest": self._spell(sorted(templates, reverse=True)[:SHOWN], name, path, fields),
        }
        return names, kept, described

    def _items(self, name: str, path: Path, fields: list[str]) -> Iterator[tuple[str, Spans]]:
        """Name and texts of each item."""
        number = {field: position for position, field in enumerate(fields)}
        known: set[str] = set()
        empty = True
        for count, row in enumerate(_rows(path, {*self.questions, *self.answers, self.item})):
            if isinstance(row, str):
                row = {self.questions[0]: row}  # of a list of texts
            known.update(row)
            asked, told = ([*_words(row, keys)] for keys in (self.questions, self.answers))
            spans = [(number[key], words) for key, words in (*asked, *told)]
            # of a question and its answer those n-grams that have words of both: the others are there already
            ends = [(key, words[1 - self.n :]) for key, words in asked]
            starts = [(key, words[: self.n - 1]) for key, words in told]
            spans += [(number[f"{q}+{a}"], end + start) for q, end in ends for a, start in starts]
            empty = empty and not spans
            yield str(row.get(self.item, count)).encode("utf-8", "replace").decode(), spans
        if empty:
            keys = ", ".join((*self.questions, *self.answers))
            raise PresightError(f"paths.{name}", f"no item has text under {keys}", nearest(self.questions[0], known))

    def _joined(self) -> list[str]:
        return [f"{question}+{answer}" for question in self.questions for answer in self.answers]

    def _spell(
        self, templates: list[tuple[int, int, int, int]], name: str, path: Path, fields: list[str]
    ) -> list[dict[str, Any]]:
        """The words of templates, found again in an item that has them."""
        from corpus.clean.runs import Hasher, runs

        hasher, words_of = Hasher(), {}
        items = {item for *_, item in templates}
        for number, (_, spans) in enumerate(self._items(name, path, fields) if items else ()):
            for _, words in spans if number in items else ():
                for length, hashes in runs(hasher.words(words), self.n):
                    for start, value in enumerate(hashes.tolist()):
                        words_of[length, value] = " ".join(words[start : start + length])
        return [{"ngram": words_of[length, value], "items": count} for count, length, value, _ in templates]


def _first(values: np.ndarray) -> np.ndarray:
    """Where a sorted array's values differ from the one before."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]


def _words(row: Mapping[str, Any], keys: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Key and normalised words of each text of an item under some keys."""
    from corpus.clean.leaks import normalised

    for key in keys:
        for text in _texts(row.get(key)):
            if words := normalised(text):
                yield key, words


def _texts(value: Any) -> Iterator[str]:
    """The strings in a value: itself, or those of a list or mapping, however deep."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict | list | tuple):
            waiting += reversed(part.values() if isinstance(part, dict) else part)


def _rows(path: Path, keys: set[str]) -> Iterator[Any]:
    """The items of a file or folder in order: mappings, or lines of a list of texts.

    Raises:
        PresightError: nothing there can be read as items, or a file is damaged.
    """
    files = [file for file in index.files(path) if file.name.endswith(Benchmark.formats)]
    if not files:
        raise PresightError(str(path), "holds no items", f"give files ending in {', '.join(Benchmark.formats)}")
    for file in files:
        try:
            for row in _read(file, keys):
                if not isinstance(row, dict | str):
                    raise ValueError("an item is no JSON object")
                yield row
        except UNREADABLE as error:
            problem = " ".join(str(error).split())
            raise PresightError(str(file), f"cannot be read ({problem})", "mend it or take it away") from error


def _read(file: Path, keys: set[str]) -> Iterator[Any]:
    if file.suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

        table = ParquetFile(file)
        columns = [name for name in table.schema_arrow.names if name in keys]  # images need not be read
        if not columns:
            raise ValueError(f"its columns are {', '.join(table.schema_arrow.names)}, not {', '.join(sorted(keys))}")
        for batch in table.iter_batches(1000, columns=columns):
            yield from batch.to_pylist()
    elif file.suffix == ".json":
        loaded = json.loads(file.read_text(encoding="utf-8-sig"))
        yield from loaded if isinstance(loaded, list) else [loaded]
    else:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8-sig", newline="\n") as lines:
            for line in lines:
                if line.strip():
                    yield line if file.suffix == ".txt" else json.loads(line)
