from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.mixing.permutation import Streams
from corpus.mixing.rotation import MAX_ITEMS
from corpus.mixture import Mixture, compile_mixture, overlap
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
        residue, pool, end = i * document["phases"][0]["step"] % n, 0, pools[0]["quota"]
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
    n, step = len(sampler), sampler.mixture.lock["phases"][0]["step"]
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


def curriculum(sizes, items, supply, seed=0):
    """Phases of random shares over the same pools."""
    names = [f"pool {i:02}" for i in range(len(sizes[0][1]))]
    phases = [(share, dict(zip(names, shares, strict=True))) for share, shares in sizes]
    supplies = dict.fromkeys(names, supply)
    return compile_mixture({}, supplies, items * 8, 8, seed=seed, max_epochs=10**6, phases=phases, tokens={})


PHASES = [(1, [50, 30, 20]), (2, [10, 10, 80]), (1, [0, 1, 0])]


def test_a_curriculum_is_exact_in_every_phase_and_counts_draws_on():
    document = curriculum(PHASES, 4000, 900)
    sampler = Sampler(document)
    items = sampler.items(0, len(sampler))
    assert [phase["items"] for phase in document["phases"]] == [1000, 2000, 1000]
    for start, stop, shares in ((0, 1000, [0.5, 0.3, 0.2]), (1000, 3000, [0.1, 0.1, 0.8]), (3000, 4000, [0, 1, 0])):
        drawn = np.cumsum(items["pool"][start:stop, None] == np.arange(3), axis=0)
        prefix = np.arange(1, stop - start + 1)[:, None]
        assert np.abs(drawn - prefix * np.array(shares)).max() < 6
        assert (drawn[-1] == np.array(shares) * (stop - start)).all()
    streams = Streams(0, [pool["name"] for pool in document["pools"]], [900] * 3)
    for pool in range(3):
        mine = items[items["pool"] == pool]
        k = np.arange(len(mine))
        epoch, position = streams.draw(np.full(len(mine), pool, dtype=np.int16), k)
        assert (mine["epoch"] == epoch).all()  # nothing comes twice before all came once, whatever the phases
        assert (mine["position"] == position).all()


@given(st.integers(0, 4000), st.integers(0, 4000))
@settings(max_examples=40, deadline=None)
def test_a_curriculum_is_a_pure_function_too(a, b):
    sampler = Sampler(curriculum(PHASES, 4000, 900))
    start, stop = sorted((a, b))
    whole = sampler.items(0, 4000)
    assert np.array_equal(sampler.items(start, stop), whole[start:stop])
    assert np.array_equal(sampler.pools(start, stop), whole["pool"][start:stop])
    assert sampler.drawn(start).tolist() == np.bincount(whole["pool"][:start], minlength=3).tolist()


def test_a_phase_without_items_is_passed_over():
    sampler = Sampler(curriculum([(1e-9, [1, 0, 0]), (1, [0, 1, 1]), (1e-9, [1, 0, 0])], 100, 900))
    assert np.bincount(sampler.pools(0, 100), minlength=3).tolist() == [0, 50, 50]
    assert sampler.drawn(100).tolist() == [0, 50, 50]


def test_a_proxy_repeats_each_pool_as_often_as_its_target():
    shares, supplies = {"web": 70, "math": 20, "code": 10}, {"web": 40_000, "math": 1000, "code": 300}
    target = compile_mixture(shares, supplies, 8 * 20_000, 8, seed=0, max_epochs=20, tokens={})
    proxy = compile_mixture(shares, supplies, 8 * 2000, 8, seed=0, max_epochs=20, target=8 * 20_000, tokens={})
    for ours, theirs in zip(proxy["pools"], target["pools"], strict=True):
        assert ours["epochs"] == pytest.approx(theirs["epochs"], rel=1 / ours["supply"])
        assert (ours["of"], ours["supply"]) == (theirs["supply"], theirs["supply"] // 10)
    items = Sampler(proxy).items(0, 2000)
    for number, pool in enumerate(proxy["pools"]):
        positions = items["position"][items["pool"] == number]
        counts = np.bincount(positions, minlength=pool["supply"])
        assert len(counts) == pool["supply"]  # a cut pool permutes its prefix
        assert counts.max() - counts.min() <= 1
    again = compile_mixture({"web": 1}, supplies, 8 * 2000, 8, seed=0, max_epochs=20, target=8 * 20_000, tokens={})
    assert overlap(proxy, again)["web"] == 0.7  # the cut depends on the budgets alone: mixtures stay paired
    with pytest.raises(PresightError, match="less than the budget"):
        compile_mixture(shares, supplies, 8 * 2000, 8, seed=0, max_epochs=20, target=8, tokens={})
