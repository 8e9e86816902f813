"""Existence questions: what is asked is true, nothing gives it away, and levels come to the paper's figures."""

import io
import json
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adapt.vlm.pictures import Pictures, Writer
from eval.stats.intervals import mean_interval
from eval.vision import items, vocabulary
from eval.vision.existence import Existence
from eval.vision.levels import BUCKETS, OPTIONS, Sight, bucket, choices, margins, overall
from eval.vision.strata import Stratum
from eval.vision.vocabulary import Vocabulary
from eval.world import truth
from presight.errors import PresightError
from presight.stage import Stage

SIZES = {"0-30": 732, "30-60": 698, "60-100": 431}
ROWS = [  # as published: the three levels, and what they come to
    (73.63, 90.69, 86.31, 82.97),
    (68.72, 85.10, 87.94, 79.32),
    (58.88, 80.66, 80.74, 72.11),
    (61.20, 76.36, 59.86, 66.58),
]


@pytest.mark.parametrize("row", ROWS)
def test_levels_come_to_the_papers_figure(row):
    items_weighted, alike = overall(dict(zip(SIZES, row[:3], strict=True)), SIZES)
    assert items_weighted == pytest.approx(row[3], abs=0.0052)  # of rounded levels; one printed sum is 79.315
    assert alike == pytest.approx(sum(row[:3]) / 3)
    assert round(alike, 2) != row[3]


def test_every_level_needs_a_score_and_questions():
    for scores, sizes in (({"0-30": 1.0}, SIZES), ({}, {}), ({"0-30": 1.0}, {"0-30": 0})):
        with pytest.raises(PresightError, match="give both of each"):
            overall(scores, sizes)


def test_levels_have_intervals():
    rng = np.random.default_rng(0)
    tables = {level: (rng.random((2, size)) < 0.5).astype(float) for level, size in {"0-30": 80, "30-60": 40}.items()}
    weighted, alike = margins({level: Stratum(table) for level, table in tables.items()})
    means = {level: table.mean() for level, table in tables.items()}
    assert (weighted.estimate, alike.estimate) == pytest.approx(overall(means, {"0-30": 80, "30-60": 40}))
    pooled = mean_interval(np.concatenate(list(tables.values()), axis=1))
    assert weighted.interval().half_width == pytest.approx(pooled.half_width, rel=0.2)


def test_levels_are_bounded_as_the_paper_has_them():
    assert [bucket(share) for share in (0.01, 0.299, 0.3, 0.599, 0.6, 1.0)] == [
        *["0-30"] * 2, *["30-60"] * 2, *["60-100"] * 2
    ]  # fmt: skip


NAMES = [f"thing {number}" for number in range(12)]
words = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1), min_size=1, max_size=4)


@settings(max_examples=40)
@given(st.lists(words, min_size=1, max_size=40), st.sampled_from(["alike", "uniform"]), st.integers(0, 3))
def test_questions_are_true_and_balanced(pictures, draw, seed):
    sights = [Sight(f"picture {number}", shares) for number, shares in enumerate(pictures)]
    apart = (frozenset({"thing 0", "thing 1"}),)
    found = choices(sights, Vocabulary(dict.fromkeys(NAMES, frozenset()), apart), 5, 0.02, draw, seed)
    assert len({each.sight.name for each in found}) == len(found)
    for each in found:
        shares = each.sight.shares
        assert len(set(each.options)) == OPTIONS
        assert bucket(shares[each.thing]) == each.level
        assert shares[each.thing] >= 0.02
        wrong = set(each.options) - {each.thing}
        assert not any(shares.get(name, 0) > 0 for name in wrong)
        present = {name for name, share in shares.items() if share > 0}
        assert not (present & apart[0] and wrong & apart[0])
        assert len(wrong & apart[0]) < 2
    for level in BUCKETS:
        own = [each for each in found if each.level == level]
        assert len(own) <= 5
        places = Counter(each.answer for each in own)
        assert max(places.values(), default=0) - min((places[place] for place in range(OPTIONS)), default=0) <= 1
    again = choices(sights[::-1], Vocabulary(dict.fromkeys(NAMES, frozenset()), apart), 5, 0.02, draw, seed)
    assert [(each.sight.name, each.thing) for each in again] == [(each.sight.name, each.thing) for each in found]


def many(count=600):
    """Pictures of one thing each, of which a tenth of the classes make up half."""
    rng = np.random.default_rng(0)
    often = np.array([10.0] * 4 + [1.0] * 36)
    drawn = rng.choice(40, count, p=often / often.sum())
    return [Sight(f"p{number}", {f"c{name}": 0.1}) for number, name in enumerate(drawn)]


def test_classes_take_turns():
    vocabulary_ = Vocabulary({f"c{name}": frozenset() for name in range(40)})
    found = choices(many(), vocabulary_, 80)
    assert set(Counter(each.thing for each in found).values()) == {2}


def test_wrong_options_are_as_frequent_as_right_ones():
    """A guess by frequency alone: how often a class is right among its appearances tells nothing."""
    vocabulary_ = Vocabulary({f"c{name}": frozenset() for name in range(200)})

    def guess(draw):
        found = choices(many(), vocabulary_, 300, draw=draw)
        right = Counter(each.thing for each in found)
        return np.mean([max(each.options, key=lambda name: right[name]) == each.thing for each in found])

    assert guess("uniform") > 0.7
    assert guess("alike") < 0.45


def test_what_cannot_be_read_is_passed_over():
    vocabulary_ = Vocabulary({f"c{name}": frozenset() for name in range(40)})
    found = choices(many(), vocabulary_, 50, readable=lambda sight: not sight.name.endswith("1"))
    assert len(found) == 50
    assert not any(each.sight.name.endswith("1") for each in found)


ANIMALS = ("cat", "dog", "cow", "hen", "fox", "pig", "bee", "ant")


def png(colour, side=16):
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


class World(Stage):
    kind: ClassVar[str] = "pictures"

    def run(self, out, inputs):
        with Writer(out) as writer:
            keys = [writer.add(png((number, 0, 0)), "png") for number in range(30)]
        scenes = []
        for number, key in enumerate(keys):
            shares = [(0.2, 0.05), (0.4, 0.05), (0.35, 0.35)][number % 3]
            names = [f"thing {number % 7}", f"thing {number % 7 if number % 3 == 2 else (number + 1) % 7}"]
            things = tuple(
                truth.Thing(name, "thing", (0, 0, 1, 1), share, 1.0, depth)
                for depth, (name, share) in enumerate(zip(names, shares, strict=True))
            )
            scenes.append(
                (
                    truth.Scene(
                        key,
                        "test" if number < 27 else "train",
                        number,
                        "scatter",
                        f"layout {number // 2}",
                        objects=things,
                    ),
                    [np.ones(1, np.uint32)] * 2,
                )
            )
        truth.write(out, scenes, {"side": 16})


def test_a_world_is_asked_about(tmp_path):
    world = World()
    for name in ("world", "out"):
        (tmp_path / name).mkdir()
    world.run(tmp_path / "world", {})
    stage = Existence(world=world, items=6)
    assert stage.settle(fetch=False) == stage
    stage.run(tmp_path / "out", {"world": tmp_path / "world"})
    found, pictures = items.read(tmp_path / "out"), Pictures(tmp_path / "world")
    assert Counter(each.task for each in found) == {f"existence by size: {level}": 6 for level in BUCKETS}
    scenes = {scene.key: scene for scene in truth.read(tmp_path / "world")}
    for each in found:
        scene = scenes[each.picture]
        assert scene.split == "test"
        assert each.picture in pictures
        assert each.cluster == scene.layout
        assert each.group == "Existence"
        share = sum(thing.fraction for thing in scene.objects if thing.name == each.options[each.answer])
        assert each.facts["share"] == pytest.approx(share)
        assert each.facts["bucket"] == bucket(share)
        assert not scene.names & (set(each.options) - {each.options[each.answer]})
    assert not (tmp_path / "out" / "pictures.json").exists()
    assert json.loads((tmp_path / "out" / "counts.json").read_text())["questions"] == 18


def folder_of(tmp_path, broken=True):
    """Pictures in COCO's layout, of one thing each: a left part of the picture."""
    folder = tmp_path / "coco"
    folder.mkdir()
    images, annotations = [], []
    for number in range(24):
        name = f"{number:03d}.png"
        (folder / name).write_bytes(b"broken" if broken and number == 0 else png((number, 9, 9), 10))
        images.append({"id": number, "file_name": name, "height": 10, "width": 10})
        width = (2, 5, 8)[number % 3]
        corners = [0, 0, width, 0, width, 10, 0, 10]
        annotations.append({"image_id": number, "category_id": number % 8, "segmentation": [corners]})
    categories = [{"id": number, "name": name} for number, name in enumerate(ANIMALS)]
    (folder / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return folder


def test_a_folder_is_asked_about_with_its_pictures_beside(tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "synonyms.txt").write_text("cat, dog\n")
    stage = Existence(
        path=str(folder_of(tmp_path)),
        layout="coco",
        annotations="instances.json",
        items=8,
        wordnet=False,
        synonyms=str(tmp_path / "synonyms.txt"),
    ).settle(fetch=False)
    stage.run(out, {})
    found, pictures = items.read(out), Pictures(out)
    assert len(found) == len(pictures) == 23
    assert not any({"cat", "dog"} <= set(each.options) for each in found)
    for each in found:
        assert pictures.image(each.picture).size == (10, 10)
        assert each.facts["share"] == pytest.approx((0.2, 0.5, 0.8)[list(BUCKETS).index(each.facts["bucket"])])
    assert json.loads((out / "skipped.json").read_text()) == {
        "000.png": "000.png: cannot be read as an image; mend it, or take it off the list."
    }
    said = capsys.readouterr().err
    assert "existence by size: 0-30 has 7 questions of 8" in said
    assert "left out 1 pictures that cannot be read, first 000.png" in said


def test_wordnet_keeps_kinds_parts_and_wholes_apart(tmp_path, monkeypatch):
    nouns = vocabulary.Nouns({"cat": (1,), "cow": (2,)}, {1: (2,)}, {})
    monkeypatch.setattr(vocabulary.Nouns, "of_package", classmethod(lambda cls: nouns))
    monkeypatch.setattr("adapt.datasets.package", lambda role, fetch: f"digest of {role}")
    out = tmp_path / "out"
    out.mkdir()
    stage = Existence(
        path=str(folder_of(tmp_path, broken=False)), layout="coco", annotations="instances.json", items=8
    )
    settled = stage.settle(fetch=False)
    assert settled.content["wordnet"] == "digest of words.nouns"
    settled.run(out, {})
    assert not any({"cat", "cow"} <= set(each.options) for each in items.read(out))


def test_its_identity_is_the_folders_content(tmp_path):
    folder = folder_of(tmp_path)
    fields = {"layout": "coco", "annotations": "instances.json", "wordnet": False}
    stage = Existence(path=str(folder), **fields).settle(fetch=False)
    folder.rename(tmp_path / "moved")
    moved = Existence(path=str(tmp_path / "moved"), **fields).settle(fetch=False)
    assert stage.fingerprint == moved.fingerprint
    (tmp_path / "moved" / "001.png").write_bytes(png("red"))
    with pytest.raises(PresightError, match="changed since it was planned"):
        moved.run(tmp_path, {})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "either a world, or the path"),
        ({"path": "x"}, "a folder needs a layout"),
        ({"world": World(), "path": "x", "layout": "coco"}, "either a world, or the path"),
        ({"world": World(), "layout": "coco"}, "a world has none"),
        ({"path": "x", "layout": "coco", "declared": "coco"}, "has no version"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Existence(**fields)


def test_nothing_to_ask_is_an_error(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "world").mkdir()
    World().run(tmp_path / "world", {})
    with pytest.raises(PresightError, match="none were made"):
        Existence(world=World(), splits=("validation",)).run(tmp_path / "out", {"world": tmp_path / "world"})
