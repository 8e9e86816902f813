import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import toys
from toys import shell as processes

from presight import card, owner
from presight.assembly import dump
from presight.store import Store

TOY = """
recipe: toy
axes: {a: [1, 2]}
stages:
  n: {stage: toys.Number, value: $a}
  s: {stage: toys.Add, left: $n, right: 0.5}
  t: {stage: toys.Total, numbers: "$s[*]"}
"""


@pytest.fixture
def shell(monkeypatch, capfd, tmp_path):
    return processes.Shell(monkeypatch, capfd, tmp_path)


def test_run_plan_status_show_gc(shell, tmp_path):
    name = shell.write(TOY)
    code, out, err = shell("run", name, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["recipe"] == "toy"
    assert sorted(found["ran"]) == ["n[a=1]", "n[a=2]", "s[a=1]", "s[a=2]", "t"]
    assert (found["reused"], found["failed"], found["skipped"]) == (0, {}, [])
    assert json.loads((tmp_path / "runs" / "toy" / "t" / "total.json").read_text()) == {"a=1": 1.5, "a=2": 2.5}
    for part in ("toy: 5 stages to make, 0 found", "✓ [5/5] t", "toy: 5 stages made"):
        assert part in err

    assert json.loads(shell("run", name, "--json")[1])["ran"] == []
    code, out, err = shell("run", name, "--set", "s.right=1", "--json")
    assert sorted(json.loads(out)["ran"]) == ["s[a=1]", "s[a=2]", "t"]

    code, out, _ = shell("plan", name)
    assert "everything is made" in out
    assert [each["state"] for each in json.loads(shell("status", "--json")[1])] == ["done"] * 8
    code, out, _ = shell("show", "runs/toy/t")
    assert "toys.Total → total" in out
    # What is in runs/ is of the last override; both are roots.
    assert json.loads((tmp_path / "runs" / "toy" / "t" / "total.json").read_text()) == {"a=1": 2.0, "a=2": 3.0}
    assert json.loads(shell("gc", "--json")[1]) == {}
    code, out, _ = shell("gc", "--forget", "toy", "--delete", "--json")
    assert len(json.loads(out)) == 8
    assert "nothing is made yet" in shell("status")[1]


def test_until_and_root(shell, tmp_path):
    name = shell.write(TOY)
    code, out, _ = shell("run", name, "--until", "n", "--root", "elsewhere", "--json")
    assert code == 0
    assert sorted(json.loads(out)["ran"]) == ["n[a=1]", "n[a=2]"]
    assert (tmp_path / "elsewhere" / "runs" / "toy" / "n" / "a=1" / "number.json").exists()
    assert json.loads(shell("gc", "--root", "elsewhere", "--json")[1]) == {}  # begun on purpose: kept
    assert not (tmp_path / "store").exists()


def test_report(shell, tmp_path):
    name = shell.write(TOY)
    code, _, err = shell("report", name)
    assert (code, err) == (2, f"presight: runs/toy/report.html: is not there; presight run {name}.\n")
    (tmp_path / "runs" / "toy").mkdir(parents=True)
    (tmp_path / "runs" / "toy" / "report.html").write_text("x")
    assert shell("report", name)[:2] == (0, "runs/toy/report.html\n")


def test_show_stage_then_stage(shell, tmp_path):
    stage = toys.Add(left=toys.Number(value=3), right=toys.Number(value=4))
    store = Store(tmp_path / "store")
    for each in (stage.left, stage.right, stage):
        store.perform(each)
    code, out, _ = shell("show", stage.fingerprint, "--stage")
    (tmp_path / "stage.json").write_text(out)
    before = (store.path(stage) / "number.json").read_bytes()
    (store.path(stage) / "card.json").unlink()
    code, out, err = shell("stage", "stage.json")
    assert (code, out) == (0, f"store/number/{stage.fingerprint}\n"), err
    assert (store.path(stage) / "number.json").read_bytes() == before


def test_a_second_process_on_one_stage_is_refused_or_waits(shell, tmp_path):
    stage, store = toys.Number(value=3), Store(tmp_path / "store")
    (tmp_path / "n.json").write_text(json.dumps(dump(stage)))
    with owner.hold(store.owner_file(stage.fingerprint)):
        code, out, err = shell("stage", "n.json")
        assert (code, out) == (2, "")
        assert f"presight: n.json: process {os.getpid()} on " in err
        assert err.endswith("is at it; stop that, or let this one follow with --wait.\n")
        assert store.find(stage) is None
        second = processes.start("stage", "n.json", "--wait", cwd=tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(3)
        assert store.find(stage) is None
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (0, f"store/number/{stage.fingerprint}\n"), err


def test_one_shard(shell, tmp_path):
    stage = toys.Squares(count=2)
    (tmp_path / "s.json").write_text(json.dumps(dump(stage)))
    (tmp_path / "n.json").write_text(json.dumps(dump(toys.Number())))
    assert shell("stage", "s.json", "--shard", "1")[0] == 0
    assert Store(tmp_path / "store").missing_shards(stage) == [0]
    for file, shard in (("s.json", "2"), ("s.json", "-1"), ("n.json", "0")):
        code, _, err = shell("stage", file, f"--shard={shard}")
        assert code == 2
        assert f"has no shard {shard}; leave it out" in err


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"root": "x", "stages": []}', '{"root": 1, "stages": {"a": 1}}'])
def test_no_stage(shell, tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    code, _, err = shell("stage", "x.json")
    assert code == 2
    assert err.startswith("presight: x.json: is no stage (")
    assert err.count("\n") == 1


N = "stages: {n: {stage: toys.Number, value: 1}}"


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        (N.replace("value", "valeu"), ("run",), ["n.valeu: toys.Number has no such field", "did you mean value?"]),
        (N.replace("1", "x"), ("run",), ["stages.n.value: 'x' should be a valid number", "see `presight schema"]),
        (N.replace("Number", "Nubmer"), ("plan",), ["stages.n.stage: toys has no stage 'Nubmer'", "mean Number?"]),
        (N.replace("toys", "toyz"), ("plan",), ["'toyz.Number' is in no importable package", "write package.Name"]),
        (N, ("run", "--set", "m.value=1"), ["--set m.value: 'm' is no stage or axis", "known: n"]),
        (N, ("run", "--scale", "big"), ["--scale big: toy.yaml has no such scale", "none is known here"]),
        (N, ("run", "--until", "m"), ["--until m: is no stage of the recipe", "known: n"]),
        (N + "\nstages: {}", ("run",), ["toy.yaml, line 2: 'stages' is given twice", "keep one of them"]),
        ("axes: {a: [1]}\n" + N, ("run",), ["axes.a: is used by no stage"]),
        ("stages: {s: {stage: toys.Add, left: $s}}", ("plan",), ["s → s is a circle"]),
        ("stages: [", ("plan",), ["toy.yaml, line 1: is not YAML"]),
        (
            "stages: {q: {stage: toys.Squares}, s: {stage: toys.Add, left: $q}}",
            ("run",),
            ["stages.s.left: toys.Squares", "'squares', but number is needed"],
        ),
    ],
)
def test_a_fault_is_one_sentence_and_exit_code_2(shell, tmp_path, text, words, parts):
    name = shell.write(text)
    code, out, err = shell(words[0], name, *words[1:])
    assert code == 2
    assert out == ""
    assert err.startswith("presight: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("run", "quikstart"), "did you mean quickstart?"),
        (("show", "abcdef"), "names no artifact"),
        (("gc", "--forget", "x"), "is no registered recipe; known: none"),
        (("schema", "toys.Nope"), "toys has no stage 'Nope'"),
        (("stage", "nowhere.json"), "nowhere.json: is no stage"),
    ],
)
def test_other_faults(shell, words, part):
    code, _, err = shell(*words)
    assert code == 2
    assert err.startswith("presight: ")
    assert err.count("\n") == 1
    assert part in err


def test_a_root_that_is_no_folder(shell, tmp_path):
    name = shell.write(N)
    (tmp_path / "file").write_text("")
    code, _, err = shell("run", name, "--root", "file")
    assert code == 2
    assert err.startswith("presight: file/store")
    assert "Not a directory; check the path" in err


def test_true_processes_show_no_traceback_unless_asked(tmp_path):
    (tmp_path / "toy.yaml").write_text(N.replace("value", "valeu"))
    code, _, err = processes.presight_process("run", "toy.yaml", cwd=tmp_path)
    assert code == 2
    assert err == "presight: stages.n.valeu: toys.Number has no such field; did you mean value?\n"
    code, _, err = processes.presight_process("run", "toy.yaml", "--debug", cwd=tmp_path)
    assert code != 0
    assert "Traceback" in err
    assert "PresightError: stages.n.valeu" in err


def test_usage_errors(shell):
    assert shell("run")[0] == 2
    assert shell("nonsense")[0] == 2
    assert shell("run", "x", "--jobs", "0")[0] == 2
    assert shell("--help")[0] == 0


def test_failures_of_stages_and_their_exit_code(shell, tmp_path):
    text = """
stages:
  f: {{stage: toys.Fault, how: {how}, once: {mark}}}
  s: {{stage: toys.Add, left: $f}}
  n: {{stage: toys.Number}}
"""
    for how, expected in (("full", 2), ("inside", 1)):
        name = shell.write(text.format(how=how, mark=tmp_path / how))
        code, out, err = shell("run", name, "--json")
        assert code == expected
        found = json.loads(out)
        assert found["skipped"] == ["s"]
        assert list(found["failed"]) == ["f"]
        assert "Traceback" not in err
        assert "1 stages wait for that; what is done is kept, run again to continue" in err
        sentence = "No space left on device; free space and run again: work is kept." if how == "full" else "broke"
        assert sentence in err
        assert (tmp_path / "runs" / "toy" / "n" / "card.json").exists()
        code, out, err = shell("run", name, "--json")
        assert code == 0
        assert json.loads(out)["ran"] == ["f", "s"]
        assert json.loads((tmp_path / "runs" / "toy" / "f" / "card.json").read_text())["counts"] == {"tries": 2}


def test_what_is_left_out_is_said(shell):
    name = shell.write("stages: {n: {stage: toys.Number}, f: {stage: toys.File, path: gone}}")
    code, _, err = shell("run", name)
    assert code == 0
    assert "left out: gone: is not there; write it." in err


def test_help_imports_nothing_heavy(tmp_path):
    program = """
import sys
sys.argv = ["presight", "--help"]
from presight.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
print("loaded:", [name for name in ("torch", "pydantic", "yaml", "numpy") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=processes.environment(),
        check=True,
    )
    assert "quickstart" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


KILLED = """
recipe: killed
axes: {a: [1, 2]}
stages:
  n: {stage: toys.Number, value: $a, shares: {x: 0.5}}
  s: {stage: toys.Add, left: $n, steps: 4, pause: 0.04}
  q: {stage: toys.Squares, count: 3, pause: 0.05}
  t: {stage: toys.Total, numbers: "$s[*]"}
  b: {stage: toys.Add, left: "$s[a=2]", right: "$s[a=1]", steps: 3, pause: 0.03}
"""


def payloads(root):
    return {
        f"{path.relative_to(root)}/{file.relative_to(path)}": file.read_bytes()
        for path in root.glob("store/[!.]*/*")
        for file in card.payload(path)
    }


def test_killed_at_random_moments_it_completes_with_the_same_bytes(shell, tmp_path):
    """Also when only the leader is killed, so that workers of the last run are still at work beside the next."""
    name = shell.write(KILLED)
    began = time.monotonic()
    assert shell("run", name, "--root", "undisturbed")[0] == 0
    whole = time.monotonic() - began
    dice = random.Random(11)
    killed, started = 0, []
    for attempt in range(6):
        process = processes.start("run", name, "--root", "disturbed", cwd=tmp_path)
        time.sleep(whole * (0.3 + 0.5 * dice.random()))  # a share of what it takes here: machines differ
        if process.poll() is None:
            killed += 1
            if attempt % 2:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        started.append(process)
    assert killed
    code, _, err = shell("run", name, "--root", "disturbed")
    assert code == 0, err
    for process in started:
        process.communicate(timeout=60)
    expected = payloads(tmp_path / "undisturbed")
    assert len(expected) == 12
    assert payloads(tmp_path / "disturbed") == expected
    states = {each["state"] for each in json.loads(shell("status", "--root", "disturbed", "--json")[1])}
    assert states <= {"done", "stopped"}  # stopped: a work folder left by a kill after its artifact was in place
    assert len([each for each in Store(tmp_path / "disturbed" / "store").artifacts()]) == 7


def test_two_runs_of_one_recipe_share_the_work(tmp_path):
    (tmp_path / "toy.yaml").write_text(KILLED.replace("0.04", "0.1"))
    both = [processes.start("run", "toy.yaml", "--json", cwd=tmp_path) for _ in range(2)]
    outcomes = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outcomes
    artifacts = list(Store(tmp_path / "store").artifacts())
    assert len(artifacts) == 7
    assert all(each.card["attempts"] == 1 for each in artifacts)
    assert list((tmp_path / "store" / ".work").iterdir()) == []
    for file in (tmp_path / "store").glob("number/*/log/steps"):
        steps = file.read_text().split()
        assert len(steps) == len(set(steps))
    assert (tmp_path / "runs" / "killed" / "t").resolve().is_dir()
