import gzip
import hashlib
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.documents import FILES, Documents, Sample, read_source, write_index, write_lines, write_source
from presight import index, packages
from presight.errors import PresightError, Unavailable
from presight.store import Store

TEXTS = ["First.", "Zweite ü\nline two", "third \u2028 with \x85 odd \r\n breaks", "42 − 17", "漢字 and 𝄞", "six", "7"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))


def jsonl(path, rows, key="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({key: row} if isinstance(row, str) else row) + "\n" for row in rows).encode()
    if path.suffix == ".gz":
        lines = gzip.compress(lines)
    elif path.suffix == ".zst":
        import zstandard

        lines = zstandard.compress(lines)
    path.write_bytes(lines)
    return path


def parquet(path, rows):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": rows, "n": list(range(len(rows)))}), path)


def make(out, place, **fields):
    stage = Documents(paths={"mine": str(place)}, **fields).settle(fetch=False)
    out.mkdir()
    stage.run(out, {})
    return stage


def rows(out, source="mine"):
    """The slow twin of round-robin: row i is the i // FILES-th of file i % FILES."""
    files = [
        gzip.decompress(path.read_bytes()).decode().split("\n")[:-1] for path in sorted(out.glob(f"{source}/*.gz"))
    ]
    assert len(files) == FILES
    count = sum(map(len, files))
    return [json.loads(files[i % FILES][i // FILES]) for i in range(count)]


def texts(out, source="mine"):
    return [row["text"] for row in rows(out, source)]


def counts(out):
    return json.loads((out / "documents.json").read_text())["sources"]["mine"]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_formats(tmp_path, suffix):
    place = tmp_path / f"my{suffix}"
    parquet(place, TEXTS) if suffix == ".parquet" else jsonl(place, TEXTS)
    make(tmp_path / "out", place)
    assert texts(tmp_path / "out") == TEXTS
    assert [row["id"] for row in rows(tmp_path / "out")] == [f"my{suffix}/{i}" for i in range(len(TEXTS))]
    expected = {"documents": 7, "bytes": sum(len(text.encode()) for text in TEXTS), "repeats": 0, "empty": 0}
    assert counts(tmp_path / "out") == expected
    assert json.loads((tmp_path / "out" / "counts.json").read_text()) == {"mine": expected["bytes"]}


def test_a_folder_of_text_files_in_order_of_name(tmp_path):
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "1.txt").write_bytes(b"latin \xe9 is no UTF-8")
    (folder / "a.md").write_text("# A")
    (folder / "c.csv").write_text("not read")
    (folder / ".hidden.txt").write_text("not read")
    make(tmp_path / "out", folder)
    assert texts(tmp_path / "out") == ["# A", "latin \ufffd is no UTF-8"]


def test_each_file_is_read_once_whatever_its_name(tmp_path):
    folder = tmp_path / "in [1] *"
    names = ("b.jsonl", "ab.jsonl", "a[b].jsonl", "?.jsonl", "sub/b.jsonl")
    for name in names:
        jsonl(folder / name, [f"in {name}", f"and {name}"])
    make(tmp_path / "out", folder)
    assert sorted(texts(tmp_path / "out")) == sorted(f"{word} {name}" for name in names for word in ("in", "and"))
    assert counts(tmp_path / "out")["repeats"] == 0
    assert [each.text for each in read_source(tmp_path / "out" / "mine", 1, 3)] == texts(tmp_path / "out")[1::FILES]


def test_repeats_empties_and_malformed_records_are_counted(tmp_path, capsys):
    given_rows = ["one", "", "two", "one", " \n\t ", {"other": "no text"}, {"text": None}, {"text": 5}, "two ", "one"]
    jsonl(tmp_path / "in.jsonl", given_rows)
    make(tmp_path / "out", tmp_path / "in.jsonl", tolerance=0.3)
    assert texts(tmp_path / "out") == ["one", "two", "two "]
    places = ["in.jsonl:6", "in.jsonl:7", "in.jsonl:8"]
    malformed = {"count": 3, "kinds": {"no text": 2, "text is no string": 1}, "examples": places}
    assert counts(tmp_path / "out") == {
        **{"documents": 3, "bytes": 10, "repeats": 2, "empty": 2},
        "malformed": malformed,
    }
    error = capsys.readouterr().err
    assert error == (
        "paths.mine: 3 of 10 records are malformed (30.00%; no text: 2, text is no string: 1) and left out, "
        "first in.jsonl:6\n"
    )


def test_rows_may_carry_anything_else(tmp_path):
    odd = [{"text": "a", "media": "x", "metadata": 3, "id": 9}, {"text": "b", "id": None}, {"text": "\ud800!"}]
    jsonl(tmp_path / "in.jsonl", odd)
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write("\n   \n")
    make(tmp_path / "out", tmp_path / "in.jsonl")
    assert texts(tmp_path / "out") == ["a", "b", "?!"]
    assert rows(tmp_path / "out")[0]["id"] == "in.jsonl/9"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=12))
def test_any_text_survives(tmp_path_factory, given_texts):
    out = tmp_path_factory.mktemp("any")
    wanted = list(dict.fromkeys(text for text in given_texts if text.strip()))
    documents = ({"id": str(i), "text": text, "metadata": {}} for i, text in enumerate(given_texts))
    if not wanted:
        with pytest.raises(PresightError, match="has no documents"):
            write_source(out, "mine", documents, None)
        return
    write_source(out, "mine", documents, None)
    assert texts(out) == wanted
    found = json.loads((out / "mine" / "counts.json").read_text())
    assert found["documents"] + found["repeats"] + found["empty"] == len(given_texts)
    assert sorted(each.text for part in range(2) for each in read_source(out / "mine", part, 2)) == sorted(wanted)


def test_bytes_depend_on_the_documents_alone(tmp_path, monkeypatch):
    jsonl(tmp_path / "in.jsonl", TEXTS)
    make(tmp_path / "a", tmp_path / "in.jsonl")
    monkeypatch.setattr("time.time", lambda: 1e9)
    make(tmp_path / "b", tmp_path / "in.jsonl")
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
        if path.suffix == ".gz":
            assert path.read_bytes()[3:8] == bytes(5)  # no name, no time


def test_a_rerun_leaves_nothing_of_a_killed_one(tmp_path):
    jsonl(tmp_path / "in.jsonl", TEXTS)
    stage = make(tmp_path / "a", tmp_path / "in.jsonl")
    (tmp_path / "b" / "mine").mkdir(parents=True)
    (tmp_path / "b" / "mine" / "00002.jsonl.gz").write_bytes(b"half a file")
    stage.run(tmp_path / "b", {})
    assert rows(tmp_path / "b") == rows(tmp_path / "a")


def test_the_users_files_are_only_read(tmp_path):
    folder = tmp_path / "in"
    jsonl(folder / "a.jsonl.gz", TEXTS)
    parquet(folder / "b.parquet", TEXTS)
    (folder / "c.txt").write_text("C")

    def state():
        return {
            path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).digest())
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }, os.stat(folder).st_mtime_ns

    before = state()
    make(tmp_path / "out", folder)
    assert state() == before


def settled(place, **fields):
    return Documents(paths={"mine": str(place)}, **fields).settle(fetch=False).fingerprint


def test_identity_is_content_not_place(tmp_path):
    for folder in ("a", "deeper/b"):
        jsonl(tmp_path / folder / "x.jsonl", TEXTS)
    first = settled(tmp_path / "a")
    assert settled(tmp_path / "deeper" / "b") == first
    assert settled(tmp_path / "a" / "x.jsonl") == settled(tmp_path / "deeper" / "b" / "x.jsonl")
    os.utime(tmp_path / "a" / "x.jsonl", (1, 1))
    assert settled(tmp_path / "a") == first
    file = tmp_path / "deeper" / "b" / "x.jsonl"
    file.write_bytes(file.read_bytes().replace(b"First.", b"Fifth."))
    assert settled(tmp_path / "deeper" / "b") != first
    file.rename(file.with_name("y.jsonl"))  # names are part of the documents' ids
    assert settled(tmp_path / "deeper" / "b") != settled(tmp_path / "a")
    assert settled(tmp_path / "a", text_key="body") != first
    assert Documents(paths={"yours": str(tmp_path / "a")}).settle(False).fingerprint != first


def test_settling_changes_a_fingerprint_that_was_asked_for_before(tmp_path):
    stage = Documents(paths={"mine": str(jsonl(tmp_path / "x.jsonl", TEXTS))})
    before = stage.fingerprint
    assert stage.settle(False).fingerprint != before


def test_a_change_after_planning_is_no_other_datas_result(tmp_path):
    file = jsonl(tmp_path / "in.jsonl", TEXTS)
    stage = Documents(paths={"mine": str(file)}).settle(False)
    jsonl(file, [*TEXTS, "more"])
    with pytest.raises(PresightError, match=r"^paths\.mine: its files changed since it was planned; run again\.$"):
        Store(tmp_path / "store").perform(stage)
    assert not list(Store(tmp_path / "store").artifacts())


def test_a_declared_source_is_not_read_for_its_identity(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "content", lambda path: pytest.fail("hashed"))
    stage = Documents(paths={"mine": str(tmp_path / "big")}, declared={"mine": "crawl@2"}).settle(False)
    assert dict(stage.content) == {"mine": "crawl@2"}
    other = Documents(paths={"mine": "/elsewhere"}, declared={"mine": "crawl@2"}).settle(False)
    assert other.fingerprint == stage.fingerprint
    assert settled(tmp_path, declared={"mine": "crawl@3"}) != stage.fingerprint
    jsonl(tmp_path / "big" / "a.jsonl", TEXTS)
    (tmp_path / "out").mkdir()
    stage.run(tmp_path / "out", {})
    assert texts(tmp_path / "out") == TEXTS
    assert stage.settle(False) is stage


def sentence(error):
    text = str(error.value)
    assert text.endswith((".", "?"))
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"declared": {"mine": "crawl"}}, ["declared.mine", "'crawl' has no version", "name@version"]),
        ({"declared": {"mime": "crawl@1"}}, ["declared.mime", "did you mean mine?"]),
        ({"paths": {"mine": "nowhere"}}, ["nowhere", "holds no files"]),
        ({"paths": {"a/b": "."}}, ["paths.a/b"]),
        ({"paths": {"log": "."}}, ["paths.log"]),
        ({"paths": {"..": "."}}, ["paths..."]),
        ({"paths": {"dropped": "."}}, ["paths.dropped"]),
        ({"paths": {"documents.json": "."}}, ["paths.documents.json"]),
        ({"paths": {"a\0b": "."}}, ["paths.a"]),
        ({"paths": {"x" * 201: "."}}, ["paths.xxx"]),
        ({"paths": {}}, ["paths", "names no source"]),
    ],
)
def test_settling_says_what_is_wrong(tmp_path, fields, words):
    jsonl(tmp_path / "in.jsonl", TEXTS)
    with pytest.raises(PresightError) as error:
        Documents(**({"paths": {"mine": str(tmp_path / "in.jsonl")}} | fields)).settle(False)
    assert all(word in sentence(error) for word in words)


def truncated(tmp_path):
    whole = jsonl(tmp_path / "x.jsonl.gz", [hashlib.sha256(bytes([i])).hexdigest() for i in range(99)]).read_bytes()
    (tmp_path / "x.jsonl.gz").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda folder: (folder / "x.csv").write_text("a,b"), ["holds no text", ".jsonl", ".parquet"]),
        (lambda folder: jsonl(folder / "x.jsonl", [" ", ""]), ["source mine", "no documents", "text_key"]),
        (lambda folder: (folder / "x.parquet").write_bytes(b"PAR1 not really"), ["x.parquet"]),
        (truncated, ["x.jsonl.gz"]),
    ],
)
def test_reading_says_what_is_wrong(tmp_path, write, words):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder)
    with pytest.raises(PresightError) as error:
        make(tmp_path / "out", folder)
    assert all(word in sentence(error) for word in words)


def test_a_source_is_cut_into_as_many_files_as_asked_for(tmp_path):
    make(tmp_path / "out", jsonl(tmp_path / "in.jsonl", TEXTS), files=3)
    files = [gzip.decompress(path.read_bytes()).decode() for path in sorted((tmp_path / "out" / "mine").glob("*.gz"))]
    assert [file.count("\n") for file in files] == [3, 2, 2]
    assert json.loads((tmp_path / "out" / "documents.json").read_text())["files"] == 3


def test_no_more_text_is_taken_than_asked_for(tmp_path):
    place = jsonl(tmp_path / "in.jsonl", [f"{i:04d}" * 25 for i in range(99)] + [{"text": 7}])
    make(tmp_path / "out", place, megabytes=0.00095)
    assert counts(tmp_path / "out") == {"documents": 10, "bytes": 1000, "repeats": 0, "empty": 0}


def test_repeats_are_known_within_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("corpus.documents.REPEATS", 3)
    given_texts = ["a", "b", "a", "c", "d", "e", "a", "f", "g", "a"]
    write_source(tmp_path, "mine", ({"id": str(i), "text": text} for i, text in enumerate(given_texts)), None)
    assert texts(tmp_path) == ["a", "b", "c", "d", "e", "f", "g", "a"]
    for position, text in enumerate(given_texts):  # among the last three different ones, none is missed
        last = list(dict.fromkeys(reversed(given_texts[:position])))[:3]
        assert text not in last or given_texts.index(text) < position


def pretend(monkeypatch, lacking):
    def digests(roles, fetch):
        missing = {role: PresightError(role, "no network", "try again") for role in roles if role in lacking}
        return {role: f"digest of {role}" for role in roles if role not in lacking}, missing

    monkeypatch.setattr(packages, "digests", digests)


def test_the_sample_leaves_out_what_cannot_be_had(monkeypatch, capsys):
    pretend(monkeypatch, ["text.code", "text.web"])
    stage = Sample(sources=("web", "math", "code", "academia")).settle(True)
    assert dict(stage.content) == {"academia": "digest of text.academia", "math": "digest of text.math"}
    assert capsys.readouterr().err.count("left out of the sample: text.") == 2
    assert stage.settle(True) is stage
    pretend(monkeypatch, [])
    assert len(Sample().settle(False).content) == 7
    assert Sample().settle(False).fingerprint != stage.fingerprint


def test_the_sample_is_unavailable_when_nothing_can_be_had(monkeypatch):
    pretend(monkeypatch, ["text.math", "text.code"])
    with pytest.raises(Unavailable) as error:
        Sample(sources=("math", "code")).settle(True)
    assert sentence(error) == "text.math: no network; try again."


def test_an_unknown_source_of_the_sample(monkeypatch):
    pretend(monkeypatch, [])
    with pytest.raises(PresightError, match="'maths' is not in the sample; did you mean math"):
        Sample(sources=("maths",)).settle(False)


def test_the_sample_cuts_long_texts_and_checks_its_packages(tmp_path, monkeypatch):
    from corpus.sources import sample

    long = "".join(chr(97 + i % 26) * 7 for i in range(6500))  # 45,500 characters
    each = sample.Document("p/m#0", long, {"licence": "MIT"})
    monkeypatch.setattr(sample, "take", lambda fetched, limit: iter([each]))
    pretend(monkeypatch, [])
    fetched = packages.Fetched("text.math", {}, "digest of text.math", {"p": "MIT"})
    monkeypatch.setattr(packages, "fetch", lambda role: fetched)
    stage = Sample(sources=("math",)).settle(False)
    stage.run(tmp_path, {})
    assert "".join(texts(tmp_path, "math")) == long
    assert [row["id"] for row in rows(tmp_path, "math")] == ["p/m#0@0", "p/m#0@20000", "p/m#0@40000"]
    assert json.loads((tmp_path / "licences.json").read_text()) == ["MIT"]
    monkeypatch.setattr(packages, "fetch", lambda role: packages.Fetched(role, {}, "other", {}))
    with pytest.raises(PresightError, match=r"text\.math: its package changed"):
        stage.run(tmp_path, {})


def test_the_parts_of_a_source_are_one_source(tmp_path, monkeypatch):
    from corpus.sources import sample

    asked = []

    def take(fetched, limit):
        asked.append([each.role for each in fetched])
        return iter([sample.Document(f"p/{each.role}", f"text of {each.role}", {}) for each in fetched])

    monkeypatch.setattr(sample, "take", take)
    pretend(monkeypatch, ["text.math.mathcomp"])
    licences = {"text.math": {"p": "MIT"}, "text.math.hol-light": {"q": "BSD"}}
    digests = "digest of {}".format
    monkeypatch.setattr(
        packages, "fetch", lambda n: packages.Fetched(n, {}, digests(n), licences.get(n, {"p": "MIT"}))
    )
    assert Sample(sources=("math",)).settle(False).content.keys() == {"math"}
    stage = Sample(tier="full", sources=("math", "biology")).settle(False)
    assert set(stage.content) == {
        "math",
        "math.hol-light",
        "math.manuals",
        "biology",
    }  # what cannot be had is left out
    assert stage.estimate().bytes == 8_000_000
    stage.run(tmp_path, {})
    assert asked == [["text.biology"], ["text.math", "text.math.hol-light", "text.math.manuals"]]
    assert len(texts(tmp_path, "math")) == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["biology", "math"]
    assert json.loads((tmp_path / "licences.json").read_text()) == ["BSD", "MIT"]
    with pytest.raises(PresightError, match="'politics' is not in the sample; set tier: full"):
        Sample(sources=("politics",)).settle(False)


@pytest.mark.parametrize("name", ["a b", "a[b]", "a::b", "s3:x", "{a}", "ä*?", "it's", "-x", "~"])
def test_a_source_may_have_almost_any_name(tmp_path, name):
    jsonl(tmp_path / "in.jsonl", TEXTS)
    stage = Documents(paths={name: str(tmp_path / "in.jsonl")}).settle(False)
    (tmp_path / "out").mkdir()
    stage.run(tmp_path / "out", {})
    assert sorted(each.text for each in read_source(tmp_path / "out" / name)) == sorted(TEXTS)
    assert list(json.loads((tmp_path / "out" / "documents.json").read_text())["sources"]) == [name]


def test_the_list_of_what_was_dropped_is_no_source(tmp_path):
    write_source(tmp_path / "out", "mine", [{"id": "a", "text": "one"}], None)
    write_lines(tmp_path / "out" / "dropped" / "mine" / "00000.jsonl.gz", [b"{}\n"])
    write_index(tmp_path / "out", {})
    assert list(json.loads((tmp_path / "out" / "documents.json").read_text())["sources"]) == ["mine"]


def test_a_damaged_file_of_documents_is_no_shorter_one(tmp_path):
    write_source(tmp_path, "mine", ({"id": f"{i}", "text": f"{i:x}" * 50} for i in range(500)), None, 1)
    path = tmp_path / "mine" / "00000.jsonl.gz"
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:300] + bytes(50) + whole[350:], b"no gzip"):
        path.write_bytes(damaged)
        with pytest.raises(PresightError, match=r"00000\.jsonl\.gz: cannot be read") as error:
            list(read_source(tmp_path / "mine"))
        assert error.value.code == 87
    write_lines(path, [b'{"id": "a", "text": "one"}\n', b'{"id": "b", "te\n'])
    with pytest.raises(ValueError, match="control character"):  # it is not passed over
        list(read_source(tmp_path / "mine"))
