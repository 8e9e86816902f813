"""Submission against a cluster that is a table: what is submitted, when, and what is not submitted again."""

import functools
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_jobs import Table

from presight import recipe as recipes
from presight.errors import PresightError
from presight.expansion import expand
from presight.store import Store
from slurm import queue, submission
from slurm.ledger import Ledger
from slurm.profile import Profile
from slurm.script import Setting

RECIPE = """
recipe: toy
axes:
  init: [0, 1, 2]
stages:
  text: {stage: toy_jobs.Word, word: text}
  parts: {stage: toy_jobs.Parts, word: part, count: 5, before: [$text]}
  seed: {stage: toy_jobs.Word, word: $init}
  lm: {stage: toy_jobs.Ends, word: lm, before: [$parts, $seed]}
  scores: {stage: toy_jobs.Word, word: scores, before: [$lm]}
  report: {stage: toy_jobs.Word, word: report, before: ["$scores[init=a]", "$scores[init=b]", "$scores[init=c]"]}
""".replace("[0, 1, 2]", "{a: zero, b: one, c: two}")


class Site:
    """A recipe, a store and a table of jobs."""

    def __init__(self, root, monkeypatch, table=None, **profile):
        self.root, self.table = root, table or Table()
        self.profile = Profile(**profile)
        self.store = Store(root / "store")
        root.mkdir(parents=True, exist_ok=True)
        (root / "toy.yaml").write_text(RECIPE)
        self.graph = functools.cache(self._graph)
        self.folder = root / "runs/toy/slurm"
        monkeypatch.setattr(queue, "command", self.table)
        monkeypatch.setattr(queue, "accounted", lambda jobs: {})

    def _graph(self, *overrides):
        return expand(recipes.read(str(self.root / "toy.yaml"), None, overrides))

    def submit(self, *overrides, **options):
        setting = Setting("toy", self.root, self.folder, self.root / "code", self.root, "python3", self.profile)
        arguments = {"root": str(self.root), "python": "python3"}
        return submission.submit(self.graph(*overrides), self.store, setting, arguments=arguments, **options)

    @property
    def ledger(self):
        return Ledger.read(self.folder)

    def make(self, *names):
        """Perform stages and let their jobs end."""
        ledger = self.ledger
        titles = self.graph().titles()
        for each in self.graph().instances:
            if each.name in names or each.title in names:
                self.store.perform(each.stage)
        for key, place in ledger.places().items():
            name = titles[key.partition(".")[0]]
            if name in names or name.partition("[")[0] in names:
                self.table.becomes(str(place), "COMPLETED", "None")

    def fail(self, title, code):
        key = next(key for key, name in self.graph().titles().items() if name == title)
        place = str(self.ledger.places()[key])
        submission.note(self.folder, key, "began", place, "node1")
        submission.note(self.folder, key, "ended", place, str(code))
        self.table.becomes(place, "FAILED", "NonZeroExitCode")
        return key


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Site(tmp_path, monkeypatch)


def sizes(found):
    return [(job.name, len(job.tasks)) for job in found.jobs.values()]


GRAPH = [("text", 1), ("seed", 3), ("parts", 5), ("parts", 1), ("lm", 3), ("scores", 3), ("report", 1)]


def test_a_graph_is_submitted_once_with_its_edges(site):
    found = site.submit()
    assert sizes(found) == GRAPH
    assert site.table.dependencies == {
        "1": "",
        "2": "",
        "3": "afterok:1",
        "4": "afterok:3",
        "5": "afterok:4,aftercorr:2",
        "6": "aftercorr:5",
        "7": "afterok:6",
    }
    again = site.submit()
    assert (sizes(again), again.going, again.left, again.failed) == ([], 17, 0, [])
    assert site.table.number == 7


def test_scripts_and_stages_are_kept_with_the_run(site):
    site.submit()
    scripts = sorted(path.name for path in (site.folder / "jobs").iterdir())
    assert scripts == [f"{n:04d}-{name}.sbatch" for n, (name, _) in enumerate(GRAPH, 1)]
    assert len(list((site.folder / "stages").glob("*.json"))) == 1 + 1 + 3 * 3 + 1
    record = json.loads((site.folder / "jobs.json").read_text())
    assert [job["id"] for job in record["jobs"]] == [str(n) for n in range(1, 8)]


def test_done_stages_and_shards_are_not_submitted(site):
    parts = next(each.stage for each in site.graph().instances if each.name == "parts")
    for each in site.graph().instances:
        if each.name in ("text", "seed"):
            site.store.perform(each.stage)
    for shard in (1, 3):
        site.store.perform_shard(parts, shard)
    found = site.submit()
    assert sizes(found) == [("parts", 3), ("parts", 1), ("lm", 3), ("scores", 3), ("report", 1)]
    assert found.done == 4


def test_a_purged_file_is_noticed_by_its_size_and_its_stage_alone_made_again(site):
    for each in site.graph().instances:
        if each.name != "report":
            site.store.perform(each.stage)
    assert sizes(site.submit(dry=True)) == [("report", 1)]
    lm = next(each.stage for each in site.graph().instances if each.title == "lm[init=b]")
    (site.store.path(lm) / "word.txt").write_text("")
    assert sizes(site.submit(dry=True)) == [("report", 1)]  # nothing that is still to be made reads it
    scores = next(each.stage for each in site.graph().instances if each.title == "scores[init=b]")
    (site.store.path(scores) / "word.txt").unlink()
    assert sizes(site.submit(dry=True)) == [("lm", 1), ("scores", 1), ("report", 1)]


def test_a_bigger_grid_submits_only_what_is_new(site):
    site.submit()
    site.make("text", "seed", "parts", "lm[init=a]")
    wider = "init={a: zero, b: one, c: two, d: three}"
    found = site.submit(wider)
    assert sizes(found) == [("seed", 1), ("lm", 1), ("scores", 1)]
    assert site.table.dependencies["9"] == "afterok:8"


def test_waves_are_topped_up_by_submitting_again(tmp_path, monkeypatch):
    site = Site(tmp_path, monkeypatch, max_submit=7)
    first = site.submit()
    assert (sizes(first), first.left) == ([("text", 1), ("seed", 3), ("parts", 3)], 10)
    assert site.submit().jobs == {}
    site.make("text", "seed")
    second = site.submit()
    assert (sizes(second), second.left) == ([("parts", 2), ("parts", 1), ("lm", 1)], 6)
    assert site.table.dependencies["4"] == ""
    assert site.table.dependencies["5"] == "afterok:4:3_0:3_1:3_2"


def test_a_site_that_takes_no_more_is_topped_up_too(tmp_path, monkeypatch):
    site = Site(tmp_path, monkeypatch, Table(room=6))
    found = site.submit()
    assert (sizes(found), found.left) == ([("text", 1), ("seed", 3)], 13)
    assert "Job violates" in found.full
    site.make("text", "seed")
    assert sizes(site.submit()) == [("parts", 5), ("parts", 1)]


def test_a_failure_waits_for_retry_and_all_that_stands_on_it_with_it(site):
    site.submit()
    site.make("text", "seed", "parts", "lm[init=a]", "lm[init=c]")
    site.fail("lm[init=b]", 1)
    for place in ("6_1", "7"):
        site.table.becomes(place, "CANCELLED", "DependencyNeverSatisfied")
    found = site.submit()
    assert sizes(found) == []
    assert sorted(task.title for task in found.failed) == ["lm[init=b]", "report", "scores[init=b]"]
    other = site.submit(retry=["scores"])
    assert sizes(other) == []
    again = site.submit(retry=[])
    assert sizes(again) == [("lm", 1), ("scores", 1), ("report", 1)]
    assert site.table.dependencies["10"] == "afterok:9:6_0:6_2"


def test_what_slurm_is_about_to_cancel_is_not_counted_on(site):
    site.submit()
    site.make("text", "seed", "parts", "lm[init=a]", "lm[init=c]")
    site.fail("lm[init=b]", 1)
    site.table.becomes("6_1", "PENDING", "DependencyNeverSatisfied")
    site.table.becomes("7", "PENDING", "DependencyNeverSatisfied")
    assert sizes(site.submit(retry=[])) == [("lm", 1), ("scores", 1), ("report", 1)]


@pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL", "PREEMPTED", ""])
def test_what_did_not_fail_by_itself_is_submitted_again(site, state):
    site.submit()
    site.make("text", "seed", "parts")
    for place in ("5_1", "6_1", "7"):
        if state:
            site.table.becomes(place, state)
        else:  # so long ago that the queue has forgotten it
            del site.table.entries[place]
    assert sizes(site.submit()) == [("lm", 1), ("scores", 1), ("report", 1)]


@pytest.mark.parametrize("state", ["OUT_OF_MEMORY", "TIMEOUT"])
def test_what_would_end_the_same_way_is_not(site, state):
    site.submit()
    site.make("text", "seed", "parts")
    site.table.becomes("5_1", state)
    assert site.submit().jobs == {}


def test_a_held_job_is_released_by_retry(site):
    site.submit()
    site.table.becomes("1", "PENDING", "job requeued in held state")
    assert site.submit().jobs == {}
    assert site.submit(retry=["lm"]).jobs == {}
    assert not any("release" in words for words in site.table.said)
    assert site.submit(retry=[]).jobs == {}
    assert ("scontrol", "release", "1") in site.table.said


def test_a_submission_killed_after_sbatch_loses_no_job(site, monkeypatch):
    write, written = Ledger.write, Counter()

    def killed(ledger):
        written["times"] += 1
        if written["times"] == 4:  # the second job is sent, its number not yet written down
            raise KeyboardInterrupt
        write(ledger)

    monkeypatch.setattr(Ledger, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        site.submit()
    monkeypatch.setattr(Ledger, "write", write)
    assert [job.id for job in site.ledger.jobs] == ["1", None]
    found = site.submit()
    assert sizes(found) == GRAPH[2:]
    assert site.table.number == 7
    counts = Counter(key for job in site.ledger.jobs for key in job.tasks.values())
    assert set(counts.values()) == {1}


def test_a_refused_job_leaves_what_was_taken(site):
    send = site.table.sbatch

    def refuse(*words):
        if site.table.number == 2:
            raise PresightError("sbatch", "Invalid account")
        return send(*words)

    site.table.sbatch = refuse
    with pytest.raises(PresightError, match="Invalid account"):
        site.submit()
    assert [job.id for job in site.ledger.jobs] == ["1", "2"]
    site.table.sbatch = send
    assert sizes(site.submit()) == GRAPH[2:]


def test_the_warning_leads_by_three_times_the_longest_save(site):
    site.submit()
    site.make("text", "seed", "parts")
    key = site.fail("lm[init=b]", 85)
    place = str(site.ledger.places()[key])
    with (site.folder / "events" / key).open("a") as file:
        file.write(f"ended {place} 0 1000 85 70\n")
    site.table.becomes(place, "CANCELLED")
    found = site.submit()
    scripts = [found.scripts[name] for name, job in found.jobs.items() if job.name == "lm"]
    assert len(scripts) == 1
    assert "--signal=B:USR1@210" in scripts[0]
    assert "--signal=B:USR1@120" in (site.folder / "jobs/0005-lm.sbatch").read_text()


def test_without_requeue_another_job_goes_on_and_what_waits_is_rewired(tmp_path, monkeypatch):
    site = Site(tmp_path, monkeypatch, requeue=False)
    site.submit()
    assert not any("aftercorr" in each for each in site.table.dependencies.values())
    key = next(key for key, name in site.graph().titles().items() if name == "lm[init=b]")
    place = str(site.ledger.places()[key])
    waiting = [job for job, entry in site.table.entries.items() if queue.names(entry.dependency, place)]
    new = submission.anew(site.folder, place, key, 2, exclude="node3")
    assert new == str(site.table.number) + (f"_{place.partition('_')[2]}" if "_" in place else "")
    assert any("--exclude=node3" in words for words in site.table.said)
    updates = [words[2:] for words in site.table.said if words[:2] == ("scontrol", "update")]
    assert sorted(words[0] for words in updates) == sorted(f"JobId={job}" for job in waiting) != []
    assert all(words[1].endswith(f",afterok:{new}") for words in updates)
    assert str(site.ledger.places()[key]) == new
    site.table.becomes(place, "COMPLETED")
    assert site.submit().jobs == {}
    newer = submission.anew(site.folder, new, key, 2, hold=True)
    assert str(site.ledger.places()[key]) == newer
    with pytest.raises(PresightError, match="went on 2 times"):
        submission.anew(site.folder, newer, key, 2)


def perform(store, stage, key):
    """What the job of a task does."""
    if "." in key:
        store.perform_shard(stage, int(key.partition(".")[2]))
    else:
        store.perform(stage)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_it_goes_no_task_is_twice_in_the_queue_and_all_is_made(tmp_path_factory, monkeypatch, data):
    room = data.draw(st.integers(6, 30))
    site = Site(tmp_path_factory.mktemp("site"), monkeypatch, Table(array=data.draw(st.integers(2, 9)), room=room))
    todo = {each.stage.fingerprint: each.stage for each in site.graph().instances}
    for _ in range(40):
        site.submit(retry=[])
        places = site.ledger.places()
        live = [key for key, place in places.items() if site.table.entries[str(place)].live]
        everyone = [
            key
            for job in site.ledger.jobs
            for key, place in job.places().items()
            if site.table.entries[str(place)].live
        ]
        assert sorted(everyone) == sorted(live)
        ready = [
            key
            for key in live
            if all(site.store.find(parent) for parent in todo[key.partition(".")[0]].inputs().values())
        ]
        if not ready:
            break
        key = data.draw(st.sampled_from(sorted(ready)))
        stage, how = todo[key.partition(".")[0]], data.draw(st.sampled_from(["good", "good", "good", "CANCELLED"]))
        if how == "good":
            perform(site.store, stage, key)
        site.table.becomes(str(places[key]), "COMPLETED" if how == "good" else how)
    while site.submit(retry=[]).jobs or any(entry.live for entry in site.table.entries.values()):
        for key, place in sorted(site.ledger.places().items(), key=lambda item: "." not in item[0]):
            stage = todo[key.partition(".")[0]]
            if all(site.store.find(parent) for parent in stage.inputs().values()):
                (
                    site.store.perform_shard(stage, int(key.partition(".")[2]))
                    if "." in key
                    else site.store.perform(stage)
                )
                site.table.becomes(str(place), "COMPLETED")
    assert all(site.store.find(each.stage) for each in site.graph().instances)


def test_folders_are_never_empty_for_runs_links_are_cleared_of_those(site):
    site.submit()
    folders = [path for path in Path(site.folder).rglob("*") if path.is_dir()]
    assert {path.name for path in folders} == {"jobs", "stages", "events"}
    assert all(any(path.iterdir()) for path in folders)
