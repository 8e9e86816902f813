import errno
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import toys
from toys import shell

from presight import card, owner
from presight.assembly import dump
from presight.errors import PresightError
from presight.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in card.payload(folder)}


def write(stage, path):
    path.write_text(json.dumps(dump(stage)))
    return str(path)


def test_an_artifact_is_made_once_and_found(store):
    stage = toys.Number(value=2)
    assert store.find(stage) is None
    made = store.perform(stage)
    assert made.path == store.root / "number" / stage.fingerprint
    assert json.loads((made.path / "number.json").read_text()) == 2
    assert made.card["counts"] == {"numbers": 1}
    assert made.card["attempts"] == 1
    again = store.perform(stage)
    assert again == made == store.find(stage)
    assert [each.path for each in store.artifacts()] == [made.path]
    assert not store.work(stage).exists()
    assert list((store.root / ".owners").iterdir()) == []


def test_the_card_holds_the_hash_of_every_file(store):
    made = store.perform(toys.Squares(count=3))
    assert {file["name"] for file in made.card["files"]} == {"0.txt", "1.txt", "2.txt", "number.json"}
    for file in made.card["files"]:
        assert card.digest(made.path / file["name"]) == file["sha256"]


@pytest.mark.parametrize("how", ["cut", "gone", "card"])
def test_a_broken_artifact_is_not_found_and_set_aside_when_made_again(store, how):
    stage = toys.Number(value=2)
    made = store.perform(stage)
    before = contents(made.path)
    if how == "cut":
        (made.path / "number.json").write_text("")
    elif how == "gone":
        (made.path / "number.json").unlink()
    else:
        (made.path / "card.json").unlink()
    broken = {path.name for path in made.path.iterdir()}
    assert store.find(stage) is None
    assert list(store.artifacts()) == []
    with pytest.raises(PresightError, match=r"toys.Add.left: its input number/.* is not in .*; run the recipe"):
        store.perform(toys.Add(left=stage))
    again = store.perform(stage)
    assert contents(again.path) == before
    (aside,) = (store.root / ".work").glob("broken-*")
    assert {path.name for path in aside.iterdir()} == broken


def test_a_failed_stage_publishes_nothing_and_continues(store, tmp_path):
    stage = toys.Fault(how="inside", once=str(tmp_path / "mark"))
    with pytest.raises(RuntimeError):
        store.perform(stage)
    assert store.find(stage) is None
    assert not store.path(stage).exists()
    assert not owner.alive(store.owner_file(stage.fingerprint))
    assert (store.work(stage) / "scratch" / "tries").read_text() == "x"
    made = store.perform(stage)
    assert made.card["attempts"] == 2
    assert made.card["counts"] == {"tries": 2}  # scratch was kept
    assert not store.work(stage).exists()


def test_a_full_disk_is_one_sentence_and_keeps_the_work(store, tmp_path, monkeypatch):
    stage = toys.Fault(how="full", once=str(tmp_path / "mark"))
    with pytest.raises(PresightError) as caught:
        store.perform(stage)
    assert caught.value.code == 2
    assert str(caught.value) == (
        f"{store.work(stage)}/payload/number.json: No space left on device; free space and run again: work is kept."
    )
    write_card = card.write

    def full(*arguments):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr("presight.card.write", full)
    with pytest.raises(PresightError, match=r"Disk quota exceeded; free space and run again: work is kept"):
        store.perform(stage)
    monkeypatch.setattr("presight.card.write", write_card)
    monkeypatch.setattr(toys.Fault, "run", None)  # the work itself is done and not done again
    assert store.perform(stage).card["attempts"] == 3


def test_a_full_disk_where_the_owner_is_written(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(owner.os, "pwrite", full)
    with pytest.raises(PresightError, match="free space and run again"):
        store.perform(toys.Number())


def test_other_faults_of_the_system_are_not_called_a_full_disk(store, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "/x")

    monkeypatch.setattr(toys.Number, "run", denied)
    with pytest.raises(PermissionError):
        store.perform(toys.Number())


class Killed(BaseException):
    """Stands for a kill: nothing that handles errors sees it."""


@pytest.mark.parametrize("where", ["replace", "rename", "rmtree"])
def test_a_kill_while_publishing(store, monkeypatch, where):
    """Killed before the card, before the artifact appears, and before its work folder goes."""
    stage = toys.Squares(count=2)
    undisturbed = contents(Store(store.root.parent / "other").perform(stage).path)

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        if where == "rmtree":
            real = shutil.rmtree
            patch.setattr(shutil, "rmtree", lambda path, **words: kill() if path == store.work(stage) else real(path))
        else:
            patch.setattr(type(store.root), where, kill)
        with pytest.raises(Killed):
            store.perform(stage)
    assert (store.find(stage) is not None) == (where == "rmtree")
    made = store.perform(stage)
    assert contents(made.path) == undisturbed
    assert store.find(stage)
    # … and if that artifact is lost later, what the kill left behind must not vouch for an empty one.
    (made.path / "number.json").write_text("")
    (store.work(stage) / "payload" / "log").mkdir(parents=True, exist_ok=True)  # as a worker opening its log does
    assert contents(store.perform(stage).path) == undisturbed


def test_shards_run_once_and_only_those_missing(store):
    stage = toys.Squares(count=3)
    store.perform_shard(stage, 1)
    store.perform_shard(stage, 1)
    assert store.missing_shards(stage) == [0, 2]
    assert store.find(stage) is None
    made = store.perform(stage)
    assert json.loads((made.path / "log" / "runs.json").read_text()) == [1, 1, 1]
    assert (made.path / "number.json").read_text() == "5"
    store.perform_shard(stage, 0)  # late: it is made, and nothing is begun
    assert not store.work(stage).exists()


def test_two_processes_on_one_stage(tmp_path):
    stage = toys.Add(left=toys.Number(value=1), steps=5, pause=0.3)
    Store(tmp_path / "store").perform(stage.left)
    file = write(stage, tmp_path / "stage.json")
    first, second = (shell.start("stage", file, "--wait", cwd=tmp_path) for _ in range(2))
    outcomes = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outcomes
    assert outcomes[0][0] == outcomes[1][0]
    made = Store(tmp_path / "store").find(stage)
    assert (made.path / "log" / "steps").read_text().split() == list("01234")  # each step once: nobody wrote beside
    assert made.card["attempts"] == 1
    assert list((tmp_path / "store" / ".work").iterdir()) == []


def test_kill_of_the_owner_then_a_rerun_takes_over(tmp_path):
    store = Store(tmp_path / "store")
    stage = toys.Add(left=toys.Number(value=1), steps=4, pause=0.4)
    store.perform(stage.left)
    process = shell.start("stage", write(stage, tmp_path / "stage.json"), cwd=tmp_path)
    end = time.monotonic() + 60
    while not (store.work(stage) / "scratch" / "step-1").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert owner.alive(store.owner_file(stage.fingerprint))
    process.kill()
    process.communicate()
    assert store.find(stage) is None
    told = []
    made = store.perform(stage, told.append)
    assert told == []
    assert made.card["attempts"] == 2
    steps = (made.path / "log" / "steps").read_text().split()
    assert sorted(set(steps)) == list("0123")
    assert steps.count("0") == steps.count("1") == 1  # went on where it stopped
    assert toys.read(made.path) == 2


def test_a_rerun_waits_for_the_child_of_a_killed_owner(tmp_path):
    store = Store(tmp_path / "store")
    stage = toys.Orphan(once=str(tmp_path / "mark"))
    process = subprocess.Popen(
        [shell.sys.executable, "-P", "-m", "presight", "stage", write(stage, tmp_path / "stage.json")],
        cwd=tmp_path,
        env=shell.environment(),
        stderr=subprocess.DEVNULL,
    )
    assert process.wait(timeout=60) == -signal.SIGKILL
    told = []
    made = store.perform(stage, told.append)
    assert [record["pid"] for record in told] == [process.pid]
    assert toys.read(made.path) == 1  # the child's file was there before the rerun began
    assert os.path.getsize(made.path / "child") == len("was here")
