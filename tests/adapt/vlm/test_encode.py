import io
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from toy_experiment import payload
from toy_models import tiny_encoder

from adapt.vlm import encode
from adapt.vlm.encode import Encode
from adapt.vlm.encoders import scrambled
from adapt.vlm.features import Features
from adapt.vlm.pictures import Pictures, Writer
from adapt.vlm.towers import Tower
from presight import packages
from presight.errors import PresightError, Unavailable
from presight.packages import Fetched
from presight.stage import Stage
from presight.store import Store


class Given(Stage):
    """Pictures that lie there already."""

    kind: ClassVar[str] = "pictures"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from transformers import CLIPImageProcessorPil

    folder = tmp_path_factory.mktemp("encoder")
    tiny_encoder("CLIP").save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12}).save_pretrained(folder)
    return folder


def image(number, side=16):
    written = io.BytesIO()
    drawn = np.random.default_rng(number).integers(0, 256, (side, side + 4, 3), np.uint8)
    Image.fromarray(drawn).save(written, "png")
    return written.getvalue()


def pictures(folder, contents, modality="image"):
    folder.mkdir()
    with Writer(folder, modality, shard=4) as writer:
        for content in contents:
            writer.add(content, "png" if modality == "image" else "wav")
    return folder


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("ten") / "pictures", [image(number) for number in range(10)])


def perform(stage, given, root):
    """The stage's shards and its finish as the store runs them; the artifact."""
    out = root / "payload"
    out.mkdir(parents=True, exist_ok=True)
    for shard in range(stage.shards()):
        stage.run_shard(shard, out, {"pictures": given})
    stage.finish(out, {"pictures": given})
    return out


@pytest.mark.parametrize("parts", [1, 3, 16])
@pytest.mark.parametrize("batch", [1, 4, 32])
def test_every_picture_is_encoded_once_for_every_view(encoder, ten, tmp_path, parts, batch):
    made = Encode(pictures=Given(), encoder=encoder, views=("plain", "scrambled"), parts=parts, batch=batch).settle(
        True
    )
    found = Features(perform(made, ten, tmp_path))
    tower, given = Tower(encoder), Pictures(ten)
    assert found.keys == given.keys
    assert (found.grid, found.width, found.layer, found.modality) == ((3, 3), 16, -2, "image")
    assert found.encoder == f"CLIPVisionModel {made.content[:12]}, layer -2, 12 pixels"
    plain, control = found.read(given.keys), found.read(given.keys, "scrambled")
    for row, key in enumerate(given.keys):
        pixels = tower.pixels(given.image(key))
        assert np.abs(plain[row] - tower.encode([pixels])[0]).max() < 2e-3  # of half precision
        assert np.abs(control[row] - tower.encode([scrambled(pixels, key)])[0]).max() < 2e-3
        assert np.abs(control[row] - plain[row]).max() > 0.01
    grey = tower([Image.new("RGB", (9, 9), (127, 127, 127))])[0]
    assert np.abs(found.blank - grey).max() < 2e-3
    assert json.loads((tmp_path / "payload" / "counts.json").read_text()) == {"pictures": 10, "views": 2}


def test_a_killed_run_goes_on_and_gives_the_same_bytes(encoder, ten, tmp_path, monkeypatch):
    made = Encode(pictures=Given(), encoder=encoder, views=("plain", "scrambled"), parts=2, batch=2).settle(True)
    whole = payload(perform(made, ten, tmp_path / "whole"))
    calls = []
    plainly = Tower.encode

    def counted(self, prepared):
        calls.append(len(prepared))
        if len(calls) == 6:  # the blank one and two batches of two views are done
            raise KeyboardInterrupt
        return plainly(self, prepared)

    monkeypatch.setattr(Tower, "encode", counted)
    with pytest.raises(KeyboardInterrupt):
        perform(made, ten, tmp_path / "killed")
    before = len(calls)
    out = perform(made, ten, tmp_path / "killed")
    assert payload(out) == whole
    assert sum(calls[before:]) == 1 + 2 * (10 - 4)  # the blank; of ten pictures four were kept
    assert not list((tmp_path / "killed" / "scratch").iterdir())


def test_the_store_runs_it(encoder, ten, tmp_path):
    class Ten(Stage):
        kind: ClassVar[str] = "pictures"

        def run(self, out, inputs):
            for path in ten.iterdir():
                (out / path.name).write_bytes(path.read_bytes())

    Ten.__module__ = "adapt"
    store, given = Store(tmp_path), Ten()
    store.perform(given)
    made = Encode(pictures=given, encoder=encoder).settle(True)
    found = Features(store.perform(made).path)
    assert len(found) == 10
    assert found.folder == store.path(made)


def test_identity_is_content_and_reading_but_not_place(encoder, ten, tmp_path):
    import shutil

    shutil.copytree(encoder, tmp_path / "copy")
    one, other = (Encode(pictures=Given(), encoder=place).settle(True) for place in (encoder, tmp_path / "copy"))
    assert one.fingerprint == other.fingerprint
    assert one.changed(batch=3, encoder=tmp_path / "copy").fingerprint == one.fingerprint
    for changed in (dict(layer=-1), dict(side=20), dict(views=("plain", "scrambled")), dict(dtype="float16")):
        assert one.changed(**changed).fingerprint != one.fingerprint
    card = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps(card | {"layer_norm_eps": 0.1}))
    assert Encode(pictures=Given(), encoder=tmp_path / "copy").settle(True).fingerprint != one.fingerprint
    with pytest.raises(PresightError, match="encoder: its files changed since it was planned"):
        perform(other, ten, tmp_path / "out")


def test_a_broken_picture_stops_the_run_with_its_key(encoder, tmp_path):
    given = pictures(tmp_path / "pictures", [image(0), b"broken", image(1)])
    key = Pictures(given).keys[1]
    with pytest.raises(PresightError, match=f"^{key}: cannot be read as an image"):
        perform(Encode(pictures=Given(), encoder=encoder, parts=1).settle(True), given, tmp_path / "out")
    assert not list((tmp_path / "out" / "payload").glob("features*.npy"))


def test_features_that_half_precision_cannot_hold_stop_the_run(encoder, ten, tmp_path, monkeypatch):
    plainly = Tower.encode
    monkeypatch.setattr(Tower, "encode", lambda self, prepared: plainly(self, prepared) + 1e6 * (len(prepared) > 1))
    with pytest.raises(PresightError, match=f"^{Pictures(ten).keys[0]}: its features are not finite"):
        perform(Encode(pictures=Given(), encoder=encoder, parts=1).settle(True), ten, tmp_path)


def test_no_pictures_make_no_rows(encoder, tmp_path):
    given = pictures(tmp_path / "pictures", [])
    for parts in (1, 4):
        made = Encode(pictures=Given(), encoder=encoder, parts=parts).settle(True)
        assert len(Features(perform(made, given, tmp_path / f"{parts}"))) == 0


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "encoder or repository: neither is given"),
        ({"encoder": "sample", "repository": "a/b"}, "both are given"),
        ({"encoder": Path("/nowhere")}, "holds no files"),
    ],
)
def test_which_encoder_must_be_said(fields, problem):
    with pytest.raises(PresightError, match=problem):
        Encode(pictures=Given(), **fields).settle(True)


def test_views_are_named_once():
    with pytest.raises(ValidationError, match="named twice"):
        Encode(pictures=Given(), encoder="sample", views=("plain", "plain"))


@pytest.mark.parametrize(
    ("modality", "fields", "problem"),
    [
        ("image", {"encoder": "log-mel"}, "encoder: log-mel cannot read images; take sample"),
        ("sound", {"encoder": "sample"}, "encoder: sample cannot read sounds; take resemblyzer"),
        ("image", {"encoder": "sample", "seconds": 2}, "seconds: is given of images"),
        ("sound", {"encoder": "log-mel", "side": 224}, "side: is given of sounds"),
        ("sound", {"encoder": "log-mel", "layer": 3}, "layer: log-mel has none"),
        ("sound", {"encoder": "log-mel", "dtype": "float16"}, "dtype: log-mel computes in float32"),
    ],
)
def test_what_does_not_go_together_is_refused(modality, fields, problem):
    with pytest.raises(PresightError, match=problem):
        Encode(pictures=Given(), **fields, content="any").opened(modality)


def test_sounds_are_encoded_with_silence_as_their_blank(tmp_path):
    import soundfile

    contents = []
    for number in range(3):
        written = io.BytesIO()
        soundfile.write(written, np.random.default_rng(number).uniform(-1, 1, 6000), 8000, format="wav")
        contents.append(written.getvalue())
    given = pictures(tmp_path / "pictures", contents, "sound")
    made = Encode(pictures=Given(), encoder="log-mel", seconds=0.5, views=("plain", "scrambled")).settle(True)
    assert made.content == "log-mel"
    found = Features(perform(made, given, tmp_path))
    assert (found.grid, found.width, found.modality) == ((1, 5), 80, "sound")
    assert found.encoder == "log-mel spectrogram log-mel, layer -1, 0.5 seconds"
    assert np.unique(found.blank).tolist() == [-3]
    assert not np.array_equal(found.read(found.keys), found.read(found.keys, "scrambled"))


def test_packages_are_known_by_their_digest(monkeypatch):
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({role: f"of {role}" for role in roles}, {}))
    assert Encode(pictures=Given(), encoder="sample").settle(True).content == "of model.vision"
    assert Encode(pictures=Given(), encoder="resemblyzer").settle(True).content == "of model.hearing"
    monkeypatch.setattr(packages, "fetch", lambda role: Fetched(role, {}, "other", {}))
    with pytest.raises(PresightError, match="its files changed since it was planned"):
        Encode(pictures=Given(), encoder="sample").settle(True).opened("image")
    error = PresightError("model.vision", "no network", "try again")
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({}, {"model.vision": error}))
    with pytest.raises(Unavailable, match=r"model\.vision: no network"):
        Encode(pictures=Given(), encoder="sample").settle(True)


def test_a_repository_is_pinned_and_fetched(encoder, ten, tmp_path, monkeypatch):
    import huggingface_hub

    commit, asked = "0123456789abcdef" * 2 + "01234567", []

    def snapshot(name, revision, allow_patterns):
        asked.append((name, revision, "pytorch_model*" in allow_patterns))
        return str(encoder)

    monkeypatch.setattr(encode.hub, "commit", lambda kind, name, revision, field, fetch: commit)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    made = Encode(pictures=Given(), repository="owner/name", parts=1).settle(True)
    assert made.repository == f"owner/name@{commit}"
    found = Features(perform(made, ten, tmp_path))
    assert asked == [("owner/name", commit, False)]  # its weights are safetensors
    assert found.encoder == f"owner/name@{commit}, layer -2, 12 pixels"
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(PresightError, match="repository: owner/name cannot be had"):
        made.opened("image")
