import json
import tarfile

import numpy as np
import pytest
from toy_experiment import payload

from adapt import examples
from adapt.examples import Broken, Example, read, write
from presight.errors import EXIT_DATA, PresightError

CLASSES = ["a", "b", "c"]


def images(count, shape=(9, 7), seed=0):
    order = np.random.default_rng(seed)
    return [
        Example(f"item-{i}", order.integers(0, 256, shape, dtype=np.uint8), i % 3, f"cluster-{i // 2}")
        for i in range(count)
    ]


def sounds(count, length=400):
    order = np.random.default_rng(1)
    return [Example(f"ü {i}", order.uniform(-1, 1, length).astype(np.float32), i % 3, "all") for i in range(count)]


def written(out, splits, modality, rate=None):
    out.mkdir(parents=True)
    write(out, splits, modality, CLASSES, rate)
    return out


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
def test_images_come_back_as_they_went(tmp_path, shape):
    given = images(11, shape)
    found = read(written(tmp_path / "x", {"train": given}, "image"), "train")
    assert found.data.dtype == np.uint8
    assert np.array_equal(found.data, np.stack([each.data for each in given]))
    assert found.labels.tolist() == [each.label for each in given]
    assert found.items == tuple(each.item for each in given)
    assert found.clusters == tuple(each.cluster for each in given)
    assert len(found) == 11


def test_sounds_come_back_within_a_step_of_16_bits(tmp_path):
    given = sounds(5)
    given[0].data[:4] = (0.0, 1.0, -1.0, 0.5)
    found = read(written(tmp_path / "x", {"train": given}, "sound", 4000), "train")
    assert found.data.dtype == np.float32
    assert np.abs(found.data - np.stack([each.data for each in given])).max() <= 1 / 2**15
    assert found.items == tuple(each.item for each in given)


def test_the_index_counts(tmp_path):
    folder = written(tmp_path / "x", {"train": images(7), "validation": images(3), "test": iter(images(4))}, "image")
    found = examples.index(folder)
    assert found["classes"] == CLASSES
    assert {split: each["items"] for split, each in found["splits"].items()} == {
        "train": 7,
        "validation": 3,
        "test": 4,
    }
    assert found["splits"]["train"]["per_class"] == [3, 2, 2]
    assert json.loads((folder / "counts.json").read_text()) == {"train": 7, "validation": 3, "test": 4}


def test_bytes_depend_on_the_examples_alone(tmp_path, monkeypatch):
    splits = {"train": images(5), "test": images(3, seed=1)}
    first = payload(written(tmp_path / "a", splits, "image"))
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert payload(written(tmp_path / "b", splits, "image")) == first
    with tarfile.open(tmp_path / "b" / "train-000000.tar") as tar:
        assert {(each.mtime, each.uname, each.gname) for each in tar} == {(0, "presight", "presight")}
    waves = {"train": sounds(3)}
    assert payload(written(tmp_path / "c", waves, "sound", 800)) == payload(
        written(tmp_path / "d", waves, "sound", 800)
    )


@pytest.fixture
def sharded(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "SHARD_ITEMS", 4)
    return written(tmp_path / "x {a,b} [1]", {"train": images(11), "empty": []}, "image")


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 11, 12, None])
def test_limits_and_shards(sharded, limit):
    assert len(list(sharded.glob("train-*.tar"))) == 3
    found = read(sharded, "train", limit)
    count = min(limit or 11, 11)
    assert found.items == tuple(f"item-{i}" for i in range(count))
    assert np.array_equal(found.data, np.stack([each.data for each in images(count)]))


def cut(shard, share):
    content = shard.read_bytes()
    shard.write_bytes(content[: int(len(content) * share) // 512 * 512 if share == 0.5 else int(len(content) * share)])


def overwrite(shard):
    content = bytearray(shard.read_bytes())
    content[1536:1600] = bytes(64)
    shard.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda shard: cut(shard, 0.5),
        lambda shard: cut(shard, 0.31),
        lambda shard: shard.write_bytes(b""),
        lambda shard: shard.write_bytes(b"no tar at all" * 100),
        lambda shard: shard.unlink(),
        overwrite,
    ],
)
def test_a_spoilt_shard_is_one_sentence(sharded, spoil):
    spoil(sharded / "train-000001.tar")
    with pytest.raises(PresightError) as error:
        read(sharded, "train")
    assert error.value.code == EXIT_DATA == 87
    assert f"{sharded}/train" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(read(sharded, "train", 4)) == 4  # what lies before it can still be read


def test_more_examples_than_the_index_says_are_refused(sharded):
    found = examples.index(sharded)
    found["splits"]["train"]["items"] = 10
    (sharded / "examples.json").write_text(json.dumps(found))
    with pytest.raises(PresightError, match="holds 11 examples where its index says 10"):
        read(sharded, "train")


def test_an_empty_split_has_no_examples(sharded):
    with pytest.raises(PresightError, match="holds no examples"):
        read(sharded, "empty")


def test_several_labels_or_none_come_back(tmp_path):
    sets = [(), (0, 2), (1,), (0, 1, 2)]
    given = [Example(f"i{i}", each.data, sets[i], "c", {"clip": i}) for i, each in enumerate(sounds(4))]
    write(tmp_path, {"train": given}, "sound", CLASSES, 4000, multilabel=True)
    found = read(tmp_path, "train")
    assert found.labels.dtype == bool
    assert [tuple(np.flatnonzero(row)) for row in found.labels] == sets
    assert found.extras == tuple({"clip": i} for i in range(4))
    assert examples.index(tmp_path)["splits"]["train"]["per_class"] == [2, 2, 2]
    with tarfile.open(tmp_path / "train-000000.tar") as tar:
        assert {name.split(".")[1] for name in tar.getnames()} == {"json", "wav"}


def broken(count, every):
    return [Broken(f"item-{i}", "torn") if i % every == 0 else each for i, each in enumerate(images(count))]


def test_broken_ones_are_left_out_counted_and_named(tmp_path):
    write(tmp_path, {"train": broken(40, 10), "test": images(3)}, "image", CLASSES, tolerance=0.1)
    found = read(tmp_path, "train")
    assert found.items == tuple(f"item-{i}" for i in range(40) if i % 10)
    index = examples.index(tmp_path)["splits"]
    assert index["train"]["skipped"] == [[f"item-{i}", "torn"] for i in (0, 10, 20, 30)]
    assert index["train"]["items"] == 36
    assert index["test"]["skipped"] == []


@pytest.mark.parametrize(
    ("tolerance", "said"), [(0.0, "train: 1 of 1 cannot"), (0.09, "train: 4 of 40 cannot be read: item-0")]
)
def test_too_many_broken_ones_stop(tmp_path, tolerance, said):
    with pytest.raises(PresightError, match=said):
        write(tmp_path, {"train": broken(40, 10)}, "image", CLASSES, tolerance=tolerance)


def test_a_collection_without_a_whole_one_is_given_up_early(tmp_path):
    endless = (Broken(f"{i}", "torn") for i in iter(int, 1))
    with pytest.raises(PresightError, match="100 of 100 cannot be read"):
        write(tmp_path, {"train": endless}, "image", CLASSES, tolerance=1.0)


def test_examples_of_another_shape_are_refused(tmp_path):
    with pytest.raises(PresightError, match=r"item-0: has shape \[9, 8\] where the first has \[9, 7\]"):
        write(tmp_path, {"train": images(2), "test": images(1, (9, 8))}, "image", CLASSES)


def test_places_are_those_of_the_tars(sharded):
    places = np.load(sharded / examples.places("train"))
    assert places.shape == (11, 3)
    for row, (shard, offset, size) in enumerate(places):
        with tarfile.open(sharded / f"train-{shard:06d}.tar") as tar:
            members = [each for each in tar if each.name.startswith(f"{row:08d}.")]
        assert offset == members[0].offset
        assert offset + size == members[-1].offset_data + -(-members[-1].size // 512) * 512
    assert np.load(sharded / examples.places("empty")).shape == (0, 3)
