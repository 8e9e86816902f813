from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.mixture import Mixture, compile_mixture, overlap
from corpus.permutation import Streams
from corpus.rotation import MAX_ITEMS
from corpus.sampler import Sampler
from presight.errors import PresightError


def lock(shares, items, supply=10**6, seed=0, max_epochs=10**6):
    names = shares if isinstance(shares, dict) else {f"pool {i:02}": share for i, share in enumerate(shares)}
    supplies = supply if isinstance(supply, dict) else dict.fromkeys(names, supply)
    return compile_mixture(names, supplies, items * 8, 8, seed=seed, max_epochs=max_epochs, tokens={})


@st.composite
def locks(draw, most=3000):
    k = draw(st.integers(2, 24))
    shares = draw(st.lists(st.integers(0, 10_000), min_size=k, max_size=k).filter(any))
    supplies = draw(st.lists(st.integers(1, 4000), min_size=k, max_size=k))
    names = [f"pool {i:02}" for i in range(k)]
    return lock(
        dict(zip(names, shares, strict=True)),
        draw(st.integers(1, most)),
        dict(zip(names, supplies, strict=True)),
        draw(st.integers(0, 9)),
    )


def slow_items(document):
    """One item at a time: where it falls, how often its pool came before, and that draw of the pool's stream."""
    pools, n = document["pools"], document["items"]
    streams = Streams(document["seed"], [p["name"] for p in pools], [p["supply"] for p in pools])
    seen = [0] * len(pools)
    for i in range(n):
        residue, pool, end = i * document["step"] % n, 0, pools[0]["quota"]
        while residue >= end:
            pool += 1
            end += pools[pool]["quota"]
        epoch, position = streams.draw(np.array([pool], dtype=np.int16), np.array([seen[pool]]))
        yield pool, int(epoch[0]), int(position[0])
        seen[pool] += 1


@given(locks(most=120))
@settings(max_examples=30, deadline=None)
def test_items_equal_the_slow_twin(document):
    sampler = Sampler(document)
    assert sampler.items(0, len(sampler)).tolist() == [*slow_items(document)]


@given(locks())
@settings(max_examples=60, deadline=None)
def test_quotas_are_exact_and_every_prefix_is_near_its_share(document):
    sampler = Sampler(document)
    n = len(sampler)
    pools, prefix = sampler.pools(0, n), np.arange(1, n + 1)
    for p, pool in enumerate(document["pools"]):
        counts = np.cumsum(pools == p)
        assert counts[-1] == pool["quota"]
        assert abs(counts - prefix * pool["share"]).max() < 6


@given(locks(), st.lists(st.floats(0, 1), max_size=6))
@settings(max_examples=60, deadline=None)
def test_cuts_do_not_matter(document, cuts):
    sampler = Sampler(document)
    n = len(sampler)
    whole = sampler.items(0, n)
    assert whole.shape == (n,)
    edges = [0, *sorted(int(cut * n) for cut in cuts), n]
    for start, stop in pairwise(edges):
        part = Sampler(document).items(start, stop)
        assert (part == whole[start:stop]).all()
        assert (sampler.pools(start, stop) == part["pool"]).all()
        assert (sampler.drawn(start) == np.bincount(whole["pool"][:start], minlength=len(document["pools"]))).all()


def test_cuts_do_not_matter_across_blocks():
    sampler = Sampler(lock([5, 3, 0, 1], 100_000, supply=30_000))
    whole = sampler.items(0, 100_000)
    assert (sampler.items(31_000, 99_999) == whole[31_000:99_999]).all()
    assert (sampler.pools(0, 100_000) == whole["pool"]).all()


@given(locks())
@settings(max_examples=60, deadline=None)
def test_each_epoch_of_a_pool_visits_each_position_once(document):
    items = Sampler(document).items(0, document["items"])
    for p, pool in enumerate(document["pools"]):
        mine, supply = items[items["pool"] == p], pool["supply"]
        assert (mine["epoch"] == np.arange(pool["quota"]) // supply).all()
        for epoch in range(mine["epoch"][-1] + 1 if len(mine) else 0):
            positions = mine["position"][mine["epoch"] == epoch]
            assert len(np.unique(positions)) == len(positions)
            assert positions.max() < supply
            assert len(positions) == supply or epoch == mine["epoch"][-1]


@pytest.mark.parametrize("supply", [5000, 700])  # within one epoch; over several
def test_a_mixture_with_less_of_a_pool_reads_a_prefix_of_one_with_more(supply):
    grid = [lock({"vision": share, "web": 100 - share}, 10_000, supply={"vision": supply, "web": 10_000})
            for share in (10, 15, 20)]  # fmt: skip
    draws = []
    for document in grid:
        items = Sampler(document).items(0, 10_000)
        draws.append(items[items["pool"] == 0][["epoch", "position"]].tolist())
    assert [len(read) for read in draws] == [1000, 1500, 2000]
    assert set(draws[0]) < set(draws[1]) < set(draws[2])
    assert draws[2][:1500] == draws[1]
    assert draws[1][:1000] == draws[0]
    assert overlap(grid[0], grid[2])["vision"] == len(set(draws[0]) & set(draws[2])) / len(set(draws[2]))


@pytest.mark.parametrize("items", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shares", [[1], [1, 1], [0, 1, 0], [5, 3, 2]])
def test_tiny_mixtures(items, shares):
    document = lock(shares, items, supply=1)
    sampler = Sampler(document)
    read = sampler.items(0, items)
    assert len(sampler) == items
    assert np.bincount(read["pool"], minlength=len(shares)).tolist() == [p["quota"] for p in document["pools"]]
    assert (read["position"] == 0).all()
    assert len(sampler.items(items, items)) == 0


def test_the_largest_mixture_does_not_overflow():
    sampler = Sampler(lock([6, 3, 1], MAX_ITEMS, supply=2**33))
    n, step = len(sampler), sampler.mixture.step
    quotas = [pool.quota for pool in sampler.mixture.pools]
    tail = sampler.items(n - 50_000, n)
    bounds = np.cumsum(quotas)
    assert tail["pool"][::997].tolist() == [
        int(np.searchsorted(bounds, i * step % n, side="right")) for i in range(n - 50_000, n, 997)
    ]
    assert (sampler.drawn(n - 50_000) + np.bincount(tail["pool"]) == quotas).all()
    for start in (1, n // 3, n - 1):
        assert abs(sampler.drawn(start) - np.array(quotas) * (start / n)).max() < 6


def test_a_path_a_lock_and_a_mixture_are_sampled_alike(tmp_path):
    mixture = Mixture(lock([2, 1], 300))
    mixture.write(tmp_path / "mixture.lock")
    first, *others = (Sampler(x).items(0, 300) for x in (mixture, mixture.lock, tmp_path / "mixture.lock"))
    assert all((other == first).all() for other in others)
    assert first.dtype.names == ("pool", "epoch", "position")
    assert [first.dtype[name].name for name in first.dtype.names] == ["int16", "int32", "int64"]


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 301), (5, 4)])
def test_items_that_are_not_there_are_refused(start, stop):
    sampler = Sampler(lock([2, 1], 300))
    for read in (sampler.items, sampler.pools):
        with pytest.raises(PresightError, match=r"^mixture: items .* were asked of 300"):
            read(start, stop)
