"""What was submitted, in ``jobs.json``: written whole or not at all, so that submitting again adds nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from presight.errors import EXIT_CONTINUE, PresightError
from slurm import events
from slurm.events import History
from slurm.jobs import Place
from slurm.queue import FAILED, Entry, of_script

NAME = "jobs.json"


@dataclass(slots=True)
class Submitted:
    """One call of sbatch.

    Attributes:
        number: of its script, counted from 1.
        name: of its stages.
        script: its file.
        tasks: their keys, by array index; the one of a job that is no array has "".
        id: SLURM's; None between writing it down and sbatch's answer.
        dependency: as sbatch was given it.
        code: folder of the code it runs.
        time: when, in seconds since the epoch.
    """

    number: int
    name: str
    script: str
    tasks: dict[str, str]
    id: str | None = None
    dependency: str = ""
    code: str = ""
    time: float = 0.0

    def places(self) -> dict[str, Place]:
        """Where its tasks are."""
        assert self.id
        return {key: Place(self.id, int(index) if index else None) for index, key in self.tasks.items()}


@dataclass(slots=True)
class Ledger:
    """All that was submitted for one recipe.

    Attributes:
        folder: ``runs/<recipe>/slurm``.
        arguments: recipe, scale, overrides, root, profile of the last submission.
        stages: by fingerprint, ``title``, ``kind``, ``tokens`` and ``shards``.
        jobs: oldest first.
    """

    folder: Path
    arguments: dict[str, Any] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: list[Submitted] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """What a folder holds; empty where nothing was submitted yet."""
        try:
            found = json.loads((folder / NAME).read_text())
        except FileNotFoundError:
            return cls(folder)
        return cls(folder, found["arguments"], found["stages"], [Submitted(**job) for job in found["jobs"]])

    @classmethod
    def of(cls, root: Path, recipe: str) -> Ledger:
        """The one of a recipe, by its name or its file's.

        Raises:
            PresightError: nothing was submitted for it.
        """
        found = cls.read(root.resolve() / "runs" / recipe / "slurm")
        if not found.jobs:
            raise PresightError(f"recipe {recipe!r}", f"has no jobs under {root}", "presight slurm submit it first")
        return found

    def write(self) -> None:
        """Replace the file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"arguments": self.arguments, "stages": self.stages, "jobs": [asdict(job) for job in self.jobs]}
        temporary = self.folder / f".{NAME}-{os.getpid()}"
        with temporary.open("w") as file:
            json.dump(record, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / NAME)

    def adopt(self, entries: Mapping[str, Entry]) -> None:
        """Find the jobs that were submitted right before a submission was killed: by their script, each its own."""
        for job in self.jobs:
            if job.id is None:
                job.id = of_script(entries, self.folder / job.script)
        self.jobs = [job for job in self.jobs if job.id is not None]

    def history(self, key: str) -> History:
        """What the jobs of a task wrote down."""
        return events.read(self.folder / "events" / key)

    def places(self) -> dict[str, Place]:
        """Where each task was submitted last, or what went on for it."""
        found: dict[str, Place] = {}
        for job in self.jobs:
            if job.id is not None:
                found |= job.places()
        for key, place in found.items():
            history = self.history(key)
            if history.followed and (newest := history.newest(str(place))) != str(place):
                number, _, index = newest.partition("_")
                found[key] = Place(number, int(index) if index else None)
        return found

    def log(self, place: Place, key: str) -> Path | None:
        """The newest log of a task's job."""
        script = next((Path(job.script).stem for job in reversed(self.jobs) if key in job.tasks.values()), None)
        path = self.folder / "jobs" / f"{script}-{place}.log"
        return path if script and path.exists() else None


def condition(place: Place | None, entry: Entry | None, history: History, accounted: str = "") -> str:
    """How a task that is not done stands.

    Returns:
        ``new`` (never submitted), ``running``, ``pending``, ``waiting`` (for its inputs), ``held`` (for a person),
        ``failed`` (by itself: it would again), or ``cancelled`` or ``lost`` (not by itself).
    """
    if place is None:
        return "new"
    if entry and entry.live:
        if entry.held:
            return "held"
        if entry.reason == "DependencyNeverSatisfied":  # SLURM is about to cancel it
            return "cancelled"
        if entry.state == "PENDING":
            return "waiting" if entry.reason.startswith("Dependency") else "pending"
        return "running"
    state = entry.state if entry else accounted
    if state == "CANCELLED":
        return "cancelled"
    own = history.job == str(place)
    if state in FAILED and not (own and history.code == EXIT_CONTINUE):
        return "failed"
    if own and history.code not in (None, 0, EXIT_CONTINUE):
        return "failed"
    return "lost"
