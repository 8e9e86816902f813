import json
import os
import subprocess
import sys

import pytest
from toy_jobs import Table, Word
from toy_processes import CHECKOUT

from presight.errors import PresightError
from slurm import events, queue, watch
from slurm.ledger import Ledger, Submitted
from slurm.watch import Standing


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Two models of a grid, one at work and one that failed; a sharded stage; and what waits."""
    table = Table()
    monkeypatch.setattr(queue, "command", table)
    monkeypatch.setattr(queue, "accounted", lambda jobs: {})
    folder = tmp_path / "runs/toy/slurm"
    titles = {"aaaaaaaa": "lm[init=0]", "bbbbbbbb": "lm[init=1]", "cccccccc": "parts", "dddddddd": "end"}
    stages = {
        key: {"title": title, "kind": "word", "tokens": 1000 if "lm" in title else 0, "shards": 3 * (title == "parts")}
        for key, title in titles.items()
    }
    made = Ledger(folder, {"root": str(tmp_path), "python": "python3"}, stages)
    made.jobs = [
        Submitted(1, "lm", "jobs/0001-lm.sbatch", {"0": "aaaaaaaa", "1": "bbbbbbbb"}, "1", code="/c ode"),
        Submitted(2, "parts", "jobs/0002-parts.sbatch", {str(n): f"cccccccc.{n}" for n in range(3)}, "2"),
        Submitted(3, "parts", "jobs/0003-parts.sbatch", {"": "cccccccc"}, "3"),
        Submitted(4, "end", "jobs/0004-end.sbatch", {"": "dddddddd"}, "4"),
    ]
    made.write()
    for name in ("jobs", "events"):
        (folder / name).mkdir()
    states = {"1_0": "RUNNING", "1_1": "FAILED", "2_0": "COMPLETED", "2_1": "RUNNING", "2_2": "PENDING"}
    for job, state in {**states, "3": "PENDING", "4": "PENDING"}.items():
        table.entries[job] = queue.Entry(job, state, "Dependency" if job in "34" else "None")
    (folder / "events/aaaaaaaa").write_text("began 1_0 0 1000 node1\nbegan 1_0 1 1200 node2\n")
    (folder / "events/bbbbbbbb").write_text("began 1_1 0 1000 node1\nended 1_1 0 1010 88\n")
    log = folder / "jobs/0001-lm-1_1.log"
    log.write_text("warming up\npresight: loss: is nan at step 5; lower it.\nsrun: error: node1: task 0: Exited\n\n")
    work = tmp_path / "store/.work"
    payload = work / "aaaaaaaa/payload"
    (payload / "log").mkdir(parents=True)
    lines = [json.dumps({"step": n, "tokens": 100 * n, "loss": 5 - n / 4}) for n in range(1, 5)]
    (payload / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 5, "tok')
    (payload / "log/speed.jsonl").write_text('{"step": 4, "tokens_per_second": 20.0}\n')
    (work / "cccccccc/shards").mkdir(parents=True)
    (work / "cccccccc/shards/00000").touch()
    return made


def test_each_stage_says_how_it_stands(site):
    found = {each.title: each for each in watch.standings(site)}
    running = found["lm[init=0]"]
    assert (running.state, running.job, running.attempts) == ("running", "1_0", 2)
    assert (running.tokens, running.loss, running.left) == ((400, 1000), 4.0, 30.0)
    failed = found["lm[init=1]"]
    assert (failed.state, failed.problem) == ("failed", "presight: loss: is nan at step 5; lower it.")
    assert failed.log.endswith("0001-lm-1_1.log")
    assert failed.command == (
        f"PYTHONPATH='/c ode' python3 -P -m presight stage {site.folder}/stages/bbbbbbbb.json"
        f" --root {site.arguments['root']}"
    )
    assert (found["parts"].state, found["parts"].job, found["parts"].parts) == ("running", "2_1", (1, 3))
    assert found["end"].state == "waiting"


def test_what_is_made_is_done_whatever_became_of_its_job(site, tmp_path):
    stage = Word(word="end")
    from presight.store import Store

    Store(tmp_path / "store").perform(stage)
    site.stages[stage.fingerprint] = site.stages.pop("dddddddd")
    site.jobs[-1].tasks = {"": stage.fingerprint}
    assert {each.title: each.state for each in watch.standings(site)}["end"] == "done"


def test_the_grid_is_a_table_of_stages_by_state(site, capsys):
    watch.show(watch.standings(site), as_json=False)
    shown = capsys.readouterr().out
    header, row = [line.split() for line in shown.splitlines() if line.split()[:1] in (["stage"], ["lm"])][:2]
    assert header == ["stage", "waiting", "running", "failed", "attempts", "tokens", "loss", "time", "left"]
    assert row == ["lm", "1", "1", "3", "400", "of", "2k", "4.000", "30", "s"]
    assert "lm[init=1] failed (job 1_1): presight: loss: is nan at step 5; lower it." in shown
    assert "by hand: PYTHONPATH=" in shown
    assert "1 failed, 2 running, 1 waiting" in shown
    watch.show(watch.standings(site), as_json=True)
    assert len(json.loads(capsys.readouterr().out)) == 4


def test_a_part_that_failed_makes_its_stage_fail(site):
    site.folder.joinpath("events/cccccccc.1").write_text("began 2_1 0 1 n\nended 2_1 0 2 1\n")
    queue.command.becomes("2_1", "FAILED")
    part = next(each for each in watch.standings(site) if each.title == "parts")
    assert (part.state, part.job) == ("failed", "2_1")
    assert part.command.endswith("--shard 1")


def test_logs_are_found_by_title_name_and_fingerprint(site, capsys):
    for name in ("lm", "lm[init=1]", "bbbbbb"):
        watch.logs(site, name, 3, follow=False)
        assert capsys.readouterr().out.splitlines()[1:3] == [
            "presight: loss: is nan at step 5; lower it.",
            "srun: error: node1: task 0: Exited",
        ]
    with pytest.raises(PresightError, match="has written no log yet"):
        watch.logs(site, "end", 3, follow=False)
    with pytest.raises(PresightError, match="was not submitted; did you mean parts"):
        watch.logs(site, "part", 3, follow=False)


def test_cancel_names_the_tasks_that_are_under_way_and_no_other(site):
    assert watch.cancel(site, "lm") == ["1_0"]
    assert queue.command.said[-1] == ("scancel", "1_0")
    assert watch.cancel(site, None) == ["1_0", "2_1", "2_2", "3", "4"]
    queue.command.becomes("1_0", "CANCELLED")
    assert watch.cancel(site, "lm[init=0]") == []


@pytest.mark.parametrize(
    ("text", "entry", "said"),
    [
        ("", None, "left no log"),
        ("", queue.Entry("1", "OUT_OF_MEMORY", "OutOfMemory"), "OUT_OF_MEMORY: OutOfMemory"),
        ("one\ntwo\n", None, "two"),
        ("Traceback\nValueError: bad\nsrun: error: x\n", None, "ValueError: bad"),
        ("slurmstepd: error: Detected 1 oom_kill event\n", None, "slurmstepd: error: Detected 1 oom_kill event"),
    ],
)
def test_the_problem_is_the_last_line_that_says_one(tmp_path, text, entry, said):
    log = tmp_path / "log"
    log.write_text(text)
    assert watch._problem(log, entry) == said
    assert watch._problem(None, entry) in (said, "left no log", "OUT_OF_MEMORY: OutOfMemory")


def test_an_empty_grid_and_no_history_are_shown_too(capsys):
    watch.show([Standing("a", "a", "new")], as_json=False)
    assert "1 new" in capsys.readouterr().out
    assert events.History().newest("3") == "3"


def test_the_commands_say_what_is_wrong_in_a_sentence(tmp_path):
    def presight(*words):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "presight", "slurm", *words, "--root", str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PATH": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    code, said = presight("status", "smoke")
    assert (code, said.count("\n")) == (2, 1)
    assert "recipe 'smoke': has no jobs under" in said
    code, said = presight("submit", "smoke", "--profile", "site")
    assert code == 2
    assert "--profile site: there is no such file" in said
    profile = tmp_path / "p.yaml"
    profile.write_text("{}")
    code, said = presight("submit", "smoke", "--profile", str(profile))
    assert code == 2
    assert "squeue: is no command here; go to a login node of the cluster" in said
