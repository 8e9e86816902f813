"""An index over all runs: what each recipe expected, what it found, and what of it is made, on one page."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from presight import card as cards
from presight import page, registry
from presight.console import say
from presight.errors import PresightError

NAME = "index.html"
TEMPLATE = Path(__file__).with_name("overview.html")
HEAD = 16_384  # bytes of a page among which it says what it is
SAID = '<meta name="description" content="([^"]*)" data-established="([^"]*)"'
SEEDS = "init"  # the axis of pretraining seeds
COUNTS = ("comparisons", "established", "established_after_holm")
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
        """The page, and what it says of itself in its head.

        Raises:
            OSError: it cannot be read, or is no file.
        """
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
        counts = (self.card or {}).get("counts") or {}
        return counts if all(name in counts for name in COUNTS) and counts["comparisons"] else {}


@dataclass(frozen=True, slots=True)
class Run:
    """A recipe's folder under ``runs/``, and which of its registrations the row is about.

    `record` is the newest registration that its report is of (`reported`), else the newest of all, empty where the
    recipe was forgotten; `made` are the titles of what it names and is made; `broken` counts links that lead nowhere.
    """

    name: str
    record: Mapping[str, Any]
    reported: bool
    pages: tuple[Page, ...]
    made: tuple[str, ...]
    broken: int

    @property
    def when(self) -> str:
        """When its report was made: ``2026-11-29 20:04``, UTC; empty without one."""
        finished = next((page.card.get("finished", "") for page in self.pages if page.card), "")
        return str(finished)[:16].replace("T", " ")

    @property
    def counts(self) -> Mapping[str, int]:
        """The numbers of its first report that compares anything."""
        return next((page.counts for page in self.pages if page.counts), {})

    @property
    def seeds(self) -> int:
        """On how many pretraining seeds that are made its report stands; 0 without a report, or if it names none."""
        titles = self.made if self.reported else ()
        return len({seed for title in titles for seed in re.findall(rf"[\[,]{SEEDS}=([^,\]]*)", title)})

    @property
    def scale(self) -> str:
        """The scale and the overrides that its report was made with; empty without a report."""
        if not self.reported:
            return ""
        return " ".join([self.record.get("scale") or "", *(f"--set {each}" for each in self.record["set"])]).strip()


def write(root: Path) -> Path:
    """Write ``runs/index.html``, whole or not at all; where it is.

    Raises:
        PresightError: there is no folder of runs.
    """
    runs = root / "runs"
    if not runs.is_dir():
        raise PresightError(str(runs), "is not there: nothing was run", "presight run quickstart")
    return registry.write(runs / NAME, render(read(root)))


def refresh(root: Path) -> None:
    """Write the index if that can be; if not, say why: what was run stands without it."""
    try:
        write(root)
    except Exception as error:  # of whatever kind: the index is no part of the work
        say(f"the index of all runs could not be written ({type(error).__name__}: {error})")


def read(root: Path) -> list[Run]:
    """What has a folder under ``runs/``, the newest report first, then what has none.

    Others may run meanwhile: what vanishes or cannot be read is left out.
    """
    store = root / "store"
    records = sorted(_records(store), key=lambda record: record["registered"], reverse=True)
    whole = {made.name for kind in _listed(store) for made in _listed(kind)}  # what lies there is whole
    folders = (path for path in _listed(root / "runs") if os.path.isdir(path))
    found = [_run(path, [each for each in records if each["recipe"] == path.name], whole) for path in folders]
    return sorted(found, key=lambda run: run.when, reverse=True)


def _run(folder: Path, records: Sequence[Mapping[str, Any]], whole: set[str]) -> Run:
    """A folder's run, of its registrations, the newest first, and the names of what is made."""
    links = _links(folder)
    pages = tuple(_pages(folder, links))
    shown = pages[0].card if pages else None
    of = next((each for each in records if shown and shown.get("artifact") in each["artifacts"]), None)
    record = of or next(iter(records), {})
    made = tuple(str(title) for name, title in record.get("artifacts", {}).items() if name in whole)
    broken = sum(not os.path.exists(target) for target in links.values())
    return Run(folder.name, record, of is not None, pages, made, broken)


def _records(store: Path) -> Iterator[Mapping[str, Any]]:
    """Registrations, as far as they can be read; what `registry.registered` reads is what gc goes by, and strict."""
    for path in _listed(store / registry.RECIPES):
        try:
            record = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else {}
            kept = {name: str(record.get(name) or "") for name in ("recipe", "description", "hypothesis", "scale")}
            when, given, artifacts = (
                float(record["registered"]),
                list(record.get("set") or ()),
                dict(record["artifacts"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        yield {**kept, "registered": when, "set": given, "artifacts": artifacts}


def _listed(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, by name; nothing if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _links(folder: Path) -> dict[Path, Path]:
    """Where links lead, by their place: to artifacts, and to the store unless a stage has that name.

    A link is read once: one that is replaced while this looks on is not taken for one that leads nowhere.
    """
    found = {}
    for at, folders, files in os.walk(folder):  # passes over what vanishes
        for path in (Path(at, name) for name in [*folders, *files]):
            with suppress(OSError):  # no link, or gone
                found[path.relative_to(folder)] = path.parent / os.readlink(path)
    return dict(sorted(found.items()))


def _pages(folder: Path, links: Mapping[Path, Path]) -> Iterator[Page]:
    """The recipe's own report first; another is known by the link to its artifact."""
    artifacts = {registry.page_name(at.parts[0], "/".join(at.parts[1:])): to for at, to in links.items()}
    pages = (path for path in _listed(folder) if path.suffix == ".html")
    for path in sorted(pages, key=lambda path: (path.name != "report.html", path.name)):
        if path.name == "report.html" or path.name in artifacts:
            try:
                found = Page.read(path, artifacts.get(path.name))
            except OSError:
                continue
            yield found


def render(runs: Sequence[Run]) -> str:
    """The page; the same runs give the same text."""
    reported = sum(bool(run.pages) for run in runs)
    facts = f"{len(runs)} recipe{'' if len(runs) == 1 else 's'} · {reported} with a report"
    rows = [("" if any(each.established for each in run.pages[:1]) else "open", _cells(run)) for run in runs]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        style=page.style(), script=page.script(), facts=facts, table=page.table(HEADER, rows, fold=False)
    )


def _cells(run: Run) -> list[str]:
    record, counts = run.record, run.counts
    first, *others = run.pages or (None,)
    title = first.title if first and first.title else record.get("description", "")
    name = f"<b>{escape(run.name)}</b>"
    linked = f'<a href="{_address(run, first.file)}">{name}</a>' if first else name
    pages = [f'<a href="{_address(run, each.file)}">{escape(each.title or each.file)}</a>' for each in others]
    day, _, clock = run.when.partition(" ")
    return [
        "<br>\n".join([linked, escape(title), *pages]),
        escape(record.get("hypothesis", "")),
        "<br>\n".join(map(escape, _found(run))),
        f"{counts['established']} of {counts['comparisons']}" if counts else "",
        f"{counts['established_after_holm']}" if counts else "",
        f"{run.seeds or ''}",
        f"{len(run.made)} of {len(record['artifacts'])}" if record else "",
        escape(run.scale),
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
    return escape(quote(f"{run.name}/{file}", errors="surrogateescape"))
