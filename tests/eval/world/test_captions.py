import re
from collections import Counter

import numpy as np
import pytest

from adapt.vlm import conversations
from eval import Captions, Instructions, World
from eval.world import truth
from eval.world.captions import caption, listed, splits_of
from eval.world.tasks import TASKS
from eval.world.truth import Scene, Thing
from eval.world.vocabulary import Entry, Vocabulary

WORDS = Vocabulary({name: Entry("", plural=f"{name}s") for name in ("cat", "owl", "cup")})


@pytest.fixture(scope="module")
def captions(world, stage, tmp_path_factory):
    out = tmp_path_factory.mktemp("captions")
    Captions(world=stage).run(out, {"world": world})
    return out


@pytest.fixture(scope="module")
def instructions(world, stage, tmp_path_factory):
    out = tmp_path_factory.mktemp("instructions")
    Instructions(world=stage, items=80).run(out, {"world": world})
    return out


def thing(name, colour=None, depth=0):
    return Thing(name, "", (0, 0, 1, 1), 0.1, 1.0, depth, colour, colour is not None)


def scene(purpose, *objects, **more):
    return Scene("", "train", 0, purpose, "", objects=objects, **more)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (scene("close", thing("owl")), {"an owl"}),
        (
            scene("tint", thing("cat", "red"), thing("cup", "orange")),
            {"a red cat and an orange cup", "an orange cup and a red cat"},
        ),
        (scene("repeat", thing("cat"), thing("cat")), {"two cats"}),
        (scene("overlap", thing("cat", depth=1), thing("owl")), {"an owl in front of a cat", "a cat behind an owl"}),
        (scene("word", word="above"), {"the word above"}),
        (scene("chart", bars=(("one", 3), ("two", 5))), {"a bar chart of one (3) and two (5)"}),
    ],
)
def test_captions_say_what_is_there(told, said):
    assert {caption(told, WORDS, np.random.default_rng(seed)) for seed in range(20)} == said


def test_lists_of_names():
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_every_scene_to_be_trained_with_has_a_caption(captions, world):
    for split in ("train", "validation"):
        said = conversations.read(captions, split)
        scenes = truth.read(world, split)
        assert [each.picture for each in said] == [scene.key for scene in scenes]
        assert all(each.turns[0] == "" and each.tag == "other" for each in said)
        for each, scene in zip(said, scenes, strict=True):
            assert all(name in each.turns[1] for name in scene.names)
    assert conversations.read(captions, "test") == []


def test_instructions_are_answered_by_letters_or_in_words(instructions, world):
    said = conversations.read(instructions)
    tasks = Counter(each.item.rsplit("-", 2)[0] for each in said)
    assert set(tasks) == {*TASKS, "told"}
    assert all(tasks[task] <= 80 for task in TASKS)
    by_letter = 0
    for each in said:
        task = each.item.rsplit("-", 2)[0]
        asked, answer = each.turns
        if task == "told":
            assert each.tag == "other"
            continue
        assert each.tag == ("perception" if TASKS[task].group in ("General", "OCR & Chart") else "reasoning")
        options = dict(re.findall(r"^([A-E])\. (.+)$", asked, re.MULTILINE))
        if options:
            by_letter += 1
            assert answer in options
        else:
            assert TASKS[task].free
            assert not re.fullmatch("[A-E]", answer)
    assert 0.4 < by_letter / sum(tasks.values()) < 0.8
    wordings = {wording.split("{")[0] for task in TASKS.values() for wording in task.wordings}
    assert all(any(each.turns[0].startswith(wording) for each in said) for wording in wordings)
    assert [each.picture for each in said[:50]] != sorted(each.picture for each in said[:50])


def test_validation_has_a_tenth_and_tests_are_kept_out(instructions, captions, world):
    keys = {split: {scene.key for scene in truth.read(world, split)} for split in truth.SPLITS}
    held = set(truth.described(world)["held_out"])
    for folder in (instructions, captions):
        for split in ("train", "validation"):
            for each in conversations.read(folder, split):
                assert each.picture in keys[split]
                words = re.findall(r"[\w-]+", " ".join(each.turns))
                spans = {" ".join(words[i : i + n]) for n in (1, 2) for i in range(len(words))}
                assert not spans & held
    assert (
        max(Counter(each.item.rsplit("-", 2)[0] for each in conversations.read(instructions, "validation")).values())
        <= 8
    )


def test_the_same_fields_give_the_same_bytes(world, stage, captions, instructions, tmp_path):
    for name, again, folder in (
        ("a", Captions(world=stage), captions),
        ("b", Instructions(world=stage, items=80), instructions),
    ):
        (tmp_path / name).mkdir()
        again.run(tmp_path / name, {"world": world})
        for path in folder.iterdir():
            assert (tmp_path / name / path.name).read_bytes() == path.read_bytes()


def test_a_world_of_tests_alone_has_nothing_to_train_with(tmp_path):
    only = World(sample="shapes", train=0, validation=0, test=3, side=64, groups=("OCR & Chart",))
    for name in ("world/payload", "captions"):
        (tmp_path / name).mkdir(parents=True)
    only.run(tmp_path / "world" / "payload", {})
    assert splits_of(tmp_path / "world" / "payload") == {"test"}
    Captions(world=only).run(tmp_path / "captions", {"world": tmp_path / "world" / "payload"})
    assert conversations.read(tmp_path / "captions") == []
