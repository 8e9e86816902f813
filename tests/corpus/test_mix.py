import hashlib
import json
from fractions import Fraction

import pytest
from toy_experiment import ITEM, ITEMS, varied
from toy_experiment import tiny as make_tiny

from corpus import Mix, Sampler
from corpus.mixture import Mixture, overlap
from presight.errors import PresightError
from presight.store import Store


def compiled(tiny, out, **fields):
    out.mkdir(parents=True)
    stage = Mix(**({"tokens": tiny.tokens, "budget": ITEMS * ITEM, "item": ITEM} | fields))
    stage.run(out, {"tokens": tiny.path(tiny.tokens)})
    return Mixture.read(out).lock


@pytest.fixture(scope="module")
def lock(tiny):
    return Mixture.read(tiny.path(tiny.mixture)).lock


def test_the_lock_names_the_shards_of_the_store(tiny, lock):
    folder = (tiny.path(tiny.mixture) / lock["tokens"]["directory"]).resolve()
    assert folder == tiny.path(tiny.tokens).resolve()
    described = json.loads((folder / "tokens.json").read_text())
    assert lock["tokens"]["tokenizer"] == described["tokenizer"]
    assert lock["tokens"]["token_bytes"] == 2
    for pool in lock["pools"]:
        assert pool["shards"] == described["sources"][pool["name"]]["train"]["shards"]
        for shard in pool["shards"]:
            assert shard["path"].startswith("train/")
            assert shard["sha256"] == hashlib.sha256((folder / shard["path"]).read_bytes()).hexdigest()
        sizes = [(folder / shard["path"]).stat().st_size // 2 for shard in pool["shards"]]
        assert pool["supply"] == sum(size // ITEM for size in sizes)  # items do not reach over the end of a shard


def test_quotas_are_exact(tiny, lock):
    shares = tiny.mixture.sources
    for pool in lock["pools"]:
        exact = Fraction(shares[pool["name"]]) / 100 * ITEMS
        assert abs(pool["quota"] - exact) < 1
        assert pool["epochs"] == pool["quota"] / pool["supply"]
    assert sum(pool["quota"] for pool in lock["pools"]) == len(Sampler(lock)) == ITEMS
    counts = json.loads((tiny.path(tiny.mixture) / "counts.json").read_text())
    assert counts == {pool["name"]: pool["quota"] * ITEM for pool in lock["pools"]}


def test_a_store_may_be_moved_and_made_elsewhere(tiny, tmp_path):
    other = make_tiny(tmp_path / "first" / "store")
    path = other.path(other.mixture) / "mixture.lock"
    assert path.read_bytes() == (tiny.path(tiny.mixture) / "mixture.lock").read_bytes()
    (tmp_path / "first" / "store").rename(tmp_path / "second")
    moved = Store(tmp_path / "second").path(other.mixture)
    lock = Mixture.read(moved).lock
    assert (moved / lock["tokens"]["directory"] / "tokens.json").exists()


def test_a_budget_is_rounded_down_to_items(tiny, tmp_path):
    lock = compiled(tiny, tmp_path / "a", sources={"web": 1}, budget=10 * ITEM + ITEM - 1)
    assert lock["items"] == 10


def test_missing_sources(tiny, tmp_path):
    shares = {"web": 30, "code": 30, "novels": 40}
    with pytest.raises(PresightError) as error:
        compiled(tiny, tmp_path / "a", sources=shares)
    assert "novels" in str(error.value)
    assert str(error.value).endswith(".")
    assert not list((tmp_path / "a").iterdir())
    lock = compiled(tiny, tmp_path / "b", sources=shares, missing="renormalise")
    assert {pool["name"]: pool["quota"] for pool in lock["pools"]} == {"code": 125, "web": 125}
    assert lock["missing"] == [{"name": "novels", "share": 0.4}]
    with pytest.raises(PresightError, match="no source with a positive share"):
        compiled(tiny, tmp_path / "c", sources={"novels": 1}, missing="renormalise")


def test_more_than_there_is(tiny, tmp_path):
    for fields in ({"budget": 10**7}, {"max_epochs": 0.01}, {"item": 10**6}):
        with pytest.raises(PresightError) as error:
            compiled(tiny, tmp_path / str(fields), sources={"web": 50, "code": 50}, **fields)
        assert "\n" not in str(error.value)


def test_mixtures_of_one_seed_are_paired(tiny, tmp_path):
    one = compiled(tiny, tmp_path / "a", sources={"web": 80, "code": 20})
    two = compiled(tiny, tmp_path / "b", sources={"web": 40, "code": 60})
    assert overlap(one, two) == {"code": 50 / 150, "web": 100 / 200}
    other = compiled(tiny, tmp_path / "c", sources={"web": 40, "code": 60}, seed=1)
    assert set(overlap(one, other).values()) == {0.0}
    read = {}
    for name, lock in (("one", one), ("two", two)):
        drawn = Sampler(lock).items(0, ITEMS)
        read[name] = {tuple(row) for row in drawn[["epoch", "position"]][drawn["pool"] == 0].tolist()}  # code
    assert read["one"] < read["two"]


def test_the_plan_is_an_identity(tiny, lock):
    turned = dict(reversed(list(tiny.mixture.sources.items())))
    assert varied(tiny.mixture, sources=turned).fingerprint == tiny.mixture.fingerprint
    assert varied(tiny.mixture, seed=1).fingerprint != tiny.mixture.fingerprint
    assert tiny.mixture.estimate().tokens == ITEMS * ITEM


def test_a_budget_beyond_the_public_supply_is_refused_before_anything_is_fetched():
    from corpus import Hub, Tokenize, Tokenizer

    hub = Hub(sources=("literature", "law"), megabytes=1e9)
    tokens = Tokenize(documents=hub, tokenizer=Tokenizer(documents=hub))
    fields = {"tokens": tokens, "sources": {"literature": 50, "law": 50}, "item": 2048}
    Mix(**fields, budget=10**10).settle(False)
    with pytest.raises(PresightError, match=r"literature: 50B tokens are wanted, but it holds 4\.91B × max_epochs 4"):
        Mix(**fields, budget=10**11).settle(False)


def test_a_mixture_in_tokens_and_epochs_needs_no_budget(tiny, tmp_path):
    sources = {"web": {"tokens": 30 * ITEM}, "code": {"epochs": 0.5}}
    lock = compiled(tiny, tmp_path / "a", sources=sources, budget=None)
    quotas = {pool["name"]: pool["quota"] for pool in lock["pools"]}
    assert quotas == {"web": 30, "code": lock["pools"][0]["supply"] // 2}
    assert lock["budget"] == sum(quotas.values()) * ITEM
    with pytest.raises(PresightError, match="need cells"):
        compiled(tiny, tmp_path / "b", families={"visual": 10})
