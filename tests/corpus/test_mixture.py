import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.mixing.amounts import Amount
from corpus.mixing.quota import Pool, apportion
from corpus.mixture import Mixture, compile_mixture, overlap
from presight.errors import PresightError

SHARES = {"web": 50, "encyclopedia": 2.5, "academia": 2.5, "literature": 20, "math": 5, "code": 20}
TOKENS = {
    "directory": "../tokens",
    "tokenizer": "ab" * 32,
    "token_bytes": 2,
    "shards": {name: [{"path": f"{name}/0.ds", "sha256": name, "tokens": 512_000}] for name in SHARES},
}


def compiled(shares=SHARES, supply=2000, budget=400_000, item=256, seed=0, tokens=TOKENS, **options):
    supplies = supply if isinstance(supply, dict) else dict.fromkeys(shares, supply)
    return compile_mixture(shares, supplies, budget, item, seed=seed, tokens=tokens, **options)


def test_a_lock_says_what_was_asked_and_what_is_given():
    lock = compiled()
    names = sorted(SHARES)
    assert [pool["name"] for pool in lock["pools"]] == names
    assert (lock["items"], lock["item"], lock["budget"], lock["binding"]) == (1562, 256, 400_000, "web")
    assert [pool["quota"] for pool in lock["pools"]] == apportion([SHARES[name] for name in names], 1562).tolist()
    web = lock["pools"][-1]
    assert (web["share"], web["realised"], web["epochs"], web["cap"]) == (0.5, 0.5, 781 / 2000, 1.0)
    assert web["shards"] == TOKENS["shards"]["web"]
    assert "shards" not in lock["tokens"]
    assert (lock["normalised"], lock["missing"]) == (None, [])
    assert Mixture(lock).pools[-1] == Pool("web", 2000, 0.5, 781, 1.0)


def test_per_cent_and_fractions_make_one_lock_and_order_does_not_matter():
    assert compiled() == compiled({name: SHARES[name] / 100 for name in sorted(SHARES, reverse=True)})
    thirds = compiled(dict.fromkeys(["web", "math", "code"], 1 / 3))
    assert thirds["normalised"] is None


def test_other_sums_are_normalised_and_recorded(capsys):
    lock = compiled({"web": 3, "math": 1})
    assert [pool["share"] for pool in lock["pools"]] == [0.25, 0.75]
    Mixture(lock).describe()
    assert "shares normalised from a sum of 4" in capsys.readouterr().out


def test_missing_sources_are_refused_or_recorded():
    supplies = dict.fromkeys(SHARES, 2000)
    del supplies["math"]
    with pytest.raises(PresightError, match=r"sources\.math"):
        compiled(supply=supplies)
    lock = compiled(supply=supplies, missing="renormalise")
    assert lock["missing"] == [{"name": "math", "share": 0.05}]
    assert sum(pool["quota"] for pool in lock["pools"]) == lock["items"]
    assert "dropped for want of text: math, 5.000%" in str(Mixture(lock))


def test_the_binding_supply_is_named_with_its_mends():
    supplies = dict.fromkeys(SHARES, 2000) | {"math": 57, "code": 300}
    with pytest.raises(PresightError) as refused:
        compiled(supply=supplies)
    assert str(refused.value) == (
        "sources.math: its quota of 78 items exceeds its supply of 57 × max_epochs 1;"
        " raise max_epochs to 1.37 or lower the budget to 291840 tokens."
    )
    assert compiled(supply=supplies, max_epochs=1.37)["binding"] == "math"
    assert compiled(supply=supplies, budget=291_840)["binding"] == "math"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"budget": 100}, "budget"),
        ({"budget": -1}, "budget"),
        ({"budget": float("nan")}, "budget"),
        ({"item": 0}, "item"),
        ({"item": 1, "budget": 2**40}, "item"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"max_epochs": float("inf")}, "max_epochs"),
        ({"missing": "ignore"}, "missing"),
        ({"shares": {"web": -1}}, "sources.web"),
        ({"shares": {"web": 0}}, "sources"),
    ],
)
def test_faults_are_one_sentence_that_names_the_field(options, field):
    with pytest.raises(PresightError) as refused:
        compiled(**options)
    message = str(refused.value)
    assert refused.value.field == field
    assert refused.value.mend
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message


def test_a_lock_survives_the_disk_and_is_written_whole(tmp_path, monkeypatch):
    mixture = Mixture(compiled())
    path = tmp_path / "mixture.lock"
    mixture.write(path)
    assert Mixture.read(path) == Mixture.read(tmp_path) == Mixture.of(str(path)) == mixture
    before = path.read_bytes()
    mixture.write(path)
    assert path.read_bytes() == before

    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        Mixture(compiled(seed=1)).write(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["mixture.lock"]


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, (*path, key))
    else:
        yield path


@given(st.sampled_from([*leaves(compiled())]))
def test_a_changed_lock_is_refused_unless_only_the_tokens_moved(path):
    lock = copy.deepcopy(compiled())
    place = lock
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    place[path[-1]] = old + 1 if isinstance(old, int | float) else f"{old}x"
    if path == ("tokens", "directory"):
        assert Mixture(lock).plan == compiled()["plan"]
    else:
        with pytest.raises(PresightError):
            Mixture(lock)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read"),
        ("[" * 100_000, "is not JSON"),
        ("{", "is not JSON"),
        ("[]", "is no mixture lock"),
        ('{"format": "presight mixture lock", "version": 1}', "is a lock of version 1, not 2"),
        ('{"format": "presight mixture lock", "version": 2}', "does not match its plan hash"),
    ],
)
def test_what_is_no_lock_is_refused_by_its_path(tmp_path, text, says):
    path = tmp_path / "a.lock"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PresightError) as refused:
        Mixture.read(path)
    assert str(refused.value).startswith(f"{path}: {says}")
    assert "\n" not in str(refused.value)


def test_the_plan_holds_content_and_order_and_not_the_place():
    plan = compiled()["plan"]
    assert compiled(tokens=TOKENS | {"directory": "/elsewhere"})["plan"] == plan
    assert compiled(seed=1)["plan"] != plan
    assert compiled(item=128)["plan"] != plan
    assert compiled(supply=2001)["plan"] != plan
    assert compiled(tokens=TOKENS | {"tokenizer": "cd" * 32})["plan"] != plan
    shards = copy.deepcopy(TOKENS["shards"])
    shards["math"][0]["sha256"] = "other"
    assert compiled(tokens=TOKENS | {"shards": shards})["plan"] != plan
    json.dumps(compiled(), allow_nan=False)


def test_describe_prints_every_pool(capsys):
    Mixture(compiled(max_epochs=2)).describe()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(SHARES)
    assert lines[0].startswith("mixture ")
    assert "400k tokens = 1,562 items × 256, 6 pools, seed 0" in lines[0]
    assert [line.split()[1] for line in lines[1:]] == sorted(SHARES)
    assert lines[-1].startswith("└─ web")
    assert lines[-1].endswith("0.39 epochs of 2  ← nearest its cap")


def test_overlap_is_what_two_mixtures_share_by_construction():
    less, more = compiled({"web": 9, "math": 1}), compiled({"web": 8, "math": 2})
    supply = compiled({"web": 9, "math": 1}, supply=2001)
    shared = overlap(less, more)
    assert shared == {"math": 156 / 312, "web": 1250 / 1406}
    assert overlap(more, less) == shared
    assert overlap(less, less) == {"math": 1, "web": 1}
    assert overlap(less, supply) == overlap(less, compiled({"web": 9, "math": 1}, seed=1)) == {"math": 0, "web": 0}
    assert overlap(less, compiled({"web": 1, "code": 0})) == {"code": 0, "math": 0, "web": 1406 / 1562}


def test_a_fault_of_a_phase_names_it():
    phases = [(1, {"web": 1}), (1, {"web": Amount(tokens=256 * 1000)})]
    with pytest.raises(PresightError, match=r"^schedule\.1\.sources: .* ask for 1000 of 781 items; ask for less"):
        compiled({}, supply={"web": 2000}, phases=phases)


def test_a_target_may_be_longer_than_any_order():
    lock = compiled({"web": 1}, supply=10**6, target=256 * 2**40, max_epochs=10**9)
    assert lock["pools"][0]["supply"] == round(10**6 * 1562 / 2**40) or 1


def test_a_lock_says_where_its_tokens_lie(tmp_path):
    (tmp_path / "mixture.lock").write_text(json.dumps(compiled()))
    mixture = Mixture.read(tmp_path)
    assert mixture.folder("tokens") == tmp_path.parent / "tokens"
    assert mixture.folder("cells") is None
    with pytest.raises(PresightError, match="does not say where its tokens lie"):
        Mixture(compiled(tokens={"shards": {}})).folder("tokens")
