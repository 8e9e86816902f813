import base64
import gzip
import io
import json
import pickle
import struct
import tarfile
from contextlib import suppress

import numpy as np
import pytest
import toy_collections as toy
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from toy_experiment import payload

from adapt import examples
from adapt.importers import Import
from adapt.layouts import pickles
from adapt.layouts.cifar import CLASSES
from adapt.layouts.entries import Entry, cut, parted
from adapt.layouts.gtzan import folds
from presight.errors import PresightError
from presight.store import Store

SPLITS = examples.SPLITS


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


def made(out, **fields):
    out.mkdir(parents=True)
    stage = Import(
        **{name: str(value) if name in ("path", "lists", "artists") else value for name, value in fields.items()}
    )
    stage.settle(False).run(out, {})
    return out


def read(folder):
    return {split: examples.read(folder, split) for split in SPLITS}


def skipped(folder):
    return {split: each["skipped"] for split, each in examples.index(folder)["splits"].items()}


# CIFAR-10


@pytest.mark.parametrize("pickled", [toy.python2, lambda value: pickle.dumps(value, 2), pickle.dumps])
def test_cifar_comes_back_pixel_by_pixel(tmp_path, pickled):
    given = toy.cifar(tmp_path / "cifar-10-batches-py", pickled=pickled)
    found = read(made(tmp_path / "out", layout="cifar-10", path=tmp_path, validation=0.3))
    train = [
        pair
        for name, (data, labels) in given.items()
        if name != "test_batch"
        for pair in zip(data, labels, strict=True)
    ]
    expected = {f"train-{row:05d}": pair for row, pair in enumerate(train)}
    expected |= {f"test-{row:05d}": pair for row, pair in enumerate(zip(*given["test_batch"], strict=True))}
    assert sorted(item for each in found.values() for item in each.items) == sorted(expected)
    for split, each in found.items():
        for item, data, label in zip(each.items, each.data, each.labels, strict=True):
            assert item.startswith("test") == (split == "test")
            assert np.array_equal(data, expected[item][0])
            assert label == expected[item][1]
    index = examples.index(tmp_path / "out")
    assert index["classes"] == list(CLASSES)
    assert index["patch"] == 4


def test_cifar_is_the_same_packed_and_unpacked_and_nothing_is_unpacked(tmp_path):
    toy.cifar(tmp_path / "in")
    archive = toy.packed(tmp_path / "in", tmp_path / "cifar-10-python.tar.gz")
    before = sorted(tmp_path.rglob("*"))
    found = payload(made(tmp_path / "a" / "one", layout="cifar-10", path=archive, validation=0.3))
    after = [each for each in sorted(tmp_path.rglob("*")) if tmp_path / "a" not in (each, *each.parents)]
    assert after == before
    assert found == payload(made(tmp_path / "two", layout="cifar-10", path=tmp_path / "in", validation=0.3))


def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path):
    toy.cifar(tmp_path / "in")
    mark = tmp_path / "executed"
    harm = toy.malicious(mark)
    pickle.loads(harm)[b"data"].close()
    assert mark.exists()  # it does harm where it is trusted
    mark.unlink()
    (tmp_path / "in" / "data_batch_2").write_bytes(harm)
    with pytest.raises(
        PresightError, match=r"data_batch_2: is refused as a pickle \(it wants to run (io|_io)\.open\)"
    ):
        made(tmp_path / "out", layout="cifar-10", path=tmp_path / "in")
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
        b"(i__builtin__\neval\n.",
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"Pid\n.",
        pickle.dumps({"data": np.array(["x"], dtype=object)}, 2),
        pickle.dumps(np.zeros(3, np.float64), 2),
        b"",
        b"\x80\x02}",
        toy.python2({b"data": np.zeros((2, 3), np.uint8)})[:-30],
        toy.python2(np.zeros((2, 3), np.uint8)).replace(b"J\x03\0\0\0", b"J\x04\0\0\0"),
        toy.python2(np.zeros((2, 3), np.uint8)).replace(b"|u1", b"<f8").replace(b"u1K", b"f8K"),
    ],
)
def test_pickles_that_ask_for_anything_else_are_refused(content):
    with pytest.raises(PresightError, match="batch: is refused as a pickle") as error:
        pickles.load(content, "batch")
    assert "\n" not in str(error.value)


plain = st.recursive(
    st.integers(-(2**31), 2**31 - 1) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.binary(max_size=6), plain, max_size=5), st.integers(0, 4))
def test_honest_pickles_are_read_as_pickle_reads_them(value, protocol):
    assert pickles.load(toy.python2(value), "x") == value
    assert pickles.load(pickle.dumps(value, protocol), "x") == value


@given(st.integers(0, 5), st.integers(0, 5), st.sampled_from("CF"))
def test_arrays_of_bytes_keep_shape_and_order(rows, columns, order):
    array = np.asarray(np.arange(rows * columns, dtype=np.uint8).reshape(rows, columns), order=order)
    for protocol in (2, 3, 4):
        assert np.array_equal(pickles.load(pickle.dumps({b"data": array}, protocol), "x")[b"data"], array)


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_load_or_be_refused(content):
    with suppress(PresightError):
        pickles.load(content, "x")


@pytest.mark.parametrize(
    "member",
    [
        toy.member("../../escape", content=b"x"),
        toy.member("/etc/escape", content=b"x"),
        toy.member("cifar-10-batches-py/link", tarfile.SYMTYPE, link="/etc/passwd"),
        toy.member("cifar-10-batches-py/hard", tarfile.LNKTYPE, link="cifar-10-batches-py/test_batch"),
        toy.member("cifar-10-batches-py/null", tarfile.CHRTYPE),
        toy.member("cifar-10-batches-py/pipe", tarfile.FIFOTYPE),
        toy.member("../folder", tarfile.DIRTYPE),
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path, member):
    toy.cifar(tmp_path / "in")
    archive = toy.packed(tmp_path / "in", tmp_path / "cifar.tar.gz", [member])
    with pytest.raises(PresightError, match=r"is refused: '.*' (leads out of the archive|is a link or a device)"):
        made(tmp_path / "out", layout="cifar-10", path=archive)
    assert not (tmp_path.parent / "escape").exists()


def batch(name, value):
    return lambda folder: (folder / name).write_bytes(toy.python2(value))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "data_batch_3").unlink(), "lacks data_batch_3"),
        (batch("test_batch", {b"data": np.zeros((2, 9), np.uint8)}), "no `data`"),
        (batch("test_batch", {b"data": np.zeros((2, 3072), np.uint8)}), "no `labels`"),
        (batch("test_batch", {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}), "beyond the 10 classes"),
        (batch("batches.meta", {b"label_names": [b"x"]}), "ten classes"),
        (batch("batches.meta", [1]), "ten classes"),
        (batch("data_batch_1", [1]), "no `data`"),
    ],
)
def test_a_damaged_cifar_is_one_sentence(tmp_path, spoil, said):
    toy.cifar(tmp_path / "in")
    spoil(tmp_path / "in")
    with pytest.raises(PresightError, match=said):
        made(tmp_path / "out", layout="cifar-10", path=tmp_path / "in")


def test_a_truncated_archive_is_one_sentence(tmp_path):
    toy.cifar(tmp_path / "in")
    archive = toy.packed(tmp_path / "in", tmp_path / "cifar.tar.gz")
    archive.write_bytes(archive.read_bytes()[:4000])
    with pytest.raises(PresightError, match="cannot be read as a tar"):
        made(tmp_path / "out", layout="cifar-10", path=archive)


def bigbench(path, count=60):
    order = np.random.default_rng(0)
    given, rows = [], []
    for number in range(count):
        pixels, buffer = order.integers(0, 256, (32, 32, 3), dtype=np.uint8), io.BytesIO()
        Image.fromarray(pixels).save(buffer, "png")
        label = number * 10 // count
        scores = {name: int(k == label) for k, name in enumerate(CLASSES)}
        rows.append({"input": base64.b64encode(buffer.getvalue()).decode(), "target_scores": scores})
        given.append((pixels, label))
    task = json.dumps({"canary": "x", "examples": rows}).encode()
    with tarfile.open(path, "w:gz") as archive:
        for info, content in (
            toy.member("bigbench-1.0.0/README.md", content=b"x"),
            toy.member(
                "bigbench-1.0.0/bigbench/benchmark_tasks/cifar10_classification/base64/task.json", content=task
            ),
            toy.member("bigbench-1.0.0/later", content=bytes(9)),
        ):
            archive.addfile(info, io.BytesIO(content))
    return given


def test_the_test_images_in_the_bigbench_package_are_drawn_into_splits(tmp_path):
    given = bigbench(tmp_path / "bigbench-1.0.0.tar.gz", 200)
    found = read(made(tmp_path / "out", layout="cifar-10-bigbench", path=tmp_path / "bigbench-1.0.0.tar.gz"))
    assert sorted(item for each in found.values() for item in each.items) == [f"test-{n:05d}" for n in range(200)]
    for each in found.values():
        for item, data, label in zip(each.items, each.data, each.labels, strict=True):
            assert np.array_equal(data, given[int(item[5:])][0])
            assert label == given[int(item[5:])][1]
    assert len(set(found["train"].labels[:30].tolist())) > 5  # sorted by class there, not here


def test_a_package_without_the_task_is_one_sentence(tmp_path):
    toy.cifar(tmp_path / "in")
    archive = toy.packed(tmp_path / "in", tmp_path / "x.tar.gz")
    with pytest.raises(PresightError, match=r"holds no cifar10.*task\.json"):
        made(tmp_path / "out", layout="cifar-10-bigbench", path=archive)
    (tmp_path / "task.json").write_text('{"examples": [{"input": 1}]}')
    with pytest.raises(PresightError, match="is not the task"):
        made(tmp_path / "out2", layout="cifar-10-bigbench", path=tmp_path / "task.json")


# Fashion-MNIST


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_comes_back(tmp_path, packed):
    order = np.random.default_rng(0)
    given = {}
    for part, count in (("train", 80), ("t10k", 20)):
        pixels = order.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        given["test" if part == "t10k" else "train"] = pixels, labels
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            name = f"{part}-{kind}-ubyte"
            (tmp_path / (f"{name}.gz" if packed else name)).write_bytes(
                gzip.compress(idx(array)) if packed else idx(array)
            )
    found = read(made(tmp_path / "out" / "x", layout="fashion-mnist", path=tmp_path, limit={"test": 15}))
    assert len(found["train"]) + len(found["validation"]) == 80
    assert len(found["test"]) == 15
    for each in found.values():
        for item, data, label in zip(each.items, each.data, each.labels, strict=True):
            pixels, labels = given[item.split("-")[0]]
            assert np.array_equal(data, pixels[int(item.split("-")[1])])
            assert label == labels[int(item.split("-")[1])]


# GTZAN


def lists(folder, named):
    folder.mkdir()
    for split, clips in named.items():
        (folder / f"{split}_filtered.txt").write_text("".join(f"{clip.split('.')[0]}/{clip}.wav\n" for clip in clips))
    return folder


def clip(genre, number):
    return f"{genre}.{number:05d}"


def test_gtzan_by_lists_keeps_to_them_and_counts_what_is_broken_or_gone(tmp_path):
    toy.gtzan(tmp_path / "in")
    named = {
        "train": [clip(genre, n) for genre in toy.GENRES for n in range(8)],
        "valid": [clip(genre, n) for genre in toy.GENRES for n in range(8, 12)],
        "test": [clip(genre, n) for genre in toy.GENRES for n in range(15, 19)] + [clip("jazz", 54)],
    }
    folder = made(
        tmp_path / "out", layout="gtzan", path=tmp_path / "in", lists=lists(tmp_path / "lists", named), tolerance=0.2,
        seconds=0.25, rate=4000,
    )  # fmt: skip
    found = read(folder)
    assert set(found["train"].items) == set(named["train"]) - {clip("jazz", 5)}
    assert set(found["validation"].items) == set(named["valid"])
    assert set(found["test"].items) == set(named["test"]) - {clip("jazz", 54)}
    said = skipped(folder)
    assert [item for item, _ in said["train"]] == [clip("jazz", 5)]
    assert [item for item, _ in said["test"]] == [clip("jazz", 54)]
    assert said["validation"] == []
    assert found["train"].data.shape == (15, 1000)
    assert examples.index(folder)["classes"] == list(toy.GENRES)


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
def test_one_broken_clip_in_fourteen_is_more_than_is_tolerated(tmp_path, tolerance):
    toy.gtzan(tmp_path / "in")
    with pytest.raises(PresightError, match=r"train: 1 of \d+ cannot be read: jazz\.00005 \(.*raise `tolerance`"):
        made(tmp_path / "out", layout="gtzan", path=tmp_path / "in", fold=0, tolerance=tolerance)


def test_an_artist_is_a_cluster_and_on_one_side(tmp_path):
    toy.gtzan(tmp_path / "in", clips=30)
    rows = [f"{clip(genre, n)}.wav,Artist  {n % 7}" for genre in toy.GENRES for n in range(25)]
    (tmp_path / "artists.csv").write_text("clip,artist\n" + "\n".join(rows) + "\n")
    folder = made(
        tmp_path / "out", layout="gtzan", path=tmp_path / "in" / "genres", artists=tmp_path / "artists.csv",
        tolerance=0.5, test=0.3, validation=0.2,
    )  # fmt: skip
    found = read(folder)
    for split, each in found.items():
        for item, cluster in zip(each.items, each.clusters, strict=True):
            number = int(item.split(".")[1])
            assert cluster == (f"artist {number % 7}" if number < 25 else item)
        for other in SPLITS:
            assert other == split or not set(found[other].clusters) & set(each.clusters)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_ten_folds_test_every_clip_once_and_validate_it_once(blues, jazz, seed):
    genres = {clip("blues", n): "blues" for n in range(blues)} | {clip("jazz", n): "jazz" for n in range(jazz)}
    by_fold = [folds(genres, fold, seed) for fold in range(10)]
    for each in genres:
        splits = [split[each] for split in by_fold]
        assert splits.count("test") == splits.count("validation") == 1
        assert splits[(splits.index("validation") + 1) % 10] == "test"  # fold k + 1 validates while k is tested
    for split in by_fold:
        tested = [
            sum(split[each] == "test" for each in genres if genres[each] == genre) for genre in ("blues", "jazz")
        ]
        assert blues // 10 <= tested[0] <= -(-blues // 10)
        assert jazz // 10 <= tested[1] <= -(-jazz // 10)


def test_a_fold_of_gtzan_is_its_own_data(tmp_path):
    toy.gtzan(tmp_path / "in")
    stages = [Import(layout="gtzan", path=str(tmp_path / "in"), fold=fold).settle(False) for fold in (0, 1)]
    assert stages[0].fingerprint != stages[1].fingerprint
    found = read(made(tmp_path / "out", layout="gtzan", path=tmp_path / "in", fold=3, tolerance=0.5))
    assert [len(found[split]) for split in ("validation", "test")] == [4, 4] or sum(map(len, found.values())) == 39


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda named: named.pop("valid"), "holds no list of validation"),
        (
            lambda named: named["test"].append(clip("blues", 1)),
            r"names blues\.00001, which is on the list of test too",
        ),
        (lambda named: named["test"].append(clip("metal", 1)), r"names 'metal\.00001', whose genre is not here"),
    ],
)
def test_lists_that_make_no_split_are_one_sentence(tmp_path, change, said):
    toy.gtzan(tmp_path / "in", clips=6)
    named = {"train": [clip("blues", 1), clip("jazz", 1)], "valid": [clip("blues", 2)], "test": [clip("jazz", 3)]}
    change(named)
    with pytest.raises(PresightError, match=said):
        made(tmp_path / "out", layout="gtzan", path=tmp_path / "in", lists=lists(tmp_path / "lists", named))


def test_protocols_are_not_mixed_and_a_csv_has_its_columns(tmp_path):
    toy.gtzan(tmp_path / "in", clips=3)
    where = lists(tmp_path / "lists", {"train": [clip("blues", 0)]})
    with pytest.raises(PresightError, match="the protocols differ"):
        made(tmp_path / "a", layout="gtzan", path=tmp_path / "in", lists=where, fold=1)
    (tmp_path / "artists.csv").write_text("file,who\na,b\n")
    with pytest.raises(PresightError, match="has no columns clip and artist"):
        made(tmp_path / "b", layout="gtzan", path=tmp_path / "in", artists=tmp_path / "artists.csv")
    with pytest.raises(PresightError, match="has no lists, artists and folds"):
        made(tmp_path / "c", layout="fsd50k", path=tmp_path / "in", fold=1)
    with pytest.raises(PresightError, match="is none of the ten"):
        folds({}, 10, 0)


# FSD50K


def test_fsd50k_keeps_its_labels_and_splits(tmp_path):
    toy.fsd50k(tmp_path / "in")
    meta = tmp_path / "in" / "FSD50K.metadata"
    meta.mkdir()
    (meta / "dev_clips_info_FSD50K.json").write_text(
        json.dumps({str(100 + n): {"uploader": f"u{n % 3}"} for n in range(10)})
    )
    folder = made(tmp_path / "out", layout="fsd50k", path=tmp_path / "in", seconds=0.5, crops=3, rate=4000)
    index, found = examples.index(folder), read(folder)
    assert index["multilabel"]
    assert index["classes"] == ["Bark", "Dog", "Rain", "Walk_and_run"]
    sets = [(), (0, 1, 2, 3), (0, 1), (2,), (1, 2), (3,)]
    clips = {split: {extra["clip"] for extra in each.extras} for split, each in found.items()}
    assert clips["train"] == {str(100 + n) for n in range(12) if n % 4 != 3}
    assert clips["validation"] == {"103", "107", "111"}
    assert clips["test"] == {str(900 + n) for n in range(5)}
    for split, each in found.items():
        assert each.labels.dtype == bool
        assert each.data.shape[1] == 2000
        for row, extra in enumerate(each.extras):
            number = int(extra["clip"]) - (900 if split == "test" else 100)
            assert np.flatnonzero(each.labels[row]).tolist() == list(sets[number % 6])
            assert each.items[row].partition("#")[0] == extra["clip"]
            uploader = f"uploader u{number % 3}" if split != "test" and number < 10 else extra["clip"]
            assert each.clusters[row] == uploader
            crops = sum(other["clip"] == extra["clip"] for other in each.extras)
            assert crops == (1 if 0.1 + 0.15 * number <= 0.5 else 3 if 0.15 * number > 0.40025 else crops)
    assert index["splits"]["test"]["per_class"] == found["test"].labels.sum(axis=0).tolist()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda truth: (truth / "vocabulary.csv").unlink(), r"lacks vocabulary\.csv"),
        (lambda truth: (truth / "dev.csv").write_text("fname,labels,mids,split\n1,Cat,/m,train\n"), "the label 'Cat'"),
        (lambda truth: (truth / "dev.csv").write_text("fname,labels,mids,split\n../1,Dog,/m,train\n"), "has a line"),
        (lambda truth: (truth / "dev.csv").write_text("fname,labels,mids,split\n1,Dog,/m,odd\n"), "has a line"),
    ],
)
def test_a_damaged_fsd50k_is_one_sentence(tmp_path, spoil, said):
    toy.fsd50k(tmp_path / "in")
    spoil(tmp_path / "in" / "FSD50K.ground_truth")
    with pytest.raises(PresightError, match=said):
        made(tmp_path / "out", layout="fsd50k", path=tmp_path / "in")


# folders


def pictures(folder, names, side=(20, 30), seed=0):
    order = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(order.integers(0, 256, (*side, 3), dtype=np.uint8)).save(folder / name)


def test_an_image_folder_is_drawn_by_name_and_broken_files_are_named(tmp_path):
    for number, kind in enumerate(("cat", "dog")):
        pictures(tmp_path / "in" / kind, [f"{n:02d}.png" for n in range(40)], seed=number)
    (tmp_path / "in" / "cat" / "07.png").write_bytes((tmp_path / "in" / "cat" / "07.png").read_bytes()[:300])
    (tmp_path / "in" / "dog" / "09.png").write_bytes(b"no image")
    (tmp_path / "in" / "dog" / "notes.txt").write_text("passed over")
    (tmp_path / "in" / "dog" / ".hidden.png").write_bytes(b"passed over")
    folder = made(
        tmp_path / "out", layout="image-folder", path=tmp_path / "in", tolerance=0.2, test=0.3, validation=0.2
    )
    found = read(folder)
    assert sorted(item for each in skipped(folder).values() for item, _ in each) == ["cat/07.png", "dog/09.png"]
    items = {item for each in found.values() for item in each.items}
    assert len(items) == 78
    for each in found.values():
        for item, data, label in zip(each.items, each.data, each.labels, strict=True):
            assert np.array_equal(data, np.asarray(Image.open(tmp_path / "in" / item)))
            assert item.startswith(("cat", "dog")[label])
    pictures(tmp_path / "in" / "cat", ["99.png"])  # one more image moves no other to another split
    more = read(
        made(tmp_path / "more", layout="image-folder", path=tmp_path / "in", tolerance=0.2, test=0.3, validation=0.2)
    )
    assert all(set(found[split].items) <= set(more[split].items) for split in SPLITS)


def test_folders_of_splits_are_kept_and_images_made_alike(tmp_path):
    for number, (split, kind) in enumerate((s, k) for s in ("train", "val", "test") for k in ("a", "b")):
        pictures(tmp_path / "in" / split / kind, [f"{n}.png" for n in range(4)], side=(20 + number, 31 - number))
    with pytest.raises(PresightError, match=r"has shape .* where the first has .*set `side`"):
        made(tmp_path / "no", layout="image-folder", path=tmp_path / "in")
    found = read(made(tmp_path / "out", layout="image-folder", path=tmp_path / "in", side=12))
    assert {split: each.data.shape for split, each in found.items()} == dict.fromkeys(SPLITS, (8, 12, 12, 3))
    assert all(item.startswith("val/") for item in found["validation"].items)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda root: pictures(root / "cat", ["a.png"]), "fewer than two classes"),
        (lambda root: root.mkdir(exist_ok=True), "fewer than two classes|holds no files"),
        (lambda root: [pictures(root / name / "a", ["1.png"]) for name in ("train", "odd")], "stands beside train"),
        (
            lambda root: [
                pictures(root / where, ["1.png"]) for where in ("train/a", "train/b", "val/a", "test/a", "test/c")
            ],
            "test: has examples of c, of which train has none",
        ),
        (lambda root: [pictures(root / kind, ["1.png"]) for kind in "ab"], "would hold no examples"),
    ],
)
def test_folders_without_classes_are_one_sentence(tmp_path, build, said):
    build(tmp_path / "in")
    with pytest.raises(PresightError, match=said):
        made(tmp_path / "out", layout="image-folder", path=tmp_path / "in")


def test_an_audio_folder_becomes_clips_of_one_length(tmp_path):
    waves = {}
    for kind, pitch in (("high", 900), ("low", 200)):
        for number in range(15):
            name = f"{kind}/{number:02d}.wav"
            waves[name] = toy.tone(tmp_path / "in" / name, 0.2 + 0.05 * number, pitch, 1 + number % 2)
    found = read(
        made(
            tmp_path / "out",
            layout="audio-folder",
            path=tmp_path / "in",
            rate=toy.RATE,
            seconds=0.5,
            test=0.3,
            validation=0.3,
        )
    )
    assert sum(map(len, found.values())) == 30
    for each in found.values():
        for item, clip_, label in zip(each.items, each.data, each.labels, strict=True):
            wave = waves[item][:4000]
            assert len(clip_) == 4000
            np.testing.assert_allclose(clip_[: len(wave)], wave, atol=1e-4)
            assert not clip_[len(wave) :].any()
            assert item.startswith(("high", "low")[label])


# what they share


names = st.lists(st.text("abc0123", min_size=1, max_size=6), unique=True, max_size=60)


@given(names, st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 3), st.data())
def test_splits_are_a_partition_that_keeps_clusters_whole_and_does_not_depend_on_the_others(
    items, validation, test, seed, data
):
    entries = [Entry(name, 0, lambda: None, cluster=name[:2]) for name in items]
    found = parted(entries, validation, test, seed, {})
    assert sorted(each.item for part in found.values() for each in part) == sorted(items)
    place = {each.cluster: split for split, part in found.items() for each in part}
    assert all(place[each.cluster] == split for split, part in found.items() for each in part)
    kept = [each for each in entries if data.draw(st.booleans())]
    fewer = parted(data.draw(st.permutations(kept)), validation, test, seed, {})
    for split in SPLITS:
        assert fewer[split] == [each for each in found[split] if each in kept]
    limited = parted(entries, validation, test, seed, {"train": 3})
    assert limited["train"] == found["train"][:3]


def test_shares_and_order_of_a_draw_are_fair():
    entries = [Entry(f"{n:05d}", n // 5000, lambda: None) for n in range(10_000)]
    found = parted(entries, 0.1, 0.2, 0, {})
    sizes = np.array([len(found[split]) for split in SPLITS])
    assert abs(sizes - [7000, 1000, 2000]).max() < 160  # four deviations
    assert abs(np.mean([each.label for each in found["train"][:1000]]) - 0.5) < 0.064
    assert found["test"] != parted(entries, 0.1, 0.2, 1, {})["test"]


def test_splits_that_are_there_stay_and_a_name_is_given_once():
    entries = [Entry(f"{n}", 0, lambda: None, split="test" if n % 2 else "train") for n in range(200)]
    found = parted(entries, 0.3, 0.3, 0, {})
    assert {each.item for each in found["test"]} == {f"{n}" for n in range(1, 200, 2)}
    assert 10 < len(found["validation"]) < 60
    with pytest.raises(PresightError, match="7: is there twice"):
        parted([*entries, entries[7]], 0.3, 0.3, 0, {})


@given(st.integers(0, 50), st.integers(1, 30), st.integers(1, 6))
def test_crops_are_different_pieces_from_beginning_to_end(length, piece, crops):
    samples = np.arange(length, dtype=np.float32)
    found = cut(samples, piece, crops)
    assert 1 <= len(found) <= crops
    assert len({each.tobytes() for each in found}) == len(found)
    assert all(len(each) == min(piece, length) for each in found)
    if length > piece:
        assert found[0][0] == 0
        assert crops == 1 or found[-1][-1] == length - 1
        assert len(found) == min(crops, length - piece + 1)
    for each in found:
        assert np.array_equal(each, np.arange(each[0], each[0] + len(each))) if len(each) else length == 0


def test_an_import_is_a_stage_whose_identity_is_its_content(tmp_path):
    for where in ("one", "two"):
        toy.gtzan(tmp_path / where / "in", clips=12)
    fields = {"layout": "gtzan", "fold": 0, "tolerance": 0.5}
    one, two = (Import(path=str(tmp_path / where / "in"), **fields).settle(False) for where in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert one.settle(True) is one
    store = Store(tmp_path / "store")
    store.perform(one)
    card = json.loads((store.path(one) / "card.json").read_text())
    assert card["kind"] == "examples"
    assert card["licences"] == ["none stated by its authors"]
    assert card["counts"] == {split: len(each) for split, each in read(store.path(one)).items()}
    toy.tone(tmp_path / "two" / "in" / "genres" / "jazz" / "jazz.00050.wav")
    with pytest.raises(PresightError, match="changed since it was planned"):
        two.run(tmp_path, {})
    assert Import(path=str(tmp_path / "two" / "in"), **fields).settle(False).fingerprint != one.fingerprint


def test_a_declared_collection_is_not_hashed(tmp_path):
    toy.gtzan(tmp_path / "in", clips=4)
    fields = {"layout": "gtzan", "path": str(tmp_path / "in")}
    declared = Import(**fields, declared="gtzan@2002").settle(False)
    assert dict(declared.content) == {"path": "gtzan@2002"}
    with pytest.raises(PresightError, match="'gtzan' has no version"):
        Import(**fields, declared="gtzan").settle(False)
    with pytest.raises(PresightError, match=r"limit\.tset: is no split; did you mean test"):
        Import(**fields, limit={"tset": 1}).settle(False)
    with pytest.raises(PresightError, match="is not here"):
        Import(layout="gtzan", path=str(tmp_path / "no")).settle(False)


def test_sizes_and_tokens_are_known_before():
    cifar = Import(layout="cifar-10", path="x", validation=0.2, limit={"test": 100})
    assert dict(cifar.sizes) == {"train": 40_000, "validation": 10_000, "test": 100}
    assert cifar.tokens == 64
    assert dict(Import(layout="fsd50k", path="x", crops=2).sizes)["train"] == 2 * 36_796
    assert Import(layout="fsd50k", path="x", seconds=2).tokens == 80
    assert dict(Import(layout="image-folder", path="x").sizes) == {}
    assert Import(layout="image-folder", path="x", side=32).tokens == 64
