import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label

from adapt.vlm.pictures import Pictures
from eval.world import subject, truth
from eval.world.colours import NAMES, names_of
from eval.world.tasks import DIRECTIONS, RATIO, TASKS, direction, larger
from eval.world.truth import Masks, Thing


@pytest.fixture(scope="module")
def about(world):
    return subject.read(world, "test")


@pytest.fixture(scope="module")
def asked(about):
    """All questions that can be had, by task, with their scenes."""
    scenes = {scene.key: scene for scene in about.records}
    found = {}
    for name in about.tasks:
        asks = [ask for novel in (False, True) for ask in about.asks(name, np.random.default_rng(1), None, novel)]
        found[name] = [(ask, scenes[ask.picture]) for ask in asks]
    return found


@pytest.fixture(scope="module")
def masks(world):
    """The masks of a scene's objects by name, read from the artifact."""
    kept = Masks(world)

    def by_name(scene):
        found = {}
        for thing in scene.objects:
            found.setdefault(thing.name, []).append(kept.mask(thing))
        return found

    return by_name


def test_every_task_is_served(asked):
    assert set(asked) == set(TASKS)
    assert all(len(asks) > 15 for asks in asked.values()), {name: len(asks) for name, asks in asked.items()}
    assert all(ask.novel == scene.novel for asks in asked.values() for ask, scene in asks)


def test_what_is_there(asked, masks):
    for ask, scene in asked["existence"]:
        there = {name for name, shown in masks(scene).items() if any(mask.any() for mask in shown)}
        assert [option for option in ask.options if option in there] == [ask.answer]
    for ask, scene in asked["presence"]:
        name = ask.words["it"].split(" ", 1)[1]
        assert ask.answer == ("yes" if name in masks(scene) else "no")


def test_the_colour_is_that_of_the_pixels(asked, masks, world):
    pictures = Pictures(world)
    for ask, scene in asked["attribute"]:
        (mask,) = masks(scene)[ask.words["a"]]
        shown = np.asarray(pictures.image(scene.key))[mask]
        counts = Counter(NAMES[each] for each in names_of(shown).tolist())
        assert counts.most_common(1)[0][0] == ask.answer


def test_knowledge_is_true_of_the_one_thing_alone(asked, about):
    words = about.words
    for ask, scene in asked["category"]:
        kinds = {words[name].kind for name in scene.names}
        assert [option for option in ask.options if option in kinds] == [ask.answer]
    for ask, scene in asked["use"]:
        (name,) = scene.names
        assert ask.answer == words[name].use
        assert not set(ask.options) - {ask.answer} & words.alike(ask.answer, ask.options)
    for ask, scene in asked["tag"]:
        (name,) = scene.names
        assert ask.answer in words[name].tags
        assert [option for option in ask.options if option in words.fitting(name)] == [ask.answer]


def test_what_is_written(asked):
    for ask, scene in asked["word"]:
        assert ask.answer == scene.word
    for ask, scene in asked["bar"]:
        values = sorted((value, name) for name, value in scene.bars)
        assert ask.answer == values[-1 if ask.words["end"] == "tallest" else 0][1]
        assert sorted(ask.options) == sorted(name for _, name in values)
    for ask, scene in asked["value"]:
        assert int(ask.answer) == dict(scene.bars)[ask.words["a"]]
        assert len(set(ask.options)) == len(scene.bars)


def test_how_many_there_are(asked, masks, about):
    names = {entry.plural: name for name, entry in about.words.entries.items()}
    for ask, scene in asked["count"]:
        union = np.any(masks(scene)[names[ask.words["several"]]], axis=0)
        assert label(union, np.ones((3, 3)))[1] == int(ask.answer)
        assert len(ask.options) == 5


def box(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), columns.max() + 1, rows.min(), rows.max() + 1


def test_where_things_are(asked, masks):
    for ask, scene in asked["position"]:
        shown = masks(scene)
        (mine,), (its,) = shown[ask.words["a"]], shown[ask.words["b"]]
        one, other = box(mine), box(its)
        true = {
            DIRECTIONS[0]: one[1] <= other[0],
            DIRECTIONS[1]: one[0] >= other[1],
            DIRECTIONS[2]: one[3] <= other[2],
            DIRECTIONS[3]: one[2] >= other[3],
        }
        assert true[ask.answer]
        across, down = (abs(one[i] + one[i + 1] - other[i] - other[i + 1]) for i in (0, 2))
        straight = across >= 3 * down if ask.answer in DIRECTIONS[:2] else down >= 3 * across
        assert straight


def test_which_is_larger_and_which_in_front(asked, masks):
    for ask, scene in asked["size"]:
        areas = {name: shown[0].sum() for name, shown in masks(scene).items()}
        (other,) = set(ask.options) - {ask.answer}
        assert areas[ask.answer] >= RATIO * areas[other] * 0.999
    for ask, scene in asked["depth"]:
        (other,) = set(ask.options) - {ask.answer}
        front, behind = (next(thing for thing in scene.objects if thing.name == name) for name in (ask.answer, other))
        assert front.visible == 1 > behind.visible


sides = st.integers(5, 30).map(lambda half: 2 * half)  # so that the middle is a pixel's corner


def thing(name, length, fill, centre=(0, 0)):
    """A square one, of which a share is its own, in a picture of 100 × 100."""
    left, top = (round(at - length / 2) for at in centre)
    return Thing(name, "", (left, top, left + length, top + length), fill * length**2 / 1e4, 1.0, 0)


@given(sides, sides, st.floats(0.2, 1), st.floats(0.2, 1))
def test_of_two_things_either_may_be_the_larger_one(long, short, fill, other):
    one = larger(thing("a", long, fill), thing("b", short, other))
    swapped = larger(thing("a", short, fill), thing("b", long, other))
    assert (one is None) == (swapped is None)
    if one and swapped:
        assert {one.name, swapped.name} == {"a", "b"}
        assert one is not None
        areas = {"a": fill * long**2, "b": other * short**2}
        assert max(areas, key=areas.get) == one.name


@given(st.tuples(*[st.integers(0, 100)] * 4), sides, sides)
def test_of_two_things_either_may_be_on_either_side(at, long, short):
    one, other = thing("a", long, 1, at[:2]), thing("b", short, 1, at[2:])
    said, back = direction(one, other), direction(other, one)
    assert (said == "") == (back == "")
    if said:
        assert {DIRECTIONS.index(said), DIRECTIONS.index(back)} in ({0, 1}, {2, 3})
        swapped = direction(thing("a", short, 1, at[:2]), thing("b", long, 1, at[2:]))
        assert swapped == said


def test_the_truth_of_the_artifact_is_that_of_its_pictures(world):
    """Tinted objects stand out by their colour: their masks can be found in the picture itself."""
    kept, pictures = Masks(world), Pictures(world)
    scenes = [scene for scene in truth.read(world, "test") if scene.purpose == "tint"][:20]
    for scene in scenes:
        pixels = np.asarray(Image.open(io.BytesIO(pictures.read(scene.key)))).astype(int)
        strong = np.ptp(pixels, axis=-1) > 90
        union = np.any([kept.mask(each) for each in scene.objects], axis=0)
        assert (strong & ~union).mean() < 0.02
        assert (strong & union).sum() > 0.8 * union.sum()
