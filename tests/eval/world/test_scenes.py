import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eval.world import layout
from eval.world.colours import TINTS
from eval.world.cutouts import Collection
from eval.world.invented import shapes
from eval.world.layout import Slot
from eval.world.scenes import COVERED, PURPOSES, Composer, Placed, corner, measured, spread, visible
from eval.world.truth import mask_of
from presight.errors import PresightError

COMPOSER = Composer(shapes(), side=64)
SPLITS = ("train", "validation", "test")


def painted(placed, side):
    """The number of the object that is seen at each pixel, found pixel by pixel from the front; −1: none."""
    found = np.full((side, side), -1)
    drawn = [each.cutout.sized(max(2, round(each.slot.side * side)), each.mirrored, each.tint) for each in placed]
    for y in range(side):
        for x in range(side):
            for number in range(len(placed))[::-1]:
                each, pixels = placed[number], drawn[number]
                left = round(each.slot.x * side - pixels.shape[1] / 2)
                top = round(each.slot.y * side - pixels.shape[0] / 2)
                row, column = y - top, x - left
                inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
                if inside and pixels[row, column, 3] >= 128:
                    found[y, x] = number
                    break
    return found


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_truth_is_what_a_painter_would_see(seed, count):
    order, side = np.random.default_rng(seed), 24
    objects = [COMPOSER.collection.cutouts[place] for place in order.integers(24, size=count)]
    slots = [Slot(*order.uniform(0, 1, 2), order.uniform(0.3, 1.2)) for _ in objects]
    placed = [Placed(*each, bool(order.random() < 0.5)) for each in zip(objects, slots, strict=True)]
    canvas = painted(placed, side)
    outlines = [each.cutout.outline(max(2, round(each.slot.side * side)), each.mirrored) for each in placed]
    shapes_ = [spread(own, each.slot, side) for own, each in zip(outlines, placed, strict=True)]
    for number, (each, mask) in enumerate(zip(placed, visible(shapes_), strict=True)):
        assert np.array_equal(mask, canvas == number)
        if mask.any():
            pixels = each.cutout.sized(max(2, round(each.slot.side * side)), each.mirrored)
            thing = measured(each, pixels, mask, 0)
            rows, columns = np.nonzero(canvas == number)
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.fraction == len(rows) / side**2
            assert thing.visible == len(rows) / (pixels[..., 3] >= 128).sum()


def test_a_picture_shows_its_objects_where_their_masks_are(rendered):
    for each in rendered:
        pixels = np.asarray(Image.open(io.BytesIO(each.content)).convert("RGB")).astype(int)
        assert pixels.shape == (64, 64, 3)
        for thing, runs in zip(each.scene.objects, each.masks, strict=True):
            mask = mask_of(runs, 64, 64)
            assert thing.fraction == mask.mean()
            if thing.tinted:
                strong = np.ptp(pixels, axis=-1)  # backgrounds have no strong colours
                assert np.median(strong[mask]) > 90


def test_the_same_arguments_give_the_same_scene_whatever_came_before(composer):
    again = Composer(shapes(), side=64)
    for split, number in (("test", 41), ("train", 3), ("validation", 17), ("test", 8)):
        one, other = composer.scene(split, number), again.scene(split, number)
        assert one.content == other.content
        assert one.scene == other.scene
        assert composer.scene(split, number + 1).content != one.content
    assert replace(composer, seed=1).scene("test", 41).content != composer.scene("test", 41).content


def test_no_arrangement_is_in_two_splits_and_nothing_held_out_in_training(composer, rendered):
    by_split = {split: [each.scene for each in rendered if each.scene.split == split] for split in SPLITS}
    seen = [{scene.layout for scene in by_split[split] if not scene.novel} for split in SPLITS]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]
    held = composer.novel_names
    assert held
    for scene in (each.scene for each in rendered):
        shown = scene.names | {scene.word, *(label for label, _ in scene.bars)} - {""}
        assert shown <= held if scene.novel else not shown & held
    assert not any(scene.novel for split in SPLITS[:2] for scene in by_split[split])
    assert {scene.purpose for scene in by_split["test"] if scene.novel} == set(PURPOSES)


def purposes(rendered, name):
    return [each.scene for each in rendered if each.scene.purpose == name]


def test_every_purpose_has_the_scenes_it_needs(composer, rendered):
    assert {each.scene.purpose for each in rendered} == set(PURPOSES)
    for scene in purposes(rendered, "repeat"):
        turn = scene.number // len(composer.cycle)
        counts = sorted(Counter(thing.name for thing in scene.objects).values())
        assert counts[-1] == 1 + turn % 5
        assert sum(counts[:-1]) <= 2
        assert len(counts) > 1 or counts[-1] > 1
    for scene in purposes(rendered, "tint"):
        colours = [thing.colour for thing in scene.objects]
        assert len(set(colours)) == 3
        assert set(colours) <= set(TINTS)
    for scene in purposes(rendered, "scatter"):
        assert 2 <= len(scene.names) == len(scene.objects) <= 4
    for scene in purposes(rendered, "scatter") + purposes(rendered, "repeat") + purposes(rendered, "tint"):
        assert all(thing.visible == 1 for thing in scene.objects)
    fractions = [scene.objects[0].fraction for scene in purposes(rendered, "close")]
    assert min(fractions) < 0.3 < 0.5 < max(fractions)


def test_the_one_in_front_hides_enough_and_would_behind_as_well(rendered):
    scenes = purposes(rendered, "overlap")
    assert len(scenes) >= 10
    for scene in scenes:
        behind, front = scene.objects
        assert (behind.depth, front.depth) == (1, 0)
        assert front.visible == 1
        assert COVERED[0] <= 1 - behind.visible <= COVERED[1]


def test_a_close_view_may_be_had_of_any_size():
    composer = Composer(shapes(), side=64, groups=("Knowledge",), novel=0)
    assert composer.cycle == ["close", "known", "scatter", "known", "scatter"]
    assert composer.novel_names == frozenset()
    assert not composer.scene("test", 15).scene.novel


def test_too_few_objects_are_refused_and_not_searched_for_ever(monkeypatch):
    few = Collection(shapes().cutouts[:2], ("again", "brief"))
    composer = Composer(few, side=64, groups=("Vision-centric",), novel=0)
    other = (
        "train" if layout.split_of(layout.digest(sorted(each.name for each in few.cutouts)), 0) == "test" else "test"
    )
    monkeypatch.setattr("eval.world.scenes.TRIES", 20)
    with pytest.raises(PresightError, match="no arrangement for overlap is left to the"):
        composer.scene(other, composer.cycle.index("overlap"))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 40), st.integers(1, 40))
def test_an_object_stands_in_the_middle_of_its_slot(x, y, height, width):
    left, top = corner(Slot(x, y, 0.1), (height, width), 100)
    assert abs(left + width / 2 - 100 * x) <= 0.5
    assert abs(top + height / 2 - 100 * y) <= 0.5
