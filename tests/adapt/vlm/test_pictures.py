import io
import json
import tarfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adapt.vlm.pictures import Pictures, Writer, key_of, picture, samples
from presight.errors import PresightError


def encoded(pixels, **options):
    image, written = Image.fromarray(pixels), io.BytesIO()
    image.save(written, **{"format": "png"} | options)
    return written.getvalue()


@given(st.integers(0, 99))
def test_what_is_transparent_is_white(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 4), np.uint8)
    pixels[0, 0], pixels[0, 1] = (9, 9, 9, 0), (9, 8, 7, 255)
    found = np.asarray(picture("a.png", encoded(pixels)), float)
    share = pixels[..., 3:] / 255
    assert np.abs(found - (share * pixels[..., :3] + (1 - share) * 255)).max() <= 1
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == [9, 8, 7]


def test_pictures_of_other_modes():
    grey = np.full((4, 4), 70, np.uint8)
    assert picture("a", encoded(grey)).getpixel((1, 1)) == (70, 70, 70)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    written = io.BytesIO()
    palette.save(written, "png", transparency=1)
    assert picture("a", written.getvalue()).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(PresightError, match=r"^x\.png: cannot be read as an image"):
        picture("x.png", b"no image")
    with pytest.raises(PresightError, match="cannot be read as an image"):
        picture("x.png", encoded(grey)[:45])


def sounded(values, rate=8000):
    import soundfile

    written = io.BytesIO()
    soundfile.write(written, values, rate, format="wav", subtype="FLOAT")
    return written.getvalue()


def test_sounds_are_mixed_down():
    values = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    found, rate = samples("a.wav", sounded(values, 11025))
    assert rate == 11025
    assert found.dtype == np.float32
    assert np.abs(found - values.sum(1) / 2).max() < 1e-6
    with pytest.raises(PresightError, match=r"^x\.wav: cannot be read as a sound"):
        samples("x.wav", b"no sound")


@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=12), st.integers(1, 4))
def test_what_is_written_is_read(tmp_path_factory, contents, shard):
    folder = tmp_path_factory.mktemp("pictures")
    with Writer(folder, shard=shard) as writer:
        keys = [writer.add(content, "png") for content in contents]
    found = Pictures(folder)
    assert found.keys == tuple(dict.fromkeys(map(key_of, contents)))  # each once, in the order of their coming
    assert keys == [key_of(content) for content in contents]
    assert len(found) == len(set(contents))
    assert all(found.read(key) == content and key in found for key, content in zip(keys, contents, strict=True))
    listed = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            listed.append(archive.getnames())
    assert all(len(each) == shard for each in listed[:-1])
    assert [name for each in listed for name in each] == [f"{key}.png" for key in found.keys]


def test_pictures_and_sounds_come_decoded(tmp_path):
    (tmp_path / "image").mkdir(), (tmp_path / "sound").mkdir()
    grey = encoded(np.full((4, 6), 70, np.uint8))
    with Writer(tmp_path / "image") as writer:
        key = writer.add(grey, "png")
    assert Pictures(tmp_path / "image").modality == "image"
    assert Pictures(tmp_path / "image").image(key).size == (6, 4)
    with Writer(tmp_path / "sound", "sound") as writer:
        key = writer.add(sounded(np.zeros(80)), "wav")
    found = Pictures(tmp_path / "sound")
    assert found.modality == "sound"
    assert found.sound(key)[0].shape == (80,)


def test_what_is_not_there_or_damaged_is_said(tmp_path):
    with pytest.raises(PresightError, match="holds no pictures"):
        Pictures(tmp_path)
    with Writer(tmp_path) as writer:
        key = writer.add(b"a" * 600, "png")
        writer.add(b"b" * 600, "png")
    with pytest.raises(PresightError, match="has no picture 00"):
        Pictures(tmp_path).read("00")
    path = tmp_path / "pictures-000000.tar"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"a" * 600, b"a" * 599 + b"c"))
    with pytest.raises(PresightError, match=f"picture {key} is damaged") as caught:
        Pictures(tmp_path).read(key)
    assert caught.value.code == 87
    path.write_bytes(whole[:700])
    with pytest.raises(PresightError, match="is damaged"):
        Pictures(tmp_path).read(key)


def test_an_error_leaves_no_index(tmp_path):
    with suppress(RuntimeError), Writer(tmp_path) as writer:
        writer.add(b"a", "png")
        raise RuntimeError
    assert not (tmp_path / "pictures.json").exists()
    with Writer(tmp_path):
        pass
    assert json.loads((tmp_path / "pictures.json").read_text()) == {"modality": "image", "keys": []}
    assert len(Pictures(tmp_path)) == 0
