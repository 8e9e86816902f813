"""One process at a time works on a stage: an owner file that survives kills, shared disks and reused process ids."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HEARTBEAT_SECONDS = 20.0
SILENCE_SECONDS = 600.0  # a heartbeat older than this, by the file server's own clock, is silence


def boot_id() -> str:
    """Names one boot of one kernel: the same for every container on a machine, different after a restart."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def record() -> dict[str, Any]:
    """Who this process is."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot": boot_id(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "slurm_restart": os.environ.get("SLURM_RESTART_COUNT"),
        "since": time.time(),
    }


def read(path: Path) -> dict[str, Any] | None:
    """The owner on record, or None; a record cut short by a kill names nobody."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def alive(path: Path) -> bool:
    """Whether somebody holds ``path``: here, by the lock that its children inherit; elsewhere, by its heartbeat.

    The owner that this job was before SLURM requeued it is dead without waiting for silence.
    """
    owner = read(path)
    if owner is None:
        return False
    if owner.get("boot", boot_id()) != boot_id():
        return not _before(owner) and not _silent(path)
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False


def _before(owner: dict[str, Any]) -> bool:
    """Whether the owner is this very SLURM job before it was requeued: SLURM ends a job before it starts it again."""
    job, restart = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT", "0")
    return bool(job) and owner.get("slurm_job") == job and str(owner.get("slurm_restart") or "0") != restart


def _silent(path: Path) -> bool:
    probe = path.with_name(f".clock-{os.getpid()}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime > SILENCE_SECONDS
    except FileNotFoundError:
        return True
    finally:
        probe.unlink(missing_ok=True)


@contextmanager
def hold(path: Path, waiting: Callable[[dict[str, Any]], None] | None = None, poll: float = 0.5) -> Iterator[None]:
    """Hold ``path`` for the duration; wait while somebody alive does.

    The file is created with ``O_EXCL``, which holds on network disks, and locked with ``flock``, whose lock a child
    process inherits: after ``kill -9`` of the parent a rerun waits for the survivors instead of writing beside them.

    Args:
        path: the owner file.
        waiting: told once who holds it.
        poll: seconds between looks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    told = False
    while (file := _take(path)) is None:
        if waiting and not told and (owner := read(path)):
            waiting(owner)
            told = True
        time.sleep(poll)
    mine = (read(path) or {}).get("since")
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a network disk's hiccup must not end the heartbeat
                os.utime(file)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if (read(path) or {}).get("since") == mine:  # after a long silence it may be another's
            path.unlink(missing_ok=True)
        os.close(file)


def _take(path: Path) -> int | None:
    """The locked descriptor if ``path`` is now ours, else None."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        if alive(path):
            return None
        # The dead owner's file: whoever locks this very inode takes over; a name that moved on is another's.
        try:
            file = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_ino != os.stat(path).st_ino:
            raise FileNotFoundError
    except (BlockingIOError, FileNotFoundError):
        os.close(file)
        return None
    os.set_inheritable(file, True)
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(record()).encode(), 0)
    os.fsync(file)
    return file
