import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from corpus.mixing.amounts import Amount, Bound, Phase
from corpus.mixing.marginals import compile_families
from corpus.mixing.spec import Spec
from corpus.mixture import Mixture, overlap
from corpus.sampler import Sampler
from presight.errors import PresightError

SUPPLIES = {  # items of each cell: none, visual, reasoning, both
    "web": (60_000, 20_000, 8_000, 2_000),
    "math": (500, 100, 9_000, 900),
    "literature": (12_000, 7_000, 900, 100),
}
FAMILIES = ((), ("visual",), ("reasoning",), ("reasoning", "visual"))
TOKENS = {"directory": "../tokens", "tokenizer": "t", "token_bytes": 2, "shards": {s: [] for s in SUPPLIES}}


def cells(supplies=SUPPLIES, item=8, **rest):
    return {
        "item": item,
        "by": ["visual", "reasoning"],
        "thresholds": {"visual": 0.4, "reasoning": 0.5},
        "shuffled": [],
        "classifier": "c",
        "tokens": "t",
        "records": [],
        "sources": {
            source: {
                "items": sum(counts),
                "cells": {
                    "+".join(families) or "none": {
                        "families": list(families),
                        "items": count,
                        "path": f"{source}/x",
                        "bytes": 4,
                        "sha256": "s",
                    }
                    for families, count in zip(FAMILIES, counts, strict=True)
                    if count
                },
            }
            for source, counts in supplies.items()
        },
    } | rest


def compiled(described=None, **spec):
    return compile_families(
        Spec(**({"budget": 8 * 10_000, "item": 8} | spec)), described or cells(), TOKENS, "../cells"
    )


def shares(lock):
    found = {"visual": 0, "reasoning": 0, "both": 0}
    for pool in lock["pools"]:
        for family in pool["families"]:
            found[family] += pool["quota"]
        found["both"] += pool["quota"] * (len(pool["families"]) == 2)
    return {name: count / lock["items"] for name, count in found.items()}


def test_marginals_are_what_was_asked():
    lock = compiled(families={"visual": 15, "reasoning": 60}, overlaps={"visual&reasoning": Bound(at_most=3)})
    found = shares(lock)
    assert (found["visual"], found["reasoning"]) == (0.15, 0.6)
    assert found["both"] <= 0.03
    assert lock["labelled"] == {"visual": 0.15, "reasoning": 0.6}
    sampler = Sampler(lock)
    assert np.bincount(sampler.pools(0, len(sampler))).tolist() == [pool["quota"] for pool in lock["pools"]]
    assert "visual: 15.00% labelled so, how much truly is was not estimated" in str(Mixture(lock))


def test_sources_may_be_fixed_beside_families():
    lock = compiled(families={"reasoning": 50}, sources={"literature": 10, "math": Amount(tokens=8 * 1000)})
    by_source = {}
    for pool in lock["pools"]:
        by_source[pool["source"]] = by_source.get(pool["source"], 0) + pool["quota"]
    assert by_source["literature"] == by_source["math"] == 1000
    assert shares(lock)["reasoning"] == 0.5


def test_neighbours_of_a_grid_are_paired():
    one, two = (compiled(families={"visual": visual, "reasoning": 60}) for visual in (10, 15))
    common = overlap(one, two)
    quotas = [{pool["name"]: pool["quota"] for pool in lock["pools"]} for lock in (one, two)]
    for name, share in common.items():
        few, many = sorted(each.get(name, 0) for each in quotas)
        assert share == few / many
    assert sum(share * max(each.get(name, 0) for each in quotas) for name, share in common.items()) > 0.85 * 10_000


def test_a_curriculum_of_families_shares_the_supply():
    schedule = (
        Phase(share=1, families={"reasoning": 20}),
        Phase(share=1, families={"reasoning": 90}),
    )
    lock = compiled(schedule=schedule, max_epochs=1)
    halves = [
        sum(q for pool, q in zip(lock["pools"], phase["quotas"], strict=True) if "reasoning" in pool["families"])
        for phase in lock["phases"]
    ]
    assert halves == [1000, 4500]
    assert all(pool["quota"] <= pool["supply"] for pool in lock["pools"])
    with pytest.raises(PresightError, match="reasoning"):
        compiled(schedule=schedule, max_epochs=1, budget=8 * 80_000)


def test_a_proxy_by_family_keeps_the_targets_repetition():
    spec = {"families": {"reasoning": 60}, "max_epochs": 10}
    target, proxy = compiled(budget=8 * 50_000, **spec), compiled(budget=8 * 5000, target=8 * 50_000, **spec)
    for ours, theirs in zip(proxy["pools"], target["pools"], strict=True):
        assert ours["epochs"] == pytest.approx(theirs["epochs"], abs=1.5 / ours["supply"])
        assert ours["of"] == theirs["supply"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"families": {"visual": 40}, "max_epochs": 0.1}, "visual"),
        ({"families": {"visuals": 40}}, "did you mean visual"),
        ({"families": {"visual": 140}}, "write per cent, 0 to 100"),
        ({"families": {"visual": 40}, "sources": {"maths": 5}}, "did you mean math"),
        ({"families": {"visual": 40}, "overlaps": {"visual&code": 5}}, "not sorted by 'code'"),
        ({"families": {"visual": 40}, "budget": None}, "budget: is not given"),
        ({"overlaps": {"visual&visual": 5}}, "names no two families"),
        ({"families": {"visual": 40}, "sources": {"web": Amount(tokens=10**6)}}, "125000 of 10000 items"),
        ({"budget": 80_000, "schedule": [{"share": 1, "families": {"visual": 140}}] * 2}, r"^schedule\.0\.families"),
    ],
)
def test_what_cannot_be_met_is_one_sentence(spec, says):
    with pytest.raises(PresightError, match=says) as refused:
        compiled(**spec)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"budget": 8},
        {"sources": {"web": 1}, "schedule": [{"share": 1, "sources": {"web": 1}}], "budget": 8},
        {"schedule": [{"share": 1, "sources": {"web": 1}}]},
        {"families": {"visual": {"at_least": 5, "at_most": 3}}, "budget": 8},
    ],
)
def test_a_mixture_is_said_once(fields):
    with pytest.raises(ValidationError):
        Spec(**fields)


def test_the_classifiers_errors_are_taken_out():
    rng = np.random.default_rng(0)
    rows = []
    for source in SUPPLIES:
        for k in range(400):
            true = rng.random() < 0.4
            said = rng.random() < (0.9 if true else 0.1)
            names = ["reasoning"] * true, ["reasoning"] * said
            rows.append({"source": source, "document": f"{source}{k}", "true": names[0], "predicted": names[1]})
    lock = compiled(cells(records=rows), families={"reasoning": 60})
    assert "predicted to be visual" in lock["truth"]["visual"]["refused"]  # no window was
    found = lock["truth"]["reasoning"]
    right, missed = 0.4 * 0.9 / (0.4 * 0.9 + 0.6 * 0.1), 0.4 * 0.1 / (0.4 * 0.1 + 0.6 * 0.9)
    assert found["low"] < 0.6 * right + 0.4 * missed < found["high"]
    assert found["high"] - found["low"] < 0.1
    few = compiled(cells(records=rows[:10]), families={"reasoning": 60})
    assert "annotated" in few["truth"]["reasoning"]["refused"]
    assert "cannot be said" in str(Mixture(few))


@given(st.integers(5, 30), st.integers(20, 85), st.integers(500, 20_000))
@settings(max_examples=30, deadline=None)
def test_quotas_add_up_and_keep_their_caps(visual, reasoning, items):
    try:
        lock = compiled(families={"visual": visual, "reasoning": reasoning}, budget=8 * items, max_epochs=2)
    except PresightError:
        return
    assert sum(pool["quota"] for pool in lock["pools"]) == items
    assert all(pool["quota"] <= 2 * pool["supply"] for pool in lock["pools"])
    found = shares(lock)
    assert abs(found["visual"] * items - visual * items / 100) <= 1
    assert abs(found["reasoning"] * items - reasoning * items / 100) <= 1


def test_none_of_a_family_that_never_occurs_is_no_fault():
    plain = {source: (*counts[:2], 0, 0) for source, counts in SUPPLIES.items()} | {"empty": (0, 0, 0, 0)}
    asked = {"visual": 30, "reasoning": 0}
    lock = compiled(cells(plain), families=asked, overlaps={"visual&reasoning": 0}, sources={"empty": 0})
    assert lock["labelled"] == {"visual": 0.3, "reasoning": 0.0}
    assert compiled(cells(plain), families={"reasoning": Bound(at_most=5)})["items"] == 10_000
    with pytest.raises(PresightError, match="no text of the family reasoning"):
        compiled(cells(plain), families={"reasoning": 1})
    with pytest.raises(PresightError, match=r"sources\.empty: has no item of 8 tokens; leave it out"):
        compiled(cells(plain), families={"visual": 30}, sources={"empty": 1})


def test_epochs_are_of_the_pool_that_is_read():
    """Of a proxy's cut pool, and of the decimal as written: 0.29 of 10,000 is 2,900."""
    supplies = {"web": (60_000, 40_000, 0, 0), "math": (6000, 4000, 0, 0)}
    for fields, expected in (({}, 2900), ({"target": 8 * 50_000}, 580)):
        lock = compiled(cells(supplies), families={"visual": 40}, sources={"math": Amount(epochs=0.29)}, **fields)
        assert sum(pool["quota"] for pool in lock["pools"] if pool["source"] == "math") == expected


def test_sources_that_are_not_there_are_recorded():
    spec = {"families": {"visual": 40}, "missing": "renormalise"}
    lock = compiled(sources={"novels": 20, "poems": Amount(tokens=8000), "math": 5}, **spec)
    assert lock["missing"] == [{"name": "novels", "share": 0.2}, {"name": "poems", "share": 0.1}]
    assert "novels" in str(Mixture(lock))


def test_the_caps_of_a_curriculum_are_those_of_its_lock():
    first = Phase(share=1, sources={"math": Amount(share=95, max_epochs=6)}, families={"reasoning": 90})
    lock = compiled(schedule=[first, Phase(share=1, families={"visual": 20})], max_epochs=0.5)
    pools = Mixture(lock).pools
    assert any(pool.epochs > 0.5 for pool in pools)
    assert all(pool.pressure <= 1 for pool in pools)


def test_cells_of_one_size_with_other_items_have_nothing_in_common():
    real, placebo = cells(), cells(shuffled=["visual"])
    for each in placebo["sources"].values():
        for entry in each["cells"].values():
            entry["sha256"] = "other"
    one, two = (compiled(each, families={"visual": 40}) for each in (real, placebo))
    assert [pool["supply"] for pool in one["pools"]] == [pool["supply"] for pool in two["pools"]]
    assert set(overlap(one, one).values()) == {1.0}
    assert set(overlap(one, two).values()) == {0.0}
