"""SLURM's own commands: what they print, read; accounting is taken where it is, and not needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from presight.errors import PresightError
from slurm.jobs import Limits

FIELDS = "%i|%T|%r|%S|%E|%o"
LIVE = frozenset(
    (
        *("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STOPPED"),
        *("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "STAGE_OUT"),
    )
)
FAILED = frozenset(("FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL"))
_BUSY = re.compile(r"timed out|contact slurm|temporarily|try again|Zero Bytes|Unexpected message", re.IGNORECASE)
_FULL = re.compile(
    r"QOSMaxSubmit|AssocMaxSubmit|MaxSubmitJob|job submit limit|MaxJobCount|Job violates", re.IGNORECASE
)
_LEFT = re.compile(r"^(?:SLURM|SBATCH|SRUN|SALLOC)_|^(?:RANK|LOCAL_RANK|WORLD_SIZE|MASTER_ADDR|MASTER_PORT)$")
TRIES = 5


class Full(Exception):
    """The site takes no more jobs of this user now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job, or one task of an array, as the queue has it.

    Attributes:
        job: ``17`` or ``17_3``.
        state: in full, as ``RUNNING``.
        reason: why it waits, or ended.
        start: when it began or is expected to, as SLURM writes it; ``N/A``.
        dependency: what it still waits for, as sbatch takes it.
        script: path of what it runs.
    """

    job: str
    state: str
    reason: str = ""
    start: str = "N/A"
    dependency: str = ""
    script: str = ""

    @property
    def live(self) -> bool:
        """Whether it is still to run, or runs."""
        return self.state in LIVE

    @property
    def held(self) -> bool:
        """Whether it waits for a person."""
        return self.state in ("PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT") and "held" in self.reason.lower()


def squeue(text: str) -> dict[str, Entry]:
    """What ``squeue --array --format=FIELDS`` printed, by job."""
    found = {}
    for line in text.splitlines():
        words = line.strip().split("|", 5)
        if len(words) == 6:
            job, state, reason, start, dependency, script = words
            found[job] = Entry(job, state, reason, start, waited(dependency), script)
    return found


def waited(dependency: str) -> str:
    """A dependency as ``squeue`` prints it, written as ``sbatch`` takes it: ``afterok:2_*(unfulfilled)`` is not."""
    return "" if dependency in ("(null)", "N/A") else re.sub(r"\([^)]*\)|_\*", "", dependency)


def sacct(text: str) -> dict[str, str]:
    """State by job of what ``sacct --parsable2 --format=JobID,State`` printed; steps are left out."""
    found = {}
    for line in text.splitlines():
        job, _, state = line.strip().partition("|")
        if state and re.fullmatch(r"\d+(_\d+)?", job):
            found[job] = state.split()[0].rstrip("+")  # CANCELLED by 1000
    return found


def scontrol(text: str) -> dict[str, str]:
    """The ``Key=value`` pairs of one record of ``scontrol --oneliner``, or of its configuration."""
    if "\n" in text.strip() or " = " in text:
        pairs = (line.partition("=") for line in text.splitlines())
        return {key.strip(): value.strip() for key, sign, value in pairs if sign}
    return dict(re.findall(r"(?:^| )([A-Za-z:/]+)=(.*?)(?= [A-Za-z:/]+=|$)", text.strip()))


def rewired(dependency: str, job: str) -> str:
    """A dependency that waits for another job as well."""
    return ",".join(filter(None, (dependency, f"afterok:{job}")))


def names(dependency: str, job: str) -> bool:
    """Whether a dependency waits for a job, or for an array that it is a task of."""
    mentioned = set(re.findall(r"\d+(?:_\d+)?", dependency))
    return job in mentioned or job.partition("_")[0] in mentioned


def environment() -> dict[str, str]:
    """What a job may inherit: nothing of the job that this process may itself be in."""
    return {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or not _LEFT.search(name)}


def command(*words: str) -> str:
    """Run one of SLURM's commands; one that finds the controller busy is tried again.

    Raises:
        PresightError: the command is not here, or refuses.
        Full: the site takes no more jobs now.
    """
    for attempt in range(TRIES):
        try:
            done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False, timeout=120)
        except FileNotFoundError as error:
            raise PresightError(words[0], "is no command here", "go to a login node of the cluster") from error
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(words, 1, "", "timed out")
        if done.returncode == 0:
            return done.stdout
        said = " ".join(done.stderr.split())
        if _FULL.search(said):
            raise Full(said)
        # an sbatch that timed out may have been taken: its caller looks before it tries again
        if not _BUSY.search(said) or words[0] == "sbatch":
            break
        time.sleep(2**attempt)
    raise PresightError(
        words[0], said or f"ended with exit code {done.returncode}", "see what it was given: " + words[-1]
    )


def queue() -> dict[str, Entry]:
    """This user's jobs, those that ended lately among them."""
    return squeue(
        command("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"--format={FIELDS}")
    )


def limits(corresponding: bool) -> Limits:
    """What the site says it allows."""
    found = scontrol(command("scontrol", "show", "config"))
    return Limits(max(1, int(found.get("MaxArraySize", "1001"))), corresponding)


def accounted(jobs: list[str]) -> dict[str, str]:
    """How jobs that the queue has forgotten ended, where accounting is kept; else nothing."""
    if not jobs or not shutil.which("sacct"):
        return {}
    numbers = ",".join(sorted({job.partition("_")[0] for job in jobs}))
    try:
        # without a beginning, sacct looks no further back than midnight
        return sacct(
            command(
                "sacct", "--noheader", "--parsable2", "--starttime=now-90days", "--format=JobID,State", "-j", numbers
            )
        )
    except PresightError:
        return {}


def sbatch(script: Path, *options: str) -> str:
    """Submit a script; the number of its job.

    An sbatch that found the controller busy may have been heard all the same: the queue is looked at before it is
    tried again.

    Raises:
        PresightError: it is refused.
        Full: the site takes no more jobs now.
    """
    for attempt in range(TRIES):
        try:
            return command("sbatch", "--parsable", *options, str(script)).strip().partition(";")[0]
        except PresightError as error:
            if attempt == TRIES - 1 or not _BUSY.search(str(error)):
                raise
        time.sleep(2**attempt)
        if found := of_script(queue(), script):
            return found
    raise AssertionError


def of_script(entries: Mapping[str, Entry], script: Path) -> str | None:
    """The newest job that runs a script."""
    numbers = [int(entry.job.partition("_")[0]) for entry in entries.values() if entry.script == str(script)]
    return str(max(numbers)) if numbers else None
