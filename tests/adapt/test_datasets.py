from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_experiment import payload

from adapt import Images, Sounds, datasets, drums, examples, images, sounds
from adapt.datasets import PEAK, RATE, balanced, package
from presight import packages
from presight.errors import PresightError, Unavailable


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 120), st.integers(0, 99), st.integers(0, 99)
)
def test_balanced(sizes, count, shuffle, seed):
    labels = np.random.default_rng(shuffle).permutation(np.repeat(np.arange(len(sizes)) * 3, sizes))
    if -(-count // len(sizes)) > min(sizes):
        with pytest.raises(PresightError, match=f"{count} were asked of {sum(sizes)}"):
            balanced(labels, count, np.random.default_rng(seed))
        return
    rows = balanced(labels, count, np.random.default_rng(seed))
    assert len(rows) == len(set(rows.tolist())) == count
    per_class = [int((labels[rows] == label).sum()) for label in np.unique(labels)]
    assert max(per_class) - min(per_class) <= 1
    for cut in (count // 3, count // 2):  # and so are its beginning and its rest
        for part in (rows[:cut], rows[cut:]):
            counted = [int((labels[part] == label).sum()) for label in np.unique(labels)]
            assert max(counted) - min(counted) <= 1
    assert np.array_equal(rows, balanced(labels, count, np.random.default_rng(seed)))


def test_balanced_draws_differ_by_seed_and_are_even():
    labels = np.arange(1000) % 10
    drawn = [balanced(labels, 100, np.random.default_rng(seed)) for seed in range(200)]
    assert len({rows.tobytes() for rows in drawn}) == 200
    hits = np.bincount(np.concatenate(drawn), minlength=1000)  # each row is expected 20 times
    assert 1 <= hits.min() <= hits.max() <= 45
    assert abs(hits.reshape(10, 100).mean(axis=1) - 20).max() < 2.5


@pytest.fixture
def fashion(monkeypatch):
    order = np.random.default_rng(0)
    parts = {"train": 300, "test": 200}
    made = {f"{part}_images": order.integers(0, 256, (n, 6, 6), dtype=np.uint8) for part, n in parts.items()}
    made |= {f"{part}_labels": np.arange(n) % 10 for part, n in parts.items()}
    found = SimpleNamespace(**made, classes=tuple(f"kind {i}" for i in range(10)))
    monkeypatch.setattr(images, "fashion_mnist", lambda fetched: found)
    monkeypatch.setattr(packages, "fetch", lambda role: None)
    return found


def test_images_are_drawn_from_their_own_part(fashion, tmp_path):
    Images(train=50, validation=20, test=30).run(tmp_path, {})
    taken = {split: examples.read(tmp_path, split) for split in ("train", "validation", "test")}
    assert [len(each) for each in taken.values()] == [50, 20, 30]
    assert not set(taken["train"].items) & set(taken["validation"].items)
    for split, each in taken.items():
        assert np.bincount(each.labels).tolist() == [len(each) // 10] * 10
        part = "test" if split == "test" else "train"
        for item, data, label in zip(each.items, each.data, each.labels, strict=True):
            assert item.startswith(f"{part}-")
            row = int(item.split("-")[1])
            assert np.array_equal(data, getattr(fashion, f"{part}_images")[row])
            assert label == getattr(fashion, f"{part}_labels")[row]
    assert examples.index(tmp_path)["classes"] == list(fashion.classes)


def test_images_follow_from_their_seed(fashion, tmp_path):
    made = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        Images(train=50, validation=20, test=30, seed=seed).run(tmp_path / name, {})
        made[name] = payload(tmp_path / name)
    assert made["a"] == made["b"]
    assert made["a"]["train-000000.tar"] != made["c"]["train-000000.tar"]
    assert made["a"]["test-000000.tar"] != made["c"]["test-000000.tar"]


def test_more_images_than_there_are(fashion, tmp_path):
    with pytest.raises(PresightError, match="ask for fewer"):
        Images(train=300, validation=20, test=30).run(tmp_path, {})


def test_a_clip_is_cut_scaled_and_padded(monkeypatch, tmp_path):
    order = np.random.default_rng(0)
    notes = [
        sounds.Note(f"n{i}", family, f"{family} {i % 4}", (order.normal(size=n) * scale).astype(np.float32), RATE)
        for i, (family, n, scale) in enumerate(
            (family, n, scale) for family in ("brass", "string") for n, scale in
            [(20_000, 1e-3), (300, 0.2), (RATE, 0.9), (9000, 0.1)] * 3
        )
    ]  # fmt: skip
    monkeypatch.setattr(sounds, "instruments", lambda fetched: notes)
    monkeypatch.setattr(packages, "fetch", lambda role: None)
    Sounds(seconds=0.5).run(tmp_path, {})
    seen = {}
    for split in ("train", "validation", "test"):
        found = examples.read(tmp_path, split)
        seen[split] = set(found.clusters)
        for item, clip, label in zip(found.items, found.data, found.labels, strict=True):
            note = notes[int(item.split("-")[1])]
            assert len(clip) == RATE // 2
            assert ("brass", "string")[label] == note.family
            wave = note.samples[: RATE // 2]
            assert abs(np.abs(clip).max() - PEAK) < 1e-3
            assert np.corrcoef(clip[: len(wave)], wave)[0, 1] > 0.999
            assert (clip[len(wave) :] == 0).all()
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


def test_drum_kits_are_held_out_whole(monkeypatch, tmp_path):
    tone = np.sin(np.arange(RATE // 4)).astype(np.float32)
    hits = [
        sounds.Note(f"{kit}/{drum}{n}", drum, f"kit {kit}", tone, RATE)
        for kit in range(9) for drum in ("kick", "snare") for n in range(3)
    ]  # fmt: skip
    monkeypatch.setattr(drums, "hits", lambda fetched: hits)
    monkeypatch.setattr(packages, "fetch", lambda role: None)
    Sounds(sample="drums").run(tmp_path, {})
    found = {split: examples.read(tmp_path, split) for split in examples.SPLITS}
    assert sum(map(len, found.values())) == len(hits)
    assert len(set().union(*(set(each.clusters) for each in found.values()))) == 9
    assert sum(len(set(each.clusters)) for each in found.values()) == 9  # none on two sides
    assert all(set(each.labels.tolist()) == {0, 1} for each in found.values())
    assert examples.index(tmp_path)["classes"] == ["kick", "snare"]


@pytest.mark.parametrize("stage", [Images(), Sounds(), Sounds(sample="drums")])
def test_content_is_learnt_and_enters_the_fingerprint(monkeypatch, stage):
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: (dict.fromkeys(roles, "digest"), {}))
    settled = stage.settle(False)
    assert settled.content == "digest"
    assert settled.settle(True) is settled
    assert settled.fingerprint != stage.fingerprint
    assert stage.changed(content="digest").fingerprint == settled.fingerprint


def test_a_package_that_cannot_be_had(monkeypatch):
    error = PresightError("images.x", "no network", "try again")
    monkeypatch.setattr(packages, "digests", lambda roles, fetch: ({}, dict.fromkeys(roles, error)))
    with pytest.raises(Unavailable, match=r"^images\.x: no network; try again\.$"):
        package("images.x", True)
    with pytest.raises(Unavailable):
        Images().settle(True)


@pytest.mark.parametrize("stage", [Images, Sounds])
def test_a_negative_seed_is_refused(stage):
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        stage(seed=-1)


def test_sizes_are_known_before(monkeypatch):
    assert dict(Images(train=20).sizes) == {"train": 20, "validation": 500, "test": 2000}
    assert set(Sounds().sizes) == set(examples.SPLITS)
    assert datasets.RATE == 16_000
