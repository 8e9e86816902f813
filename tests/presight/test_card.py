import hashlib
import json
import sys
import textwrap

import pytest
import toys

from presight import card
from presight.stage import FrozenMap, Labelled


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "log").mkdir()
    (tmp_path / "b.txt").write_text("two")
    (tmp_path / "deep" / "log").write_text("a payload of this name")
    (tmp_path / "log" / "run.log").write_text("times")
    (tmp_path / ".card.json").write_text("what a kill left")
    (tmp_path / "counts.json").write_text('{"rows": 3}')
    return tmp_path


def test_a_card_describes_the_artifact(folder):
    one = toys.Number(value=1)
    stage = toys.Add(left=one, right=2, resources={"threads": 2})
    written = card.write(stage, folder, started=0.0, seconds=1.23456, attempts=2)
    assert card.read(folder) == written == json.loads((folder / "card.json").read_text())
    assert written["artifact"] == stage.fingerprint
    assert (written["kind"], written["stage"], written["version"]) == ("number", "toys.Add", "1")
    assert written["fields"] == {"left": {"$artifact": one.fingerprint}, "right": 2.0}
    assert written["parents"] == [{"field": "left", "kind": "number", "artifact": one.fingerprint}]
    assert written["counts"] == {"rows": 3}
    assert written["licences"] == []
    assert written["files"] == [
        {"name": name, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for name, text in [("b.txt", "two"), ("counts.json", '{"rows": 3}'), ("deep/log", "a payload of this name")]
    ]
    assert (written["started"], written["seconds"], written["attempts"]) == ("1970-01-01T00:00:00Z", 1.235, 2)
    assert written["numerics"].endswith("/cpu/threads=2")
    assert written["packages"]["python"] == sys.version.split()[0]
    assert not (folder / ".card.json").exists()


def test_licences_and_estimate(folder):
    (folder / "licences.json").write_text('[{"name": "CC0"}]')
    written = card.write(toys.Number(), folder, 0, 0, 1)
    assert written["licences"] == [{"name": "CC0"}]
    assert written["estimate"] == {"tokens": 10, "flops": 1e6, "bytes": 0, "items": 0, "disk": 0, "working": 0}


def test_parents_of_a_gathering_stage(folder):
    total = toys.Total(numbers=tuple(Labelled(FrozenMap({"a": str(i)}), toys.Number(value=i)) for i in range(3)))
    written = card.write(total, folder, 0, 0, 1)
    assert [parent["field"] for parent in written["parents"]] == ["numbers[0]", "numbers[1]", "numbers[2]"]
    assert written["fields"]["numbers"][2]["$labels"] == {"a": "2"}


def damage(folder, how):
    if how == "card gone":
        (folder / "card.json").unlink()
    elif how == "card cut":
        (folder / "card.json").write_text((folder / "card.json").read_text()[:-5])
    elif how == "no list":
        (folder / "card.json").write_text("{}")
    elif how == "other json":
        (folder / "card.json").write_text("[1]")
    elif how == "file gone":
        (folder / "b.txt").unlink()
    elif how == "file cut":
        (folder / "b.txt").write_text("tw")
    else:
        (folder / "deep" / "log").write_text("more than there was, by much")


@pytest.mark.parametrize("how", ["card gone", "card cut", "no list", "other json", "file gone", "file cut", "longer"])
def test_what_is_not_whole_has_no_card(folder, how):
    card.write(toys.Number(), folder, 0, 0, 1)
    assert card.read(folder)
    damage(folder, how)
    assert card.read(folder) is None


def test_logs_may_go(folder):
    card.write(toys.Number(), folder, 0, 0, 1)
    (folder / "log" / "run.log").unlink()
    assert card.read(folder)


def test_the_lasting_part_has_no_times_and_no_machine(folder):
    one = card.write(toys.Number(), folder, started=0.0, seconds=1.0, attempts=1)
    two = card.write(toys.Number(), folder, started=9.0, seconds=2.0, attempts=5)
    assert card.lasting(one) == card.lasting(two)
    assert {"artifact", "files", "fields", "code", "counts", "numerics"} <= set(card.lasting(one))


def test_the_code_digest_follows_imports_within_the_package(tmp_path, monkeypatch):
    package = tmp_path / "mylab"
    package.mkdir()
    modules = {
        "__init__": "",
        "stages": """
            import mylab.one
            from mylab import two
            from mylab.three import thing
            from presight.stage import Stage

            class Mine(Stage):
                kind = "mine"

                def run(self, out, inputs):
                    from mylab import four
            """,
        "one": "import mylab.stages",  # a circle
        "two": "from mylab.five import x",
        "three": "thing = 1",
        "four": "",
        "five": "x = 1",
        "unrelated": "",
    }
    for name, source in modules.items():
        (package / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    mine = __import__("mylab.stages", fromlist=["Mine"]).Mine

    def digest():
        card.code_digest.cache_clear()
        return card.code_digest(mine)

    before = digest()
    assert digest() == before
    for name in ("stages", "one", "two", "three", "four", "five"):
        with (package / f"{name}.py").open("a") as file:
            file.write("\n# changed\n")
        assert digest() != before, name
        before = digest()
    (package / "unrelated.py").write_text("y = 2")
    assert digest() == before
    monkeypatch.delitem(sys.modules, "mylab.stages")
    card.code_digest.cache_clear()
