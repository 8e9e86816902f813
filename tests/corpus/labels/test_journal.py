import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.labels.journal import Journal
from presight.errors import PresightError

HEADER = {"prompt": "p", "model": "m", "temperature": 0.0}
TEXTS = ["plain", "line\nbreak", "\u2028 ü \U0001f600", ""]


def write(path, texts=TEXTS):
    with Journal(path, HEADER) as journal:
        for number, text in enumerate(texts):
            journal.append({"id": str(number % 3), "raw": text})


def read(path):
    with Journal(path, HEADER) as journal:
        return journal.entries


def test_entries_come_back_by_id_and_in_order(tmp_path):
    write(tmp_path / "a")
    found = read(tmp_path / "a")
    assert [entry["raw"] for entry in found["0"]] == [TEXTS[0], TEXTS[3]]
    assert {name: len(entries) for name, entries in found.items()} == {"0": 2, "1": 1, "2": 1}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_file_cut_short_anywhere_keeps_its_whole_lines_and_goes_on(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "a"
    write(path)
    whole = path.read_bytes()
    kept = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(kept)
    lines = max(0, kept.count(b"\n") - 1)
    with Journal(path, HEADER) as journal:
        assert sum(map(len, journal.entries.values())) == lines
        journal.append({"id": "new", "raw": "after"})
    assert sum(map(len, read(path).values())) == lines + 1
    for line in path.read_text().splitlines():
        json.loads(line)


@pytest.mark.parametrize("key", HEADER)
def test_answers_to_another_question_are_refused(tmp_path, key):
    write(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(PresightError, match=f"another {key}.*another folder"):
        Journal(tmp_path / "a", {**HEADER, key: "x"})
    with pytest.raises(PresightError, match="another nudges"):
        Journal(tmp_path / "a", {**HEADER, "nudges": 2})
    assert (tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize("damage", [b"x\n", b"[]\n", b"{}\n", b"\xff\n"])
def test_a_damaged_line_is_named(tmp_path, damage):
    write(tmp_path / "a", ["one"])
    with (tmp_path / "a").open("ab") as file:
        file.write(damage + b'{"id": "2"}\n')
    with pytest.raises(PresightError, match=r"line 3.*damaged") as caught:
        read(tmp_path / "a")
    assert caught.value.code == 87
