"""Masks in every spelling, against slow twins; the layouts' own files; what cannot be read is named, not guessed."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eval.vision.masks import Outlined, collection
from eval.vision.runs import covered, filled, runs_in, unpacked
from presight.errors import PresightError

masks = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda size: st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1]).map(
        lambda pixels: np.array(pixels).reshape(size)
    )
)


def slow_runs(mask):
    """Lengths of runs, walked pixel by pixel down the columns."""
    runs, now = [0], False
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if mask[row, column] != now:
                runs.append(0)
                now = not now
            runs[-1] += 1
    return runs


def packed(runs):
    """COCO's text of runs, number by number and character by character."""
    text = ""
    for place, run in enumerate(runs):
        number = run - runs[place - 2] if place > 2 else run
        while True:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + (bits | (32 if more else 0)))
            if not more:
                break
    return text


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=30))
def test_packed_text_unpacks(runs):
    assert unpacked(packed(runs)).tolist() == runs
    assert unpacked(packed(runs).encode()).tolist() == runs


@given(masks)
def test_runs_plain_and_packed_are_one_mask(mask):
    runs = slow_runs(mask)
    for counts in (runs, packed(runs)):
        found = runs_in({"size": list(mask.shape), "counts": counts}, *mask.shape)
        assert found.tolist() == runs
        assert covered([found]) == mask.sum()


@given(st.lists(st.integers(0, 2**25 - 1), min_size=1, max_size=4))
def test_what_several_masks_cover_is_their_union(seeds):
    several = [np.random.default_rng(seed).random((5, 6)) < 0.3 for seed in seeds]
    union = np.logical_or.reduce(several)
    assert covered([np.array(slow_runs(mask)) for mask in several]) == union.sum()


def within(x, y, polygon):
    """Whether a point lies within, by a ray to the left."""
    corners = list(zip(polygon[::2], polygon[1::2], strict=True))
    inside = False
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (ay <= y) != (by <= y) and ax + (y - ay) * (bx - ax) / (by - ay) <= x:
            inside = not inside
    return inside


coordinates = st.integers(-8, 40).map(lambda value: value / 4)


@given(st.lists(coordinates, min_size=6, max_size=12).filter(lambda points: len(points) % 2 == 0))
def test_a_polygon_holds_the_centres_within_it(points):
    found = filled(points, 7, 9)
    assert found.tolist() == [[within(x + 0.5, y + 0.5, points) for x in range(9)] for y in range(7)]


def test_a_rectangle_in_both_spellings():
    assert covered([runs_in([[1, 1, 4, 1, 4, 3, 1, 3]], 5, 6)]) == 6
    assert covered([runs_in([[1, 1, 4, 1, 4, 3, 1, 3], [3, 2, 6, 2, 6, 4, 3, 4]], 5, 6)]) == 6 + 6 - 1
    assert runs_in([[0, 0, 6, 0, 6, 5, 0, 5]], 5, 6).tolist() == [0, 30]


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"size": [5, 6], "counts": [1, 2]}, "do not make up"),
        ({"size": [6, 5], "counts": [30]}, "its size is"),
        ({"size": [5, 6], "counts": "\x7f"}, "no packed text"),
        ({"size": [5, 6], "counts": "o"}, "no packed text"),
        ({"size": [5, 6], "counts": ""}, "no packed text"),
        ({"size": [5, 6], "counts": "o" * 20 + "0"}, "no packed text"),
        ([[1, 2, 3, 4]], "no three corners"),
        ([[1, 2, 3, 4, 5, float("nan")]], "no three corners"),
        ("nonsense", "neither"),
        (None, "neither"),
    ],
)
def test_what_is_no_mask_is_refused(segmentation, said):
    with pytest.raises(ValueError, match=said):
        runs_in(segmentation, 5, 6)


def coco(folder, height=10, width=10):
    """A cat of 20 % in two polygons that overlap with a crowd of dogs as runs, dogs alone, and one without a file."""
    (folder / "val").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (width, height)).save(folder / "val" / name)
    (folder / "train").mkdir()
    Image.new("RGB", (width, height)).save(folder / "train" / "a.jpg")
    half = [0, 50, 50]
    described = {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "height": height, "width": width} for n, name in enumerate("abc")
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 9, "name": "cow"}],
        "annotations": [
            {"image_id": 0, "category_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 5, 0, 5, 3, 0, 3]]},
            {"image_id": 0, "category_id": 1, "iscrowd": 0, "segmentation": [[0, 2, 5, 2, 5, 4, 0, 4]]},
            {"image_id": 0, "category_id": 7, "iscrowd": 1, "segmentation": {"size": [height, width], "counts": half}},
            {
                "image_id": 1,
                "category_id": 7,
                "iscrowd": 0,
                "segmentation": {"size": [height, width], "counts": packed(half)},
            },
        ],
    }
    (folder / "instances_val.json").write_text(json.dumps(described))
    return folder


def test_coco(tmp_path):
    found = collection("coco", coco(tmp_path))
    assert found.pictures == (
        Outlined("val/a.jpg", {"cat": 0.2, "dog": 0.5}),
        Outlined("val/b.jpg", {"dog": 0.5}),
        Outlined("c.jpg", fault="has no file"),
    )
    assert set(found.words) == {"cat", "dog", "cow"}


def test_coco_with_a_damaged_mask_or_several_files(tmp_path):
    folder = coco(tmp_path)
    described = json.loads((folder / "instances_val.json").read_text())
    described["annotations"][3]["segmentation"]["counts"] = "!"
    (folder / "instances_val.json").write_text(json.dumps(described))
    assert "a mask of dog cannot be read" in collection("coco", folder).pictures[1].fault
    (folder / "instances_train.json").write_text("{}")
    with pytest.raises(PresightError, match=r"instances_train\.json, instances_val\.json; name one of them"):
        collection("coco", folder)
    assert len(collection("coco", folder, "instances_val.json").pictures) == 3
    with pytest.raises(PresightError, match="is no COCO annotation"):
        collection("coco", folder, "instances_train.json")


def indexed(path, numbers):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(numbers, np.uint8)).save(path)


def test_ade20k_of_150_classes(tmp_path):
    table = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t1\t1\t1\twall\n2\t0.1\t1\t1\t1\tbuilding, edifice\n"
    (tmp_path / "objectInfo150.txt").write_text(table)
    for name, numbers in (("x", [[0, 1, 2, 2]]), ("y", [[1, 1, 1, 3]])):
        indexed(tmp_path / "annotations" / "validation" / f"{name}.png", numbers)
        (tmp_path / "images" / "validation").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 1)).save(tmp_path / "images" / "validation" / f"{name}.jpg")
    indexed(tmp_path / "annotations" / "validation" / "no-image.png", [[1]])
    found = collection("ade20k", tmp_path)
    assert found.words == {"wall": frozenset(), "building": frozenset({"edifice"})}
    assert found.pictures[0] == Outlined("images/validation/x.jpg", {"wall": 0.25, "building": 0.5})
    assert found.pictures[1].fault == "y.png has the numbers [3], which objectInfo150.txt does not name"
    assert len(found.pictures) == 2


def ade20k(folder, blue, text, name="ADE_val_1"):
    pixels = np.zeros((*np.shape(blue), 3), np.uint8)
    pixels[..., 2] = blue
    indexed(folder / "street" / f"{name}_seg.png", pixels)
    Image.new("RGB", np.shape(blue)[::-1]).save(folder / "street" / f"{name}.jpg")
    (folder / "street" / f"{name}_atr.txt").write_text(text)
    return folder


ATTRIBUTES = """001 # 0 # 0 # door, double door # double door # ""
002 # 0 # 1 # sky # sky # "clear"
003 # 0 # 0 # door, double door # door # ""
001 # 1 # 0 # knob # knob # ""
"""


def test_ade20k_in_full_leaves_parts_out(tmp_path):
    folder = ade20k(tmp_path, [[0, 40, 40, 90], [200, 200, 200, 0]], ATTRIBUTES)
    found = collection("ade20k", folder)
    assert found.pictures == (Outlined("street/ADE_val_1.jpg", {"door": 5 / 8, "sky": 1 / 8}),)
    assert found.words == {"door": frozenset({"double door"}), "sky": frozenset()}


def test_ade20k_whose_text_names_other_objects_is_left_out(tmp_path):
    folder = ade20k(tmp_path, [[0, 40]], ATTRIBUTES)
    assert "shows 1 objects, its text names 3" in collection("ade20k", folder).pictures[0].fault
    (folder / "street" / "ADE_val_1_seg.png").write_bytes(b"no picture")
    assert "cannot be read as an image" in collection("ade20k", folder).pictures[0].fault


def sa_1b(folder, stem="sa_1", **key):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (10, 10)).save(folder / f"{stem}.jpg")
    masks_of = [
        {"segmentation": {"size": [10, 10], "counts": packed([0, 70, 30])}, "area": 70, "bbox": [0, 0, 7, 10], **key}
    ]
    masks_of.append({"segmentation": {"size": [10, 10], "counts": packed([70, 30])}, "area": 30})
    image = {"image_id": 1, "width": 10, "height": 10, "file_name": f"{stem}.jpg"}
    (folder / f"{stem}.json").write_text(json.dumps({"image": image, "annotations": masks_of}))
    return folder


@pytest.mark.parametrize("key", ["name", "label", "class_name", "category"])
def test_sa_1b_with_classes_given(tmp_path, key):
    found = collection("sa-1b", sa_1b(tmp_path, **{key: "beach"}))
    assert found.pictures == (Outlined("sa_1.jpg", {"beach": 0.7}),)
    assert set(found.words) == {"beach"}


def test_sa_1b_without_classes_is_told(tmp_path):
    with pytest.raises(PresightError, match="has masks, but no classes"):
        collection("sa-1b", sa_1b(tmp_path))
    (tmp_path / "sa_1.json").write_text('{"image": {}, "annotations": []}')
    (tmp_path / "other.json").write_text("[]")
    sa_1b(tmp_path, "sa_2", name_="x", label="sea")
    found = collection("sa-1b", tmp_path)
    assert [bool(each.fault) for each in found.pictures] == [True, False]


def test_an_empty_folder_has_no_layout(tmp_path):
    for layout in ("ade20k", "sa-1b"):
        with pytest.raises(PresightError, match=f"no pictures in the layout of {layout}"):
            collection(layout, tmp_path)
    with pytest.raises(PresightError, match="of instances_"):
        collection("coco", tmp_path)
