import json

import numpy as np
import pytest

from adapt import sounds as recorded
from adapt.sounds import Note
from adapt.vlm import conversations
from adapt.vlm.pictures import Pictures
from eval import Captions, Instructions, SceneQuestions
from eval.vision import items
from eval.world import clips, truth
from eval.world.clips import SECONDS
from eval.world.recordings import RATE
from eval.world.sounds import SoundWorld
from presight import packages
from presight.errors import PresightError, Unavailable
from presight.packages import Fetched

SMALL = {"sample": "tones", "train": 60, "validation": 20, "test": 80}


@pytest.fixture(scope="module")
def heard(made, tmp_path_factory):
    return made(SoundWorld(**SMALL), tmp_path_factory.mktemp("sounds"))


def test_a_world_of_sounds_holds_what_it_says(heard):
    made, pictures = clips.read(heard), Pictures(heard)
    assert pictures.modality == "sound"
    assert [clip.key for clip in made] == list(pictures.keys)
    samples, rate = pictures.sound(made[0].key)
    assert (len(samples), rate) == (round(SECONDS * RATE), RATE)
    first = made[0].events[0]
    assert np.flatnonzero(samples)[0] == pytest.approx(first.onset * RATE, abs=80)
    counts = json.loads((heard / "counts.json").read_text())
    assert (counts["composed clips"], counts["split test"], counts["purpose row"]) == (160, 80, 64)
    assert "composed" in truth.described(heard)["pictures"]
    layouts = [{clip.layout for clip in clips.read(heard, split)} for split in truth.SPLITS]
    assert not layouts[0] & layouts[2] | layouts[0] & layouts[1]


def test_it_is_asked_and_told_about_as_scenes_are(heard, made, tmp_path):
    stage = SoundWorld(**SMALL)
    asked = items.read(made(SceneQuestions(world=stage, items=25), tmp_path / "q", world=heard))
    assert {item.group for item in asked} == {"Hearing"}
    assert {item.task for item in asked} == {"heard", "order", "number", "same", "louder", "higher"}
    said = conversations.read(made(Captions(world=stage), tmp_path / "c", world=heard))
    assert len(said) == 60
    told = conversations.read(made(Instructions(world=stage, items=30, told=0.5), tmp_path / "i", world=heard))
    assert {each.tag for each in told} == {"perception", "other"}
    assert {each.picture for each in told} <= {clip.key for clip in clips.read(heard, "train")}
    with pytest.raises(PresightError, match="holds no scenes"):
        truth.read(heard)


def test_the_same_fields_give_the_same_bytes(heard, made, tmp_path):
    again = made(SoundWorld(**SMALL), tmp_path / "a")
    assert {path.name: path.read_bytes() for path in heard.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }
    other = made(SoundWorld(**SMALL, seed=1), tmp_path / "b")
    assert not set(Pictures(other).keys) & set(Pictures(heard).keys)


def notes(families):
    """Recordings of six series of each family."""
    order = np.random.default_rng(0)
    return [
        Note(f"{family} {i}", family, f"{family} {i % 6}", order.normal(size=4000).astype(np.float32), 8000)
        for family in families
        for i in range(12)
    ]


def test_recordings_come_out_of_packages(made, monkeypatch, tmp_path):
    role = "audio.instruments"
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({role: "d" * 64}, {}))
    monkeypatch.setattr(packages, "fetch", lambda _: Fetched(role, {}, "d" * 64, {"font": "MIT"}))
    monkeypatch.setattr(recorded, "instruments", lambda _: notes(["piano", "brass", "drums", "bass", "guitar"]))
    stage = SoundWorld(**SMALL | {"sample": "instruments"}).settle(fetch=True)
    assert stage.content == "d" * 64
    out = made(stage, tmp_path)
    for clip in clips.read(out):
        assert not {"bass", "guitar"} <= clip.names or clip.purpose != "row"
    assert json.loads((out / "licences.json").read_text()) == ["MIT"]
    monkeypatch.setattr(recorded, "instruments", lambda _: notes(["piano", "brass"]))
    with pytest.raises(PresightError, match="sounds of 2 names, of 4 or more"):
        stage.run(tmp_path, {})
    monkeypatch.setattr(packages, "fetch", lambda _: Fetched(role, {}, "e" * 64, {}))
    with pytest.raises(PresightError, match="its package changed"):
        stage.run(tmp_path, {})


def test_what_cannot_be_made_is_refused(monkeypatch, tmp_path):
    with pytest.raises(PresightError, match="no clips are asked for"):
        SoundWorld(sample="tones", train=0, validation=0, test=0).run(tmp_path, {})
    lacking = PresightError("apt-get", "is not there", "install it")
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({}, dict.fromkeys(roles, lacking)))
    with pytest.raises(Unavailable, match="apt-get: is not there; install it"):
        SoundWorld(sample="drums").settle(fetch=True)
    assert SoundWorld(**SMALL).settle(fetch=True) == SoundWorld(**SMALL)
