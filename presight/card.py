"""The card of an artifact: everything a reader needs to believe it, written last."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from presight.stage import Stage

NAME = "card.json"
LOG = "log"
PACKAGES = (
    "torch",
    "deepspeed",
    "datatrove",
    "transformers",
    "tokenizers",
    "numpy",
    "scipy",
    "pyarrow",
    "webdataset",
    "plotly",
)
VOLATILE = ("machine", "started", "finished", "seconds", "attempts", "presight", "packages")


def payload(folder: Path) -> list[Path]:
    """The files of an artifact that are its result: all but the card and the logs, in order of name."""
    files = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(path for path in files if path.relative_to(folder).parts[0] not in (NAME, f".{NAME}", LOG))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(stage: Stage, folder: Path, started: float, seconds: float, attempts: int) -> dict[str, Any]:
    """Describe ``folder`` and write its card, so that the card is there only when all else is.

    ``counts.json`` and ``licences.json`` among the files, where a stage wrote them, are repeated on the card.
    """
    files = [
        {"name": str(path.relative_to(folder)), "bytes": path.stat().st_size, "sha256": digest(path)}
        for path in payload(folder)
    ]
    described = {
        "artifact": stage.fingerprint,
        "kind": stage.kind,
        "stage": stage.tag(),
        "version": stage.version,
        "fields": stage.identity(),
        "parents": [
            {"field": field, "kind": parent.kind, "artifact": parent.fingerprint}
            for field, parent in stage.inputs().items()
        ],
        "code": code_digest(type(stage)),
        "counts": _optional(folder / "counts.json", {}),
        "licences": _optional(folder / "licences.json", []),
        "numerics": numerics(stage),
        "estimate": dataclasses.asdict(stage.estimate()),
        "files": files,
        "started": _clock(started),
        "finished": _clock(time.time()),
        "seconds": round(seconds, 3),
        "attempts": attempts,
        "presight": {"version": release(), **revision()},
        "packages": versions(),
        "machine": machine(),
    }
    temporary = folder / f".{NAME}"
    with temporary.open("w") as file:
        json.dump(described, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)
    return described


def read(folder: Path) -> dict[str, Any] | None:
    """The card if the artifact is whole (card present, every file there with its size), else None."""
    try:
        card: dict[str, Any] = json.loads((folder / NAME).read_text())
        whole = all((folder / file["name"]).stat().st_size == file["bytes"] for file in card["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return card if whole else None


def lasting(card: dict[str, Any]) -> dict[str, Any]:
    """The part of a card that a repeat on the same code would write again: no times, no machine."""
    return {key: value for key, value in card.items() if key not in VOLATILE}


def numerics(stage: Stage) -> str:
    """Where last bits may differ: results of different classes are not compared silently."""
    where = f"{platform.machine()}/{'cuda' if stage.resources.gpus else 'cpu'}/threads={stage.resources.threads}"
    return "/".join(filter(None, (where, stage.arithmetic())))


@functools.cache
def code_digest(cls: type[Stage]) -> str:
    """Hash of the module that defines a stage and of the modules of its own package that it imports."""
    package = cls.__module__.partition(".")[0]
    seen: dict[str, bytes] = {}

    def visit(name: str) -> None:
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # a name of a module, not a module of a package
            return
        if name in seen or spec is None or not spec.origin or not spec.origin.endswith(".py"):
            return
        source = Path(spec.origin).read_bytes()
        seen[name] = source
        for node in ast.walk(ast.parse(source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                # `from corpus.labels import taxonomy` imports a module, `from corpus.mix import Mix` a name of one
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for imported in names:
                if imported.startswith(f"{package}."):
                    visit(imported)

    visit(cls.__module__)
    return hashlib.sha256(b"".join(seen[name] for name in sorted(seen))).hexdigest()[:16]


@functools.cache
def release() -> str:
    """Presight's version."""
    try:
        return importlib.metadata.version("presight")
    except importlib.metadata.PackageNotFoundError:
        return "unreleased"


@functools.cache
def revision() -> dict[str, str | None]:
    """Commit of the checkout that runs, and a hash of what differs from it; nothing when installed from a wheel.

    A copy that jobs run (``store/.code``) says in ``CODE.json`` what it was copied from.
    """
    here = Path(__file__).resolve().parents[1]
    copied = here / "CODE.json"
    if copied.exists():
        known = json.loads(copied.read_text())
        return {name: known[name] for name in ("commit", "diff") if name in known}

    def git(*words: str) -> bytes:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, check=True, timeout=20).stdout

    try:
        if not (here / ".git").exists():
            return {}
        difference = git("diff", "HEAD")
        return {
            "commit": git("rev-parse", "HEAD").decode().strip(),
            "diff": hashlib.sha256(difference).hexdigest()[:16] if difference else None,
        }
    except (OSError, subprocess.SubprocessError):
        return {}


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the packages that can change a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def machine() -> dict[str, Any]:
    """What the work ran on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {"host": platform.node(), "system": sys.platform, "processor": model, "cores": os.cpu_count()}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _optional(path: Path, default: Any) -> Any:
    return json.loads(path.read_text()) if path.exists() else default


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
