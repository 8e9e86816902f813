"""Rows of a benchmark's files as they lie in a folder: parquet, lines of JSON, or Arrow as ``datasets`` saves it."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from presight.errors import PresightError

TABLES = (".parquet", ".jsonl", ".arrow")
BATCH = 32  # rows held at once: a picture each
FOLDERS = ("", "images", "image")  # where a table's pictures may lie, below its own folder


def tables(folder: Path, patterns: Sequence[str], split: str) -> list[Path]:
    """The tables of a split.

    They are sought under the repository's own names first; then, for a folder of another make, in a folder named as
    the split, by names that begin with it, and last by any name, where the folder holds one split.

    Raises:
        PresightError: there are none.
    """
    named = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.suffix in TABLES})
    if named:
        return named
    every = sorted(path for path in folder.rglob("*") if path.suffix in TABLES and not path.name.startswith("cache-"))
    within = [path for path in every if split in path.relative_to(folder).parts[:-1]]
    begun = [path for path in every if path.name.startswith((f"{split}-", f"{split}_", f"{split}."))]
    found = within or begun or every
    if not found:
        mend = f"give a folder with {', '.join(patterns)}, or one with {', '.join(TABLES)}"
        raise PresightError(str(folder), f"holds no table of {split}", mend)
    return found


def rows(paths: Sequence[Path], columns: Collection[str] | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The rows of tables in order, each with the table that it is in.

    Args:
        paths: of the tables.
        columns: that are wanted, so far as a table has them; none named: all.

    Raises:
        PresightError: a table cannot be read.
    """
    readers = {".parquet": _parquet, ".arrow": _arrow, ".jsonl": _lines}
    for path in paths:
        try:
            for row in readers[path.suffix](path, columns):
                yield path, row
        except (OSError, ValueError, UnicodeDecodeError) as error:  # pyarrow's own errors are of these
            raise PresightError(str(path), f"cannot be read ({error})", "fetch it again") from error


def _parquet(path: Path, columns: Collection[str] | None) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        there = [name for name in file.schema_arrow.names if columns is None or name in columns]
        for batch in file.iter_batches(batch_size=BATCH, columns=there):
            yield from batch.to_pylist()


def _arrow(path: Path, columns: Collection[str] | None) -> Iterator[dict[str, Any]]:
    """A stream, as ``save_to_disk`` writes, or a file, as others do."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as mapped:
        magic = mapped.read(6)
        mapped.seek(0)
        if magic == b"ARROW1":
            reader = pyarrow.ipc.open_file(mapped)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            batches = iter(pyarrow.ipc.open_stream(mapped))
        for batch in batches:
            there = [name for name in batch.schema.names if columns is None or name in columns]
            for start in range(0, batch.num_rows, BATCH):
                yield from batch.select(there).slice(start, BATCH).to_pylist()


def _lines(path: Path, columns: Collection[str] | None) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:  # by bytes: U+2028 within a text ends no line
        for number, line in enumerate(lines, 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no object")
                yield row if columns is None else {key: value for key, value in row.items() if key in columns}


def contents(value: Any, table: Path, folder: Path) -> list[bytes]:
    """The encoded pictures that a value holds: bytes, ``{bytes, path}``, a path, a list of these, or nothing.

    A path is followed from the table's folder, and not out of `folder`.

    Raises:
        ValueError: there is no such picture.
    """
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, list | tuple):
        return [content for each in value for content in contents(each, table, folder)]
    if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
        if value.get("bytes"):
            return [value["bytes"]]
        return contents(value.get("path"), table, folder)
    if isinstance(value, str):
        root = os.path.abspath(folder)  # as it is written: files of the hub are links out of their snapshot
        for between in FOLDERS:
            path = Path(os.path.normpath(os.path.join(os.path.abspath(table.parent), between, value)))
            if path.is_relative_to(root) and path.is_file():
                return [path.read_bytes()]
        raise ValueError(f"its picture {value!r} is not here")
    raise ValueError(f"its picture is a {type(value).__name__}")


def suffix_of(content: bytes) -> str:
    """What a picture's file is called, by its first bytes."""
    known = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"GIF8": "gif", b"BM": "bmp", b"RIFF": "webp"}
    return next((suffix for magic, suffix in known.items() if content.startswith(magic)), "img")
