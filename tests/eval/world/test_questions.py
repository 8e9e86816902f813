"""The questions of a world, and whether anybody can answer them without looking."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest

from eval import SceneQuestions
from eval.vision import items
from eval.vision.items import Item
from eval.world import truth
from eval.world.invented import shapes
from eval.world.scenes import Composer
from eval.world.subject import SEEN, Subject
from eval.world.tasks import TASKS
from presight.errors import PresightError


@pytest.fixture(scope="module")
def questions(world, stage, tmp_path_factory):
    out = tmp_path_factory.mktemp("questions")
    SceneQuestions(world=stage, items=60).run(out, {"world": world})
    return items.read(out)


def test_every_group_is_asked_with_the_right_option_in_every_place(questions):
    assert {item.group for item in questions} == {"General", "Knowledge", "OCR & Chart", "Vision-centric"}
    tasks = {item.task for item in questions}
    assert {task for task in tasks if not task.endswith("-novel")} == set(TASKS)
    assert {"existence-novel", "depth-novel", "bar-novel", "position-novel"} <= tasks
    for task in tasks:
        own = [item for item in questions if item.task == task]
        assert 10 <= len(own) <= 60
        for size in {len(item.options) for item in own}:
            places = Counter(item.answer for item in own if len(item.options) == size)
            assert max(places.values()) - min(places[place] for place in range(size)) <= 2


def test_what_is_held_out_is_asked_of_apart(questions, world):
    described = truth.described(world)
    held = set(described["held_out"])
    known = (set(described["vocabulary"]) | set(shapes().words)) - held
    scenes = {scene.key: scene for scene in truth.read(world, "test")}
    for item in questions:
        scene, novel = scenes[item.picture], item.task.endswith("-novel")
        assert scene.novel == novel == (item.facts["objects"] == "novel")
        said = {word.strip(",?") for word in item.prompt.split()} | set(item.options)
        assert not said & (known if novel else held)


def test_the_same_fields_give_the_same_questions(world, stage, tmp_path):
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        SceneQuestions(world=stage, items=20, seed=seed, groups=("General",)).run(tmp_path / name, {"world": world})
        made.append((tmp_path / name / items.FILE).read_bytes())
    assert made[0] == made[1] != made[2]
    assert {item.group for item in items.read(tmp_path / "a")} == {"General"}


def test_what_cannot_be_asked_is_refused(world, stage, tmp_path):
    with pytest.raises(PresightError, match="the world serves none of Hearing; ask for General, Knowledge"):
        SceneQuestions(world=stage, groups=("Hearing",)).run(tmp_path, {"world": world})
    with pytest.raises(PresightError, match="holds no sample world"):
        SceneQuestions(world=stage).run(tmp_path, {"world": tmp_path})


# What somebody learns who reads many questions with their answers, and never sees a picture


def features(item, place):
    """What can be said of an option by its words, its place, and the words of the question."""
    option = item.options[place]
    others = sorted(set(item.options) - {option})
    words = [word.strip("?,.") for word in item.prompt.split()]
    yield from (("option", option), ("place", place), ("length", len(option)))
    yield from (("beside", option, other) for other in others)
    yield from (("asked", word, option) for word in words)
    yield from (("named", words.index(word), word in option) for word in words if word in " ".join(item.options))


def blind(asked):
    """Read every other picture's questions with their answers, then answer those of the rest; how much beyond chance.

    An option's score is the sum of the log-odds of its features. Questions of one picture hang together, so that the
    deviation is that over pictures.
    """
    clusters = sorted({item.cluster or item.item for item in asked})
    learnt = set(clusters[::2])
    won, met = Counter(), Counter()
    for item in asked:
        if (item.cluster or item.item) not in learnt:
            continue
        for place in range(len(item.options)):
            for feature in set(features(item, place)):
                met[feature] += 1
                won[feature] += place == item.answer

    def score(item, place):
        chance = 1 / len(item.options)
        return sum(
            math.log((won[feature] + 4 * chance) / (met[feature] + 4) / chance) for feature in features(item, place)
        )

    beyond = {cluster: 0.0 for cluster in clusters if cluster not in learnt}
    for item in asked:
        if (item.cluster or item.item) in beyond:
            best = max(range(len(item.options)), key=lambda place, item=item: score(item, place))
            beyond[item.cluster or item.item] += (best == item.answer) - 1 / len(item.options)
    sums = np.array(list(beyond.values()))
    return sums.sum() / math.sqrt((sums**2).sum()), sums.sum() / len(sums)


@pytest.fixture(scope="module")
def many():
    """Scenes enough to learn from what there is to be learnt; the pictures are not looked at."""
    composer = Composer(shapes(), side=64, novel=0)
    scenes = [composer.scene("test", number).scene for number in range(1200)]
    keyed = [truth.replace(scene, key=f"{scene.number:032x}") for scene in scenes]
    return Subject(keyed, composer.collection.vocabulary(), TASKS, lambda *_: "", SEEN)


@pytest.mark.parametrize("task", TASKS)
def test_who_does_not_see_is_at_chance(many, task):
    order = np.random.default_rng(3)
    asks = many.asks(task, order)
    asked = [ask.item(str(number), "", TASKS[task].wordings[0]) for number, ask in enumerate(asks)]
    assert len(asked) > 100
    deviations, beyond = blind(asked)
    assert deviations < 3, f"{beyond:.2f} beyond chance without looking"


def test_who_does_not_see_would_find_a_leak():
    """Were wrong options drawn from all names alike, the commoner ones would be right more often."""
    order = np.random.default_rng(0)
    weights = 1 / np.arange(1, 13)
    asked = []
    for number in range(400):
        answer = str(order.choice(12, p=weights / weights.sum()))
        others = order.choice([str(each) for each in range(12) if str(each) != answer], 3, replace=False).tolist()
        place = int(order.integers(4))
        options = (*others[:place], answer, *others[place:])
        asked.append(Item(str(number), "", "", "Which?", None, options, place))
    assert blind(asked)[0] > 4


def test_who_does_not_see_would_find_that_one_of_two_is_mostly_the_larger():
    order = np.random.default_rng(0)
    asked = []
    for number, (one, other) in enumerate(product("abcdefghijklmnopqrst", repeat=2)):
        if one == other:
            continue
        large = min(one, other) if order.random() < 0.8 else max(one, other)
        options = (one, other)
        asked.append(Item(str(number), "", "", f"Is {one} or {other} larger?", None, options, options.index(large)))
    assert blind(asked)[0] > 4
