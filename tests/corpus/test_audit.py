import json
import shutil

import numpy as np
import pytest
from toy_experiment import ITEM

from corpus import Mixture, audit
from corpus.mixing import grid
from corpus.mixing import lock as locks
from presight.errors import PresightError


@pytest.fixture
def place(tiny, tmp_path):
    """Tokens of our own and a lock of them, so that both may be damaged."""
    shutil.copytree(tiny.path(tiny.tokens), tmp_path / "tokens")
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"tokens: tokens\nsources: {{web: 50, code: 30, math: 20}}\nitem: {ITEM}\nbudget: {ITEM * 100}\n")
    grid.compile_spec(spec, tmp_path / "lock")
    return tmp_path


def found(path, **options):
    return {each.check: each for each in audit.check(path, **options)}


def test_a_sound_mixture_holds(place):
    checks = found(place / "lock")
    assert [name for name, each in checks.items() if not each.holds] == []
    assert {"plan", "repetition", "quotas", "order", "ranks", "tokenizer", "shards", "pools apart"} <= set(checks)
    assert "exact at the end" in checks["order"].says


def test_it_moves_with_its_tokens(place, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("lock", "tokens"):
        (place / name).rename(tmp_path / "elsewhere" / name)
    assert all(each.holds for each in found(tmp_path / "elsewhere" / "lock").values())


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (lambda f: (p := next(f.glob("train/web/*.ds"))).write_bytes(p.read_bytes()[:-2]), "shards"),
        (lambda f: (p := next(f.glob("train/web/*.ds"))).write_bytes(b"xx" + p.read_bytes()[2:]), "shards"),
        (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{}"), "shards"),
        (lambda f: (f / "tokens.json").write_text("{}"), "shards"),
        (lambda f: (f / "tokens.json").write_text("[]"), "shards"),
        (lambda f: shutil.rmtree(f), "shards"),
    ],
)
def test_what_was_damaged_is_found(place, damage, check):
    damage(place / "tokens")
    checks = found(place / "lock")
    assert not checks[check].holds
    assert all(each.holds for each in found(place / "lock", read=False).values())


def test_a_lock_that_was_changed_is_refused(place):
    path = place / "lock" / "mixture.lock"
    lock = json.loads(path.read_text())
    lock["pools"][0]["quota"] += 1
    path.write_text(json.dumps(lock))
    with pytest.raises(PresightError, match="does not match its plan"):
        found(path)


def test_text_that_two_pools_share_is_found(place):
    tokens = place / "tokens"
    described = json.loads((tokens / "tokens.json").read_text())
    web, math = (described["sources"][name]["train"]["shards"][0] for name in ("web", "math"))
    stream = np.fromfile(tokens / web["path"], dtype="<u2")
    stream[: ITEM * 20] = np.fromfile(tokens / math["path"], dtype="<u2")[: ITEM * 20]
    stream.tofile(tokens / web["path"])
    import hashlib

    web["sha256"] = hashlib.sha256(stream.tobytes()).hexdigest()
    (tokens / "tokens.json").write_text(json.dumps(described))
    spec = place / "spec.yaml"
    spec.write_text(f"tokens: tokens\nsources: {{web: {{epochs: 1}}, math: {{epochs: 1}}}}\nitem: {ITEM}\n")
    grid.compile_spec(spec, place / "again")
    checks = found(place / "again")
    assert not checks["pools apart"].holds
    assert "(math, web)" in checks["pools apart"].says


def test_a_difference_is_shown_pool_by_pool(place):
    spec = place / "spec.yaml"
    spec.write_text(f"tokens: tokens\nsources: {{web: 60, code: 40}}\nitem: {ITEM}\nbudget: {ITEM * 50}\n")
    grid.compile_spec(spec, place / "other")
    shown = audit.diff(place / "lock", place / "other")
    assert not shown["same_plan"]
    assert shown["fields"] == {"items": [100, 50], "budget": [6400, 3200]}
    rows = {row["name"]: row for row in shown["pools"]}
    assert rows["web"]["quota"] == [50, 30]
    assert rows["web"]["common"] == 0.6
    assert rows["math"]["quota"] == [20, 0]
    same = audit.diff(place / "lock", place / "lock")
    assert same["same_plan"]
    assert same["fields"] == {}
    assert Mixture.read(place / "lock").plan


def test_a_long_mixture_is_looked_at_in_places(place, monkeypatch):
    """Then memory is bounded by the prefixes looked at, not by items times pools."""
    whole = found(place / "lock")["order"].says
    monkeypatch.setattr(audit, "COUNTS", 0)
    assert found(place / "lock")["order"].says == whole  # 100 items: every prefix is looked at all the same
    monkeypatch.setattr(audit, "PREFIXES", 10)
    sampled = found(place / "lock")["order"]
    assert sampled.holds
    assert "10 prefixes looked at" in sampled.says


def test_a_lock_that_does_not_say_where_is_refused(place):
    path = place / "lock" / "mixture.lock"
    lock = json.loads(path.read_text())
    del lock["tokens"]["directory"]  # no part of the plan
    path.write_text(json.dumps(lock))
    with pytest.raises(PresightError, match="does not say where its tokens lie"):
        found(path)
    assert all(each.holds for each in found(path, read=False).values())


def test_a_difference_names_the_cells(place):
    one = Mixture.read(place / "lock")
    lock = {key: value for key, value in one.lock.items() if key != "plan"} | {"cells": {"by": ["visual"]}}
    (place / "cells.lock").write_text(json.dumps(lock | {"plan": locks.plan(lock)}))
    assert audit.diff(place / "lock", place / "cells.lock")["fields"] == {"cells.by": [None, ["visual"]]}
