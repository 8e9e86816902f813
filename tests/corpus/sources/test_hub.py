import gzip
import json

import pytest

from corpus.documents import read_source
from corpus.sources import public
from corpus.sources.hub import Dataset, Hub
from presight import assembly
from presight.errors import PresightError, Unavailable
from presight.packages import cache_root

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = COMMIT[::-1]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def hub(monkeypatch):
    """A hub that knows one dataset."""
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    asked = []

    class Answer:
        sha = COMMIT

    class Response:
        headers, request, status_code = {}, None, 404

    def dataset_info(self, name, revision=None):
        asked.append((name, revision))
        if name != "lab/text":
            raise RepositoryNotFoundError("404", response=Response())
        return Answer()

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    return asked


def copy(folder):
    """A dataset as the hub keeps them: parquet in two shards, jsonl in another folder."""
    import pyarrow
    import pyarrow.parquet

    (folder / "data").mkdir(parents=True)
    (folder / "law").mkdir()
    texts = [f"text {i}" for i in range(10)]
    texts[3], texts[4], texts[5], texts[6] = None, "", " \n", "text 0"
    for shard in range(2):
        part = slice(5 * shard, 5 * shard + 5)
        table = {"text": texts[part], "url": [f"u{i}" for i in range(10)][part]}
        pyarrow.parquet.write_table(pyarrow.table(table), folder / "data" / f"train-{shard}.parquet")
    lines = [{"body": "first", "id": "A"}, {"body": "second", "id": "B"}]
    (folder / "law" / "law_0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def make(tmp_path, **fields):
    place = tmp_path / "copy"
    if not place.exists():
        copy(place)
    given = {"datasets": {"mine": {"id": "lab/text", "files": "data/*.parquet"}}, "paths": {"mine": str(place)}}
    stage = Hub(**(given | fields)).settle(False)
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, {})
    return out, json.loads((out / "documents.json").read_text())


def test_a_dataset_becomes_documents_and_every_row_is_accounted_for(tmp_path, capsys):
    out, described = make(tmp_path, tolerance=0.1, metadata_keys=("url",))
    malformed = {"count": 1, "kinds": {"no text": 1}, "examples": ["lab/text:4"]}
    expected = {"documents": 6, "bytes": 36, "repeats": 1, "empty": 2, "malformed": malformed}
    assert described["sources"]["mine"] == expected
    documents = list(read_source(out / "mine"))
    assert sorted(each.id for each in documents) == [f"lab/text/{i}" for i in (0, 1, 2, 7, 8, 9)]
    assert sorted(each.text for each in documents) == [f"text {i}" for i in (0, 1, 2, 7, 8, 9)]
    assert {each.metadata["url"] for each in documents} == {"u0", "u1", "u2", "u7", "u8", "u9"}
    assert "datasets.mine: 1 of 10 records is malformed" in capsys.readouterr().err
    for path in (out / "mine").glob("*.gz"):
        assert str(tmp_path).encode() not in gzip.decompress(path.read_bytes())


def test_too_many_malformed_rows(tmp_path):
    with pytest.raises(PresightError, match=r"datasets\.mine: 1 of 10 .* first lab/text:4; check text_key"):
        make(tmp_path)


def test_columns_and_files_are_chosen(tmp_path):
    out, described = make(
        tmp_path, datasets={"mine": {"id": "lab/text", "files": "law/*.jsonl", "text_key": "body"}}, files=2
    )
    assert described["files"] == 2
    assert [(each.id, each.text) for each in read_source(out / "mine")] == [
        ("lab/text/A", "first"),
        ("lab/text/B", "second"),
    ]


def test_no_more_is_read_than_asked_for(tmp_path):
    _, described = make(tmp_path, megabytes=11e-6)
    assert described["sources"]["mine"] == {"documents": 2, "bytes": 12, "repeats": 0, "empty": 0}


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ({"id": "lab/text", "split": "nope"}, "Bad split"),
        ({"id": "lab/text", "config": "nope"}, "BuilderConfig 'nope' not found"),
        ({"id": "lab/text", "files": "nope/*.parquet"}, "data files found"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path, dataset, words):
    with pytest.raises(PresightError, match=words) as error:
        make(tmp_path, datasets={"mine": dataset})
    assert str(error.value).startswith("datasets.mine: lab/text cannot be read (")
    assert "\n" not in str(error.value)


def test_a_revision_is_looked_up_once_and_kept(hub, capsys):
    stage = Hub(datasets={"mine": "lab/text", "tagged": "lab/text@v1"}).settle(True)
    assert stage.datasets["mine"] == Dataset(id="lab/text", revision=COMMIT)
    assert hub == [("lab/text", "main"), ("lab/text", "v1")]
    assert f"datasets.mine.revision: lab/text@main is {COMMIT}" in capsys.readouterr().err
    assert stage.settle(True) is stage
    again = Hub(datasets={"mine": "lab/text", "tagged": "lab/text@v1"}).settle(False)
    assert again.fingerprint == stage.fingerprint
    assert len(hub) == 2
    assert json.loads((cache_root() / "hub.json").read_text()) == {"lab/text@main": COMMIT, "lab/text@v1": COMMIT}
    assert capsys.readouterr().err == ""


def test_what_is_pinned_needs_no_network(hub):
    stage = Hub(datasets={"mine": f"lab/text@{OTHER}"})
    assert stage.settle(False) is stage
    assert not hub


def test_identity_is_id_and_commit():
    def fingerprint(**fields):
        return Hub(**({"datasets": {"mine": f"lab/text@{COMMIT}"}} | fields)).settle(False).fingerprint

    first = fingerprint()
    assert fingerprint(paths={"mine": "/a/copy"}) == first
    assert fingerprint(datasets={"mine": f"lab/text@{OTHER}"}) != first
    assert fingerprint(datasets={"yours": f"lab/text@{COMMIT}"}) != first
    assert fingerprint(megabytes=5) != first


def test_a_copy_without_a_commit_is_known_by_its_content(tmp_path, hub):
    given = {"datasets": {"mine": "lab/text"}}
    a, b = copy(tmp_path / "a"), copy(tmp_path / "b")
    first = Hub(paths={"mine": str(a)}, **given).settle(True)
    assert Hub(paths={"mine": str(b)}, **given).settle(False).fingerprint == first.fingerprint
    assert first.settle(False) is first
    assert not hub
    (a / "law" / "law_0.jsonl").write_text('{"text": "changed"}\n')
    assert Hub(paths={"mine": str(a)}, **given).settle(False).fingerprint != first.fingerprint
    with pytest.raises(PresightError, match=r"paths\.mine: its files changed since it was planned"):
        first.run(tmp_path, {})


def test_the_public_stand_ins_are_put_in_by_name():
    stage = Hub(sources=("web", "law"), megabytes=8).settle(False)
    assert stage.sources == ()
    for source in ("web", "law"):
        entry = public.stand_in(source)
        assert (stage.datasets[source].id, stage.datasets[source].revision) == (entry.id, entry.revision)
    written = Hub(datasets={name: stage.datasets[name] for name in ("law", "web")}, megabytes=8)
    assert written.settle(False).fingerprint == stage.fingerprint
    assert stage.supply() == {"web": 4_000_000, "law": 4_000_000}
    assert stage.estimate().bytes == 16_000_000
    assert Hub(sources=("literature",), megabytes=1e9).supply() == {"literature": public.supply("literature")}
    assert Hub(datasets={"mine": "lab/text"}).supply() == {"mine": None}


def test_a_stage_is_written_down_whole():
    stage = Hub(sources=("law",), datasets={"mine": f"lab/text@{COMMIT}"}, paths={"mine": "/a"}).settle(False)
    fields = json.loads(json.dumps(assembly.dump(stage)))["stages"][stage.fingerprint]["fields"]
    assert Hub(**fields) == stage
    assert Hub(**fields).fingerprint == stage.fingerprint


@pytest.mark.parametrize(
    ("fields", "fetch", "words"),
    [
        ({"sources": ("laws",)}, True, "'laws' has no public stand-in; did you mean law?"),
        ({"sources": ("law",), "datasets": {"law": "lab/text"}}, True, r"datasets\.law: is among sources, too"),
        ({}, True, "sources: none is named"),
        ({"datasets": {"a/b": "lab/text"}}, True, r"datasets\.a/b: is no name for a source's folder"),
        ({"datasets": {"mine": "lab/text"}, "paths": {"mime": "/a"}}, True, r"paths\.mime: .*did you mean mine\?"),
        ({"datasets": {"mine": "lab/none"}}, True, r"datasets\.mine\.revision: the hub shows no lab/none@main"),
    ],
)
def test_settling_says_what_is_wrong(fields, fetch, words):
    with pytest.raises(PresightError, match=words):
        Hub(**fields).settle(fetch)


def test_what_a_branch_names_can_be_planned_before_it_is_pinned(monkeypatch, tmp_path):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path))
    (dataset,) = Hub(datasets={"mine": "lab/text"}).settle(False).datasets.values()
    assert dataset.revision == "main"
    assert not dataset.pinned


def test_a_hub_out_of_reach_is_unavailable(monkeypatch):
    import huggingface_hub

    def unreachable(self, name, revision=None):
        raise OSError("no\nnetwork.")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    with pytest.raises(Unavailable, match=r"cannot be asked for lab/text@main \(no network\); write a commit"):
        Hub(datasets={"mine": "lab/text"}).settle(True)


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_copy_that_is_not_here_is_not_looked_for_on_the_hub(tmp_path, monkeypatch, revision):
    def rows(*_):
        raise AssertionError("a path must not be taken for the id of a dataset")

    monkeypatch.setattr(Hub, "rows", rows)
    stage = Hub(datasets={"mine": {"id": "lab/text", "revision": revision}}, paths={"mine": "lab/other"})
    with pytest.raises(PresightError, match="'lab/other' is not here" if revision else "lab/other: holds no files"):
        stage.settle(False).run(tmp_path, {})


def test_a_damaged_memory_of_commits_is_looked_up_again(hub):
    cache_root().mkdir(parents=True, exist_ok=True)
    for damaged in ("{", "[1]", ""):
        (cache_root() / "hub.json").write_text(damaged)
        assert Hub(datasets={"mine": "lab/text"}).settle(True).datasets["mine"].revision == COMMIT
