"""Readers of users' files: every record becomes a document or is counted, none is lost in silence.

datatrove's JSON and parquet readers skip what they cannot read with a warning and count nothing, and the one method
that could be overridden is all that they do: lines and rows are therefore read here. Web archives go through
datatrove's ``process_record`` and its Trafilatura extractor.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from presight import index
from presight.console import say
from presight.errors import PresightError

FORMATS = (
    *(".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt", ".md"),
    *(".warc", ".warc.gz", ".wet", ".wet.gz"),
)
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
EXAMPLES = 5  # malformed records named by their place
HOPELESS = 1000  # records after which a source that has not given one text is given up
LONGEST = 1_000_000  # characters: a longer text file is several documents, so that memory stays flat
BATCH = 256  # rows of a parquet file held at once
UNREADABLE = re.compile("[\udc80-\udcff]+")  # bytes that are no UTF-8, as `surrogateescape` shows them


class Ledger:
    """What became of a source's records.

    Args:
        field: what an error names, ``paths.web``.
        tolerance: share of the records that may be malformed.
    """

    def __init__(self, field: str, tolerance: float = 0.0) -> None:
        self.field, self.tolerance = field, tolerance
        self.records = self.repaired = self.passed_over = 0
        self.kinds: Counter[str] = Counter()
        self.examples: list[str] = []

    def malformed(self, kind: str, place: str) -> None:
        """Count a record that cannot be read.

        Raises:
            PresightError: no record so far could be: a wrong ``text_key`` need not cost hours.
        """
        self.kinds[kind] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(place)
        if self.kinds.total() == self.records >= HOPELESS and self.tolerance < 1:
            self.close()

    def text(self, row: Mapping[str, Any], key: str, place: str) -> str | None:
        """The text of a record; None, and counted, where it has none."""
        found = row.get(key)
        if isinstance(found, str):
            return found
        self.malformed("no text" if found is None else "text is no string", place)
        return None

    def document(
        self, row: Mapping[str, Any], key: str, place: str, name: str, number: int, metadata_keys: Sequence[str]
    ) -> dict[str, Any] | None:
        """A record as a document (see ``document``); None, and counted, where it can be none."""
        if (text := self.text(row, key, place)) is not None:
            try:
                return document(row, text, name, number, metadata_keys)
            except RecursionError:
                self.malformed("nested too deep", place)
        return None

    def close(self) -> None:
        """Say what was left out.

        Raises:
            PresightError: more than is tolerated.
        """
        count = self.kinds.total()
        if not count:
            return
        share = count / self.records
        kinds = ", ".join(f"{kind}: {number:,}" for kind, number in sorted(self.kinds.items()))
        found = (
            f"{count:,} of {self.records:,} records {'is' if count == 1 else 'are'} malformed ({share:.2%}; {kinds})"
        )
        if share > self.tolerance:
            key = "check text_key, " if "no text" in self.kinds else ""
            mend = f"{key}mend them or set tolerance: {math.ceil(share * 1e4) / 1e4:g}"
            raise PresightError(self.field, f"{found}, first {self.examples[0]}", mend)
        say(f"{self.field}: {found} and left out, first {self.examples[0]}")

    def counts(self) -> dict[str, Any]:
        """For ``documents.json``: only what there is to say."""
        found: dict[str, Any] = {}
        if self.kinds:
            kinds = dict(sorted(self.kinds.items()))
            found["malformed"] = {"count": self.kinds.total(), "kinds": kinds, "examples": self.examples}
        for name in ("repaired", "passed_over"):
            if number := getattr(self, name):
                found[name] = number
        return found


def read(
    place: Path, ledger: Ledger, text_key: str = "text", metadata_keys: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Documents (``id``, ``text``, ``metadata``) of a file or folder in order of file and position.

    Raises:
        PresightError: nothing there is text, a file is damaged, or too many records are malformed.
    """
    files = index.files(place)
    known = [file for file in files if file.name.endswith(FORMATS)]
    if not known:
        raise PresightError(str(place), "holds no text", f"give files ending in {', '.join(FORMATS)}")
    if others := [file.name for file in files if not file.name.endswith(FORMATS)]:
        count = f"{len(others)} of its {len(files)} files"
        say(f"{ledger.field}: {count} have another format and are not read, such as {others[0]}")
    for file in known:
        name = file.name if place.is_file() else file.relative_to(place).as_posix()
        try:
            if file.suffix in (".txt", ".md"):
                yield from _texts(file, name, ledger)
            elif file.suffix == ".parquet":
                yield from _rows(file, name, ledger, text_key, metadata_keys)
            elif ".jsonl" in file.suffixes[-2:]:
                yield from _lines(file, name, ledger, text_key, metadata_keys)
            else:
                yield from _pages(file, name, ledger, metadata_keys)
        except (OSError, EOFError, ValueError, LookupError, NotImplementedError) as error:  # Arrow's are among them
            problem = " ".join(str(error).split())
            raise PresightError(str(file), f"cannot be read ({problem})", "mend it or take it away") from error
    ledger.close()


def document(
    row: Mapping[str, Any], text: str, name: str, number: int, metadata_keys: Sequence[str]
) -> dict[str, Any]:
    """A record as a document; ``number`` stands in for an id."""
    known = row.get("id")
    metadata = {key: plain(row[key]) for key in metadata_keys if key in row}
    return {"id": f"{name}/{number if known is None else known}", "text": text, "metadata": metadata}


def plain(value: Any) -> Any:
    """The value as any reader of JSON takes it: NaN and infinities are null, what else has no such form is text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, str)) or (isinstance(value, int) and -(2**63) <= value < 2**64):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def _opened(file: Path) -> BinaryIO:
    # unlike fsspec's, Arrow's streams read every member of a file and refuse a truncated one, zstd included
    import pyarrow

    stream = pyarrow.input_stream(str(file), compression=COMPRESSIONS.get(file.suffix))
    return io.BufferedReader(stream, 1 << 20)


def _lines(
    file: Path, name: str, ledger: Ledger, text_key: str, metadata_keys: Sequence[str]
) -> Iterator[dict[str, Any]]:
    before = 0
    with _opened(file) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            ledger.records += 1
            place, before = f"{name}:{number}", before + 1
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                ledger.malformed("not UTF-8", place)
                continue
            except (ValueError, RecursionError):
                ledger.malformed("not JSON", place)
                continue
            if not isinstance(row, dict):
                ledger.malformed("no JSON object", place)
            elif found := ledger.document(row, text_key, place, name, before - 1, metadata_keys):
                yield found


def _rows(
    file: Path, name: str, ledger: Ledger, text_key: str, metadata_keys: Sequence[str]
) -> Iterator[dict[str, Any]]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        wanted = {text_key, "id", *metadata_keys}.intersection(table.schema_arrow.names)
        if text_key not in wanted:
            columns = ", ".join(table.schema_arrow.names[:8])
            raise PresightError(str(file), f"has no column {text_key!r}", f"set text_key to one of {columns}")
        number = 0
        for batch in table.iter_batches(BATCH, columns=sorted(wanted)):
            for position in range(batch.num_rows):
                number += 1
                ledger.records += 1
                place = f"{name}:{number}"
                try:
                    row = {key: batch.column(key)[position].as_py() for key in batch.schema.names}
                except UnicodeDecodeError:
                    ledger.malformed("not UTF-8", place)
                    continue
                except (ValueError, OverflowError):  # such as a date beyond those of Python
                    ledger.malformed("value out of range", place)
                    continue
                if found := ledger.document(row, text_key, place, name, number - 1, metadata_keys):
                    yield found


def _texts(file: Path, name: str, ledger: Ledger) -> Iterator[dict[str, Any]]:
    start = 0
    with file.open(encoding="utf-8", errors="surrogateescape") as opened:
        while piece := opened.read(LONGEST):
            piece += opened.readline(LONGEST)  # to the end of the line
            ledger.records += 1
            text, replaced = UNREADABLE.subn("\ufffd", piece)
            ledger.repaired += bool(replaced)
            yield {"id": f"{name}@{start}" if start else name, "text": text, "metadata": {}}
            start += len(piece)


def _pages(file: Path, name: str, ledger: Ledger, metadata_keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    try:
        import magic  # noqa: F401 — it looks for a library of the system, which may be missing
        from datatrove.pipeline.readers.warc import process_record
    except ImportError as error:
        raise PresightError(
            str(file), f"needs libmagic ({error})", "install libmagic1 (Debian) or libmagic"
        ) from error
    extract = None
    with _opened(file) as archive:
        try:
            for number, record in enumerate(ArchiveIterator(archive), 1):
                if record.rec_type not in ("response", "conversion"):
                    continue
                place = f"{name}:{number}"
                try:
                    found = process_record(record)
                except KeyError:
                    ledger.records += 1
                    ledger.malformed("incomplete header", place)
                    continue
                record.raw_stream.read()
                if record.raw_stream.limit:
                    raise ValueError(f"record {number} is cut off")
                if found is None and not _textual(record):
                    ledger.passed_over += 1
                    continue
                ledger.records += 1
                if found is None:
                    ledger.malformed("not decodable", place)
                    continue
                text = found["text"]
                if record.rec_type == "response":
                    extract = extract or _extractor(file)
                    try:
                        text = extract(text) or ""
                    except Exception:  # of any parser under it: one page must not stop the rest
                        ledger.malformed("not extractable", place)
                        continue
                yield document(found, text, name, number, metadata_keys)
        except ArchiveLoadFailed as error:
            raise ValueError(error) from error


def _textual(record: Any) -> bool:
    """Whether a record declares what `process_record` takes for text."""
    identified = record.rec_headers.get_header("WARC-Identified-Payload-Type")
    headers = record.http_headers or record.rec_headers
    kind = identified or headers.get_header("Content-Type", "")
    return "html" in kind or (record.rec_type == "conversion" and "text/plain" in kind)


def _extractor(file: Path) -> Any:
    # called directly: datatrove's time limit would make the text depend on the machine's load
    try:
        import trafilatura  # noqa: F401
        from datatrove.pipeline.extractors import Trafilatura
    except ImportError as error:
        raise PresightError(
            str(file), "holds web pages, whose text trafilatura extracts", "pip install 'presight[html]'"
        ) from error
    return Trafilatura(deduplicate=False).extract
