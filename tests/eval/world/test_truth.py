import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.world import truth
from eval.world.truth import Masks, Scene, Thing, mask_of, runs_of
from presight.errors import PresightError


def slow_runs(mask):
    """Pixel by pixel, down each column in turn."""
    runs, inside = [0], False
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if bool(mask[y, x]) != inside:
                runs.append(0)
                inside = not inside
            runs[-1] += 1
    return runs


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32), st.floats(0, 1))
def test_runs_are_those_of_coco_and_give_the_mask_again(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    runs = runs_of(mask)
    assert runs.tolist() == slow_runs(mask)
    assert np.array_equal(mask_of(runs, height, width), mask)


def test_runs_that_make_another_number_of_pixels_are_refused():
    with pytest.raises(ValueError, match="reshape"):
        mask_of(np.array([3, 2], np.uint32), 2, 2)


def test_scenes_and_masks_are_read_as_written(tmp_path):
    masks = [np.eye(8, dtype=bool), np.ones((8, 8), dtype=bool), np.zeros((8, 8), dtype=bool)]
    things = [Thing(f"thing {i}", "kind", (0, 1, 2, 3), 0.5, 1.0, i, "red", True) for i in range(3)]
    scenes = [
        Scene("a", "train", 0, "scatter", "x", objects=tuple(things[:2]), background="noise"),
        Scene("b", "test", 0, "chart", "y", True, bars=(("one", 1), ("two", 3))),
        Scene("c", "test", 1, "close", "z", objects=(things[2],)),
    ]
    runs = [[runs_of(mask) for mask in masks[:2]], [], [runs_of(masks[2])]]
    truth.write(tmp_path, zip(scenes, runs, strict=True), {"side": 8})
    found = truth.read(tmp_path)
    assert [scene.key for scene in truth.read(tmp_path, "test")] == ["b", "c"]
    assert found[1] == scenes[1]
    kept = Masks(tmp_path)
    shown = [thing for scene in found for thing in scene.objects]
    assert [(each.name, each.box, each.colour, each.tinted) for each in shown] == [
        (each.name, each.box, each.colour, each.tinted) for each in things
    ]
    for thing, mask in zip(shown, masks, strict=True):
        assert np.array_equal(kept.mask(thing), mask)


def test_what_is_no_world_is_refused(tmp_path):
    with pytest.raises(PresightError, match="holds no scenes"):
        truth.read(tmp_path)
    with pytest.raises(PresightError, match="holds no sample world"):
        Masks(tmp_path)
    (tmp_path / truth.SCENES).write_text(json.dumps({"key": "a"}) + "\n")
    with pytest.raises(PresightError, match=r"scenes\.jsonl, line 1: is no scene"):
        truth.read(tmp_path)


def test_the_middle_and_the_length_of_a_thing():
    thing = Thing("a", "kind", (2, 3, 8, 5), 0.1, 1.0, 0)
    assert thing.centre == (5, 4)
    assert thing.length == 6
