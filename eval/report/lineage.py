"""Where a result comes from: the cards of all that it stands on, read from the store and shown as HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from presight import card as cards

FOLD = 12  # cards of a kind from which they start folded


@dataclass(frozen=True, slots=True)
class Record:
    """An artifact of the lineage; `card` is its lasting part, None where it was collected since or is not whole."""

    kind: str
    artifact: str
    card: Mapping[str, Any] | None


def lineage(folders: Iterable[Path]) -> dict[str, Record]:
    """The artifacts in these folders and all that they stand on, each once, parents first."""
    found: dict[str, Record] = {}
    seen: set[str] = set()

    def visit(folder: Path) -> None:
        if folder.name in seen:
            return
        seen.add(folder.name)
        card = cards.read(folder)
        for parent in card["parents"] if card else []:
            visit(folder.parent.parent / parent["kind"] / parent["artifact"])
        found[folder.name] = Record(folder.parent.name, folder.name, cards.lasting(card) if card else None)

    for folder in folders:
        visit(folder)
    return found


def section(records: Mapping[str, Record], names: Mapping[str, str]) -> str:
    """A chain of kinds, the licences, and a card for each artifact; `names` are what the reader calls them."""
    kinds: dict[str, list[Record]] = {}
    for record in records.values():
        kinds.setdefault(record.kind, []).append(record)
    chain = "".join(
        f'<li><a href="#kind-{escape(kind)}">{escape(kind)} × {len(group)}</a></li>' for kind, group in kinds.items()
    )
    gone = sum(record.card is None for record in records.values())
    licences = dict.fromkeys(
        _line(each) for record in records.values() if record.card for each in record.card.get("licences") or []
    )
    parts = [
        f"<p>This report stands on {len(records)} artifacts. Each card below says what made it, from what, and the "
        "hash of every file. Times and machines are left to the cards in the store, so that a repeat gives this same "
        "page.</p>",
        f'<ul class="chain">{chain}</ul>',
        "<p class='facts'>Licences of the data: " + (escape("; ".join(licences)) or "none stated") + ".</p>",
    ]
    if gone:
        parts.append(
            f'<aside class="box warning">{gone} of them {"is" if gone == 1 else "are"} no longer in the store, or not '
            "whole; what they stood on cannot be shown.</aside>"
        )
    for kind, group in kinds.items():
        shown = "\n".join(_shown(record, records, names) for record in group)
        parts.append(f'<h3 id="kind-{escape(kind)}">{escape(kind)}</h3>')
        parts.append(
            shown if len(group) <= FOLD else f"<details><summary>{len(group)} cards</summary>{shown}</details>"
        )
    return "\n".join(parts)


def _shown(record: Record, records: Mapping[str, Record], names: Mapping[str, str]) -> str:
    artifact, kind, card = escape(record.artifact), escape(record.kind), record.card
    name = f" — {escape(names[record.artifact])}" if record.artifact in names else ""
    if card is None:
        return (
            f'<details class="card gone" id="card-{artifact}"><summary>{kind} <code>{artifact[:8]}</code>{name}'
            f"</summary><p>Its card is gone: artifact <code>{artifact}</code> was collected from the store since it "
            "was used, or is not whole. Run its recipe to make it again.</p></details>"
        )
    entries = {
        "made by": f"{escape(card['stage'])}, version {escape(str(card['version']))}, "
        f"code <code>{escape(card['code'])}</code>",
        "from": "<br>".join(_parent(each, records, names) for each in card["parents"]) or "nothing: a root",
        "counts": escape(", ".join(f"{key} {_value(value)}" for key, value in (card.get("counts") or {}).items())),
        "licences": escape("; ".join(_line(each) for each in card.get("licences") or [])) or "none stated",
        "numerics": escape(str(card.get("numerics", ""))),
        "files": _files(card["files"]),
        "in the store": f'<a href="store/{kind}/{artifact}/card.json">store/{kind}/{artifact}/card.json</a>',
    }
    listed = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in entries.items() if value)
    rest = {key: value for key, value in card.items() if key != "files"}
    return (
        f'<details class="card" id="card-{artifact}"><summary>{escape(card["stage"])} <code>{artifact[:8]}</code>'
        f"{name}</summary><dl>{listed}</dl><details><summary>the card, without its files</summary>"
        f"<pre>{escape(json.dumps(rest, indent=1, ensure_ascii=False))}</pre></details></details>"
    )


def _parent(each: Mapping[str, str], records: Mapping[str, Record], names: Mapping[str, str]) -> str:
    artifact = each["artifact"]
    return (
        f'{escape(each["field"])}: <a href="#card-{escape(artifact)}">{escape(each["kind"])} '
        f"<code>{escape(artifact[:8])}</code></a>"
        + (f" {escape(names[artifact])}" if artifact in names else "")
        + ("" if records[artifact].card else " (gone)")
    )


def _files(files: Iterable[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(each['name'])}</td><td>{each['bytes']:,}</td>"
        f"<td class='left'><code>{escape(each['sha256'][:16])}</code></td></tr>"
        for each in files
    )
    head = "<tr><th>file</th><th>bytes</th><th class='left'>sha256</th></tr>"
    return f"<div class='scroll'><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>"


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _line(value)
