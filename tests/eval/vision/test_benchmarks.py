"""Benchmarks in their own columns become questions; what is broken, or about several pictures, is left out by name."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import yaml
from PIL import Image

from adapt.vlm.pictures import Pictures
from eval.vision import items, suite, tables
from eval.vision.benchmarks import Benchmark, _drawn
from eval.vision.columns import Draft
from presight import hub
from presight.errors import PresightError, Unavailable


def png(colour, side=8):
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


class Loader(yaml.SafeLoader):
    pass


def picture_of(loader, node):
    return {"bytes": png(loader.construct_scalar(node)), "path": None}


Loader.add_constructor("!picture", picture_of)
Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in found if tag.rpartition(":")[2] != "bool" or first in "tTfF"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
CASES = yaml.load((Path(__file__).parent / "fixtures" / "benchmarks.yaml").read_text("utf8"), Loader)


def copy_of(name, folder):
    for place, rows in CASES[name]["files"].items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path.mkdir()
            for colour in rows:
                (path / f"{colour}.png").write_bytes(png(colour))
    return folder


def made(out, folder, name="GQA", **fields):
    out.mkdir()
    stage = Benchmark(name=name, path=str(folder), **fields).settle(fetch=False)
    stage.run(out, {})
    return items.read(out), json.loads((out / "counts.json").read_text())


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))


def test_every_benchmark_of_the_suite_has_a_case():
    assert set(CASES) == set(suite.suite().benchmarks)


@pytest.mark.parametrize("name", CASES)
def test_its_own_columns_become_questions(name, tmp_path):
    case = CASES[name]
    found, counts = made(tmp_path / "out", copy_of(name, tmp_path / "copy"), name)
    pictures = Pictures(tmp_path / "out")
    assert len(found) == case["items"]
    assert len(pictures) == case["pictures"]
    assert counts["several pictures"] == case.get("several", 0)
    assert counts["broken"] == 0
    for expected, each in ((case["first"], found[0]), (case.get("last", {}), found[-1])):
        for field, value in expected.items():
            value = tuple(value) if isinstance(value, list) else value
            assert getattr(each, field) == value, field
    if "metrics" in case:
        assert [each.metric for each in found] == case["metrics"]
    assert {each.group for each in found} == {suite.benchmark(name).group}
    for each in found:
        assert pictures.image(each.picture).size == (8, 8)


def test_the_sixteen_stand_in_the_papers_groups():
    groups = suite.groups()
    assert [len(groups[group]) for group in suite.PAPER] == [4, 4, 3, 5]
    assert groups["Existence"] == ("MLE-Bench",)
    assert {row["benchmark"] for row in suite.rows()} == set(CASES)


def test_what_datasets_saved_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = CASES["ChartQA"]["files"]["data/test-00000-of-00001.parquet"]
    features = datasets.Features({name: datasets.Value("string") for name in ("type", "question", "answer")})
    saved = datasets.Dataset.from_list(rows, features=datasets.Features({**features, "image": datasets.Image()}))
    datasets.DatasetDict({"test": saved}).save_to_disk(tmp_path / "copy")
    found, _ = made(tmp_path / "out", tmp_path / "copy", "ChartQA")
    assert [each.prompt.split("\n")[0] for each in found] == ["How many?", "Which?"]
    assert len(Pictures(tmp_path / "out")) == 2


def test_a_split_is_found_under_other_names(tmp_path):
    rows = CASES["ChartQA"]["files"]["data/test-00000-of-00001.parquet"]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "train.parquet")
    assert [path.name for path in tables.tables(tmp_path, ["data/test-*.parquet"], "test")] == ["test.parquet"]
    with pytest.raises(PresightError, match="holds no table of test"):
        tables.tables(tmp_path / "nowhere", ["data/test-*.parquet"], "test")


def broken_chart(tmp_path, good=200):
    one = {"type": "human_test", "question": "How many?", "answer": "14", "image": {"bytes": png("red"), "path": None}}
    rows = [one | {"question": f"How many {number}?"} for number in range(good)]
    rows.insert(1, one | {"image": {"bytes": b"no picture", "path": None}})
    rows.insert(2, one | {"answer": None})
    rows.insert(3, one | {"image": {"bytes": None, "path": "../../secret.png"}})
    rows.insert(4, one | {"image": None})
    (tmp_path / "copy" / "data").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png("red"))
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "copy" / "data" / "test-0.parquet")
    return tmp_path / "copy"


def test_what_is_broken_is_left_out_by_name(tmp_path):
    found, counts = made(tmp_path / "out", broken_chart(tmp_path), "ChartQA", tolerance=0.02)
    assert len(found) == 200
    assert counts["broken"] == 4
    skipped = json.loads((tmp_path / "out" / "skipped.json").read_text())
    assert skipped == {
        "ChartQA/000001": "cannot be read as an image",
        "ChartQA/000002": "has no answer",
        "ChartQA/000003": "its picture '../../secret.png' is not here",
        "ChartQA/000004": "has no picture",
    }


def test_more_that_is_broken_than_tolerated_is_an_error(tmp_path):
    with pytest.raises(PresightError, match="3 of 203 questions are broken, first ChartQA/00000"):
        made(tmp_path / "out", broken_chart(tmp_path), "ChartQA")


def test_a_limit_does_not_turn_few_broken_questions_into_many(tmp_path):
    path, rows = next(iter(CASES["ChartQA"]["files"].items()))
    kind = Path(path).name
    mute = [dict(rows[0], answer=None) for _ in range(2)]
    (tmp_path / "copy").mkdir()
    pyarrow.parquet.write_table(
        pa.Table.from_pylist([*mute, *(dict(rows[0]) for _ in range(398))]), tmp_path / "copy" / kind
    )
    found, counts = made(tmp_path / "out", tmp_path / "copy", "ChartQA", limit=10)
    assert (len(found), counts["broken"]) == (10, 2)  # 2 of 400, not 2 of 12


def test_options_that_are_pictures_are_about_several(tmp_path):
    folder = tmp_path / "copy"
    path, rows = next(iter(CASES["MMMU"]["files"].items()))
    row = dict(rows[0], id="validation_Art_9", options="['<image 2>', '<image 3>']")
    (folder / path).parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pa.Table.from_pylist([rows[0], row]), folder / path)
    found, counts = made(tmp_path / "out", folder, "MMMU", tolerance=0.0)
    assert [each.item for each in found] == ["MMMU/validation_Art_1"]
    assert (counts["several pictures"], counts["broken"]) == (1, 0)


def test_parts_take_turns_under_a_limit():
    drafts = {
        number: Draft(f"q{number}", f"MME: {'few' if number < 4 else 'many'}", "?", ("a", "b"), 0, "accuracy", "", {})
        for number in range(100)
    }
    kept = _drawn(drafts, 8)
    assert sum(number < 4 for number in kept) == 4
    assert len(kept) == 8
    assert _drawn(drafts, 6) < kept


def test_pictures_may_be_links_as_the_hub_lays_them(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(png("red"))
    folder = tmp_path / "snapshot"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").symlink_to("../../blobs/1")
    assert tables.contents("a.png", folder / "data.jsonl", folder) == [png("red")]
    for value in ("../blobs/1", str(tmp_path / "blobs" / "1"), "images/../../blobs/1"):
        with pytest.raises(ValueError, match="is not here"):
            tables.contents(value, folder / "data.jsonl", folder)


def test_a_wrong_letter_and_a_table_of_another_kind_are_told(tmp_path):
    rows = [dict(row, answer="(D)") for row in CASES["COCO"]["files"]["test_2d.parquet"]]
    (tmp_path / "copy").mkdir()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "copy" / "test_2d.parquet")
    with pytest.raises(PresightError, match=r"no row of it is a question .*'\(D\)', which is no option"):
        made(tmp_path / "out", tmp_path / "copy", "COCO")
    (tmp_path / "copy" / "test_2d.parquet").write_bytes(b"PAR1 but no table")
    with pytest.raises(PresightError, match="cannot be read"):
        made(tmp_path / "out2", tmp_path / "copy", "COCO")


def test_a_limit_keeps_turns_together(tmp_path):
    folder = copy_of("MMBench", tmp_path / "copy")
    chosen = [{each.item for each in made(tmp_path / f"{n}", folder, "MMBench", limit=n)[0]} for n in (2, 3)]
    assert {"MMBench/7", "MMBench/1000007"} <= chosen[0] or chosen[0] >= {"MMBench/8"}
    for names in chosen:
        assert ("MMBench/7" in names) == ("MMBench/1000007" in names)


def test_its_identity_is_its_data_and_how_it_is_asked(tmp_path):
    folder = copy_of("ChartQA", tmp_path / "copy")
    stage = Benchmark(name="ChartQA", path=str(folder)).settle(fetch=False)
    (tmp_path / "copy").rename(tmp_path / "moved")
    moved = Benchmark(name="ChartQA", path=str(tmp_path / "moved")).settle(fetch=False)
    assert stage.fingerprint == moved.fingerprint
    assert "path" not in stage.identity()
    assert (
        Benchmark(name="ChartQA", path=str(tmp_path / "moved"), limit=2).settle(False).fingerprint != moved.fingerprint
    )
    (tmp_path / "moved" / "more.txt").write_text("x")
    with pytest.raises(PresightError, match="changed since it was planned"):
        moved.run(tmp_path, {})
    with pytest.raises(PresightError, match="asked otherwise"):
        moved.changed(definition="0" * 16).run(tmp_path, {})


def test_a_benchmark_on_the_hub_is_pinned(monkeypatch):
    asked = []
    monkeypatch.setattr(hub, "commit", lambda kind, name, revision, field, fetch: asked.append(revision) or "a" * 40)
    assert Benchmark(name="SEED").settle(fetch=True).revision == "a" * 40
    Benchmark(name="MME").settle(fetch=True)
    assert asked == ["main", suite.benchmark("MME").revision]
    assert Benchmark(name="MME", limit=100).estimate().items == 100


def test_unknown_names_and_files_are_refused(tmp_path):
    with pytest.raises(PresightError, match="did you mean ChartQA"):
        Benchmark(name="ChartQ").settle(fetch=False)
    with pytest.raises(PresightError, match="is no folder here"):
        Benchmark(name="ChartQA", path=str(tmp_path / "none")).settle(fetch=False)
    with pytest.raises(PresightError, match="has no version"):
        Benchmark(name="ChartQA", path=str(tmp_path), declared="charts").settle(fetch=False)


def test_one_may_bring_a_benchmark_of_ones_own(tmp_path):
    entry = suite.benchmark("ChartQA").model_dump(mode="json") | {"metric": "exact"}
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"choice": "mine", "benchmarks": {"Charts": entry}}))
    found, _ = made(tmp_path / "out", copy_of("ChartQA", tmp_path / "copy"), "Charts", file=str(own))
    assert {each.metric for each in found} == {"exact"}
    assert {each.task for each in found} == {"Charts"}
    own.write_text(yaml.safe_dump({"choice": "mine", "benchmarks": {"Charts": entry | {"metric": "exactly"}}}))
    with pytest.raises(PresightError, match="did you mean exact"):
        suite.read(own)
    own.write_text(yaml.safe_dump({"choice": "mine", "benchmarks": {"Charts: new": entry}}))
    with pytest.raises(PresightError, match="rename it"):
        suite.read(own)
    own.write_text(yaml.safe_dump({"choice": "mine", "benchmarks": {"Charts": entry | {"group": "general"}}}))
    with pytest.raises(PresightError, match=r"benchmarks\.Charts\.group"):
        suite.read(own)


def test_the_hub_gives_the_files_that_are_needed(tmp_path, monkeypatch):
    asked = []

    def snapshot(name, **given):
        asked.append((name, given))
        return str(copy_of("GQA", tmp_path / "snapshot"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    stage = Benchmark(name="GQA").settle(fetch=False)
    out = tmp_path / "out"
    out.mkdir()
    stage.run(out, {})
    entry = suite.benchmark("GQA")
    expected = {"repo_type": "dataset", "revision": entry.revision, "allow_patterns": list(entry.patterns)}
    assert asked == [("lmms-lab/GQA", expected)]
    assert len(items.read(out)) == 3
    assert json.loads((out / "licences.json").read_text()) == [entry.licence]


def test_a_hub_out_of_reach_is_told(tmp_path, monkeypatch):
    def unreachable(name, **given):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(Unavailable, match=r"lmms-lab/GQA cannot be had \(no route\); try again, or name a copy"):
        Benchmark(name="GQA").settle(fetch=False).run(tmp_path, {})
