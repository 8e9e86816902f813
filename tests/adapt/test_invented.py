import numpy as np
import pytest
from toy_experiment import payload

from adapt import Invented, examples


def make(out, **fields):
    out.mkdir(parents=True)
    Invented(**fields).run(out, {})
    return out


@pytest.mark.parametrize("modality", ["image", "sound"])
def test_bytes_follow_from_the_seed(tmp_path, modality):
    first = payload(make(tmp_path / "a", modality=modality, train=16, validation=8, test=8))
    assert payload(make(tmp_path / "b", modality=modality, train=16, validation=8, test=8)) == first
    other = payload(make(tmp_path / "c", modality=modality, train=16, validation=8, test=8, seed=1))
    assert all(first[f"{split}-000000.tar"] != other[f"{split}-000000.tar"] for split in examples.SPLITS)


@pytest.mark.parametrize("modality", ["image", "sound"])
def test_splits_are_disjoint_and_balanced(tmp_path, modality):
    folder = make(tmp_path / "a", modality=modality, train=40, validation=20, test=30)
    splits = [examples.read(folder, split) for split in examples.SPLITS]
    assert [len(each) for each in splits] == [40, 20, 30]
    inputs = [data.tobytes() for each in splits for data in each.data]
    assert len(set(inputs)) == 90
    assert len({item for each in splits for item in each.items}) == 90
    for each in splits:
        counts = np.bincount(each.labels, minlength=4)
        assert counts.max() - counts.min() <= 1


def test_classes_can_be_told_apart_without_noise(tmp_path):
    folder = make(tmp_path / "a", modality="sound", noise=0, train=8, validation=8, test=8)
    found, index = examples.read(folder, "test"), examples.index(folder)
    spectrum = np.abs(np.fft.rfft(found.data, axis=1))
    peaks = np.fft.rfftfreq(found.data.shape[1], 1 / index["rate"])[spectrum.argmax(axis=1)]
    assert [index["classes"][label] for label in found.labels] == [f"{peak:.0f} Hz" for peak in peaks]
    folder = make(tmp_path / "b", modality="image", noise=0, train=8, validation=8, test=8)
    found = examples.read(folder, "test")
    for picture, label in zip(found.data.astype(float), found.labels, strict=True):
        down, across = (np.abs(np.diff(picture, axis=axis)).mean() for axis in (0, 1))
        assert {0: down < 1e-9, 2: across < 1e-9}.get(int(label), min(down, across) > 1)


def test_noise_is_clipped_not_wrapped(tmp_path):
    for modality in ("image", "sound"):
        found = examples.read(make(tmp_path / modality, modality=modality, noise=50, train=8), "train")
        assert found.data.max() <= (255 if modality == "image" else 1.0)
        _, counts = np.unique(found.data, return_counts=True)
        assert counts[0] > 20  # both ends pile up
        assert counts[-1] > 20


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Invented(modality="image", seed=-1)
