import json

import pytest

from presight.errors import PresightError
from slurm import ledger
from slurm.events import History
from slurm.jobs import Place
from slurm.ledger import Ledger, Submitted, condition
from slurm.queue import Entry

PLACE = Place("17", 3)


def written(folder):
    made = Ledger(folder, {"root": "/r"}, {"f": {"title": "lm"}})
    made.jobs = [
        Submitted(1, "lm", "jobs/0001-lm.sbatch", {"0": "f", "3": "g"}, "17"),
        Submitted(2, "lm", "jobs/0002-lm.sbatch", {"": "g"}, "20"),
        Submitted(3, "end", "jobs/0003-end.sbatch", {"": "e"}),
    ]
    made.write()
    return made


def test_a_ledger_is_read_as_it_was_written(tmp_path):
    made = written(tmp_path / "slurm")
    assert Ledger.read(tmp_path / "slurm") == made
    assert made.places() == {"f": Place("17", 0), "g": Place("20")}
    with pytest.raises(PresightError, match="has no jobs under"):
        Ledger.of(tmp_path, "none")


def test_a_kill_while_it_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    made = written(tmp_path)
    before = (tmp_path / ledger.NAME).read_text()
    made.jobs.pop()
    monkeypatch.setattr(json, "dump", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made.write()
    assert (tmp_path / ledger.NAME).read_text() == before


def test_a_job_without_a_number_is_found_by_its_script_or_forgotten(tmp_path):
    made = written(tmp_path)
    made.adopt({"31": Entry("31", "PENDING", script=str(tmp_path / "jobs/0003-end.sbatch"))})
    assert made.jobs[-1].id == "31"
    made = written(tmp_path)
    made.adopt({"31": Entry("31", "PENDING", script="/elsewhere/jobs/0003-end.sbatch")})
    assert [job.number for job in made.jobs] == [1, 2]


def test_what_went_on_for_a_job_is_where_its_task_is(tmp_path):
    made = written(tmp_path)
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "f").write_text("followed 17_0 0 1000 40_0\nfollowed 40_0 0 1001 41_0\n")
    assert made.places()["f"] == Place("41", 0)
    log = tmp_path / "jobs" / "0001-lm-41_0.log"
    assert made.log(Place("41", 0), "f") is None
    log.parent.mkdir()
    log.touch()
    assert made.log(Place("41", 0), "f") == log


@pytest.mark.parametrize(
    ("entry", "history", "accounted", "state"),
    [
        (("RUNNING", "None"), History(), "", "running"),
        (("COMPLETING", "None"), History(1, "17_3", code=1), "", "running"),
        (("PENDING", "Priority"), History(), "", "pending"),
        (("PENDING", "BeginTime"), History(1, "17_3", code=85), "", "pending"),
        (("PENDING", "Dependency"), History(), "", "waiting"),
        (("PENDING", "DependencyNeverSatisfied"), History(), "", "cancelled"),
        (("PENDING", "JobHeldUser"), History(), "", "held"),
        (("PENDING", "job requeued in held state"), History(1, "17_3", code=87), "", "held"),
        (("FAILED", "NonZeroExitCode"), History(1, "17_3", code=2), "", "failed"),
        (("FAILED", "NonZeroExitCode"), History(1, "17_3", code=85), "", "lost"),
        (("FAILED", "RaisedSignal"), History(), "", "failed"),
        (("OUT_OF_MEMORY", "OutOfMemory"), History(1, "17_3"), "", "failed"),
        (("TIMEOUT", "TimeLimit"), History(1, "17_3"), "", "failed"),
        (("CANCELLED", "Dependency"), History(1, "9", code=1), "", "cancelled"),
        (("CANCELLED", "None"), History(1, "17_3", code=85), "", "cancelled"),
        (("NODE_FAIL", "NodeDown"), History(1, "17_3"), "", "lost"),
        (None, History(1, "17_3", code=1), "", "failed"),
        (None, History(1, "9", code=1), "", "lost"),
        (None, History(1, "17_3"), "OUT_OF_MEMORY", "failed"),
        (None, History(1, "17_3"), "CANCELLED", "cancelled"),
        (None, History(1, "17_3", code=0), "COMPLETED", "lost"),  # its artifact was purged
        (None, History(), "", "lost"),
    ],
)
def test_how_a_task_stands(entry, history, accounted, state):
    found = Entry("17_3", *entry) if entry else None
    assert condition(PLACE, found, history, accounted) == state
    assert condition(None, None, History()) == "new"
