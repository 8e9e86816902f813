"""Sizes of tasks that are not made yet, held against what is made."""

from typing import ClassVar

import pytest

from eval import Ask, Benchmark, Existence, SceneQuestions, World
from eval.vision.sizes import sizes
from eval.vision.suite import suite
from eval.world import tasks
from presight.stage import FrozenMap, Labelled, Stage

WORLD = World(sample="shapes", train=0, validation=0, test=40, novel=0.25)


class Model(Stage):
    kind: ClassVar[str] = "checkpoint"


class Other(Stage):
    kind: ClassVar[str] = "questions"


def asked(*questions, **fields):
    return sizes(Ask(model=Model(), questions=questions, condition="none", **fields))


def counts(found):
    return {task: size.count for task, size in found.items()}


def test_scenes():
    found = asked(SceneQuestions(world=WORLD, items=30, novel=False))
    assert counts(found) == dict.fromkeys(tasks.TASKS, 30)
    assert {task: size.facts["group"] for task, size in found.items()} == {
        task: each.group for task, each in tasks.TASKS.items()
    }
    both = asked(SceneQuestions(world=WORLD, items=30))
    assert set(both) == {task + ending for task in tasks.TASKS for ending in ("", "-novel")}
    assert set(asked(SceneQuestions(world=WORLD, split="validation"))) == set(tasks.TASKS)
    assert set(asked(SceneQuestions(world=WORLD, groups=("Knowledge",), novel=False))) == {"category", "use", "tag"}
    part = WORLD.changed(groups=("General",))
    assert set(asked(SceneQuestions(world=part, novel=False))) == {"existence", "presence", "attribute"}


def test_they_are_those_that_are_made(tmp_path):
    from eval.vision.items import read

    (tmp_path / "world").mkdir()
    (tmp_path / "questions").mkdir()
    WORLD.run(tmp_path / "world", {})
    stage = SceneQuestions(world=WORLD, items=4)
    stage.run(tmp_path / "questions", {"world": tmp_path / "world"})
    made = list(read(tmp_path / "questions"))
    found = asked(stage)
    assert made
    assert {each.task for each in made} <= set(found)
    for task, size in found.items():
        own = [each for each in made if each.task == task]
        assert len(own) <= size.count
        assert {each.group for each in own} <= {size.group}


def test_existence_has_three_levels():
    found = asked(Existence(world=WORLD, items=12))
    assert counts(found) == dict.fromkeys([f"existence by size: {level}" for level in ("0-30", "30-60", "60-100")], 12)


def test_benchmarks():
    known = suite().benchmarks
    assert counts(asked(Benchmark(name="GQA"))) == {"GQA": known["GQA"].items}
    assert counts(asked(Benchmark(name="GQA", limit=200))) == {"GQA": 200}
    mme = asked(Benchmark(name="MME"))
    assert set(mme) == {f"MME: {part}" for part in known["MME"].parts}
    assert sum(counts(mme).values()) == pytest.approx(known["MME"].items / 2, abs=10)  # pairs are scored as one
    assert counts(asked(Benchmark(name="MMBench"))) == {"MMBench": known["MMBench"].items // 4}  # and circles
    assert known["COCO"].items is None
    assert counts(asked(Benchmark(name="COCO"))) == {"COCO": known["RealWorldQA"].items}  # the smallest of its group
    assert counts(asked(Benchmark(name="COCO", limit=100))) == {"COCO": 100}


def test_what_is_not_asked_is_not_counted():
    scenes = SceneQuestions(world=WORLD, items=30, novel=False)
    labelled = Labelled(FrozenMap({"exam": "GQA"}), Benchmark(name="GQA"))
    assert set(asked(scenes, labelled)) == {*tasks.TASKS, "GQA"}
    assert counts(asked(scenes, labelled, tasks=("size", "GQA"), limit=20)) == {"size": 20, "GQA": 20}


def test_what_nobody_can_say():
    assert sizes(Model()) == {}
    assert asked(SceneQuestions(world=WORLD), Other()) == {}
