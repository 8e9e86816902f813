import gzip
import struct

import numpy as np
import pytest
import toy_archives as toy

from adapt.images import fashion_mnist
from presight.errors import PresightError
from presight.packages import fetch

FOLDER = "usr/share/datasets/fashion-mnist/"


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def files():
    rng = np.random.default_rng(0)
    made = {}
    for split, n in (("train", 6), ("t10k", 4)):
        made[f"{split}-images-idx3-ubyte.gz"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        made[f"{split}-labels-idx1-ubyte.gz"] = rng.integers(0, 10, n, dtype=np.uint8)
    return made


def read(tmp_path, files):
    members = {FOLDER + name: value if isinstance(value, bytes) else idx(value) for name, value in files.items()}
    return fashion_mnist(toy.fetched("images.fashion-mnist", tmp_path, {"dataset-fashion-mnist": members}))


def test_reads_what_was_written(tmp_path, files):
    found = read(tmp_path, files)
    assert found.train_images.dtype == np.uint8
    assert found.test_labels.dtype == np.int64
    np.testing.assert_array_equal(found.train_images, files["train-images-idx3-ubyte.gz"])
    np.testing.assert_array_equal(found.train_labels, files["train-labels-idx1-ubyte.gz"])
    np.testing.assert_array_equal(found.test_images, files["t10k-images-idx3-ubyte.gz"])
    np.testing.assert_array_equal(found.test_labels, files["t10k-labels-idx1-ubyte.gz"])
    assert len(found.classes) == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: None, "is missing"),
        (lambda a: b"no gzip", "cannot be unpacked"),
        (lambda a: idx(a)[:-12], "cannot be unpacked"),
        (lambda a: gzip.compress(b"\0\0"), "has no IDX header"),
        (lambda a: gzip.compress(b"\0\0\x09\x03" + gzip.decompress(idx(a))[4:]), "has no IDX header"),
        (lambda a: gzip.compress(b"\0\0\x08\x00"), "has no IDX header"),
        (lambda a: gzip.compress(gzip.decompress(idx(a))[:-1]), r"announces \[6, 28, 28\] bytes and holds 4703"),
        (lambda a: gzip.compress(gzip.decompress(idx(a)) + b"x"), "holds 4705"),
        (lambda a: a[:-1], "do not belong together"),
        (lambda a: a[:, 0, 0], "do not belong together"),
    ],
)
def test_damage_is_named(tmp_path, files, change, said):
    changed = change(files.pop("train-images-idx3-ubyte.gz"))
    if changed is not None:
        files["train-images-idx3-ubyte.gz"] = changed
    with pytest.raises(PresightError, match=rf"images\.fashion-mnist: train.*{said}"):
        read(tmp_path, files)


def test_label_beyond_the_classes(tmp_path, files):
    files["t10k-labels-idx1-ubyte.gz"] = np.array([0, 1, 2, 10], np.uint8)
    with pytest.raises(PresightError, match="label 10 is beyond the 10 classes"):
        read(tmp_path, files)


@pytest.mark.network
def test_real_images():
    try:
        found = fashion_mnist(fetch("images.fashion-mnist"))
    except PresightError as error:
        pytest.skip(f"neither cached nor reachable: {error}")
    assert found.train_images.shape == (60_000, 28, 28)
    assert found.test_images.shape == (10_000, 28, 28)
    assert np.bincount(found.train_labels).tolist() == [6_000] * 10
    assert np.bincount(found.test_labels).tolist() == [1_000] * 10
