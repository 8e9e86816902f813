"""Which benchmarks there are, and what is to be known of each (``benchmarks.yaml``)."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from presight import document
from presight.errors import PresightError, nearest

FILE = Path(__file__).with_name("benchmarks.yaml")
COMMIT = r"[0-9a-f]{40}"
PAPER = ("General", "Knowledge", "OCR & Chart", "Vision-centric")  # the groups whose benchmarks make up the average
GROUPS = (*PAPER, "Existence", "Hearing")
PART = ": "  # between a benchmark and its part, in the name of a task
Form = Literal["letter", "index", "text"]


class _Model(BaseModel, frozen=True, extra="forbid"):
    """Fields that are all known."""


class Columns(_Model, frozen=True):
    """Which column means what."""

    item: str | None = Field(None, description="the question's name; none: its row's number")
    image: str | tuple[str, ...] = Field(description="a column, or all in which a picture may be")
    options: str | tuple[str, ...] | None = Field(None, description="a column of lists, or one column each")
    answer: str
    part: str | None = None
    pair: str | None = None
    circle: str | None = None
    modulo: int | None = Field(None, gt=0, description="of the circle's numbers: what turns of a question share")
    cluster: str | None = None


class Join(_Model, frozen=True):
    """Pictures that lie in files of their own."""

    files: tuple[str, ...]
    key: str = Field(description="their column of names")
    column: str = Field(description="the questions' column of the same names")


class Case(_Model, frozen=True):
    """What is otherwise with questions that have these values."""

    when: dict[str, tuple[str, ...]] = Field(min_length=1)
    open: bool = Field(False, description="the answer is free, whatever options there are")
    prompt: tuple[str, ...] | None = None
    metric: str | None = None


class Entry(_Model, frozen=True):
    """A benchmark."""

    group: Literal["General", "Knowledge", "OCR & Chart", "Vision-centric", "Existence", "Hearing"]
    description: str
    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str | None = Field(pattern=f"^{COMMIT}$")
    split: str
    files: tuple[str, ...] = Field(min_length=1, description="patterns, below the repository")
    join: Join | None = None
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    columns: Columns
    prompt: tuple[str, ...] = Field(min_length=1)
    inline: bool = False
    answer: Form = "letter"
    metric: str
    cases: tuple[Case, ...] = ()
    weighting: Literal["parts", "items"] = "parts"
    chance: float | None = Field(ge=0, le=1)
    items: int | None = Field(gt=0)
    licence: str
    gated: bool
    verified: str = Field(min_length=1, description="how these facts are known")
    note: str = ""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All files that are needed."""
        return (*self.files, *(self.join.files if self.join else ()))

    @property
    def parts(self) -> tuple[str, ...]:
        """Its parts, where they are known before its rows are."""
        return self.where.get(self.columns.part or "", ())

    @property
    def digest(self) -> str:
        """Of what determines the questions; facts about the benchmark do not."""
        told = {"description", "licence", "gated", "verified", "note", "chance", "items"}
        text = json.dumps(self.model_dump(mode="json", exclude=told), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Suite(_Model, frozen=True):
    """The file: whose choice it is, and the benchmarks by name."""

    choice: str
    benchmarks: dict[str, Entry]


def read(path: Path) -> Suite:
    """A file of benchmarks, checked.

    Raises:
        PresightError: it is not as it should be, with the first field at fault.
    """
    from eval.vision.metrics import score

    try:
        found = Suite.model_validate(document.read(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise PresightError(f"{path.name}: {'.'.join(map(str, first['loc']))}", first["msg"], "mend it") from error
    for name, entry in found.benchmarks.items():
        if PART in name:
            raise PresightError(
                f"{path.name}: {name}", f"holds {PART!r}, which parts a task from its part", "rename it"
            )
        for metric in (entry.metric, *(case.metric for case in entry.cases if case.metric)):
            score(metric, "", [""])  # or it is none
    return found


@cache
def suite() -> Suite:
    """The paper's sixteen benchmarks, and its existence bench."""
    return read(FILE)


def benchmark(name: str, path: Path | None = None) -> Entry:
    """A benchmark by its name, of the suite or of a file of one's own.

    Raises:
        PresightError: there is none of that name, with the nearest.
    """
    known = (read(path) if path else suite()).benchmarks
    if name not in known:
        raise PresightError("name", f"{name!r} is no benchmark", nearest(name, known))
    return known[name]


def groups() -> dict[str, tuple[str, ...]]:
    """The suite's benchmarks by group, groups in the paper's order."""
    known = suite().benchmarks
    found = {group: tuple(name for name, each in known.items() if each.group == group) for group in GROUPS}
    return {group: names for group, names in found.items() if names}


def rows() -> list[dict[str, str]]:
    """The suite as a table, a row a benchmark."""
    return [
        {
            "benchmark": name,
            "group": entry.group,
            "id": entry.id,
            "split": entry.split,
            "items": f"{entry.items:,}" if entry.items else "?",
            "metric": entry.metric,
            "licence": entry.licence,
            "pinned": (entry.revision or "at first use")[:12],
            "description": entry.description,
            "verified": entry.verified,
        }
        for name, entry in suite().benchmarks.items()
    ]
