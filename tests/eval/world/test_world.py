import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from adapt.vlm.pictures import Pictures
from eval import World
from eval.world import truth, vocabulary
from eval.world.scenes import PURPOSES, Composer
from eval.world.world import CHUNK, ROLE
from presight import packages
from presight.errors import PresightError, Unavailable
from presight.packages import Fetched

SMALL = {"sample": "shapes", "train": 30, "validation": 10, "test": 20, "side": 64}


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_world_holds_what_it_says(world, stage):
    scenes, pictures, counts = truth.read(world), Pictures(world), json.loads((world / "counts.json").read_text())
    assert (counts["composed scenes"], counts["split train"], counts["split test"]) == (760, 300, 400)
    assert [scene.key for scene in scenes] == list(pictures.keys)
    assert counts["novel"] == sum(scene.novel for scene in scenes) > 60
    assert counts["objects"] == sum(len(scene.objects) for scene in scenes)
    assert {scene.purpose for scene in scenes} == set(PURPOSES)
    described = truth.described(world)
    assert "composed" in described["pictures"]
    assert "not photographed" in described["pictures"]
    assert set(described["held_out"]) >= {name for name, entry in described["vocabulary"].items() if entry["novel"]}
    assert not (world / "licences.json").exists()
    assert stage.estimate().items == 760


def test_no_picture_and_no_arrangement_is_in_two_splits(world):
    for of in (lambda scene: scene.key, lambda scene: scene.layout):
        parts = [{of(scene) for scene in truth.read(world, split)} for split in truth.SPLITS]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_masks_are_those_of_the_scene_as_it_was_drawn(world, composer):
    kept = truth.Masks(world)
    for scene in truth.read(world, "test")[:30]:
        drawn = composer.scene("test", scene.number)
        assert drawn.content == Pictures(world).read(scene.key)
        for thing, runs in zip(scene.objects, drawn.masks, strict=True):
            assert np.array_equal(kept.mask(thing), truth.mask_of(runs, 64, 64))
            assert kept.mask(thing).mean() == thing.fraction


def test_the_same_fields_give_the_same_bytes_also_after_a_stop(made, tmp_path, monkeypatch):
    stage = World(**SMALL)
    whole = content(made(stage, tmp_path / "a"))
    monkeypatch.setattr("eval.world.world.CHUNK", 7)
    out, drawn = tmp_path / "b" / "payload", []
    out.mkdir(parents=True)
    draw = Composer.scene

    def failing(self, split, number):
        drawn.append((split, number))
        if len(drawn) == 20:
            raise KeyboardInterrupt
        return draw(self, split, number)

    monkeypatch.setattr(Composer, "scene", failing)
    with pytest.raises(KeyboardInterrupt):
        stage.run(out, {})
    stage.run(out, {})
    assert content(out) == whole
    assert Counted(drawn).again == 20 - 14  # what two whole chunks hold is not drawn again
    assert CHUNK > 7


class Counted:
    def __init__(self, drawn):
        self.again = len(drawn) - len(set(drawn))


def test_another_seed_another_world(made, tmp_path):
    one, other = (made(World(**SMALL, seed=seed), tmp_path / str(seed)) for seed in (0, 1))
    assert not set(Pictures(one).keys) & set(Pictures(other).keys)
    assert truth.described(one)["held_out"] != truth.described(other)["held_out"]


def test_a_world_for_one_group(made, tmp_path):
    out = made(World(**SMALL | {"groups": ("OCR & Chart",), "novel": 0}), tmp_path)
    assert {scene.purpose for scene in truth.read(out)} == {"word", "chart"}
    assert truth.described(out)["held_out"] == []


def test_what_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(PresightError, match="no scenes are asked for"):
        World(sample="shapes", train=0, validation=0, test=0).run(tmp_path, {})
    with pytest.raises(PresightError, match="objects or words are novel, and 5 are needed; hold out another share"):
        World(**SMALL | {"novel": 0.1}).run(tmp_path, {})
    with pytest.raises(PresightError, match="objects or words are seen"):
        World(**SMALL | {"novel": 0.9}).run(tmp_path, {})


def test_packages_are_asked_for_and_must_stay_as_they_were(monkeypatch, tmp_path):
    asked = []

    def digests(roles, fetch):
        asked.append((list(roles), fetch))
        return {ROLE: "d" * 64}, {}

    monkeypatch.setattr(packages, "digests", digests)
    settled = World().settle(fetch=False)
    assert asked == [([ROLE], False)]
    table = vocabulary.TABLE.read_bytes()
    assert settled.content == hashlib.sha256(b"d" * 64 + table).hexdigest()
    monkeypatch.setattr(vocabulary, "TABLE", tmp_path / "table.yaml")
    vocabulary.TABLE.write_bytes(table + b"\n")
    assert World().settle(fetch=False).content != settled.content  # what things are called decides what is asked
    vocabulary.TABLE.write_bytes(table)
    asked.pop()
    assert settled.settle(fetch=True) is settled
    assert World(sample="shapes").settle(fetch=True) == World(sample="shapes")
    monkeypatch.setattr(packages, "fetch", lambda role: Fetched(role, {}, "e" * 64, {}))
    with pytest.raises(PresightError, match="its packages, or the table"):
        settled.run(tmp_path, {})
    monkeypatch.setattr(
        packages, "digests", lambda *_: ({}, {ROLE: PresightError("npm", "is not there", "install it")})
    )
    with pytest.raises(Unavailable, match="npm: is not there; install it"):
        World().settle(fetch=True)


def test_the_stages_import_little():
    program = (
        "import sys; import eval.world.world, eval.world.questions, eval.world.captions, eval.world.sounds;"
        "print({'torch', 'PIL', 'transformers', 'pyarrow', 'scipy', 'soundfile'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(packages.cached(ROLE) is None, reason="the emoji are not in the cache; presight data get them")
def test_a_world_of_emoji(made, tmp_path):
    stage = World(train=9, validation=9, test=45, side=96).settle(fetch=False)
    out = made(stage, tmp_path)
    scenes = truth.read(out)
    assert {scene.purpose for scene in scenes} == set(PURPOSES)
    assert any(scene.novel for scene in scenes)
    assert json.loads((out / "licences.json").read_text()) == ["MIT"]
    assert all(0.05 < thing.visible <= 1 for scene in scenes for thing in scene.objects)
