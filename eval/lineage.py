"""Where a result comes from: the cards of all that it stands on, read from the store and shown as HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from presight import card as cards


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
        f"<p>This report stands on {len(records)} artifacts. Each card below says what made it, from what, and the hash of "
        "every file; times and machines are left to the card in the store, so that a repeat gives this page again.</p>",
        f'<ul class="chain">{chain}</ul>',
        "<p class='facts'>Licences of the data: " + (escape("; ".join(licences)) or "none stated") + ".</p>",
    ]
    if gone:
        parts.append(
            f'<aside class="box warning">{gone} of them {"is" if gone == 1 else "are"} no longer in the store, or not whole; '
            "what they stood on cannot be shown.</aside>"
        )
    for kind, group in kinds.items():
        parts.append(f'<h3 id="kind-{escape(kind)}">{escape(kind)}</h3>')
        parts += [_shown(record, records, names) for record in group]
    return "\n".join(parts)


def _shown(record: Record, records: Mapping[str, Record], names: Mapping[str, str]) -> str:
    artifact, card = escape(record.artifact), record.card
    name = f" — {escape(names[record.artifact])}" if record.artifact in names else ""
    if card is None:
        return (
            f'<details class="card gone" id="card-{artifact}"><summary>{escape(record.kind)} <code>{artifact[:8]}</code>{name}'
            f"</summary><p>Its card is gone: artifact <code>{artifact}</code> was collected from the store since it was used, "
            "or is not whole. Run its recipe to make it again.</p></details>"
        )
    parents = [
        f'{escape(each["field"])}: <a href="#card-{escape(each["artifact"])}">{escape(each["kind"])} '
        f"<code>{escape(each['artifact'][:8])}</code></a>"
        + ("" if records[each["artifact"]].card else " (gone)")
        + (f" {escape(names[each['artifact']])}" if each["artifact"] in names else "")
        for each in card["parents"]
    ]
    counts = card.get("counts") or {}
    files = "".join(
        f"<tr><td>{escape(each['name'])}</td><td>{each['bytes']:,}</td><td class='left'><code>{escape(each['sha256'][:16])}"
        "</code></td></tr>"
        for each in card["files"]
    )
    entries = {
        "made by": f"{escape(card['stage'])}, version {escape(str(card['version']))}, code <code>{escape(card['code'])}</code>",
        "from": "<br>".join(parents) or "nothing: a root",
        "counts": escape(", ".join(f"{key} {_value(value)}" for key, value in counts.items())) or "none",
        "licences": escape("; ".join(_line(each) for each in card.get("licences") or [])) or "none stated",
        "numerics": escape(str(card.get("numerics", ""))),
        "files": f"<div class='scroll'><table><thead><tr><th>file</th><th>bytes</th><th class='left'>sha256</th></tr></thead>"
        f"<tbody>{files}</tbody></table></div>",
        "in the store": f'<a href="store/{escape(record.kind)}/{artifact}/card.json">store/{escape(record.kind)}/{artifact}'
        "/card.json</a>",
    }
    listed = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in entries.items())
    whole = escape(
        json.dumps({key: value for key, value in card.items() if key != "files"}, indent=1, ensure_ascii=False)
    )
    return (
        f'<details class="card" id="card-{artifact}"><summary>{escape(card["stage"])} <code>{artifact[:8]}</code>{name}'
        f"</summary><dl>{listed}</dl><details><summary>the card, without its files</summary><pre>{whole}</pre></details></details>"
    )


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else _line(value)
