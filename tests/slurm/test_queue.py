import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_jobs import Table

from presight.errors import PresightError
from slurm import queue
from slurm.queue import Entry

# as SLURM 22.05 printed it
SQUEUE = """1|COMPLETED|None|2026-11-29T11:13:26|(null)|/tmp/trial/j.sh
2_5|PENDING|job requeued in held state|2026-11-29T11:19:30|(null)|/tmp/trial/bad.sh
3_5|PENDING|Dependency|N/A|aftercorr:2_*(unfulfilled)|/tmp/trial/c.sh
4_0|PENDING|Dependency|N/A|afterok:2_3(unfulfilled),afterok:2_5(unfulfilled)|/tmp/tri|al/c.sh
5|RUNNING|None|2026-11-29T11:17:27|(null)|(null)

"""


def test_the_queue_is_read():
    found = queue.squeue(SQUEUE)
    assert list(found) == ["1", "2_5", "3_5", "4_0", "5"]
    assert found["3_5"] == Entry("3_5", "PENDING", "Dependency", "N/A", "aftercorr:2", "/tmp/trial/c.sh")
    assert found["4_0"].dependency == "afterok:2_3,afterok:2_5"
    assert found["4_0"].script == "/tmp/tri|al/c.sh"
    assert [job for job, entry in found.items() if entry.live] == ["2_5", "3_5", "4_0", "5"]
    assert [job for job, entry in found.items() if entry.held] == ["2_5"]
    assert queue.squeue("") == {}
    assert queue.of_script(found, "/tmp/trial/bad.sh") == "2"
    assert queue.of_script(found, "/tmp/trial/none.sh") is None


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("", {}),
        ("17|COMPLETED\n17.batch|COMPLETED\n17.0|COMPLETED\n", {"17": "COMPLETED"}),
        ("18_3|CANCELLED by 1000\n18_4|OUT_OF_MEMORY\n", {"18_3": "CANCELLED", "18_4": "OUT_OF_MEMORY"}),
        ("19_[5-9]|PENDING\n20|NODE_FAIL+\n", {"20": "NODE_FAIL"}),
    ],
)
def test_accounts_are_read_without_steps(text, states):
    assert queue.sacct(text) == states


def test_records_and_the_configuration_are_read():
    record = (
        "JobId=6 ArrayJobId=2 ArrayTaskId=3 JobName=bad.sh JobState=PENDING Reason=BeginTime Dependency=(null) "
        "Requeue=1 Restarts=1 ExitCode=0:0 ReqNode ExcNodeList=node1,node[3-4] Command=/a b/c.sh Power= "
    )
    found = queue.scontrol(record)
    assert found["JobState"] == "PENDING"
    assert found["ExcNodeList"] == "node1,node[3-4]"
    assert found["Restarts"] == "1"
    assert found["Command"] == "/a b/c.sh"
    config = "Configuration data as of 2026-11-29T11:17:30\nMaxArraySize            = 1001\nPreemptMode  = REQUEUE\n"
    assert queue.scontrol(config) == {"MaxArraySize": "1001", "PreemptMode": "REQUEUE"}


jobs = st.from_regex(r"[1-9]\d{0,3}(_\d{1,2})?", fullmatch=True)
dependencies = st.lists(st.tuples(st.sampled_from(["afterok", "aftercorr"]), jobs), max_size=4)


@given(dependencies, jobs, jobs)
def test_a_rewired_dependency_waits_for_the_same_jobs_and_the_new_one(before, old, new):
    given = ",".join(f"{kind}:{job}" for kind, job in before)
    printed = ",".join(f"{kind}:{job}{'' if '_' in job else '_*'}(unfulfilled)" for kind, job in before) or "(null)"
    assert queue.waited(printed) == given
    parts = queue.rewired(given, new).split(",")
    assert parts[-1] == f"afterok:{new}"
    assert parts[:-1] == [f"{kind}:{job}" for kind, job in before]
    waits = any(job in (old, old.split("_")[0]) for _, job in before)
    assert queue.names(given, old) == waits


def test_a_job_inherits_nothing_of_the_one_that_submits_it(monkeypatch):
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_CPUS_PER_TASK", "RANK", "SLURM_CONF", "SLURMY"):
        monkeypatch.setenv(name, "1")
    found = queue.environment()
    assert {"SLURM_CONF", "SLURMY", "PATH"} <= set(found)
    assert not {"SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_CPUS_PER_TASK", "RANK"} & set(found)


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(queue.time, "sleep", lambda _: None)
    return tmp_path


def test_a_busy_controller_is_asked_again_and_a_refusal_is_said(path):
    program(
        path,
        "squeue",
        f"echo x >>{path}/calls; [ $(wc -l <{path}/calls) = 3 ] && echo '5|RUNNING|None|N/A|(null)|s' && exit 0\n"
        "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
    )
    assert list(queue.queue()) == ["5"]
    program(path, "scontrol", "echo 'Invalid job id specified' >&2; exit 1")
    with pytest.raises(PresightError, match="scontrol: Invalid job id specified"):
        queue.command("scontrol", "release", "5")
    with pytest.raises(PresightError, match="none-such: is no command here; go to a login node"):
        queue.command("none-such")


def test_an_sbatch_that_was_heard_though_it_timed_out_is_not_sent_twice(path, tmp_path):
    script = tmp_path / "0001-a.sbatch"
    program(path, "sbatch", f"echo x >>{path}/sent; echo 'Socket timed out on send/recv operation' >&2; exit 1")
    program(path, "squeue", f"echo '9|PENDING|None|N/A|(null)|{script}'")
    assert queue.sbatch(script) == "9"
    assert (path / "sent").read_text() == "x\n"
    program(path, "sbatch", "echo 'error: AssocMaxSubmitJobLimit' >&2; exit 1")
    with pytest.raises(queue.Full, match="AssocMaxSubmitJobLimit"):
        queue.sbatch(script)
    program(path, "sbatch", "echo '77;cluster'")
    assert queue.sbatch(script) == "77"


def test_accounting_is_not_needed(path):
    program(path, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert queue.accounted(["5"]) == {}
    program(path, "sacct", "echo '5_1|FAILED'")
    assert queue.accounted(["5_1"]) == {"5_1": "FAILED"}
    assert queue.accounted([]) == {}


def test_limits_come_from_the_configuration(monkeypatch):
    monkeypatch.setattr(queue, "command", Table(array=9))
    assert queue.limits(True).array == 9
    assert re.search("MaxArraySize", Table()("scontrol", "show", "config"))
