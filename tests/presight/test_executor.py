import json
import os
import signal
import time

import pytest
import toys
from toys import shell

from presight import card
from presight.executor import Display, Failure, Task, Worker, describe, execute, needed
from presight.stage import FrozenMap, Labelled
from presight.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", shell.PYTHONPATH)
    return Store(tmp_path / "store")


class Recorded(Display):
    def __init__(self):
        self.events = []

    def begin(self, task):
        self.events.append(("begin", task))

    def advance(self, task, event):
        self.events.append((event["event"], task))

    def end(self, task, seconds, failure):
        self.events.append(("end", task))


def total(*stages):
    return toys.Total(numbers=tuple(Labelled(FrozenMap({"a": str(i)}), each) for i, each in enumerate(stages)))


def names(stages):
    return {each.fingerprint for each in stages}


def test_a_graph_is_made_once_and_a_changed_seed_reruns_its_dependants_only(store):
    def graph(seed):
        shared, seeded = toys.Number(value=1), toys.Number(value=seed)
        middle = toys.Add(left=shared, right=5)
        return [total(middle, toys.Add(left=seeded))], shared, middle

    display = Recorded()
    targets, shared, middle = graph(2)
    outcome = execute(targets, store, display=display)
    assert len(outcome.ran) == 5
    assert outcome.failures == outcome.skipped == outcome.reused == []
    made = store.find(targets[0])
    assert json.loads((made.path / "total.json").read_text()) == {"a=0": 6, "a=1": 3}
    order = [task.stage.fingerprint for event, task in display.events if event == "end"]
    assert len(order) == 5
    for task in [task for event, task in display.events if event == "begin"]:
        begun = display.events.index(("begin", task))
        for parent in task.stage.inputs().values():  # nothing begins before its inputs are made
            assert display.events.index(("end", Task(parent))) < begun

    again = execute(targets, store)
    assert again.ran == []
    assert names(again.reused) == names(targets)

    targets, shared, middle = graph(3)
    changed = execute(targets, store)
    assert len(changed.ran) == 3
    assert names([shared, middle]).isdisjoint(names(changed.ran))
    assert names(changed.reused) == {middle.fingerprint}  # what stands behind it is not asked for


def test_what_stands_behind_a_found_stage_is_not_needed(store):
    top = toys.Add(left=toys.Number(value=4))
    store.perform(top.left)
    store.perform(top)
    (store.path(top.left) / "number.json").unlink()
    todo, found = needed([top, toys.Add(left=top)], store)
    assert [each.left for each in todo] == [top]
    assert found == [top]


@pytest.mark.parametrize(
    ("how", "code", "problem"),
    [
        ("user", 2, "toys.how: 'user' is a fault; choose another."),
        ("full", 2, "No space left on device; free space and run again: work is kept."),
        ("inside", 1, "RuntimeError: something inside broke"),
        ("die", 9, "its process ended with exit code 9"),
        ("killed", 1, "its process was killed by signal 9 (9 is often the kernel, out of memory)"),
    ],
)
def test_a_failure_stops_what_stands_on_it_and_nothing_else(store, how, code, problem):
    fault = toys.Fault(how=how)
    below = toys.Add(left=fault)
    fine = [toys.Add(left=toys.Number(value=value)) for value in range(2)]
    top = total(below, *fine)
    outcome = execute([top], store, jobs=1)
    assert names(outcome.ran) == names([*fine, *(each.left for each in fine)])
    assert names(outcome.skipped) == names([below, top])
    (failure,) = outcome.failures
    assert failure.stage == fault
    assert failure.code == code
    assert problem in failure.problem
    if code != 2:
        assert failure.log.exists()
        assert f"its log is {failure.log}." in describe(failure, "fault")
    if how == "inside":
        assert "Traceback" in failure.log.read_text()
        assert 'raise RuntimeError("something inside broke")' in failure.log.read_text()
    assert "\n" not in describe(failure, "fault")
    assert store.find(fault) is None
    assert (store.work(fault) / "scratch" / "tries").exists()


def test_a_failed_stage_continues_in_the_next_run(store, tmp_path):
    top = toys.Add(left=toys.Fault(how="killed", once=str(tmp_path / "mark")))
    outcome = execute([top], store)
    assert len(outcome.failures) == len(outcome.skipped) == 1
    outcome = execute([top], store)
    assert outcome.failures == outcome.skipped == []
    assert store.find(top.left).card["counts"] == {"tries": 2}
    assert store.find(top.left).card["attempts"] == 2


def test_several_failures_are_all_reported(store):
    faults = [toys.Fault(how=how) for how in ("user", "inside", "die")]
    outcome = execute([total(*faults)], store, jobs=2)
    assert {failure.stage.how for failure in outcome.failures} == {"user", "inside", "die"}
    assert len(outcome.skipped) == 1


def test_shards_run_side_by_side_and_one_finishes(store):
    stage = toys.Squares(count=5)
    display = Recorded()
    outcome = execute([toys.Total(numbers=()), stage], store, jobs=2, display=display)
    assert len(outcome.ran) == 2
    shards = [task.shard for event, task in display.events if event == "end" and task.stage == stage]
    assert sorted(shards[:-1]) == [0, 1, 2, 3, 4]
    assert shards[-1] is None
    made = store.find(stage)
    assert json.loads((made.path / "log" / "runs.json").read_text()) == [1] * 5
    assert {f"shard-0000{shard}.log" for shard in range(5)} < {path.name for path in (made.path / "log").iterdir()}


def test_a_killed_shard_is_redone_and_only_that(store, tmp_path):
    stage = toys.Squares(count=4, dies=2, once=str(tmp_path / "mark"))
    outcome = execute([stage], store, jobs=1)
    (failure,) = outcome.failures
    assert failure.log.name == "shard-00002.log"
    assert 2 in store.missing_shards(stage)
    done = set(range(4)) - set(store.missing_shards(stage))
    outcome = execute([stage], store, jobs=1)
    assert outcome.ran == [stage]
    made = store.find(stage)
    assert (made.path / "2.txt").read_text() == "4"
    runs = json.loads((made.path / "log" / "runs.json").read_text())
    assert runs[2] == 2
    assert all(runs[shard] == 1 for shard in done)
    other = Store(tmp_path / "other").perform(toys.Squares(count=4))
    assert made.card["files"] == other.card["files"]


def test_no_stage_follows_one_that_asks_for_its_own_process(store):
    kinds = [toys.Alone, toys.Surroundings, toys.Surroundings, toys.Alone, toys.Surroundings]
    stages = [kind(seed=seed) for seed, kind in enumerate(kinds)]
    wide = toys.Surroundings(seed=9, resources={"threads": 2})
    outcome = execute([*stages, wide], store, jobs=1)
    assert outcome.ran == [*stages, wide]
    seen = [json.loads((store.find(each).path / "seen.json").read_text()) for each in [*stages, wide]]
    first, second, third, fourth, fifth, last = (each["process"] for each in seen)
    assert first != second == third == fourth != fifth != last
    assert os.getpid() not in (first, second, fifth, last)
    assert [each["OMP_NUM_THREADS"] for each in seen] == ["1"] * 5 + ["2"]  # set before a library can read it
    assert seen[-1]["TOKENIZERS_PARALLELISM"] == "false"


def test_one_process_serves_many_stages(store):
    stages = [toys.Surroundings(seed=seed) for seed in range(3)]
    execute(stages, store, jobs=1)
    seen = [json.loads((store.find(each).path / "seen.json").read_text())["process"] for each in stages]
    assert len(set(seen)) == 1


def test_a_worker_that_died_between_two_stages_is_replaced(store):
    worker = Worker(store)
    assert worker.run(Task(toys.Number(value=2)), lambda event: None) is None
    worker.process.kill()
    worker.process.wait(timeout=10)
    assert worker.run(Task(toys.Number(value=3)), lambda event: None) is None
    worker.stop()
    assert store.find(toys.Number(value=3))


def test_an_interrupted_worker_shows_no_traceback(store, capfd):
    stage = toys.Add(left=toys.Number(), steps=200, pause=0.05)
    store.perform(stage.left)
    worker = Worker(store)
    failure = worker.run(Task(stage), lambda event: worker.process.send_signal(signal.SIGINT))
    assert "exit code 130" in failure.problem
    assert "Traceback" not in capfd.readouterr().err
    assert not store.owner_file(stage.fingerprint).exists()


def test_output_of_a_stage_is_in_its_log_and_progress_is_passed_on(store):
    display = Recorded()
    stage = toys.Add(left=toys.Number(), steps=3, pause=0.25)
    execute([stage], store, display=display)
    assert [event for event, task in display.events if task.stage == stage].count("progress") >= 2
    assert (store.find(stage).path / "log" / "run.log").exists()


def test_a_worker_waits_for_another_owner_and_says_so(store):
    stage = toys.Number(value=8)
    display = Recorded()
    path = store.owner_file(stage.fingerprint)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"boot": "elsewhere", "host": "node7", "pid": 1}))
    display.advance = lambda task, event: (display.events.append(event), path.unlink())
    outcome = execute([stage], store, display=display)
    assert [each["owner"]["host"] for each in display.events if isinstance(each, dict)] == ["node7"]
    assert outcome.ran == [stage]


def test_logs_are_no_payload(store):
    stage = toys.Number(value=1)
    execute([stage], store)
    made = store.find(stage)
    assert [path.name for path in card.payload(made.path)] == ["counts.json", "number.json"]


def test_describe():
    failure = Failure(toys.Number(), "x: is wrong; mend it.", 2)
    assert describe(failure, "n[a=1]") == "n[a=1]: x: is wrong; mend it."


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_keeps_the_work_and_says_so(tmp_path, number, code):
    (tmp_path / "toy.yaml").write_text(
        "stages: {n: {stage: toys.Number}, s: {stage: toys.Add, left: $n, steps: 400, pause: 0.05}}"
    )
    process = shell.start("run", "toy.yaml", "--jobs", "1", cwd=tmp_path)
    end = time.monotonic() + 60
    while not list(tmp_path.glob("store/.work/*/scratch/step-1")):
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "presight: interrupted; run again to continue where it stopped" in err
    time.sleep(0.2)
    steps = len(list(tmp_path.glob("store/.work/*/scratch/step-*")))
    time.sleep(0.3)
    assert steps == len(list(tmp_path.glob("store/.work/*/scratch/step-*")))  # no worker goes on
