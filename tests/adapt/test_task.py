import numpy as np
import pytest

from adapt import Invented, Task, examples
from adapt.patches import image_patches, wave_patches
from adapt.tokens import spectra

LIMITS = {"train": None, "validation": None, "test": None}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    out = tmp_path_factory.mktemp("gratings")
    Invented(modality="image", train=60, validation=20, test=30, noise=0.3).run(out, {})
    return out


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    out = tmp_path_factory.mktemp("tones")
    Invented(modality="sound", train=24, validation=8, test=8, noise=0.3).run(out, {})
    return out


def test_a_task_is_cut_and_scaled_by_its_training_split(images):
    task = Task.load(images, 8, {"train": 40, "test": None})
    assert set(task.patches) == {"train", "test"}
    raw = {
        split: image_patches(examples.read(images, split, n).data, 8) for split, n in (("train", 40), ("test", None))
    }
    mean, deviation = raw["train"].mean(dtype=np.float64), raw["train"].std(dtype=np.float64)
    for split, values in raw.items():
        assert task.patches[split][:] == pytest.approx((values - mean) / deviation, abs=1e-3)
    assert (task.width, task.tokens, task.modality, len(task.classes)) == (64, 4, "image", 4)
    assert Task.load(images, None, {}).patches["train"].shape == (60, 16, 16)


def test_rows_are_read_as_of_an_array(images):
    inputs = Task.load(images, 4, {}).patches["train"]
    whole = inputs[:]
    assert whole.shape == inputs.shape == (60, 16, 16)
    assert whole.dtype == np.float32
    for rows in (slice(3, 9), np.array([5, 0, 59, 5]), slice(None, None, 7), np.arange(60) % 3 == 0):
        assert np.array_equal(inputs[rows], whole[rows])
    assert np.array_equal(inputs[7], whole[7])
    assert np.array_equal(np.concatenate(list(inputs.parts())), whole)


def test_sounds_are_cut_by_25_ms(sounds):
    task = Task.load(sounds, None, LIMITS)
    assert task.patches["test"].shape == (8, 10, 100)


@pytest.mark.parametrize("shuffled", ["order", "patches"])
def test_shuffled_patches_are_the_same_ones_elsewhere(images, shuffled):
    plain, mixed = Task.load(images, 4, LIMITS), Task.load(images, 4, LIMITS, shuffled)
    found = set()
    for split in LIMITS:
        for one, other in zip(plain.patches[split][:], mixed.patches[split][:], strict=True):
            assert sorted(map(bytes, one)) == sorted(map(bytes, other))
            order = tuple(int((one == patch).all(1).argmax()) for patch in other)
            assert order != tuple(range(16))
            found.add(order)
        assert np.array_equal(plain.split[split].labels, mixed.split[split].labels)
    assert len(found) == (1 if shuffled == "order" else 110)


def test_shuffled_labels_are_those_of_training_alone(images):
    plain, mixed = Task.load(images, 4, LIMITS), Task.load(images, 4, LIMITS, "labels", seed=1)
    assert not np.array_equal(plain.split["train"].labels, mixed.split["train"].labels)
    assert np.bincount(plain.split["train"].labels).tolist() == np.bincount(mixed.split["train"].labels).tolist()
    for split in ("validation", "test"):
        assert np.array_equal(plain.split[split].labels, mixed.split[split].labels)
    assert np.array_equal(plain.patches["train"][:], mixed.patches["train"][:])


def test_a_codebook_is_of_the_training_split(sounds):
    task = Task.load(sounds, None, LIMITS, codebook=16, seed=2)
    assert (task.width, task.codes, task.patches["test"].shape) == (16, 16, (8, 10))
    codes = task.patches["train"][:]
    assert codes.dtype == np.int64
    assert set(codes.flatten()) <= set(range(16))
    book = task.patches["train"].codebook
    vectors = spectra(wave_patches(examples.read(sounds, "test").data, 100))
    assert np.array_equal(task.patches["test"][:], book(vectors))
    alone = Task.load(sounds, None, {}, codebook=16, seed=2).patches["train"].codebook
    assert np.array_equal(alone.centres, book.centres)  # other splits have no part in it
    mixed = Task.load(sounds, None, LIMITS, "order", codebook=16, seed=2)
    assert sorted(mixed.patches["train"][0]) == sorted(codes[0])


def clips(out, multilabel=False):
    """Three recordings of one, two and three clips, in a mixed order."""
    order = np.random.default_rng(0)
    names = ["b", "a", "b", "c", "c", "c"]
    labels = {"a": (0, 1) if multilabel else 0, "b": (1,) if multilabel else 1, "c": () if multilabel else 1}

    def split():
        for k, name in enumerate(names):
            data = order.normal(size=40).astype(np.float32) / 10
            yield examples.Example(f"{name}#{k}", data, labels[name], f"artist-{name}", {"clip": name})

    out.mkdir()
    examples.write(out, {name: split() for name in examples.SPLITS}, "sound", ["x", "y"], 400, multilabel=multilabel)
    return Task.load(out, None, LIMITS)


@pytest.mark.parametrize("multilabel", [False, True])
def test_clips_of_a_recording_are_one_item(tmp_path, multilabel):
    task = clips(tmp_path / "clips", multilabel)
    items = task.items("test")
    assert items.names == ("b", "a", "c")
    assert items.clusters == ("artist-b", "artist-a", "artist-c")
    expected = [[False, True], [True, True], [False, False]] if multilabel else [1, 0, 1]
    assert items.labels.tolist() == expected
    values = np.arange(12.0).reshape(6, 2)
    by_hand = [(values[0] + values[2]) / 2, values[1], (values[3] + values[4] + values[5]) / 3]
    assert items.mean(values) == pytest.approx(np.array(by_hand))
    with pytest.raises(AssertionError):
        items.mean(values[:5])


def test_plain_examples_are_items(images):
    task = Task.load(images, 4, LIMITS)
    items = task.items("test")
    assert items.names == task.split["test"].items
    assert items.clusters == task.split["test"].clusters
    values = np.random.default_rng(0).random((30, 4))
    assert np.array_equal(items.mean(values), values)
