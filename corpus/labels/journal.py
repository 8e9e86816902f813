"""An append-only record that survives kills: a JSON object a line, the first of which says what the others answer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from presight.errors import EXIT_DATA, PresightError

SYNC_SECONDS = 1.0  # what a power failure may cost; a killed process loses nothing that was appended


class Journal:
    """Entries of a file, kept in memory by their ``id``.

    Args:
        path: the file; made if absent. A last line that a kill cut short is taken away.
        header: what determines the entries; a file with another header is refused.

    Raises:
        PresightError: another header, or a line that is damaged.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.entries: dict[str, list[dict[str, Any]]] = {}
        lines, whole = _lines(path)
        if lines:
            self._check(lines[0], header)
        for entry in lines[1:]:
            self.entries.setdefault(entry["id"], []).append(entry)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._file, whole)
        self._synced = time.monotonic()
        if not lines:
            self._write(header)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def append(self, entry: dict[str, Any]) -> None:
        """Write an entry: once this returns, no kill of the process loses it."""
        self._write(entry)
        self.entries.setdefault(entry["id"], []).append(entry)

    def _write(self, value: Mapping[str, Any]) -> None:
        line = memoryview((json.dumps(value) + "\n").encode())
        try:
            while line:
                line = line[os.write(self._file, line) :]
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise PresightError(str(self.path), f"cannot be written ({error.strerror})", "run again") from error

    def _check(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(wanted))
        for key in sorted(wanted.keys() | found.keys()):
            if found.get(key) != wanted.get(key):
                problem = f"holds answers to another {key}: {found.get(key)!r}, not {wanted.get(key)!r}"
                raise PresightError(str(self.path), problem, "write to another folder, or ask as before")


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a file, and how many bytes they take."""
    found: list[dict[str, Any]] = []
    whole = 0
    if not path.exists():
        return found, whole
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict) or (number > 1 and not isinstance(entry.get("id"), str)):
                raise PresightError(f"{path}, line {number}", "is damaged", "take the line away", EXIT_DATA)
            found.append(entry)
            whole += len(line)
    return found, whole
