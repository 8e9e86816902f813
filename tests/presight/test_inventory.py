import json

import pytest
import toys

from presight import card, inventory, owner, recipe, registry
from presight.assembly import load
from presight.errors import PresightError
from presight.expansion import expand
from presight.store import Store

TEXT = """
recipe: {name}
axes: {{a: {values}}}
stages:
  n: {{stage: toys.Number, value: $a}}
  s: {{stage: toys.Add, left: $n}}
  t: {{stage: toys.Total, numbers: "$s[*]"}}
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def made(tmp_path, store):
    """Makes and registers a recipe."""

    def made(name="toy", values="[1, 2]"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(TEXT.format(name=name, values=values))
        graph = expand(recipe.read(str(path)))
        for each in graph.instances:
            store.perform(each.stage)
        registry.register(graph, store, None, [])
        registry.link(graph, store, tmp_path / "runs")
        return {each.title: each.stage for each in graph.instances}

    return made


def states(root):
    return {each.artifact: each for each in inventory.status(root)}


def gone(root, capsys, delete=False, forget=()):
    """What gc says would go, by name."""
    capsys.readouterr()
    inventory.collect(root, delete, list(forget), True)
    return {path.rpartition("/")[2] for path in json.loads(capsys.readouterr().out)}


def test_status(tmp_path, store, made):
    stages = made()
    found = states(tmp_path)
    assert {each.state for each in found.values()} == {"done"}
    top = found[stages["s[a=2]"].fingerprint]
    assert (top.name, top.kind, top.note) == ("toy: s[a=2]", "number", "")
    assert top.bytes == len(json.dumps(3.0))

    stopped, running, sharded = toys.Fault(how="inside"), toys.Number(value=50), toys.Squares()
    with pytest.raises(RuntimeError):
        store.perform(stopped)
    store.work(running).mkdir()
    store.perform_shard(sharded, 0)
    (store.path(stages["t"]) / "total.json").unlink()
    (store.path(stages["n[a=1]"]) / "number.json").write_text("")
    store.perform(stages["n[a=1]"])
    shard = store.owner_file(f"{sharded.fingerprint}.3")
    with owner.hold(store.owner_file(running.fingerprint)), owner.hold(shard):
        found = states(tmp_path)
    assert found[stopped.fingerprint].state == "stopped"
    assert found[stopped.fingerprint].note == "run its recipe again to continue"
    assert found[running.fingerprint].state == "running"
    assert found[running.fingerprint].note == f"process {owner.record()['pid']} on {owner.record()['host']}"
    assert found[sharded.fingerprint].state == "running"
    assert found[stages["t"].fingerprint].state == "broken"
    (aside,) = [each for each in found.values() if each.artifact.startswith("broken-")]
    assert aside.state == "broken"
    assert "gc --delete" in aside.note
    assert states(tmp_path)[running.fingerprint].state == "stopped"


def test_status_flags_what_was_made_by_other_code(tmp_path, store, monkeypatch):
    artifact = store.perform(toys.Number(value=3))

    def note():
        return states(tmp_path)[artifact.card["artifact"]].note

    assert note() == ""
    with monkeypatch.context() as patch:
        patch.setattr(card, "code_digest", lambda cls: "other")
        assert note() == f"code changed since, version still 1 (made by {card.release()})"
        assert inventory.changed([artifact]) == []  # the same release: somebody is at work on it
        patch.setattr(card, "release", lambda: "99")
        assert inventory.changed([artifact]) == [artifact]
    with monkeypatch.context() as patch:
        patch.setattr(toys.Number, "version", "2")
        assert note() == "made by version 1, now 2"
    with monkeypatch.context() as patch:
        patch.delattr(toys, "Number")
        assert note() == "its stage is not importable here"


def test_status_printed(tmp_path, made, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    inventory.show_status(inventory.status(tmp_path), False)
    assert capsys.readouterr().out == "nothing is made yet: presight run quickstart\n"
    stages = made()
    inventory.show_status(inventory.status(tmp_path), False)
    out = capsys.readouterr().out
    assert "toy: n[a=1]" in out  # labels are no markup
    assert stages["t"].fingerprint[:12] in out
    assert "5 artifacts" in out
    inventory.show_status(inventory.status(tmp_path), True)
    assert len(json.loads(capsys.readouterr().out)) == 5


def test_find(tmp_path, store, made, monkeypatch):
    stages = made()
    one = stages["n[a=1]"].fingerprint
    expected = store.path(stages["n[a=1]"]).resolve()
    monkeypatch.chdir(tmp_path)
    for name in (one, one[:6], f"store/number/{one}", "runs/toy/n/a=1", str(expected)):
        found = inventory.find(tmp_path, name)
        assert found.path.resolve() == expected
        assert found.card["artifact"] == one
    twin = store.root / "number" / (one[:5] + "f" * 19)
    twin.mkdir()
    with pytest.raises(PresightError, match=rf"'{one[:5]}': names 2 artifacts in .*; see `presight status`"):
        inventory.find(tmp_path, one[:5])
    for name in ("", one[:3], "0123456789", "runs/toy/n", "*"):
        with pytest.raises(PresightError, match="names no artifact"):
            inventory.find(tmp_path, name)
    (expected / "number.json").unlink()
    with pytest.raises(PresightError, match="is not whole; run its recipe again"):
        inventory.find(tmp_path, one)


def test_show(tmp_path, store, made, capsys):
    stages = made()
    inventory.show(tmp_path, stages["t"].fingerprint, False, False)
    out = capsys.readouterr().out
    assert out.startswith(f"toys.Total → total {stages['t'].fingerprint} (version 1)")
    for part in ("total.json", "sha256", "in 1 attempt\n", "numbers[0]: number", "left: number"):
        assert part in out
    for title, stage in stages.items():
        if title != "t":
            assert stage.fingerprint[:12] in out
    inventory.show(tmp_path, stages["t"].fingerprint, False, True)
    assert json.loads(capsys.readouterr().out) == store.find(stages["t"]).card


def test_show_stage_is_the_stage_again(tmp_path, store, made, capsys):
    stages = made()
    for stage in stages.values():
        inventory.show(tmp_path, stage.fingerprint, True, False)
        again = load(json.loads(capsys.readouterr().out))
        assert again.fingerprint == stage.fingerprint
        assert again.identity() == stage.identity()
    (store.path(stages["n[a=1]"]) / "card.json").unlink()
    with pytest.raises(PresightError, match="was collected; run its recipe again"):
        inventory.show(tmp_path, stages["t"].fingerprint, True, False)


def test_gc_keeps_what_registered_recipes_reach(tmp_path, store, made, capsys):
    stages = made()
    loose = store.perform(toys.Number(value=77)).path
    assert gone(tmp_path, capsys) == {loose.name}
    assert loose.exists()  # a dry run
    assert "would go; --delete deletes them" in said(tmp_path, capsys)
    assert gone(tmp_path, capsys, delete=True) == {loose.name}
    assert not loose.exists()
    assert all(store.find(stage) for stage in stages.values())
    assert gone(tmp_path, capsys) == set()


def said(root, capsys):
    capsys.readouterr()
    inventory.collect(root, False, [], False)
    return capsys.readouterr().err


def test_gc_keeps_the_closure_not_only_the_names(tmp_path, store, made, capsys):
    stages = made()
    (path,) = registry.registered(store.root)
    record = json.loads(path.read_text())
    record["artifacts"] = {stages["t"].fingerprint: "t"}
    path.write_text(json.dumps(record))
    assert gone(tmp_path, capsys) == set()


def test_gc_forgets(tmp_path, store, made, capsys):
    first, second = made("first", "[1, 2]"), made("second", "[2, 3]")
    shared = {stage.fingerprint for stage in first.values()} & {stage.fingerprint for stage in second.values()}
    assert len(shared) == 2
    expected = {stage.fingerprint for stage in first.values()} - shared
    assert gone(tmp_path, capsys, forget=["first"]) == expected
    assert len(registry.registered(store.root)) == 2
    assert gone(tmp_path, capsys, delete=True, forget=["first"]) == expected
    assert [record["recipe"] for record in registry.registered(store.root).values()] == ["second"]
    assert all(store.find(stage) for stage in second.values())
    with pytest.raises(PresightError, match=r"--forget first: is no registered recipe; known: second\."):
        inventory.collect(tmp_path, False, ["first"], False)


def test_gc_never_touches_owned_work_and_keeps_what_can_continue(tmp_path, store, made, capsys):
    stages = made()
    running, stopped, sharded = toys.Number(value=50), toys.Fault(how="inside"), toys.Squares()
    for stage in (running, sharded):
        store.work(stage).mkdir(parents=True)
    with pytest.raises(RuntimeError):
        store.perform(stopped)
    unfinished = stages["t"]  # registered, stopped before it was done
    (store.path(unfinished) / "card.json").unlink()
    store.work(unfinished).mkdir()
    left_over = stages["n[a=1]"]  # made, but killed before its work folder went
    (store.work(left_over) / "scratch").mkdir(parents=True)
    shard = store.owner_file(f"{sharded.fingerprint}.1")
    with owner.hold(store.owner_file(running.fingerprint)), owner.hold(shard):
        assert states(tmp_path)[left_over.fingerprint].state  # its artifact and its work are both listed
        assert gone(tmp_path, capsys, delete=True) == {stopped.fingerprint, left_over.fingerprint}
    assert store.find(left_over)
    assert not store.work(left_over).exists()
    assert not store.work(stopped).exists()
    assert all(store.work(stage).exists() for stage in (running, sharded, unfinished))


def test_gc_of_nothing(tmp_path, capsys):
    assert gone(tmp_path, capsys, delete=True) == set()
