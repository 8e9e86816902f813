"""The content of a folder or file as one digest: names, sizes and bytes, never where it lies."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from presight.console import progress
from presight.errors import PresightError
from presight.packages.cache import cache_root


def files(path: Path) -> list[Path]:
    """The files under a path, in order of their relative names; hidden ones are left out."""
    if path.is_file():
        return [path]
    found = [each for each in path.rglob("*") if each.is_file()]
    return sorted(each for each in found if not any(part.startswith(".") for part in each.relative_to(path).parts))


def content(path: Path) -> str:
    """Digest of relative names, sizes and bytes; a file whose size and time are unchanged is not read again.

    Raises:
        PresightError: nothing is there.
    """
    found = files(path) if path.exists() else []
    if not found:
        raise PresightError(str(path), "holds no files", "give a file or a folder with files in it")
    known_file = cache_root() / "index.json"
    known = _known(known_file)
    total = hashlib.sha256()
    changed = False
    for file in progress(found, f"indexing {path.name}"):
        status = file.stat()
        key = str(file.resolve())
        entry = [status.st_size, status.st_mtime_ns]
        if known.get(key, [])[:2] != entry:
            with file.open("rb") as opened:
                known[key] = [*entry, hashlib.file_digest(opened, "sha256").hexdigest()]
            changed = True
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        total.update(f"{name}\0{status.st_size}\0{known[key][2]}\n".encode())
    if changed:
        known_file.parent.mkdir(parents=True, exist_ok=True)
        temporary = known_file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known))
        temporary.replace(known_file)
    return total.hexdigest()


def _known(path: Path) -> dict[str, list[int | str]]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}
