import json

import pytest

from presight import planner, recipe
from presight.expansion import expand
from presight.store import Store

TEXT = """
recipe: toy
axes: {a: [1, 2, 3]}
threads: 1
stages:
  n: {stage: toys.Number, value: $a}
  s: {stage: toys.Add, left: $n}
  t: {stage: toys.Total, numbers: "$s[*]"}
"""


@pytest.fixture
def made(tmp_path):
    (tmp_path / "toy.yaml").write_text(TEXT)
    return expand(recipe.read(str(tmp_path / "toy.yaml"))), Store(tmp_path / "store")


def lines(plan):
    return {line.name: line for line in plan.lines}


def test_a_plan_says_what_is_to_run(made):
    graph, store = made
    plan = planner.plan(graph, store)
    found = lines(plan)
    assert list(found) == ["n", "s", "t"]
    assert found["n"].instances == ["n[a=1]", "n[a=2]", "n[a=3]"]
    assert [(line.done, line.to_run) for line in plan.lines] == [(0, 3), (0, 3), (0, 1)]
    assert [line.tokens for line in plan.lines] == [30, 0, 0]
    assert found["s"].inputs == ["n"]
    assert found["t"].inputs == ["s"]
    assert found["t"].design == ["adds 3 numbers"]
    each = planner.SECONDS_EACH
    assert found["s"].seconds == pytest.approx(3 * each)
    assert found["n"].seconds == pytest.approx(3 * (each + 1e6 / planner.FLOPS_PER_SECOND))
    total = sum(line.seconds for line in plan.lines)
    assert plan.minutes * 60 == pytest.approx(max(total / plan.jobs, 3 * each), rel=0.01)
    assert store.root.exists() is False  # planning writes nothing


def test_more_workers_cannot_beat_the_longest_chain(made, monkeypatch):
    graph, store = made
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    plan = planner.plan(graph, store)
    assert plan.jobs == 64
    assert plan.minutes * 60 == pytest.approx(3 * planner.SECONDS_EACH, rel=0.01)


def test_a_plan_knows_what_is_done_and_what_is_not_needed(made, capsys):
    graph, store = made
    for each in graph.instances[:3]:
        store.perform(each.stage)
    done = [(line.done, line.to_run) for line in planner.plan(graph, store).lines]
    numbers = sum(each.name == "n" for each in graph.instances[:3])
    assert done == [(numbers, 3 - numbers), (3 - numbers, numbers), (0, 1)]
    for each in graph.instances:
        store.perform(each.stage)
    for each in graph.instances:
        if each.name != "t":
            (store.path(each.stage) / "number.json").unlink()
    plan = planner.plan(graph, store)
    assert [(line.done, line.to_run) for line in plan.lines] == [(0, 0), (0, 0), (1, 0)]
    assert plan.minutes == 0
    planner.show(plan, as_json=False)
    out = capsys.readouterr().out
    assert out.count("not needed") == 2
    assert "everything is made" in out


def test_what_was_measured_here_is_used(made):
    graph, store = made
    before = lines(planner.plan(graph, store))["s"].seconds
    artifact = None
    for each in graph.instances:
        if each.title in ("n[a=1]", "s[a=1]"):
            artifact = store.perform(each.stage)
    path = artifact.path / "card.json"
    card = json.loads(path.read_text())
    card["seconds"] = 10 * planner.SECONDS_EACH
    path.write_text(json.dumps(card))
    after = lines(planner.plan(graph, store))
    assert after["s"].to_run == 2
    assert after["s"].seconds == pytest.approx(before / 3 * 2 * 10)
    assert after["t"].seconds == pytest.approx(planner.SECONDS_EACH)


def test_a_card_of_an_earlier_release_times_nothing(made):
    graph, store = made
    before = lines(planner.plan(graph, store))["s"].seconds
    for each in graph.instances:
        if each.title in ("n[a=1]", "s[a=1]"):
            artifact = store.perform(each.stage)
    path = artifact.path / "card.json"
    card = json.loads(path.read_text()) | {"seconds": 1e6}
    del card["estimate"]["disk"]
    path.write_text(json.dumps(card))
    assert lines(planner.plan(graph, store))["s"].seconds == pytest.approx(before / 3 * 2)


def ask_for_gpus(path, *names):
    found = TEXT
    for name in names:
        found = found.replace(f"  {name}: {{", f"  {name}: {{resources: {{gpus: 1}}, ")
    (path / "gpus.yaml").write_text(found)
    return expand(recipe.read(str(path / "gpus.yaml")))


def test_what_asks_for_gpus_is_not_told_in_a_laptops_minutes(made, tmp_path, capsys):
    graph, store = ask_for_gpus(tmp_path, "s"), made[1]
    plan = planner.plan(graph, store)
    found = lines(plan)
    assert (found["s"].untimed, found["s"].seconds) == (3, 0)
    assert found["n"].untimed == found["t"].untimed == 0
    plain = planner.plan(made[0], store)
    assert sum(line.seconds for line in plain.lines) - sum(line.seconds for line in plan.lines) == pytest.approx(
        3 * planner.SECONDS_EACH
    )
    planner.show(plan, as_json=False)
    out = " ".join(capsys.readouterr().out.split())
    assert "s toys.Add ← n 3 of 3 to run, on GPUs, not timed here yet" in out
    assert f"minutes with {plan.jobs} workers, and 3 on GPUs" in out
    planner.show(planner.plan(ask_for_gpus(tmp_path, "n", "s", "t"), store), as_json=False)
    assert "7 stages to run, 30 tokens, all on GPUs\n" in capsys.readouterr().out


def test_gpu_hours_that_are_told_are_pointed_to(made, tmp_path, capsys):
    class Told:
        hours = ("n",)

        def record(self):
            return {}

        def show(self):
            print("the table")

    planner.show(planner.plan(ask_for_gpus(tmp_path, "n", "s"), made[1]), False, Told())
    out = " ".join(capsys.readouterr().out.split())
    assert "30 tokens, GPU-hours below" in out
    assert "and 6 on GPUs (GPU-hours below; --gpu for another card) the table" in out


def test_gpus_are_timed_by_what_ran_on_gpus(made, tmp_path):
    graph, store = ask_for_gpus(tmp_path, "s"), made[1]
    on_core = [each for each in made[0].instances if each.title in ("n[a=1]", "s[a=1]")]
    artifact = [store.perform(each.stage) for each in on_core][-1]
    (waiting,) = {line.untimed for line in planner.plan(graph, store).lines if line.name == "s"}
    assert waiting == 2  # what a core took says nothing of a GPU
    path = artifact.path / "card.json"
    card = json.loads(path.read_text())
    card |= {"seconds": 5 * planner.SECONDS_EACH, "numerics": "x86_64/cuda/threads=1"}
    path.write_text(json.dumps(card))
    found = lines(planner.plan(graph, store))["s"]
    assert (found.untimed, found.to_run) == (0, 2)
    assert found.seconds == pytest.approx(2 * 5 * planner.SECONDS_EACH)
    assert lines(planner.plan(made[0], store))["s"].seconds == pytest.approx(2 * planner.SECONDS_EACH)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 minutes"),
        (24, "0.4 minutes"),
        (12 * 60, "12 minutes"),
        (89.4 * 60, "89 minutes"),
        (3.2 * 3600, "3.2 hours"),
        (47 * 3600, "47 hours"),
        (6.25 * 86_400, "6.2 days"),
        (1234 * 86_400, "1,234 days"),
    ],
)
def test_durations_are_no_finer_than_a_plan_can_know(seconds, said):
    assert planner._duration(seconds) == said


def test_printed(made, capsys):
    graph, store = made
    planner.show(planner.plan(graph, store), as_json=False)
    out = capsys.readouterr().out
    for part in ("3 of 3 to run", "30 tokens", "← n", "n[a=2]", "adds 3 numbers", "7 stages to run, 30 tokens, about"):
        assert part in out
    planner.show(planner.plan(graph, store), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"] == "toy"
    assert [(each["name"], each["to_run"], each["done"]) for each in found["stages"]] == [
        ("n", 3, 0),
        ("s", 3, 0),
        ("t", 1, 0),
    ]


def test_what_is_left_out_is_said_and_not_called_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # a path is as long as it is: here it breaks no line
    (tmp_path / "toy.yaml").write_text(
        f"stages: {{n: {{stage: toys.Number}}, f: {{stage: toys.File, path: {tmp_path}/x}}}}"
    )
    graph = expand(recipe.read(str(tmp_path / "toy.yaml")))
    plan = planner.plan(graph, Store(tmp_path / "store"))
    assert lines(plan)["f"].stage == "toys.File"
    planner.show(plan, as_json=False)
    out = " ".join(capsys.readouterr().out.split())
    assert "f toys.File left out" in out
    assert "done" not in out
    assert "is not there; write it." in out


def test_the_shipped_smoke_recipe_plans(tmp_path):
    plan = planner.plan(expand(recipe.read("smoke")), Store(tmp_path / "store"))
    found = lines(plan)
    assert found["lm"].to_run == 4
    assert found["random"].to_run == 2
    assert found["deltas"].design
    assert plan.minutes > 0
    assert all(line.stage.split(".")[0] in ("corpus", "pretrain", "adapt", "eval") for line in plan.lines)
