"""What a task's jobs wrote down of themselves: a line when they began, were cut short, ended, or were followed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from presight.errors import EXIT_CONTINUE


@dataclass(frozen=True, slots=True)
class History:
    """A task's past, newest last; it stands without accounting, and where SLURM has forgotten the job.

    Attributes:
        attempts: times it began.
        job: the newest job that said anything; empty before any did.
        began: when it began last, in seconds since the epoch; 0 before.
        node: where.
        code: exit code of the last end; None while it runs, after it was killed, and before it began.
        saving: longest time from a warning to the end of a run that saved itself, in seconds.
        followed: jobs that went on for others, by those: on sites without requeue.
    """

    attempts: int = 0
    job: str = ""
    began: int = 0
    node: str = ""
    code: int | None = None
    saving: int = 0
    followed: tuple[tuple[str, str], ...] = ()

    def newest(self, job: str) -> str:
        """The job that a job became."""
        following = dict(self.followed)
        while job in following:
            job = following[job]
        return job


def read(path: Path) -> History:
    """The history in a file; an empty one without it. A line cut short by a kill says nothing."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return History()
    attempts, began, saving = 0, 0, 0
    job, node, code, followed = "", "", None, []
    for line in lines:
        match line.split():
            case ["began", job, _, time, node]:
                attempts, began, code = attempts + 1, int(time), None
            case ["ended", job, _, _, status, *waited]:
                code = int(status)
                if code == EXIT_CONTINUE and waited:
                    saving = max(saving, int(waited[0]))
            case ["followed", old, _, _, new]:
                followed.append((old, new))
    return History(attempts, job, began, node, code, saving, tuple(followed))
