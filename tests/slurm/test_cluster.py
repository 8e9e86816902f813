"""On a real SLURM: four nodes on this machine, started here and ended after. Run by `make test-cluster`."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from toy_processes import CHECKOUT, ENVIRONMENT

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
SBIN = f"{os.environ['PATH']}:/usr/sbin:/sbin"
MISSING = [each for each in PROGRAMS if not shutil.which(each, path=SBIN)]
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.getuid() != 0, reason="slurmd is started by root alone"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: slurm-wlm, munge)"),
    pytest.mark.skipif(not any(Path("/sys/fs/cgroup").glob("*")), reason="slurmd wants a mounted /sys/fs/cgroup"),
    pytest.mark.skipif(len(os.listdir("/sys/class/net")) < 2, reason="SLURM resolves no address with loopback alone"),
]
SCRIPTS = Path(__file__).parent / "cluster"
ARRAY = 8  # MaxArraySize: indices up to 7


class Cluster:
    """A SLURM in a folder, and recipes that are submitted to it."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **os.environ,
            **ENVIRONMENT,
            "PATH": SBIN,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests/toys'}",
            "PRESIGHT_CACHE": str(folder / "cache"),
        }

    def command(self, *words, check=True):
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def node(self, what, *numbers):
        self.command(SCRIPTS / "node", self.folder, what, *numbers)

    def queue(self):
        """State and reason by job, array tasks each on their own."""
        lines = self.command("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r|%Z").splitlines()
        return {line.split("|")[0]: tuple(line.split("|")[1:3]) for line in lines}

    def over(self, job):
        """The state in which a job ends."""
        going = ("PENDING", "RUNNING", "COMPLETING")
        return until(lambda: (state := self.queue()[job][0]) not in going and state, f"end of job {job}", self)

    def hasten(self):
        """A job that was requeued may begin after two minutes; here, at once."""
        for job, (state, reason) in self.queue().items():
            if state == "PENDING" and reason == "BeginTime":
                self.command("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)


def until(true, what, cluster=None, seconds=240):
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            raise AssertionError(f"no {what} after {seconds} s: {cluster.queue() if cluster else ''}")
        if cluster:
            cluster.hasten()
        time.sleep(0.5)
    return found


class Run:
    """One recipe in a root of its own."""

    def __init__(self, cluster, root, recipe=None, **profile):
        self.cluster, self.root = cluster, root
        root.mkdir(parents=True, exist_ok=True)
        self.recipe = "smoke"
        if recipe:
            self.recipe = root / f"{recipe['recipe']}.yaml"
            self.recipe.write_text(yaml.safe_dump(recipe, sort_keys=False))
        self.profile = root / "profile.yaml"
        site = {"partition": "low", "time": 30, "environment": {"DS_ACCELERATOR": "cpu"}, **profile}
        self.profile.write_text(yaml.safe_dump(site))
        self.name = recipe["recipe"] if recipe else "smoke"

    def presight(self, *words, check=True):
        command = [sys.executable, "-P", "-m", "presight", "slurm", *words, "--root", self.root]
        return self.cluster.command(*command, check=check)

    def submit(self, *options):
        return json.loads(self.presight("submit", self.recipe, "--profile", self.profile, "--json", *options))

    def retry(self):
        return json.loads(self.presight("retry", self.name, "--json"))

    def status(self):
        return {each["title"]: each for each in json.loads(self.presight("status", self.name, "--json"))}

    @property
    def folder(self):
        return self.root / "runs" / self.name / "slurm"

    def events(self):
        """Every line of every history."""
        return [line.split() for path in (self.folder / "events").iterdir() for line in path.read_text().splitlines()]

    def over(self):
        """Whether none of its jobs is under way."""
        ids = {job["id"] for job in json.loads((self.folder / "jobs.json").read_text())["jobs"]}
        ids |= {words[-1].partition("_")[0] for words in self.events() if words[0] == "followed"}
        states = {job: state for job, (state, _) in self.cluster.queue().items() if job.partition("_")[0] in ids}
        going = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD")
        return not any(state in going for state in states.values())

    def finish(self, seconds=240):
        until(self.over, "end of its jobs", self.cluster, seconds)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    made = Cluster(folder)
    made.command(SCRIPTS / "up", folder, ARRAY)
    yield made
    made.command(SCRIPTS / "down", folder, check=False)


def word(name, *before, **fields):
    return {"stage": "toy_jobs.Word", "word": name, "before": [f"${each}" for each in before], **fields}


def test_the_smoke_recipe_is_made_from_end_to_end(cluster, tmp_path):
    run = Run(cluster, tmp_path, array_limit=4)
    first = run.submit()
    arrays = [titles for name, titles in first["submitted"].items() if name.endswith("-tokens")]
    assert arrays[0] == ["tokens part 1", "tokens part 2"]
    again = run.submit()
    assert (again["submitted"], again["failed"], again["left"]) == ({}, [], 0)
    run.finish(900)
    found = run.status()
    assert {each["state"] for each in found.values()} == {"done"}
    assert {each["attempts"] for title, each in found.items() if title != "tokens"} == {1}
    assert found["tokens"]["attempts"] == 3
    assert (run.root / "runs/smoke/report.html").exists()
    text = next((run.root / "store").glob("*/*/card.json"))
    card = json.loads(text.read_text())
    assert card["attempts"] == 1
    assert run.submit()["submitted"] == {}


TRAINING = {
    "recipe": "training",
    "stages": {
        "text": {"stage": "corpus.Invented", "documents": 150},
        "tokenizer": {"stage": "corpus.Tokenizer", "documents": "$text", "vocabulary": 512},
        "tokens": {
            "stage": "corpus.Tokenize",
            "documents": "$text",
            "tokenizer": "$tokenizer",
            "parts": 2,
            "heldout": 0.1,
        },
        "mix": {
            "stage": "corpus.Mix",
            "tokens": "$tokens",
            "sources": {"web": 55, "code": 30, "math": 15},
            "budget": 24 * 16 * 64,
            "item": 64,
        },
        "lm": {
            "stage": "toy_jobs.Slow",
            "mixture": "$mix",
            "model": "tiny",
            "batch": 16,
            "learning_rate": 0.003,
            "milestones": 3,
            "pause": 1.5,
        },
    },
}
STEPS = 24


def metrics(folder):
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_training_on_two_nodes_loses_no_step_to_preemption_node_failure_and_a_cancelled_job(cluster, tmp_path):
    two = {"stages": {"lm": {"nodes": 2}}}
    calm = Run(cluster, tmp_path / "calm", TRAINING, **two)
    calm.submit("--set", "lm.pause=0")
    calm.finish()
    assert calm.status()["lm"]["attempts"] == 1
    undisturbed = next((calm.root / "store/checkpoint").iterdir())

    run = Run(cluster, tmp_path / "rough", TRAINING, **two)
    run.submit("--until", "mix")
    run.finish()
    run.submit()
    fingerprint = undisturbed.name
    payload = run.root / "store/.work" / fingerprint / "payload"
    rolling = payload.parent / "scratch/rolling"
    history = run.folder / "events" / fingerprint

    def began():
        return history.read_text().count("began") if history.exists() else 0

    def saved():
        marks = sorted(rolling.glob("step-*/COMPLETE"))
        return int(marks[-1].parent.name.partition("-")[2]) if marks else 0

    def stepped():
        """Steps that this attempt has taken: those that the log names after its beginning."""
        log = run.status()["lm"]["log"]
        lines = Path(log).read_text().splitlines() if log else []
        return sum(line.startswith("step ") for line in lines)

    def attempt(number, steps):
        """Wait for an attempt to have taken some steps."""
        until(lambda: began() == number, f"attempt {number}", cluster)
        before = stepped()
        until(lambda: stepped() >= before + steps, f"{steps} more steps", cluster)

    # SLURM takes all nodes for a job of the better partition, twice
    for number in (1, 2):
        before = saved()
        attempt(number, 3)
        job = cluster.command(
            *("sbatch", "--parsable", "--partition=high", "--nodes=4", "--exclusive", "--output=/dev/null"),
            *("--wrap", "sleep 2"),
        )
        cluster.over(job.strip())
        assert saved() >= before + 3

    # a node dies in the middle, with what runs on it
    attempt(3, 2)
    nodes = history.read_text().strip().splitlines()[-1].split()[-1]
    first = nodes.replace("[", "").removeprefix("node")[0]
    cluster.node("down", first)
    cluster.command("scontrol", "update", f"NodeName=node{first}", "State=DOWN", "Reason=test")
    until(lambda: began() == 4, "a fourth attempt", cluster)
    cluster.node("up", first)
    cluster.command("scontrol", "update", f"NodeName=node{first}", "State=RESUME", check=False)

    # a colleague cancels the job: it stays cancelled until it is submitted again, and goes on then
    attempt(4, 2)
    cancelled = run.status()["lm"]["job"]
    cluster.command("scancel", cancelled)
    assert cluster.over(cancelled) == "CANCELLED"
    time.sleep(3)
    assert run.status()["lm"]["state"] == "cancelled"
    assert list(run.submit()["submitted"].values()) == [["lm"]]
    run.finish()

    found = run.status()["lm"]
    assert found["state"] == "done", found
    assert found["attempts"] == 5
    assert found["tokens"] == [STEPS * 16 * 64] * 2
    made = run.root / "store/checkpoint" / fingerprint
    assert [line["step"] for line in metrics(made)] == list(range(1, STEPS + 1))
    assert metrics(made) == metrics(undisturbed)
    assert (made / "heldout.jsonl").read_text() == (undisturbed / "heldout.jsonl").read_text()
    assert (made / "ledger.json").read_text() == (undisturbed / "ledger.json").read_text()
    assert (made / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()


def test_a_failed_stage_cancels_what_waits_for_it_and_retry_completes_the_graph(cluster, tmp_path):
    mended = tmp_path / "mended"
    recipe = {
        "recipe": "failing",
        "axes": {"init": {"a": "zero", "b": "one"}},
        "stages": {
            "text": word("text"),
            "bad": {
                "stage": "toy_jobs.Ends",
                "word": "bad",
                "codes": [2] * 9,
                "unless": str(mended),
                "before": ["$text"],
            },
            "seed": {"stage": "toy_jobs.Word", "word": "$init"},
            "next": word("next", "bad", "seed"),
            "fine": word("fine", "text", "seed"),
            "end": {"stage": "toy_jobs.Word", "word": "end", "before": ["$next[init=a]", "$next[init=b]"]},
        },
    }
    run = Run(cluster, tmp_path, recipe)
    run.submit()
    run.finish()
    found = run.status()
    states = {title: each["state"] for title, each in found.items()}
    assert states.pop("bad") == "failed"
    assert {title for title, state in states.items() if state == "cancelled"} == {
        "next[init=a]",
        "next[init=b]",
        "end",
    }
    assert {title for title, state in states.items() if state == "done"} == set(states) - {
        "next[init=a]",
        "next[init=b]",
        "end",
    }
    assert "ends with 2" in found["bad"]["problem"]
    by_hand = subprocess.run(
        ["bash", "-c", found["bad"]["command"]], capture_output=True, text=True, check=False, env=cluster.environment
    )
    assert by_hand.returncode == 2
    assert "ends with 2" in by_hand.stderr
    shown = run.presight("status", run.name)
    assert "by hand: PYTHONPATH=" in shown
    again = run.submit()
    assert again["submitted"] == {}
    assert again["failed"] == ["bad", "end", "next[init=a]", "next[init=b]"]
    mended.touch()
    retried = run.retry()
    assert sorted(title for titles in retried["submitted"].values() for title in titles) == again["failed"]
    run.finish()
    assert {each["state"] for each in run.status().values()} == {"done"}
    made = (run.root / "runs/failing/end/word.txt").read_text()
    assert made == "text bad zero next text bad one next end"


def test_an_array_larger_than_the_limit_is_cut_and_submitting_twice_makes_one_graph(cluster, tmp_path):
    recipe = {
        "recipe": "wide",
        "stages": {
            "parts": {"stage": "toy_jobs.Parts", "word": "p", "count": ARRAY + 3},
            "end": word("end", "parts"),
        },
    }
    run = Run(cluster, tmp_path, recipe, max_submit=10)
    first = run.submit()
    assert [len(titles) for titles in first["submitted"].values()] == [ARRAY, 2]
    assert first["left"] == 3
    run.finish()
    second = run.submit()
    assert [len(titles) for titles in second["submitted"].values()] == [1, 1, 1]
    assert run.submit()["submitted"] == {}
    run.finish()
    assert {each["state"] for each in run.status().values()} == {"done"}
    text = (run.root / "runs/wide/end/word.txt").read_text()
    assert text == " ".join([*(f"p{shard}" for shard in range(ARRAY + 3)), "end"])
    assert sum(words[0] == "began" for words in run.events()) == ARRAY + 3 + 2


@pytest.mark.parametrize("requeue", [True, False])
def test_exit_codes_say_what_happens_next(cluster, tmp_path, requeue):
    ends = {
        "goes_on": [85, 85],
        "bad_node": [86, 86],
        "held": [87],
        "diverged": [88],
    }
    stages = {name: {"stage": "toy_jobs.Ends", "word": name, "codes": codes} for name, codes in ends.items()}
    after = {f"after_{name}": word(f"after_{name}", name) for name in ends}
    run = Run(cluster, tmp_path, {"recipe": "ends", "stages": {**stages, **after}}, requeue=requeue)
    run.submit()

    def settled():
        states = {title: each["state"] for title, each in run.status().items()}
        done = {"goes_on", "after_goes_on", "bad_node", "after_bad_node"}
        return states if all(states[name] == "done" for name in done) and states["held"] == "held" else None

    states = until(settled, "end but for what is held", cluster)
    assert states["diverged"] == "failed"
    assert states["after_diverged"] == "cancelled"
    assert states["after_held"] == "waiting"
    found = run.status()
    assert "ends with 88" in found["diverged"]["problem"]
    assert found["goes_on"]["attempts"] == found["bad_node"]["attempts"] == 3
    tries = (run.root / "runs/ends/bad_node/log/tries").read_text().splitlines()
    assert len(set(tries)) == 3
    retried = run.retry()
    assert sorted(title for titles in retried["submitted"].values() for title in titles) == [
        "after_diverged",
        "diverged",
    ]
    run.finish()
    assert {each["state"] for each in run.status().values()} == {"done"}


def test_a_warning_cuts_what_cannot_save_itself_and_it_goes_on(cluster, tmp_path):
    recipe = {"recipe": "cut", "stages": {"long": {"stage": "toy_jobs.Ends", "word": "long", "sleep": 300.0}}}
    run = Run(cluster, tmp_path, recipe)
    run.submit()
    until(lambda: next((run.root / "store/.work").glob("*/payload/log/tries"), None), "beginning", cluster)
    cluster.command("scancel", "--batch", "--signal=USR1", run.status()["long"]["job"])
    run.finish()
    found = run.status()["long"]
    assert (found["state"], found["attempts"]) == ("done", 2)


def test_cancel_ends_the_jobs_and_submitting_goes_on(cluster, tmp_path):
    recipe = {
        "recipe": "stopped",
        "stages": {"long": {"stage": "toy_jobs.Ends", "word": "long", "sleep": 300.0}, "after": word("after", "long")},
    }
    run = Run(cluster, tmp_path, recipe)
    run.submit()
    until(lambda: next((run.root / "store/.work").glob("*/payload/log/tries"), None), "beginning", cluster)
    assert run.presight("cancel", run.name, "long").startswith("1 jobs cancelled")
    run.finish()
    assert {each["state"] for each in run.status().values()} == {"cancelled"}
    run.submit()
    run.finish()
    assert {each["state"] for each in run.status().values()} == {"done"}
    assert "store" in run.presight("logs", run.name, "after")


def test_a_profile_is_checked_with_a_job_of_its_own(cluster, tmp_path):
    run = Run(cluster, tmp_path)
    found = json.loads(run.presight("check", run.profile, "--json"))
    assert (found["state"], found["problem"]) == ("COMPLETED", "")
    assert found["site"]["MaxArraySize"] == str(ARRAY)
    assert found["seen"]["code"].startswith(str(run.root / "store/.code"))
    assert found["seen"]["GPUs"] == "none"
    run.profile.write_text("partition: nowhere\n")
    assert run.presight("check", run.profile, check=False) == ""
