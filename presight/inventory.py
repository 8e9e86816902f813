"""What is in a store: its state, one artifact's card and lineage, and what may go."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from presight import card as cards
from presight import owner, registry
from presight.assembly import stage_class
from presight.console import clock, say, size, table
from presight.errors import PresightError
from presight.store import OWNERS, WORK, Artifact, Store

SHOWN = 600  # characters of a card's entry


@dataclass(frozen=True, slots=True)
class State:
    """One artifact or piece of work."""

    name: str
    kind: str
    artifact: str
    state: str
    bytes: int
    seconds: float
    note: str


def status(root: Path) -> list[State]:
    """Artifacts, work in progress, and what is broken."""
    store = Store(root / "store")
    titles = {
        name: f"{record['recipe']}: {title}"
        for record in registry.registered(store.root).values()
        for name, title in record["artifacts"].items()
    }
    states = []
    for path in sorted(store.root.glob("[!.]*/*")):
        card = cards.read(path)
        name = titles.get(path.name, "")
        if card is None:
            states.append(
                State(name, path.parent.name, path.name, "broken", 0, 0.0, "not whole: it will be made again")
            )
        else:
            total = sum(file["bytes"] for file in card["files"])
            states.append(State(name, card["kind"], card["artifact"], "done", total, card["seconds"], _changed(card)))
    made = {each.artifact for each in states if each.state == "done"}
    for path in sorted((store.root / WORK).glob("[!.]*")):
        held = [file for file in (store.root / OWNERS).glob(f"{path.name}*") if owner.alive(file)]
        who = owner.read(held[0]) if held else None
        aside = path.name.startswith("broken-")
        note = "run its recipe again to continue"
        if who:
            note = f"process {who.get('pid')} on {who.get('host')}"
        elif aside or path.name in made:
            note = "left over: `presight gc --delete` removes it"
        state = "running" if held else "broken" if aside else "stopped"
        states.append(State(titles.get(path.name, ""), "", path.name, state, _bytes(path), 0.0, note))
    return states


def _changed(card: dict[str, Any]) -> str:
    """Says when the code of a stage has changed since, but not its version: it may not make the artifact now."""
    try:
        cls = stage_class(card["stage"])
    except PresightError:
        return "its stage is not importable here"
    if cls.version != card["version"]:
        return f"made by version {card['version']}, now {cls.version}"
    if cards.code_digest(cls) != card["code"]:
        return f"code changed since, version still {cls.version} (made by {card['presight']['version']})"
    return ""


def changed(artifacts: list[Artifact]) -> list[Artifact]:
    """Artifacts whose code has changed since, under one version, across a release: never reused without a word."""
    return [each for each in artifacts if each.card["presight"]["version"] != cards.release() and _changed(each.card)]


def show_status(states: list[State], as_json: bool) -> None:
    """Print the state of a store."""
    if as_json:
        print(json.dumps([asdict(each) for each in states], indent=1))
        return
    if not states:
        print("nothing is made yet: presight run quickstart")
        return
    rows = (
        (each.name, each.kind, each.artifact[:12], each.state, size(each.bytes), clock(each.seconds), each.note)
        for each in states
    )
    table("", ["name", "kind", "artifact", "state", "size", "time", "note"], rows)
    print(f"{len(states)} artifacts, {size(sum(each.bytes for each in states))}")


def find(root: Path, name: str) -> Artifact:
    """The artifact of a fingerprint, its beginning, or a path to it.

    Raises:
        PresightError: none, or several.
    """
    store = Store(root / "store")
    place = Path(name)
    if (place / cards.NAME).is_file():
        place = place.resolve()
        found = [place]
    else:
        found = [path for path in store.root.glob("[!.]*/*") if len(name) >= 4 and path.name.startswith(name)]
    if len(found) != 1:
        count = "no artifact" if not found else f"{len(found)} artifacts"
        raise PresightError(repr(name), f"names {count} in {store.root}", "see `presight status`")
    card = cards.read(found[0])
    if card is None:
        raise PresightError(str(found[0]), "is not whole", "run its recipe again")
    return Artifact(found[0], card)


def show(root: Path, name: str, as_stage: bool, as_json: bool) -> None:
    """Print a card and its lineage, or the stage document."""
    found = find(root, name)
    store = Store(found.path.parents[1])
    if as_stage:
        print(json.dumps(_document(store, found.card), indent=1))
        return
    if as_json:
        print(json.dumps(found.card, indent=1))
        return
    from rich.console import Console
    from rich.tree import Tree

    card = found.card
    print(f"{card['stage']} → {card['kind']} {card['artifact']} (version {card['version']})")
    shown = ("fields", "counts", "licences", "numerics", "code", "presight", "packages", "machine", "finished")
    for key in shown:
        text = json.dumps(card[key])
        print(f"  {key}: {text if len(text) <= SHOWN else text[:SHOWN] + ' … (--json shows all)'}")
    print(f"  took {clock(card['seconds'])} in {card['attempts']} attempt{'s' * (card['attempts'] > 1)}")
    for file in card["files"]:
        print(f"  {file['name']}  {size(file['bytes'])}  sha256 {file['sha256'][:16]}…")
    tree = Tree("stands on")
    _lineage(tree, store, card, set())
    Console().print(tree)


def _lineage(tree: Any, store: Store, card: dict[str, Any], seen: set[str]) -> None:
    from rich.text import Text

    for parent in card["parents"]:
        again = parent["artifact"] in seen
        seen.add(parent["artifact"])
        below = cards.read(store.root / parent["kind"] / parent["artifact"])
        state = " (shown above)" if again and below and below["parents"] else "" if below else " (collected)"
        line = f"{parent['field']}: {parent['kind']} {parent['artifact'][:12]}{state}"
        branch = tree.add(Text(line), highlight=False)
        if below and not again:
            _lineage(branch, store, below, seen)


def _document(store: Store, card: dict[str, Any]) -> dict[str, Any]:
    """A stage with all it stands on, put together from cards."""
    stages: dict[str, Any] = {}

    def visit(each: dict[str, Any]) -> None:
        if each["artifact"] in stages:
            return
        for parent in each["parents"]:
            below = cards.read(store.root / parent["kind"] / parent["artifact"])
            if below is None:
                raise PresightError(parent["artifact"], "was collected", "run its recipe again")
            visit(below)
        stages[each["artifact"]] = {"stage": each["stage"], "version": each["version"], "fields": each["fields"]}

    visit(card)
    return {"root": card["artifact"], "stages": stages}


def collect(root: Path, delete: bool, forget: list[str], as_json: bool) -> None:
    """Delete, or list, artifacts and stopped work that no registered recipe reaches."""
    store = Store(root / "store")
    records = registry.registered(store.root)
    for name in forget:
        if not any(record["recipe"] == name for record in records.values()):
            known = ", ".join(sorted({record["recipe"] for record in records.values()})) or "none"
            raise PresightError(f"--forget {name}", "is no registered recipe", f"known: {known}")
    kept = {path: record for path, record in records.items() if record["recipe"] not in forget}
    live = {name for record in kept.values() for name in record["artifacts"]}
    live |= _ancestors(store, live)
    owned = {file.name.partition(".")[0] for file in (store.root / OWNERS).glob("*") if owner.alive(file)}
    unfinished = live - {each.path.name for each in store.artifacts()}
    artifacts = [path for path in store.root.glob("[!.]*/*") if path.name not in live | owned]
    works = [path for path in (store.root / WORK).glob("[!.]*") if path.name not in unfinished | owned]
    going = {str(path): _bytes(path) for path in sorted([*artifacts, *works])}
    if as_json:
        print(json.dumps(going, indent=1))
    for path, count in {} if as_json else going.items():
        print(f"{path}  {size(count)}")
    if delete:
        for forgotten in set(records) - set(kept):
            forgotten.unlink()
        for gone in [*artifacts, *works]:
            shutil.rmtree(gone)
    what = "deleted" if delete else "would go; --delete deletes them"
    say(f"{len(going)} artifacts, {size(sum(going.values()))}, {what}")


def _ancestors(store: Store, names: set[str]) -> set[str]:
    """All that the named artifacts stand on, by their cards."""
    parents = {
        artifact.card["artifact"]: [each["artifact"] for each in artifact.card["parents"]]
        for artifact in store.artifacts()
    }
    found: set[str] = set()
    todo = list(names)
    while todo:
        for parent in parents.get(todo.pop(), []):
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    return found


def _bytes(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
