import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from toys import shell

from presight import owner

HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from presight import owner
with owner.hold(Path(sys.argv[1]), poll=0.02):
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(60)
    if "exec" in sys.argv:
        subprocess.Popen(["sleep", "60"], close_fds=False)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Starts processes that hold a file until told to stop."""
    started = []

    def start(path, *words):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), *words],
            env=shell.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.communicate()


def held(path, seconds=0.3):
    """Whether `hold` has to wait."""
    entered = threading.Event()
    leave = threading.Event()

    def take():
        with owner.hold(path, poll=0.02):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    waits = not entered.wait(seconds)
    leave.set()
    return waits, thread


def write(path, age=0.0, **record):
    """The file of another owner, its last heartbeat ``age`` seconds ago."""
    path.write_text(json.dumps({**owner.record(), **record}))
    os.utime(path, (time.time() - age, time.time() - age))


def test_a_file_names_its_owner_and_goes_with_it(tmp_path):
    path = tmp_path / "a" / "x"
    with owner.hold(path):
        record = owner.read(path)
        assert record["pid"] == os.getpid()
        assert record["boot"] == owner.boot_id()
        assert {"host", "slurm_job", "slurm_restart", "since"} <= set(record)
        assert owner.alive(path)
    assert not path.exists()
    assert owner.read(path) is None
    assert not owner.alive(path)


def test_it_goes_when_the_work_fails(tmp_path):
    with pytest.raises(KeyError), owner.hold(tmp_path / "x"):
        raise KeyError
    assert not (tmp_path / "x").exists()


def test_the_second_waits_and_is_told_once_who_holds_it(tmp_path):
    path, order, told = tmp_path / "x", [], []

    def second():
        with owner.hold(path, told.append, poll=0.01):
            order.append("second")

    with owner.hold(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert [record["pid"] for record in told] == [os.getpid()]


def test_only_one_of_many_at_a_time(tmp_path):
    path, inside, most, entered = tmp_path / "x", [], [], []
    write(path, pid=1)  # and all find a dead owner's file at once

    def work():
        for _ in range(10):
            with owner.hold(path, poll=0.001):
                inside.append(1)
                most.append(len(inside))
                entered.append(1)
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(entered) == 80
    assert max(most) == 1
    assert not path.exists()


def test_a_killed_owner_is_followed(tmp_path, holder):
    path = tmp_path / "x"
    process = holder(path)
    assert owner.alive(path)
    assert owner.read(path)["pid"] == process.pid
    process.kill()
    process.wait()
    assert path.exists()
    assert not owner.alive(path)
    with owner.hold(path, poll=0.02):
        assert owner.read(path)["pid"] == os.getpid()


@pytest.mark.parametrize("how", ["fork", "exec"])
def test_a_survivor_keeps_the_lock_of_its_killed_parent(tmp_path, holder, how):
    path = tmp_path / "x"
    process = holder(path, how)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert owner.alive(path)
    waits, thread = held(path)
    assert waits
    os.killpg(process.pid, signal.SIGKILL)
    thread.join(5)
    assert not thread.is_alive()


def test_a_living_process_of_the_same_number_is_not_the_owner(tmp_path):
    path = tmp_path / "x"
    write(path, pid=os.getpid())  # the number was given again: nobody holds the lock
    assert not owner.alive(path)
    waits, thread = held(path)
    thread.join(5)
    assert not waits


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1'])
def test_a_record_cut_short_names_nobody(tmp_path, content):
    path = tmp_path / "x"
    path.write_text(content)
    assert owner.read(path) == {}
    assert not owner.alive(path)
    waits, thread = held(path)
    thread.join(5)
    assert not waits


def test_another_boot_is_judged_by_its_heartbeat(tmp_path):
    fresh, silent = tmp_path / "fresh", tmp_path / "silent"
    write(fresh, boot="elsewhere", host="node7", age=owner.SILENCE_SECONDS - 60)
    write(silent, boot="elsewhere", host="node7", age=owner.SILENCE_SECONDS + 60)
    assert owner.alive(fresh)
    assert not owner.alive(silent)
    waits, waiting = held(fresh)
    assert waits
    assert owner.read(fresh)["host"] == "node7"
    waits, thread = held(silent)
    thread.join(5)
    assert not waits
    os.utime(fresh, (0, 0))  # it falls silent: the one that waits takes over
    waiting.join(5)
    assert not waiting.is_alive()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".clock")]


def test_what_this_job_was_before_it_was_requeued_is_dead(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write(path, boot="elsewhere", host="node7", slurm_job="12", slurm_restart=None)
    assert owner.alive(path)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert owner.alive(path)  # another task of the same attempt
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert not owner.alive(path)
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    assert owner.alive(path)


def test_a_file_that_another_took_over_is_left_to_it(tmp_path):
    """After a long silence: who comes back must not take the new owner's file away."""
    path = tmp_path / "x"
    with owner.hold(path):
        write(path, host="node7", since=1.0)
    assert owner.read(path)["host"] == "node7"


def test_the_heartbeat(tmp_path, monkeypatch):
    monkeypatch.setattr(owner, "HEARTBEAT_SECONDS", 0.01)
    path = tmp_path / "x"
    with owner.hold(path):
        os.utime(path, (0, 0))
        end = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_a_file_that_another_took_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write(path)
    lock = fcntl.flock

    def late(file, how):
        monkeypatch.setattr(owner.fcntl, "flock", lock)
        path.unlink()  # the dead owner's file was taken over, its work done, and a third one began
        write(path, host="third")
        lock(file, how)

    monkeypatch.setattr(owner, "alive", lambda _: False)
    monkeypatch.setattr(owner.fcntl, "flock", late)
    assert owner._take(path) is None
    assert owner.read(path)["host"] == "third"


def test_looking_does_not_take(tmp_path):
    path = tmp_path / "x"
    write(path)
    assert not owner.alive(path)
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert owner.alive(path)
    assert path.exists()
