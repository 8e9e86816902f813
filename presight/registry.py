"""Names for artifacts: links under ``runs/<recipe>/``, and the recipes whose artifacts are kept."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from presight.recipe import Graph
from presight.store import Store

RECIPES = ".recipes"


def link(graph: Graph, store: Store, runs: Path) -> Path:
    """Write ``runs/<recipe>/<stage>/<place on the axes>`` links to what is made; return the recipe's folder.

    Links from an earlier version of the recipe are replaced; nothing but links, and copies of reports, is touched.
    """
    folder = runs / graph.recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.rglob("*"), reverse=True):
        if old.is_symlink():
            old.unlink()
        elif old.is_dir() and not any(old.iterdir()):
            old.rmdir()
    _symlink(folder / "store", store.root)
    for each in graph.instances:
        target = store.path(each.stage)
        if not (target / "card.json").exists():
            continue
        _symlink(folder / each.name / each.place if each.labels else folder / each.name, target)
        page = target / "report.html"
        if page.exists():
            name = "report.html" if each.name == "report" and not each.labels else f"{each.name}-{each.place}.html"
            temporary = folder / f".{name}"
            shutil.copyfile(page, temporary)
            temporary.replace(folder / name)
    return folder


def _symlink(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(os.path.relpath(target.resolve(), place.parent.resolve()))


def register(graph: Graph, store: Store, scale: str | None, overrides: list[str]) -> None:
    """Make a recipe a root for ``gc``; another scale or override of it is another root."""
    folder = store.root / RECIPES
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "".join(f"-{each}" for each in [scale, *overrides] if each)
    name = "".join(letter if letter.isalnum() or letter in "-_.=" else "_" for letter in graph.recipe.name + suffix)
    record: dict[str, Any] = {
        "recipe": graph.recipe.name,
        "path": str(graph.recipe.path),
        "scale": scale,
        "set": overrides,
        "registered": time.time(),
        "artifacts": {each.stage.fingerprint: each.title for each in graph.instances},
    }
    temporary = folder / f".{name[:120]}"
    temporary.write_text(json.dumps(record, indent=1))
    temporary.replace(folder / f"{name[:120]}.json")


def registered(root: Path) -> dict[Path, dict[str, Any]]:
    """Every registered recipe."""
    return {path: json.loads(path.read_text()) for path in sorted((root / RECIPES).glob("[!.]*.json"))}
