"""An index over all runs: what each recipe expected, what it found, and what of it is made, on one page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from presight import card as cards
from presight import page, registry
from presight.errors import PresightError

NAME = "index.html"
TEMPLATE = Path(__file__).with_name("overview.html")
HEAD = 16_384  # bytes of a page among which it says what it is
SAID = '<meta name="description" content="([^"]*)" data-established="([^"]*)"'
SEEDS = "init"  # the axis of pretraining seeds
HEADER = ("recipe", "expected", "found", "established", "after Holm", "seeds", "stages", "scale", "made")


@dataclass(frozen=True, slots=True)
class Page:
    """A report's copy in a recipe's folder; `card` is None where the recipe's links no longer lead to its artifact."""

    file: str
    title: str
    finding: str
    established: bool
    card: Mapping[str, Any] | None

    @classmethod
    def read(cls, path: Path, artifact: Path | None) -> Page:
        """The page, and what it says of itself in its head."""
        with path.open("rb") as file:
            head = file.read(HEAD).decode("utf-8", "replace")
        title, said = re.search("<title>([^<]*)<", head), re.search(SAID, head)
        return cls(
            path.name,
            unescape(title[1]) if title else "",
            unescape(said[1]) if said else "",
            said is not None and said[2] == "yes",
            cards.read(artifact) if artifact else None,
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """Its numbers of comparisons, where it has any."""
        counts = self.card["counts"] if self.card else {}
        return counts if counts.get("comparisons") and "established_after_holm" in counts else {}


@dataclass(frozen=True, slots=True)
class Run:
    """A recipe's folder under ``runs/``; `record` is its newest registration, empty where it was forgotten."""

    name: str
    record: Mapping[str, Any]
    pages: tuple[Page, ...]
    made: int
    broken: int

    @property
    def when(self) -> str:
        """When its report was made: ``2026-11-29 20:04``, UTC; empty without one."""
        finished = next((page.card["finished"] for page in self.pages if page.card), "")
        return str(finished)[:16].replace("T", " ")

    @property
    def counts(self) -> Mapping[str, int]:
        """The numbers of its first report that compares anything."""
        return next((page.counts for page in self.pages if page.counts), {})

    @property
    def seeds(self) -> int:
        """On how many pretraining seeds it stands; 0 if it names none."""
        titles = self.record.get("artifacts", {}).values()
        return len({seed for title in titles for seed in re.findall(rf"[\[,]{SEEDS}=([^,\]]*)", title)})


def write(root: Path) -> Path:
    """Write ``runs/index.html``, whole or not at all; where it is.

    Raises:
        PresightError: there is no folder of runs.
    """
    runs = root / "runs"
    if not runs.is_dir():
        raise PresightError(str(runs), "is not there: nothing was run", "presight run quickstart")
    temporary = runs / f".{NAME}-{os.getpid()}"
    temporary.write_text(render(read(root)), encoding="utf-8")
    return temporary.replace(runs / NAME)


def read(root: Path) -> list[Run]:
    """What has a folder under ``runs/``, the newest report first, then what has none."""
    records = sorted(registry.registered(root / "store").values(), key=lambda record: record["registered"])
    newest = {record["recipe"]: record for record in records}
    whole = {path.parent.name for path in (root / "store").glob("[!.]*/*/card.json")}
    found = []
    for folder in sorted((root / "runs").glob("[!.]*/")):
        links = {link.relative_to(folder): link for link in _links(folder)}
        record = newest.get(folder.name, {})
        made = len(whole.intersection(record.get("artifacts", ())))
        broken = sum(not link.exists() for link in links.values())
        found.append(Run(folder.name, record, tuple(_pages(folder, links)), made, broken))
    return sorted(found, key=lambda run: run.when, reverse=True)


def _links(folder: Path) -> Iterator[Path]:
    """Links to artifacts, and to the store unless a stage has that name."""
    return (path for path in sorted(folder.rglob("*")) if path.is_symlink())


def _pages(folder: Path, links: Mapping[Path, Path]) -> Iterator[Page]:
    """The recipe's own report first; another is known by the link to its artifact."""
    artifacts = {registry.page_name(at.parts[0], "/".join(at.parts[1:])): link for at, link in links.items()}
    for path in sorted(folder.glob("*.html"), key=lambda path: (path.name != "report.html", path.name)):
        if path.name == "report.html" or path.name in artifacts:
            yield Page.read(path, artifacts.get(path.name))


def render(runs: Sequence[Run]) -> str:
    """The page; the same runs give the same text."""
    reported = sum(bool(run.pages) for run in runs)
    facts = f"{len(runs)} recipe{'' if len(runs) == 1 else 's'} · {reported} with a report"
    rows = [("" if any(each.established for each in run.pages[:1]) else "open", _cells(run)) for run in runs]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        style=page.style(), script=page.script(), facts=facts, table=page.table(HEADER, rows)
    )


def _cells(run: Run) -> list[str]:
    record, counts = run.record, run.counts
    first, *others = run.pages or (None,)
    title = first.title if first and first.title else record.get("description", "")
    name = f"<b>{escape(run.name)}</b>"
    linked = f'<a href="{_address(run, first.file)}">{name}</a>' if first else name
    pages = [f'<a href="{_address(run, each.file)}">{escape(each.title or each.file)}</a>' for each in others]
    day, _, clock = run.when.partition(" ")
    scale = " ".join([record.get("scale") or "", *(f"--set {each}" for each in record.get("set", ()))]).strip()
    return [
        "<br>\n".join([linked, escape(title), *pages]),
        escape(record.get("hypothesis", "")),
        "<br>\n".join(map(escape, _found(run))),
        f"{counts['established']} of {counts['comparisons']}" if counts else "",
        f"{counts['established_after_holm']}" if counts else "",
        f"{run.seeds or ''}",
        f"{run.made} of {len(record['artifacts'])}" if record else "",
        escape(scale),
        f"<span>{day}</span> {clock}" if run.when else "",
    ]


def _found(run: Run) -> Iterator[str]:
    """Its most important sentence, and what is amiss."""
    if run.pages and run.pages[0].finding:
        yield run.pages[0].finding
    if not run.pages:
        yield "It has no report."
    elif not run.pages[0].card:
        yield "The report is of an earlier run, or what it was made from is no longer in the store."
    if run.broken:
        leads = "1 link leads" if run.broken == 1 else f"{run.broken} links lead"
        yield f"{leads} to what is no longer in the store: run the recipe again to make it."
    if not run.record:
        yield "The store does not know this recipe any more."


def _address(run: Run, file: str) -> str:
    return escape(quote(f"{run.name}/{file}"))
