import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_annotations import TAXONOMY

from corpus.labels import annotations as published
from corpus.labels.annotations import Annotation, Annotations, SampleAnnotations, identify, load_sample, read
from presight import packages
from presight.errors import PresightError, Unavailable
from presight.packages import Fetched


def row(text="a text", labels=(), source="web", **more):
    return {"id": identify(text), "source": source, "labels": list(labels), "text": text, **more}


def write(tmp_path, *rows):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in rows))
    return path


def test_rows_become_annotations(tmp_path):
    path = write(
        tmp_path,
        row("one", ["math_reasoning", "visual_concept"], document="book-7"),
        "",
        row("two\u2028still two", [], locator="page/3"),
        row("three", source="code", annotators=2, model="m", prompt="p"),
    )
    assert read(path, TAXONOMY) == [
        Annotation(identify("one"), "web", "book-7", ("visual_concept", "math_reasoning"), "one"),
        Annotation(identify("two\u2028still two"), "web", "page/3", (), "two\u2028still two"),
        Annotation(identify("three"), "code", identify("three"), (), "three"),
    ]


def test_the_id_is_of_the_text():
    assert identify("") == "e3b0c44298fc1c14"
    assert len(identify("\ud800")) == 16


def test_one_text_counts_once_and_may_not_be_labelled_in_two_ways(tmp_path):
    assert len(read(write(tmp_path, row(labels=["code_reasoning"]), row(labels=["code_reasoning"])), TAXONOMY)) == 1
    with pytest.raises(PresightError, match=r"line 2: .* otherwise before \(code_reasoning, now no label\)"):
        read(write(tmp_path, row(labels=["code_reasoning"]), row()), TAXONOMY)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: is no JSON"),
        ("[]", "line 2: is no JSON object"),
        ("[" * 9999, "line 2: is no JSON"),
        (row() | {"id": "0" * 16}, "line 2: id '0000000000000000' is not of its text"),
        (row() | {"text": "other"}, "line 2: id .* is not of its text"),
        (row() | {"text": 3}, "line 2: has no string 'text'"),
        ({"id": "x", "text": "y"}, "line 2: has no string 'source'"),
        (row() | {"labels": "code_reasoning"}, "line 2: has no list of names 'labels'"),
        (row() | {"labels": [1]}, "line 2: has no list of names 'labels'"),
        (
            row(labels=["code_reasonin"]),
            "line 2: 'code_reasonin' is not in the taxonomy .*did you mean code_reasoning",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, problem):
    with pytest.raises(PresightError, match=problem):
        read(write(tmp_path, row("good"), line), TAXONOMY)


def test_nothing_to_read(tmp_path):
    with pytest.raises(PresightError, match="holds no annotations"):
        read(write(tmp_path), TAXONOMY)
    with pytest.raises(PresightError, match="is no file"):
        read(tmp_path, TAXONOMY)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rubbish_is_refused_in_one_sentence(tmp_path, rubbish):
    path = tmp_path / "rubbish.jsonl"
    path.write_bytes(rubbish)
    with pytest.raises(PresightError) as caught:
        read(path, TAXONOMY)
    assert str(path) in str(caught.value)


def test_the_stage_knows_its_file_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path, row("one"))
    stage = Annotations(path=path).settle(fetch=False)
    moved = path.rename(tmp_path / "deeper.jsonl").rename(tmp_path / "mine.jsonl")
    assert Annotations(path=moved).settle(fetch=False).fingerprint == stage.fingerprint
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, {})
    assert read(out / "annotations.jsonl", TAXONOMY) == read(path, TAXONOMY)
    write(tmp_path, row("two"))
    assert Annotations(path=path).settle(fetch=False).fingerprint != stage.fingerprint
    with pytest.raises(PresightError, match="changed since it was planned"):
        stage.run(out, {})


def test_what_is_published():
    rows = published.published()
    assert len(rows) == len({row["id"] for row in rows}) == 1206
    assert all(set(row) == {"id", "source", "labels", "annotators"} for row in rows), "texts keep their licences"
    assert set().union(*(row["labels"] for row in rows)) == set(TAXONOMY.labels)
    several = [json.loads(line) for line in published.OVERLAP.read_text().splitlines()]
    labels = {row["id"]: set(row["labels"]) for row in rows}
    for each in several:
        votes = Counter(label for one in each["annotations"] for label in one)
        assert {label for label, count in votes.items() if 2 * count > len(each["annotations"])} == labels[each["id"]]


@pytest.fixture
def shelf(monkeypatch):
    """Two roles whose documents hold three published segments, and one that is not there."""
    texts = ["x" * 2000 + "y" * 2000 + "tail", "z" * 10, "x" * 2000]
    rows = [
        {"id": identify(text), "source": source, "labels": ["code_reasoning"], "annotators": 1}
        for text, source in (("x" * 2000, "web"), ("tail", "web"), ("z" * 10, "math"), ("gone", "math"))
    ]
    monkeypatch.setattr(published, "published", lambda: rows)
    monkeypatch.setattr(
        packages, "texts", lambda tier: {"web": ("text.web",), "math": ("text.math", "text.math.more")}
    )
    fetched = {
        role: Fetched(role, {}, digest, {role: "CC0-1.0"}) for role, digest in (("text.web", "1"), ("text.math", "2"))
    }
    monkeypatch.setattr(packages, "fetch", lambda role: fetched[role])
    monkeypatch.setattr(
        packages, "fetch_all", lambda roles: (fetched, {"text.math.more": PresightError("it", "is out")})
    )
    missing = {"text.math.more": Unavailable("it", "is out")}
    monkeypatch.setattr(
        packages, "digests", lambda roles, fetch: ({role: each.digest for role, each in fetched.items()}, missing)
    )

    def documents(role, fetched):
        from corpus.sources.sample import Document

        kept = texts[:1] if role == "text.web" else texts[1:]
        yield from (Document(f"{role}/{number}", text, {}) for number, text in enumerate(kept))

    monkeypatch.setattr("corpus.sources.sample.documents", documents)
    return rows


def test_segments_are_found_by_their_hash(shelf):
    found = load_sample(required=0.75)
    assert [(each.source, each.document, each.text) for each in found] == [
        ("web", "text.web/0", "x" * 2000),
        ("web", "text.web/0", "tail"),
        ("math", "text.math/0", "z" * 10),
    ]
    assert all(each.labels == ("code_reasoning",) for each in found)


def test_too_few_are_refused_with_the_rate_of_each_source(shelf):
    with pytest.raises(PresightError, match=r"75\.0% .*math 50%, web 100%"):
        load_sample()


def test_the_stage_writes_what_it_found(shelf, tmp_path, capsys):
    stage = SampleAnnotations(required=0.7).settle(fetch=False)
    assert "it: is out" in capsys.readouterr().err
    assert stage.content == {"text.math": "2", "text.web": "1"}
    assert stage.settle(fetch=False) is stage
    stage.run(tmp_path, {})
    assert read(tmp_path / "annotations.jsonl", TAXONOMY) == load_sample(0.7)
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts["math"] == {"published": 2, "found": 1, "share": 0.5}
    assert json.loads((tmp_path / "licences.json").read_text()) == ["CC0-1.0"]
    with pytest.raises(PresightError, match="changed since it was planned"):
        stage.changed(content={"text.web": "other"}).run(tmp_path, {})
