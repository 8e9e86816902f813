"""A profile tried out: a job of a minute, and what it saw."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from presight.errors import PresightError
from presight.stage import FrozenMap, Stage
from slurm import queue
from slurm.jobs import Job, Task
from slurm.script import Setting, beginning, launch

MINUTES = 4  # half of them before a warning
MARK = "seen: "
PROBE = """
import os, platform, socket, sys
import presight
def seen(name, value):
    print("seen: " + name + " " + str(value), flush=True)
seen("node", socket.gethostname())
seen("python", platform.python_version() + " at " + sys.executable)
seen("code", os.path.dirname(os.path.dirname(presight.__file__)))
seen("cores", len(os.sched_getaffinity(0)))
probe = os.path.join(sys.argv[1], ".probe-" + os.environ.get("SLURM_JOB_ID", "0"))
open(probe, "w").close()
os.remove(probe)
seen("root", "can be written")
import torch
seen("torch", torch.__version__)
found = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
seen("GPUs", ", ".join(found) or "none")
"""


class Probe(Stage):
    """Asks for what a stage that runs on many would."""

    kind = "probe"
    parallel = True


@dataclass(frozen=True, slots=True)
class Check:
    """What a profile's job saw.

    Attributes:
        job: SLURM's number.
        state: that it ended in.
        seen: from within, by name.
        site: of the configuration, by name.
        log: all that it printed.
        problem: why it does not do; empty where it does.
    """

    job: str
    state: str
    seen: dict[str, str] = field(default_factory=dict)
    site: dict[str, str] = field(default_factory=dict)
    log: Path = Path()
    problem: str = ""


def script(setting: Setting) -> str:
    """The job's batch script: the profile's own beginning, on one node, and a look around."""
    short = setting.profile.model_copy(update={"time": str(MINUTES), "nodes": 1, "stages": FrozenMap()})
    job = Job("check", {None: Task("check", "check", "check", Probe())})
    start = shlex.join([*setting.interpreter(), "-c", PROBE, str(setting.root)])
    srun = " ".join(("srun --ntasks=1", *launch(setting)))
    return f"{beginning(job, 'check', replace(setting, profile=short))}\n{srun} {start}\n"


def check(setting: Setting, patience: float, waiting: Callable[[queue.Entry], None]) -> Check:
    """Submit the job and wait for its end.

    Args:
        setting: of a submission with the profile; ``folder`` takes script and log.
        patience: seconds to wait for it.
        waiting: told what the queue says whenever that changes.

    Raises:
        PresightError: it is refused, or is not over in time (it is cancelled then).
    """
    path = setting.folder / "jobs" / "check.sbatch"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(setting))
    try:
        job = queue.sbatch(path)
    except queue.Full as full:
        raise PresightError("sbatch", str(full), "wait until some of your jobs are over") from full
    end, last = time.monotonic() + patience, None
    while (entry := queue.queue().get(job)) and entry.live:
        if (entry.state, entry.reason) != last:
            last = entry.state, entry.reason
            waiting(entry)
        if time.monotonic() > end:
            queue.command("scancel", job)
            mend = "ask for less, or wait longer with --wait"
            raise PresightError(f"job {job}", f"is {entry.state} ({entry.reason}) after {patience:.0f} s", mend)
        time.sleep(1)
    log = path.parent / f"check-{job}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    seen = dict(line.removeprefix(MARK).split(" ", 1) for line in lines if line.startswith(MARK))
    state = entry.state if entry else "gone"
    asked = setting.profile.gpus or 0
    problem = ""
    if state not in ("COMPLETED", "gone") or "GPUs" not in seen:
        said = [line for line in lines if line.strip() and not line.startswith(MARK)]
        problem = said[-1] if said else f"{state} and no word of it: is {log.parent} on a disk that the nodes share?"
    elif (asked and seen["GPUs"].count(",") + 1 < asked) or (asked and seen["GPUs"] == "none"):
        problem = f"{asked} GPUs were asked for, and seen: {seen['GPUs']}"
    return Check(job, state, seen, _site(), log, problem)


def _site() -> dict[str, str]:
    """What of the site's configuration a submission depends on."""
    found = queue.scontrol(queue.command("scontrol", "show", "config"))
    keys = ("SLURM_VERSION", "MaxArraySize", "MaxJobCount", "JobRequeue", "PreemptMode", "KillWait", "MinJobAge")
    accounting = found.get("AccountingStorageType", "accounting_storage/none")
    kept = "kept" if shutil.which("sacct") and not accounting.endswith("/none") else "none: not needed"
    return {**{key: found[key] for key in keys if key in found}, "accounting": kept}
