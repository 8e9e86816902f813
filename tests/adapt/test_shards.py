import itertools
import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt import examples, shards
from adapt.examples import Example
from adapt.shards import Shards
from presight.errors import EXIT_DATA, PresightError

N = 23


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("x {a,b}")
    order = np.random.default_rng(0)
    made = [
        Example(f"item-{i}", order.integers(0, 256, (5, 4), dtype=np.uint8), i % 3, f"c{i // 2}", {"n": i})
        for i in range(N)
    ]
    examples.write(out, {"train": made, "test": made[:7], "empty": []}, "image", ["a", "b", "c"], shard=4)
    return out


def items(batches, count):
    return [item for batch in itertools.islice(batches, count) for item in batch.items]


def test_random_access_gives_what_reading_in_order_gives(folder):
    whole = examples.read(folder, "train")
    rows = np.array([22, 0, 3, 3, 4, 17])
    found = Shards(folder, "train").read(rows)
    assert np.array_equal(found.data, whole.data[rows])
    assert np.array_equal(found.labels, whole.labels[rows])
    assert found.items == tuple(f"item-{row}" for row in rows)
    assert found.clusters == tuple(whole.clusters[row] for row in rows)
    assert found.extras == tuple({"n": row} for row in rows)
    assert whole.extras[5] == {"n": 5}


def slow_order(seed, batch, count):
    """The first batches of training, out of whole permutations written one after another."""
    epochs = [np.random.default_rng([seed, e]).permutation(N).tolist() for e in range(batch * count // N + 2)]
    stream = [row for epoch in epochs for row in epoch]
    return [stream[k * batch : (k + 1) * batch] for k in range(count)]


@given(st.integers(0, 5), st.integers(1, 60), st.integers(1, 9))
@settings(deadline=None)
def test_order_equals_the_permutations_one_after_another(folder, seed, batch, count):
    reader = Shards(folder, "train", batch, seed)
    assert [reader.next_rows().tolist() for _ in range(count)] == slow_order(seed, batch, count)
    assert (reader.epoch, reader.position) == divmod(batch * count, N)


@given(st.integers(0, 5), st.integers(1, 30), st.integers(0, 8), st.integers(1, 30))
@settings(deadline=None)
def test_a_resumed_run_equals_an_undisturbed_one_even_with_another_batch_size(folder, seed, batch, before, other):
    undisturbed = Shards(folder, "train", batch, seed)
    for _ in range(before):
        undisturbed.next_rows()
    state = json.loads(json.dumps(undisturbed.state()))
    resumed = Shards(folder, "train", other, seed)
    resumed.resume(state)
    same = Shards(folder, "train", batch, seed, state["epoch"], state["position"])
    rest = np.concatenate([undisturbed.next_rows() for _ in range(6)])
    assert np.array_equal(np.concatenate([same.next_rows() for _ in range(6)]), rest)
    again = np.concatenate([resumed.next_rows() for _ in range(6)])
    length = min(len(rest), len(again))
    assert np.array_equal(again[:length], rest[:length])


@given(st.sampled_from([1, 2, 3, 4, 6]), st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_ranks_share_the_batches_of_one(folder, ranks, seed):
    alone = [batch.items for batch in itertools.islice(Shards(folder, "train", 12, seed), 5)]
    shares = [
        [batch.items for batch in itertools.islice(Shards(folder, "train", 12, seed, rank=rank, ranks=ranks), 5)]
        for rank in range(ranks)
    ]
    for number, whole in enumerate(alone):
        assert all(share[number] == whole[rank::ranks] for rank, share in enumerate(shares))


def test_every_epoch_gives_every_example_once_and_epochs_and_seeds_differ(folder):
    seen = items(Shards(folder, "train", 1, seed=3), 4 * N)
    epochs = [seen[k * N : (k + 1) * N] for k in range(4)]
    assert all(sorted(epoch) == sorted(f"item-{i}" for i in range(N)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert items(Shards(folder, "train", 1, seed=4), N) != epochs[0]


@pytest.mark.parametrize("readers", [1, 2, 3, 6])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_evaluation_gives_every_example_once_whoever_reads(folder, readers, batch):
    reader = Shards(folder, "train", batch)
    found = [[item for b in reader.once(readers, each) for item in b.items] for each in range(readers)]
    assert Counter(itertools.chain(*found)) == Counter(f"item-{i}" for i in range(N))
    assert all(found)
    if readers == 1:
        assert found[0] == [f"item-{i}" for i in range(N)]


def test_more_readers_than_shards_are_refused(folder):
    reader = Shards(folder, "test", 4)
    with pytest.raises(PresightError, match="2 shards cannot occupy reader 0 of 3; use fewer"):
        next(reader.once(3))
    with pytest.raises(PresightError, match="cannot occupy reader 2 of 2"):
        next(reader.once(2, 2))


def test_what_is_held_is_what_is_read(folder, monkeypatch):
    monkeypatch.setattr(shards, "HELD", 100)  # five of twenty bytes
    reader = Shards(folder, "train", 7)
    twice = [examples_.data.copy() for examples_ in itertools.islice(reader, 10)]
    assert len(reader._held) == 5
    monkeypatch.setattr(shards, "HELD", 0)
    fresh = [examples_.data for examples_ in itertools.islice(Shards(folder, "train", 7), 10)]
    assert all(map(np.array_equal, twice, fresh))


def test_a_reader_travels_to_another_process_with_its_place(folder):
    reader = Shards(folder, "train", 5)
    next(iter(reader))
    copy = pickle.loads(pickle.dumps(reader))
    assert not copy._files
    assert next(iter(copy)).items == next(iter(reader)).items


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": "tran"}, "did you mean train"),
        ({"split": "empty"}, "holds no examples"),
        ({"batch": 0}, "cannot be shared out"),
        ({"batch": 5, "ranks": 2}, "5 cannot be shared out evenly to rank 0 of 2"),
        ({"batch": 4, "ranks": 2, "rank": 2}, "rank 2 of 2"),
        ({"position": N}, "no place in a split of 23"),
        ({"epoch": -1}, "no place"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(folder, given, said):
    with pytest.raises(PresightError, match=said):
        Shards(folder, **{"split": "train", **given})


def test_a_state_of_other_data_or_another_seed_is_refused(folder):
    reader = Shards(folder, "train")
    with pytest.raises(PresightError, match="examples: was 7 when the state was saved and is 23"):
        reader.resume(Shards(folder, "test").state())
    with pytest.raises(PresightError, match="seed: was 1"):
        reader.resume(Shards(folder, "train", seed=1).state())


@pytest.fixture
def own(tmp_path):
    order = np.random.default_rng(0)
    made = [Example(f"i{i}", order.integers(0, 256, (8, 8), dtype=np.uint8), 0, "c") for i in range(9)]
    examples.write(tmp_path, {"train": made}, "image", ["a"], shard=5)
    return tmp_path


@pytest.mark.parametrize("at", [40, 136, 512, 1100, 1540, 2570])
def test_damage_is_named_with_its_record(own, at):
    path = own / "train-000001.tar"
    content = bytearray(path.read_bytes())
    content[at : at + 300] = bytes(300)
    path.write_bytes(content)
    reader = Shards(own, "train")
    assert len(reader.read(np.arange(5))) == 5
    with pytest.raises(PresightError, match=r"train-000001\.tar, record \d") as error:
        reader.read(np.arange(5, 9))
    assert error.value.code == EXIT_DATA


def test_a_shard_that_is_gone_or_places_that_do_not_fit_are_named(own):
    (own / "train-000001.tar").unlink()
    with pytest.raises(PresightError, match="cannot be read"):
        Shards(own, "train").read(np.array([6]))
    np.save(own / examples.places("train"), np.zeros((8, 3), np.int64))
    with pytest.raises(PresightError, match="places of 8 examples where its index says 9"):
        Shards(own, "train")
    (own / examples.places("train")).unlink()
    with pytest.raises(PresightError, match=r"has no readable train\.index\.npy"):
        Shards(own, "train")


def test_records_that_stand_in_the_wrong_place_are_noticed(own):
    places = np.load(own / examples.places("train"))
    np.save(own / examples.places("train"), places[::-1])
    with pytest.raises(PresightError, match="stands where"):
        Shards(own, "train").read(np.array([0]))
