"""The code that jobs run: a copy made when they are submitted, so that editing goes on while they wait."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from presight import card as cards
from presight.errors import PresightError

FOLDER = ".code"  # in the store
PACKAGES = ("presight", "corpus", "pretrain", "adapt", "eval", "slurm")
ABOUT, DIFF = "CODE.json", "diff.patch"


def freeze(store: Path, packages: Iterable[str] = (), write: bool = True) -> Path:
    """Copy the packages that jobs import into ``store/.code/<digest>/``; a copy that is there already is used.

    Args:
        store: folder of the store.
        packages: others than Presight's own that stages come from.
        write: False only says where the copy would be.

    Raises:
        PresightError: a package that is not found.
    """
    files = _files(dict.fromkeys((*PACKAGES, *packages)))
    total = hashlib.sha256()
    for name, path in files.items():
        total.update(f"{name}\0{cards.digest(path)}\n".encode())
    target = store.resolve() / FOLDER / total.hexdigest()[:16]
    if target.exists() or not write:
        return target
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    for name, path in files.items():
        copy = temporary / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    revision = cards.revision()
    (temporary / ABOUT).write_text(json.dumps({"version": cards.release(), **revision}, indent=1))
    if revision.get("diff"):
        (temporary / DIFF).write_bytes(_difference())
    try:
        temporary.rename(target)
    except OSError:  # another submission made the same copy meanwhile
        shutil.rmtree(temporary)
        if not target.exists():
            raise
    return target


def _files(packages: Iterable[str]) -> dict[str, Path]:
    """Files of the packages by their name within the copy, in order."""
    found: dict[str, Path] = {}
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.origin:
            raise PresightError(f"package {package}", "is not to be found", "install it, or run where it is")
        origin = Path(spec.origin)
        if not spec.submodule_search_locations:
            found[origin.name] = origin
            continue
        for path in sorted(origin.parent.rglob("*")):
            name = path.relative_to(origin.parent)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
            if path.is_file() and not hidden:
                found[f"{package}/{name.as_posix()}"] = path
    return found


def _difference() -> bytes:
    """What differs from the commit, as git shows it."""
    here = Path(cards.__file__).resolve().parents[1]
    return subprocess.run(["git", "-C", str(here), "diff", "HEAD"], capture_output=True, check=False).stdout
