import io
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from toy_archives import tgz

from eval.world.colours import TINTS
from eval.world.cutouts import OPAQUE, emoji, resized, shown
from eval.world.invented import shapes
from eval.world.vocabulary import listed, table
from eval.world.world import ROLE
from presight import packages
from presight.errors import PresightError
from presight.packages import Fetched


def picture(pixels):
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "webp", lossless=True, exact=True)
    return written.getvalue()


def disc(alpha=255, radius=12):
    y, x = np.mgrid[:32, :32]
    pixels = np.full((32, 32, 4), (200, 30, 20, 0), np.uint8)
    pixels[..., 3] = np.where((x - 16) ** 2 + (y - 14) ** 2 < radius**2, alpha, 0)
    return pixels


@pytest.fixture
def fetched(tmp_path):
    """Packages as the real ones are laid out, with four objects of the table and a face."""
    line = np.zeros((32, 32, 4), np.uint8)
    line[16, :] = (0, 0, 0, 255)
    pictures = {"1f436": disc(), "1f34e": disc(radius=9), "1f953": disc(60), "1f58a": line, "1f600": disc()}
    names = [
        {"hexcode": "1F436", "label": "dog", "tags": ["pet", "woof"]},
        {"hexcode": "1F34E", "label": "red apple", "tags": []},
        {"hexcode": "1F953", "label": "cat"},
        {"hexcode": "1F58A", "label": "flute"},
        {"hexcode": "1F600", "label": "grinning face"},
    ]
    archives = {
        "@lobehub/fluent-emoji-3d": tgz(
            tmp_path / "a.tgz", {f"package/assets/{code}.webp": picture(pixels) for code, pixels in pictures.items()}
        ),
        "emojibase-data": tgz(tmp_path / "b.tgz", {"package/en/data.json": json.dumps(names).encode()}),
    }
    return Fetched(ROLE, archives, "0" * 64, {"@lobehub/fluent-emoji-3d": "MIT"})


def test_objects_are_those_of_the_table_that_are_compact_and_opaque(fetched):
    found = emoji(fetched)
    assert [each.name for each in found.cutouts] == ["apple", "dog"]
    apple, dog = found.cutouts
    assert (apple.entry.kind, apple.entry.use) == ("fruit", "eating")
    assert (dog.entry.kind, dog.entry.tags) == ("mammal", ("pet",))
    assert dog.pixels.shape == (23, 23, 4)
    assert dog.colour == "red"
    assert found.dropped["cat"] == "can be seen through"
    assert found.dropped["flute"].startswith("fills ")
    assert found.dropped["lion"] == "has no picture"
    assert len(found.dropped) == len(listed()) - 2
    assert found.licences == ("MIT",)


def test_packages_without_any_of_them_are_refused(tmp_path):
    archives = {
        "@lobehub/fluent-emoji-3d": tgz(tmp_path / "a.tgz", {"package/assets/1f600.webp": b""}),
        "emojibase-data": tgz(tmp_path / "b.tgz", {"package/en/data.json": b"[]"}),
    }
    with pytest.raises(PresightError, match="holds none of the objects"):
        emoji(Fetched(ROLE, archives, "0" * 64, {}))


@given(st.integers(0, 50), st.sampled_from([0.0, 0.2, 0.5]))
def test_of_every_kind_the_share_is_held_out(seed, share):
    collection = shapes()
    held = collection.held_out(share, seed)
    kinds = Counter(each.entry.kind for each in collection.cutouts)
    out = Counter(each.entry.kind for each in collection.cutouts if each.name in held)
    assert all(out[kind] == round(share * size) for kind, size in kinds.items())
    assert len(held & set(collection.words)) == round(share * len(collection.words))
    marked = collection.vocabulary(held).entries
    assert {name for name, entry in marked.items() if entry.novel} == held - set(collection.words)


@given(st.integers(0, 23), st.integers(8, 90), st.booleans())
def test_an_outline_is_that_of_the_pixels(place, length, mirrored):
    cutout = shapes().cutouts[place]
    pixels = cutout.sized(length, mirrored)
    assert max(pixels.shape[:2]) == length
    assert np.array_equal(cutout.outline(length, mirrored), pixels[..., 3] >= OPAQUE)


def test_a_mirrored_object_is_the_mirror_image():
    cutout = next(each for each in shapes().cutouts if each.name == "letter L")
    assert np.array_equal(cutout.sized(40, mirrored=True), resized(cutout.pixels[:, ::-1], 40))
    assert not np.array_equal(cutout.outline(40), cutout.outline(40, mirrored=True))


@pytest.mark.skipif(packages.cached(ROLE) is None, reason="the emoji are not in the cache; presight data get them")
def test_the_emoji_themselves():
    found = emoji(packages.cached(ROLE))
    assert len(found) > 250
    assert set(found.dropped.values()).isdisjoint({"has no picture"})
    kinds = Counter(each.entry.kind for each in found.cutouts)
    assert set(kinds) == set(table()["kinds"])
    for each in found.cutouts[::9]:
        assert all(shown(each.sized(48, tint=tint)) == tint for tint in TINTS)
