"""Names for artifacts: links under ``runs/<recipe>/``, and the recipes whose artifacts are kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from presight import owner
from presight.expansion import Graph
from presight.store import Store

RECIPES = ".recipes"


def link(graph: Graph, store: Store, runs: Path) -> Path:
    """Write ``runs/<recipe>/<stage>/<place on the axes>`` links to what is made; return the recipe's folder.

    Links from an earlier version of the recipe are replaced; nothing but links, and copies of reports, is touched.
    """
    folder = runs / graph.recipe.name
    with owner.hold(folder / ".owner"):
        _link(graph, store, folder)
    return folder


def _link(graph: Graph, store: Store, folder: Path) -> None:
    for old in sorted(folder.rglob("*"), reverse=True):
        if old.is_symlink():
            old.unlink()
        elif old.is_dir() and not any(old.iterdir()):
            old.rmdir()
    for each in graph.instances:
        target = store.path(each.stage)
        if not (target / "card.json").exists():
            continue
        _symlink(folder / each.name / each.place if each.labels else folder / each.name, target)
        page = target / "report.html"
        if page.exists():
            name = page_name(each.name, each.place)
            temporary = folder / f".{name}"
            shutil.copyfile(page, temporary)
            temporary.replace(folder / name)
    _symlink(folder / "store", store.root)  # last: a stage may have that name


def page_name(stage: str, place: str) -> str:
    """The file that a stage's report is copied to: ``report.html``, or one named by its place on the axes."""
    return "report.html" if stage == "report" and not place else f"{stage}-{place}.html"


def _symlink(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(os.path.relpath(target.resolve(), place.parent.resolve()))


def register(graph: Graph, store: Store, scale: str | None, overrides: list[str]) -> None:
    """Make a recipe a root for ``gc``; another scale or override of it is another root."""
    folder = store.root / RECIPES
    folder.mkdir(parents=True, exist_ok=True)
    words = [graph.recipe.name, scale or "", *overrides]
    readable = re.sub(r"[^\w.=-]+", "_", "-".join(filter(None, words)))[:80]
    name = f"{readable}-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]}"
    record: dict[str, Any] = {
        "recipe": graph.recipe.name,
        "path": str(graph.recipe.path),
        "description": graph.recipe.description,
        "hypothesis": graph.recipe.hypothesis,
        "scale": scale,
        "set": overrides,
        "registered": time.time(),
        "artifacts": {each.stage.fingerprint: each.title for each in graph.instances},
    }
    write(folder / f"{name}.json", json.dumps(record, indent=1))


def registered(root: Path) -> dict[Path, dict[str, Any]]:
    """Every registered recipe."""
    return {path: json.loads(path.read_text()) for path in sorted((root / RECIPES).glob("[!.]*.json"))}


def write(path: Path, text: str) -> Path:
    """Write a text whole or not at all, whoever else on a shared disk writes it, too; nothing else is left."""
    # a folder, not a file: what is made in it has the permissions that files have here
    with TemporaryDirectory(prefix=".new-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        temporary = Path(folder) / path.name
        temporary.write_text(text, encoding="utf-8", errors="replace")
        return temporary.replace(path)
