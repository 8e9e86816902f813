import json
import os

import pytest
import toys

from presight import recipe, registry
from presight.expansion import expand
from presight.store import Store

TEXT = """
recipe: toy
axes: {a: [1, 2]}
stages:
  n: {stage: toys.Number, value: $a}
  s: {stage: toys.Add, left: $n}
  t: {stage: toys.Total, numbers: "$s[*]"}
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def graph(tmp_path, text=TEXT, overrides=()):
    (tmp_path / "toy.yaml").write_text(text)
    return expand(recipe.read(str(tmp_path / "toy.yaml"), None, overrides))


def tree(folder):
    return {str(path.relative_to(folder)): path.resolve() for path in folder.rglob("*") if path.is_symlink()}


def test_links_name_what_is_made(tmp_path, store):
    made = graph(tmp_path)
    for each in made.instances:
        if each.title != "t":
            store.perform(each.stage)
    folder = registry.link(made, store, tmp_path / "runs")
    assert folder == tmp_path / "runs" / "toy"
    expected = {f"{each.name}/{each.place}": store.path(each.stage) for each in made.instances if each.labels}
    assert tree(folder) == {**expected, "store": store.root}
    assert all(not os.path.isabs(os.readlink(path)) for path in folder.rglob("*") if path.is_symlink())
    store.perform(made.targets()[0])
    assert registry.link(made, store, tmp_path / "runs") == folder
    assert tree(folder) == {**expected, "t": store.path(made.targets()[0]), "store": store.root}
    (tmp_path / "runs").rename(tmp_path / "elsewhere")  # links are relative to store/ beside runs/
    assert (tmp_path / "elsewhere" / "toy" / "t" / "total.json").exists()


def test_links_of_an_earlier_version_go_and_nothing_else(tmp_path, store):
    made = graph(tmp_path)
    for each in made.instances:
        store.perform(each.stage)
    folder = registry.link(made, store, tmp_path / "runs")
    (folder / "notes.txt").write_text("mine")
    (folder / "n" / "mine").mkdir()
    (folder / "n" / "mine" / "too").write_text("mine")
    (folder / "dangling").symlink_to("nowhere")
    changed = graph(tmp_path, TEXT.replace("[1, 2]", "[2]").replace("  s:", "  k:").replace("$s", "$k"))
    registry.link(changed, store, tmp_path / "runs")
    assert set(tree(folder)) == {"n/a=2", "k/a=2", "store"}
    assert not (folder / "s").exists()
    assert (folder / "notes.txt").read_text() == (folder / "n" / "mine" / "too").read_text() == "mine"
    assert [each.card["artifact"] for each in store.artifacts()]  # the artifacts themselves are untouched
    assert len(list(store.artifacts())) == 5
    assert {path.name for path in folder.iterdir()} == {"n", "k", "store", "notes.txt"}


def test_a_stage_named_store_stays_out_of_the_store(tmp_path, store):
    made = graph(tmp_path, "axes: {a: [1]}\nstages: {store: {stage: toys.Number, value: $a}}")
    store.perform(made.targets()[0])
    folder = registry.link(made, store, tmp_path / "runs")
    assert tree(folder) == {"store/a=1": store.path(made.targets()[0])}
    assert {path.name for path in store.root.iterdir()} == {"number", ".owners", ".work"}


def test_reports_are_copied_to_the_top(tmp_path, store):
    stages = "{report: {stage: toys.Number}, s: {stage: toys.Bag, whole: $a}}"
    made = graph(tmp_path, f"axes: {{a: [1, 2]}}\nstages: {stages}")
    for each in made.instances:
        artifact = store.perform(each.stage)
        (artifact.path / "report.html").write_text(each.title)
    folder = registry.link(made, store, tmp_path / "runs")
    pages = {path.name: path.read_text() for path in folder.glob("*.html")}
    assert pages == {"report.html": "report", "s-a=1.html": "s[a=1]", "s-a=2.html": "s[a=2]"}
    assert not (folder / "report.html").is_symlink()


def test_every_scale_and_override_is_a_root_of_its_own(tmp_path, store):
    long = "s.right=" + "1" * 130
    variants = [(None, []), ("big", []), (None, ["s.right=2"]), (None, ["a=[1]"]), (None, ["a={1}"])]
    variants += [(None, [long]), (None, [long + "1"])]
    for scale, overrides in variants * 2:
        registry.register(graph(tmp_path), store, scale, overrides)
    found = registry.registered(store.root)
    assert sorted((each["scale"] or "", each["set"]) for each in found.values()) == sorted(
        (scale or "", overrides) for scale, overrides in variants
    )
    assert all(path.suffix == ".json" and len(path.name) < 120 for path in found)
    each = next(iter(found.values()))
    assert each["recipe"] == "toy"
    assert each["path"] == str(tmp_path / "toy.yaml")
    assert sorted(each["artifacts"].values()) == ["n[a=1]", "n[a=2]", "s[a=1]", "s[a=2]", "t"]
    assert {path.suffix for path in (store.root / ".recipes").iterdir()} == {".json"}  # nothing half-written is left


def test_a_failed_registration_leaves_the_old_one_alone(tmp_path, store, monkeypatch):
    registry.register(graph(tmp_path), store, None, [])
    (path,) = registry.registered(store.root)
    before = path.read_text()
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        registry.register(graph(tmp_path, TEXT.replace("[1, 2]", "[3]")), store, None, [])
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def full(path, target):
    raise OSError(28, "No space left on device", str(path))


def test_what_is_written_has_the_permissions_of_any_file(tmp_path):
    (tmp_path / "plain").write_text("x")
    assert registry.write(tmp_path / "whole", "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_edited_recipe_replaces_itself(tmp_path, store):
    registry.register(graph(tmp_path), store, None, [])
    registry.register(graph(tmp_path, TEXT.replace("[1, 2]", "[3]")), store, None, [])
    (record,) = registry.registered(store.root).values()
    assert toys.Number(value=3).fingerprint in record["artifacts"]
    assert toys.Number(value=1).fingerprint not in record["artifacts"]
    assert json.dumps(record)
