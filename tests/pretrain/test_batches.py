import hashlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_experiment import ITEM, ITEMS
from toy_labels import SEGMENT, labelled

from corpus.mixture import FILE, Mixture, compile_mixture
from corpus.sampler import Sampler
from presight.errors import EXIT_DATA, PresightError
from pretrain.batches import IGNORED, Batch, Items


def slow(lock_path):
    """Every item of a mixture, each cut from its file by hand: ``[(pool, tokens), …]``."""
    lock = json.loads(lock_path.read_text())
    folder = lock_path.parent / lock["tokens"]["directory"]
    size, item = lock["tokens"]["token_bytes"], lock["item"]
    pools = []
    for pool in lock["pools"]:
        cut = []
        for shard in pool["shards"]:
            content = (folder / shard["path"]).read_bytes()
            values = [int.from_bytes(content[i : i + size], "little") for i in range(0, len(content), size)]
            cut += [values[i : i + item] for i in range(0, len(values) - item + 1, item)]
        assert len(cut) == pool["supply"]
        pools.append(cut)
    drawn = Sampler(lock).items(0, lock["items"])
    return [(int(pool), pools[pool][position]) for pool, _, position in drawn.tolist()]


@pytest.fixture(scope="module")
def path(tiny):
    return tiny.path(tiny.mixture) / FILE


@pytest.fixture(scope="module")
def items(path):
    return Items(path)


@pytest.fixture(scope="module")
def expected(path):
    return slow(path)


def test_batches_equal_the_slow_twin(items, expected):
    batch = items.batch(0, len(items))
    assert batch.tokens.shape == (ITEMS, ITEM)
    assert batch.tokens.dtype == np.int64
    assert batch.pools.tolist() == [pool for pool, _ in expected]
    assert batch.tokens.tolist() == [tokens for _, tokens in expected]


@settings(deadline=None)
@given(st.integers(0, ITEMS), st.integers(0, 40))
def test_random_access_is_sequential_access(items, expected, start, length):
    stop = min(start + length, ITEMS)
    batch = items.batch(start, stop)
    assert batch.tokens.tolist() == [tokens for _, tokens in expected[start:stop]]


def test_items_of_a_source_are_its_quota(items):
    lock = items.mixture.lock
    counts = np.bincount(items.batch(0, ITEMS).pools, minlength=3)
    assert dict(zip(items.names, counts.tolist(), strict=True)) == {p["name"]: p["quota"] for p in lock["pools"]}
    with pytest.raises(PresightError):
        items.batch(0, ITEMS + 1)


@pytest.mark.parametrize("width", [2, 4])
def test_ragged_shards(tmp_path, width):
    """Shards shorter than an item, with a rest, and exactly one item long, in either width; several epochs."""
    order = np.random.default_rng(0)
    shards = {}
    for name, lengths in {"a": [3, 8, 7, 17, 1, 40], "b": [8], "c": [5, 9, 2]}.items():
        shards[name] = []
        for number, length in enumerate(lengths):
            content = order.integers(0, 2 ** (8 * width), length).astype(f"<u{width}").tobytes()
            (tmp_path / f"{name}{number}").write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            shards[name].append({"path": f"{name}{number}", "tokens": length, "sha256": sha256})
    supplies = {name: sum(each["tokens"] // 8 for each in every) for name, every in shards.items()}
    assert supplies == {"a": 8, "b": 1, "c": 1}
    tokens = {"directory": "..", "shards": shards, "tokenizer": "", "token_bytes": width}
    lock = compile_mixture({"a": 4, "b": 1, "c": 1}, supplies, 8 * 60, 8, seed=1, max_epochs=99, tokens=tokens)
    (tmp_path / "lock").mkdir()
    Mixture(lock).write(tmp_path / "lock" / FILE)
    batch = Items(tmp_path / "lock" / FILE).batch(0, 60)
    assert [*zip(batch.pools.tolist(), batch.tokens.tolist(), strict=True)] == slow(tmp_path / "lock" / FILE)


@pytest.fixture
def copy(tiny, path, tmp_path):
    """A copy of tokens and lock that may be spoilt: the lock, and a shard it reads."""
    lock = json.loads(path.read_text())
    (tmp_path / "mixture" / "m").mkdir(parents=True)
    shutil.copyfile(path, tmp_path / "mixture" / "m" / FILE)
    folder = tmp_path / "mixture" / "m" / lock["tokens"]["directory"]
    folder.parent.mkdir()
    shutil.copytree(tiny.path(tiny.tokens), folder)
    return tmp_path / "mixture" / "m" / FILE, (folder / lock["pools"][0]["shards"][0]["path"]).resolve()


def flip(shard):
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda shard: shard.unlink(), "is no file, but"),
        (lambda shard: shard.write_bytes(shard.read_bytes()[:-2]), "bytes are expected"),
        (lambda shard: shard.write_bytes(shard.read_bytes() + b"\0\0"), "bytes are expected"),
        (flip, "other bytes than its description names"),
    ],
)
def test_a_spoilt_shard_is_one_sentence(copy, spoil, words):
    lock, shard = copy
    assert len(Items(lock)) == ITEMS
    spoil(shard)
    with pytest.raises(PresightError) as error:
        Items(lock)
    assert error.value.code == EXIT_DATA == 87
    assert str(shard) in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    if spoil is flip:
        assert len(Items(lock, verify=False)) == ITEMS


def test_a_changed_lock_is_refused(copy):
    lock, _ = copy
    lock.write_text(lock.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(PresightError, match="plan hash"):
        Items(lock)


def test_a_source_without_quota_is_not_read_wrongly(tiny, tmp_path):
    lock = json.loads((tiny.path(tiny.mixture) / FILE).read_text())
    tokens = lock["tokens"] | {"shards": {pool["name"]: pool["shards"] for pool in lock["pools"]}}
    tokens["directory"] = str(tiny.path(tiny.tokens))
    supplies = {pool["name"]: pool["supply"] for pool in lock["pools"]}
    Mixture(compile_mixture({"math": 1, "code": 0}, supplies, 20 * ITEM, ITEM, seed=0, tokens=tokens)).write(
        tmp_path / FILE
    )
    items = Items(tmp_path / FILE)
    batch = items.batch(0, 20)
    assert {items.names[pool] for pool in batch.pools} == {"math"}
    assert [*zip(batch.pools.tolist(), batch.tokens.tolist(), strict=True)] == slow(tmp_path / FILE)


@pytest.fixture(scope="module")
def labels(tiny, tmp_path_factory):
    return tiny.path(labelled(tiny, tmp_path_factory.mktemp("labels"))[1])


def test_positions_and_segments_equal_a_walk_over_the_tokens(tiny, path, labels):
    """Document by document and segment by segment, from the shard's start."""
    items = Items(path, documents=True, labels=labels)
    lock = json.loads(path.read_text())
    described = json.loads((labels / "labels.json").read_text())
    limits = [described["thresholds"][name] for name in described["labels"]]
    known = {}
    for pool in lock["pools"]:
        walked = []
        for shard in pool["shards"]:
            at = tiny.path(tiny.tokens) / shard["path"]
            ends = np.fromfile(at.with_name(f"{at.name}.index"), dtype="<u8").tolist()
            scores = np.load(labels / f"{shard['path'].removesuffix('.ds')}.labels.npy").astype(float)
            place, segment, begin, stream = 0, -1, 0, []
            for end in ends:
                for token in range(begin, end):
                    segment += (token - begin) % SEGMENT == 0
                    stream.append((token - begin, segment))
                begin = end
            for place in range(0, len(stream) - ITEM + 1, ITEM):
                walked.append((stream[place : place + ITEM], scores))
        known[pool["name"]] = walked
    drawn = items.sampler.items(0, 60)
    batch = items.batch(0, 60)
    assert items.labels[: len(limits)] == tuple(described["labels"])
    for row, (pool, _, position) in enumerate(drawn.tolist()):
        tokens, scores = known[lock["pools"][pool]["name"]][position]
        expected, count = [], 0
        for inside, _ in tokens:
            count = 0 if inside == 0 else count
            expected.append(count)
            count += 1
        assert batch.positions[row].tolist() == expected
        segments = batch.segments[row]
        for token, (_, segment) in enumerate(tokens):
            mine = np.flatnonzero(segments.starts <= token)[-1]
            assert segments.labels[mine, : len(limits)].tolist() == (scores[segment] >= limits).tolist()


def test_batches_made_ahead_are_the_batches(items):
    bounds = [(0, 7), (7, 7), (20, 33)]
    made = list(items.batches(bounds))
    assert [batch.tokens.tolist() for batch, _ in made] == [items.batch(*each).tokens.tolist() for each in bounds]
    assert all(waited >= 0 for _, waited in made)
    assert list(items.batches([])) == []


def test_labels_of_other_tokens_are_refused(path, labels, tmp_path):
    other = shutil.copytree(labels, tmp_path / "labels")
    described = json.loads((other / "labels.json").read_text())
    (other / "labels.json").write_text(json.dumps(described | {"tokens": "0" * 64}))
    with pytest.raises(PresightError, match="labels other tokens than these") as error:
        Items(path, labels=other)
    assert error.value.code == EXIT_DATA


def test_targets_are_the_next_tokens():
    tokens = np.arange(12).reshape(2, 6)
    batch = Batch(tokens, np.zeros(2, dtype=np.int16), np.array([[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]))
    expected = [[1, 2, IGNORED, 4, IGNORED, IGNORED], [7, 8, 9, 10, 11, IGNORED]]
    assert batch.targets().tolist() == expected
