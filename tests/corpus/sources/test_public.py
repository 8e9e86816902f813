import re

import pytest
import yaml
from pydantic import ValidationError

from corpus.sources import public
from presight.errors import PresightError

# the names the paper prints
PAPER = (
    "academia, arts, biology, code, computer science, economics, encyclopedia, food, law, literature, math, medicine, "
    "philosophy, politics, qa forum, web"
)


def test_every_source_of_the_paper_has_one_stand_in():
    assert list(public.public().sources) == [name.replace(" ", "_") for name in PAPER.split(", ")]
    assert "ours" in public.public().choice


def test_every_entry_says_how_it_is_known():
    for name, entry in public.public().sources.items():
        assert entry.tokens is None or entry.counted, name
        assert (entry.tokens is None) == ("count not seen" in entry.verified), name
        assert entry.revision is None or re.fullmatch(public.COMMIT, entry.revision), name
    stands = [(entry.id, entry.config, entry.files) for entry in public.public().sources.values()]
    assert len(set(stands)) == len(stands)
    assert {entry.kind for entry in public.public().adaptation.values()} == {"captions", "images", "text"}


def test_no_number_is_off_by_a_thousand():
    for name, entry in public.public().sources.items():
        assert entry.tokens is None or 1e9 < entry.tokens < 1e12, name


def test_a_fault_in_the_file_names_its_field(monkeypatch, tmp_path):
    content = yaml.safe_load(public.FILE.read_text())
    for change, words in [
        ({"tokens": 0}, "public.yaml: sources.law.tokens"),
        ({"revision": "main"}, "public.yaml: sources.law.revision"),
        ({"verified": ""}, "public.yaml: sources.law.verified"),
        ({"lisence": "MIT"}, "public.yaml: sources.law.lisence"),
    ]:
        changed = {**content, "sources": {**content["sources"], "law": {**content["sources"]["law"], **change}}}
        path = tmp_path / "public.yaml"
        path.write_text(yaml.safe_dump(changed))
        monkeypatch.setattr(public, "FILE", path)
        with pytest.raises(PresightError, match=words):
            public.public.__wrapped__()


def test_entries_do_not_change():
    with pytest.raises(ValidationError):
        public.stand_in("law").tokens = 5


def test_supply_and_the_nearest_name():
    assert public.supply("law") == public.public().sources["law"].tokens
    assert public.supply("economics") is None
    with pytest.raises(PresightError, match="'mathematics' has no public stand-in"):
        public.supply("mathematics")
    with pytest.raises(PresightError, match="'sciences' has no public stand-in"):
        public.supply("sciences")


def test_shortfall():
    held = {"a": 100, "b": 1000, "c": None}
    assert public.shortfall({"a": 40, "b": 60, "c": 0}, 1000, 4, held) == []
    (found,) = public.shortfall({"a": 40, "b": 59, "c": 1}, 2000, 4, held)
    assert found == (
        "a: 800 tokens are wanted, but it holds 100 × max_epochs 4; raise max_epochs to 8 or lower the budget to 1k"
    )
    assert public.shortfall({"a": 40, "b": 59, "c": 1}, 1000, 4, held) == []
    assert public.shortfall({"a": 40, "b": 59, "c": 1}, 2000, 8, held) == []
    assert len(public.shortfall({"a": 1, "b": 1}, 10**6, 4, held)) == 2
    assert public.shortfall({"unheard-of": 1}, 10**6, 4, held) == []
    assert public.shortfall({"a": 0}, 10**6, 4, held) == []


def test_shortfall_of_the_stand_ins():
    shares = {"web": 50, "encyclopedia": 2.5, "academia": 2.5, "literature": 20, "math": 5, "code": 20}
    assert public.shortfall(shares, 30e9, 4) == []
    found = public.shortfall(shares, 1e12, 4)
    assert [each.partition(":")[0] for each in found] == ["literature"]


def test_rows():
    table = public.rows()
    assert [row["source"] for row in table][:2] == ["academia", "arts"]
    assert len(table) == len(public.public().sources) + len(public.public().adaptation)
    assert all(isinstance(value, str) for row in table for value in row.values())
    assert {row["source"]: row["holds"] for row in table}["economics"] == "?"
