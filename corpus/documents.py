"""Documents in: real text from ordinary packages, or the user's own files, as one format."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from corpus.sources.records import Ledger, read
from presight import index
from presight.console import Track, say
from presight.errors import EXIT_DATA, PresightError, Unavailable, nearest
from presight.stage import Cost, FrozenMap, Stage

if TYPE_CHECKING:
    from datatrove.data import Document

INDEX = "documents.json"
DROPPED = "dropped"  # beside the sources: what a stage left out, without its text
LONGEST_NAME = 200  # bytes of a source's name: file systems take 255, and stages add to it
FILES = 4  # files a source: the unit that tokenising is cut by
REPEATS = 500_000  # documents whose hashes are held (100 bytes each, and as many again)
COMPRESSED = 0.4  # size of text on disk, as a share of its bytes
PIECE = 20_000  # characters: a novel is many documents, so that the held-out split can take some of each


class Sample(Stage):
    """Real text by category from packages that pip, apt and npm carry; what cannot be had is left out, and said.

    A source of the full tier may be made of several roles (``text.math``, ``text.math.manuals``, …); their packages
    take turns.
    """

    kind = "documents"
    version = "1"

    tier: Literal["small", "full"] = Field("small", description="how much there is to choose from")
    sources: tuple[str, ...] = Field((), description="some of the tier's sources; default all")
    megabytes: float = Field(4.0, gt=0, description="text of each source, at most")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digest of each role's package members; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn which packages can be had, and the digests of their members."""
        from presight import packages

        if self.content:
            return self
        known = packages.texts(self.tier)
        wanted = self.sources or tuple(known)
        for source in wanted:
            if source not in known:
                mend = "set tier: full" if source in packages.texts("full") else nearest(source, known)
                raise PresightError("sources", f"{source!r} is not in the sample", mend)
        roles = [role for source in wanted for role in known[source]]
        digests, missing = packages.digests(roles, fetch)
        for error in missing.values():
            say(f"left out of the sample: {error}")
        if not digests:
            error = next(iter(missing.values()))
            raise Unavailable(error.field, error.problem, error.mend)
        return self.changed(content=FrozenMap({role[5:]: digests[role] for role in sorted(digests)}))

    def estimate(self) -> Cost:
        """Bytes of text, at most."""
        text = int(self.megabytes * 1e6) * len(self._roles())
        return Cost(bytes=text, disk=int(COMPRESSED * text))

    def _roles(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for role in self.content:
            found.setdefault(role.partition(".")[0], []).append(role)
        return found

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Read each source's packages from the cache and write its documents."""
        from corpus.sources import sample
        from presight import packages

        licences = {}
        for source, roles in self._roles().items():
            fetched = [packages.fetch(f"text.{role}") for role in roles]
            for each in fetched:
                if each.digest != self.content[each.role[5:]]:
                    raise PresightError(each.role, "its package changed since it was planned", "run again")
            licences[source] = sorted({licence for each in fetched for licence in each.licences.values()})
            limit = int(self.megabytes * 1e6)
            rows = (
                {"id": f"{each.id}@{start}", "text": each.text[start : start + PIECE], "metadata": dict(each.metadata)}
                for each in sample.take(fetched, limit)
                for start in range(0, len(each.text), PIECE)
            )
            write_source(out, source, rows, limit)
        write_index(out, licences)


class Documents(Stage):
    """The user's own text: jsonl(.gz, .zst), parquet, web archives or plain text, a file or folder for each source.

    Its content enters the identity, its place does not; what is too big to hash may be declared as ``name@version``.
    Malformed records are left out, counted in ``documents.json`` and said; a damaged file is refused.
    """

    kind = "documents"
    version = "2"

    paths: FrozenMap[str, str] = Field(exclude=True, description="source: file or folder")
    declared: FrozenMap[str, str] = Field(FrozenMap(), description="source: name@version, taken at your word")
    text_key: str = Field("text", description="the key of a record's text")
    metadata_keys: tuple[str, ...] = Field((), description="keys of a record that are kept as metadata")
    megabytes: float | None = Field(None, gt=0, description="text of each source, at most; None: all of it")
    tolerance: float = Field(0.01, ge=0, le=1, description="share of a source's records that may be malformed")
    files: int = Field(FILES, ge=1, le=1000, description="files a source is cut into: the unit of parallel work")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digest of each source; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Index the files; declared sources are not read."""
        if self.content:
            return self
        if not self.paths:
            raise PresightError("paths", "names no source", "write source: file or folder")
        found = {}
        for source, place in self.paths.items():
            check_name(f"paths.{source}", source)
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
            ledger = Ledger(f"paths.{source}", self.tolerance)
            rows = read(path, ledger, self.text_key, self.metadata_keys)
            write_source(out, source, capped(rows, ledger, self.megabytes), None, self.files, ledger)
        write_index(out, {}, self.files)


def check_name(field: str, source: str) -> None:
    """Refuse a source's name that its folder could not have, or that names something else in an artifact."""
    taken = source in ("log", DROPPED) or source.startswith(".") or source.endswith(".json")
    # what cannot be printed comes first: half a surrogate pair has no bytes
    if not source or not source.isprintable() or "/" in source or taken or len(source.encode()) > LONGEST_NAME:
        raise PresightError(field, "is no name for a source's folder", "call it otherwise")


def capped(rows: Iterator[dict[str, Any]], ledger: Ledger, megabytes: float | None) -> Iterator[dict[str, Any]]:
    """The rows until their text has so many megabytes; then the ledger is closed over what was read."""
    left = megabytes * 1e6 if megabytes else math.inf
    for row in rows:
        yield row
        left -= len(row["text"].encode("utf-8", "replace"))
        if left <= 0:
            ledger.close()
            return


def part(folder: Path, sources: Iterable[str], number: int, parts: int) -> Iterator[tuple[str, Path]]:
    """Source and path of the files of one part: every ``parts``-th file of every source, in order of name."""
    for source in sorted(sources):
        for path in sorted((folder / source).glob("*.jsonl.gz"))[number::parts]:
            yield source, path


def read_source(folder: Path, number: int = 0, parts: int = 1) -> Iterator[Document]:
    """Documents of a written source as datatrove's: of every ``parts``-th file, in order.

    datatrove's own reader passes over lines that it cannot read with a warning.
    """
    from datatrove.data import Document

    for _, path in part(folder.parent, [folder.name], number, parts):
        for line in read_lines(path):
            row = json.loads(line)
            yield Document(text=row["text"], id=row["id"], metadata=row.get("metadata", {}))


def read_lines(path: Path) -> Iterator[bytes]:
    """Lines of a packed file, with their ends.

    Raises:
        PresightError: it is damaged (exit code 87).
    """
    try:
        with gzip.open(path) as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        mend = "restore it, or delete its artifact and run again"
        raise PresightError(str(path), f"cannot be read ({error})", mend, EXIT_DATA) from error


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines into a packed file; the same lines, the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=3, fileobj=raw, mtime=0) as file:
        file.writelines(lines)


def write_source(
    out: Path,
    source: str,
    rows: Iterable[dict[str, Any]],
    size: int | None,
    files: int = FILES,
    ledger: Ledger | None = None,
) -> None:
    """Write a source's documents round-robin into ``out/<source>/0000k.jsonl.gz``; near exact repeats are dropped.

    The files' bytes depend on the documents alone (no time stamp in the gzip header). So that memory stays flat, a
    repeat is known for one only among the last ``REPEATS`` different documents, at least; to find all of them is the
    work of a stage of its own. The ledger's counts are taken along.
    """
    check_name(f"source {source}", source)
    folder = out / source
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[bytes] = set()
    before: set[bytes] = set()
    counts = {"documents": 0, "bytes": 0, "repeats": 0, "empty": 0}
    track = Track(size, f"reading {source}")
    raw = [(folder / f"{number:05d}.jsonl.gz").open("wb") for number in range(files)]
    packed = [gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=file, mtime=0) for file in raw]
    texts = [io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n") for file in packed]
    try:
        for row in rows:
            text = row["text"]
            key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()
            if not text.strip():
                counts["empty"] += 1
            elif key in seen or key in before:
                counts["repeats"] += 1
            else:
                if len(seen) == REPEATS:
                    seen, before = set(), seen
                seen.add(key)
                texts[counts["documents"] % files].write(json.dumps(row, ensure_ascii=False) + "\n")
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
    found = counts | (ledger.counts() if ledger else {})
    (folder / "counts.json").write_text(json.dumps(found))


def write_index(out: Path, licences: Mapping[str, list[str]], files: int = FILES) -> None:
    """Write ``documents.json``: what each source holds, and under which licences."""
    sources = {
        folder.name: json.loads((folder / "counts.json").read_text())
        for folder in sorted(out.iterdir())
        if folder.is_dir() and folder.name not in ("log", DROPPED)
    }
    (out / INDEX).write_text(json.dumps({"files": files, "sources": sources}, indent=1))
    (out / "counts.json").write_text(json.dumps({name: counts["bytes"] for name, counts in sources.items()}))
    (out / "licences.json").write_text(json.dumps(sorted({each for names in licences.values() for each in names})))
