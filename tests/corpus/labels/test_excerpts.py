import gzip
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.documents import write_index, write_source
from corpus.labels.excerpts import Excerpt, bounds, windows
from presight.errors import PresightError


def text(name, length):
    return "".join(f"{name}{number} " for number in range(length))[:length]


@pytest.fixture
def jsonl(tmp_path):
    rows = [{"source": f"s{number % 3}", "text": text(f"d{number}-", 400 + 37 * number)} for number in range(30)]
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@given(st.text(alphabet="ab \n", max_size=60), st.integers(1, 12))
def test_windows_tile_the_stripped_document(document, window):
    found = list(bounds(document, window))
    pieces = [document[start:end] for start, end in found]
    if len(document) <= window:
        assert pieces == ([document] if document.strip() else [])
        return
    whole = document.strip()
    expected = [whole[k : k + window] for k in range(0, len(whole), window)]
    assert pieces == [each for number, each in enumerate(expected) if number == 0 or len(each) >= window / 4]


def test_a_smaller_sample_is_the_start_of_a_larger_one(jsonl):
    few, more, everything = (windows(jsonl, number, seed=3, window=100) for number in (2, 5, None))
    assert [each.source for each in few] == ["s0", "s1", "s2"] * 2
    assert more[: len(few)] == few
    assert everything[: len(more)] == more
    assert windows(jsonl, 5, seed=4, window=100) != more


def test_every_window_is_in_the_whole_sample_with_its_place_and_id(jsonl):
    everything = windows(jsonl, None, window=100)
    documents = {f"all.jsonl/{n}": json.loads(line)["text"] for n, line in enumerate(jsonl.read_text().splitlines())}
    assert len(everything) == sum(len(list(bounds(each, 100))) for each in documents.values())
    for each in everything:
        assert documents[each.document][each.start : each.end] == each.text
        assert each.id == hashlib.sha256(each.text.encode()).hexdigest()[:16]


def test_the_order_of_documents_does_not_matter_and_repeats_are_drawn_once(jsonl, tmp_path):
    lines = jsonl.read_text().splitlines(keepends=True)
    other = tmp_path / "other.jsonl.gz"
    other.write_bytes(gzip.compress("".join([*lines[::-1], *lines]).encode()))
    drawn = [[(each.id, each.source) for each in windows(path, 6, window=100)] for path in (jsonl, other)]
    assert drawn[0] == drawn[1]


def test_the_draw_is_uniform_over_windows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": text("w", 5000)}) + "\n")
    hits = [0] * 50
    for seed in range(400):
        for each in windows(path, 5, seed, window=100):
            assert each.source == "a"
            hits[each.start // 100] += 1
    assert sum(hits) == 2000
    assert sum((hit - 40) ** 2 / 36 for hit in hits) < 90  # chi square, 49 degrees: one in 3,000 beyond


def test_a_documents_artifact_and_parquet_are_read(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"id": f"d{n}", "text": text(f"d{n}-", 250), "metadata": {}} for n in range(9)]
    for source in ("web", "code"):
        found = [{**row, "text": source + row["text"]} for row in rows]
        write_source(tmp_path / "documents", source, iter(found), None)
    write_index(tmp_path / "documents", {})
    artifact = windows(tmp_path / "documents", 4, window=100)
    assert [each.source for each in artifact] == ["code", "web"] * 4
    table = [{"text": source + row["text"], "source": source} for source in ("web", "code") for row in rows]
    parquet.write_table(pa.Table.from_pylist(table), tmp_path / "t.parquet")
    assert [each.id for each in windows(tmp_path / "t.parquet", 4, window=100)] == [each.id for each in artifact]


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "half \\ud83d pair"}\n')
    (found,) = windows(tmp_path / "a.jsonl", 1)
    assert found == Excerpt(found.id, "a", "a.jsonl/0", 0, 11, "half ? pair")


def test_faults_are_said(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "  "}\n')
    with pytest.raises(PresightError, match="holds no text"):
        windows(tmp_path / "a.jsonl", 1)
    with pytest.raises(PresightError, match="per_source: 0"):
        windows(tmp_path / "a.jsonl", 0)
