import json

import numpy as np
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

from eval.records import COLUMNS, keep, require_same_items, results, rows, schema
from eval.stats.intervals import paired_bootstrap
from presight.errors import PresightError

CARD = {
    "kind": "scores", "artifact": "abc", "stage": "eval.Choices", "version": "1", "code": "c0de",
    "parents": [{"kind": "checkpoint", "artifact": "m0del", "field": "model"}],
}  # fmt: skip


def write(folder, name, described, **columns):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(described))
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "items.parquet")
    return folder


def scores(folder, items=("b", "a", "c"), correct=(True, False, True), **facts):
    described = {"task": "colours", "metric": "accuracy", "modality": "text", "chance": 0.5, "prompt": "1", **facts}
    return write(folder, "scores.json", described, item=items, cluster=[f"of {i}" for i in items], correct=correct)


def test_items_come_in_the_order_of_their_names(tmp_path):
    (found,) = results(scores(tmp_path / "x", parser="2", learning_rate=0.1, edge=True))
    assert found.items == ("a", "b", "c")
    assert found.scores.tolist() == [0.0, 1.0, 1.0]
    assert found.clusters.tolist() == ["of a", "of b", "of c"]
    facts = {"modality": "text", "chance": 0.5, "prompt": "1", "parser": "2", "learning_rate": 0.1, "edge": True}
    assert dict(found.facts) == facts


def several(folder, **facts):
    """Three results of two tasks, one of them by two columns."""
    described = {
        "modality": "image", "condition": "right", "prompt": "1", "by": "sum",
        "results": [
            {"task": "count", "metric": "accuracy", "column": "score", "group": "General", "chance": 0.5},
            {"task": "read", "metric": "accuracy", "column": "score", "version": "v2"},
            {"task": "read", "metric": "words"},
        ],
        **facts,
    }  # fmt: skip
    columns = {
        "item": ["b", "a", "a", "c"], "task": ["count", "count", "read", "read"], "cluster": ["p", "q", "p", "p"],
        "score": [1.0, 0.0, 0.5, 1.0], "words": [1.0, 2.0, 3.0, 5.0],
    }  # fmt: skip
    return write(folder, "scores.json", described, **columns)


def test_one_artifact_may_hold_several_tasks(tmp_path):
    count, read, words = results(several(tmp_path / "x"))
    assert (count.task, count.metric, count.items) == ("count", "accuracy", ("a", "b"))
    assert (read.items, words.metric) == (("a", "c"), "words")  # names are of their task
    assert [each.scores.tolist() for each in (count, read, words)] == [[0.0, 1.0], [0.5, 1.0], [3.0, 5.0]]
    assert read.clusters.tolist() == ["p", "p"]
    shared = {"modality": "image", "condition": "right", "prompt": "1", "by": "sum"}
    assert dict(count.facts) == {**shared, "group": "General", "chance": 0.5}
    assert dict(read.facts) == {**shared, "version": "v2"}
    card = {**CARD, "stage": "eval.Ask", "parents": [{"kind": "vlm", "artifact": "sees", "field": "model"}]}
    found = rows(tmp_path / "x", card)
    assert [(row["task"], row["metric"], row["item"]) for row in found] == [
        *(("count", "accuracy", "a"), ("count", "accuracy", "b"), ("read", "accuracy", "a")),
        *(("read", "accuracy", "c"), ("read", "words", "a"), ("read", "words", "c")),
    ]
    assert {row["model"] for row in found} == {"sees"}
    assert keep(tmp_path / "records", tmp_path / "x", card)


def test_a_task_is_not_there_twice(tmp_path):
    listed = [{"task": "read", "metric": "accuracy", "column": name} for name in ("score", "words")]
    with pytest.raises(PresightError, match="has one task and metric twice"):
        results(several(tmp_path / "x", results=listed))


def test_bits_are_a_ratio_and_its_differences_pair(tmp_path):
    """The mean of the scores is all bits by all bytes, for each source, whatever the sizes are."""
    sizes, order = np.array([10, 1000, 50, 7]), np.random.default_rng(0)
    folders = []
    for name in ("one", "two"):
        bits = sizes * order.uniform(1, 3, 4)
        described = {"sources": {"web": {}, "code": {}}}
        columns = {"item": ["p", "q", "r", "s"], "source": ["web", "web", "web", "code"], "cluster": list("pqrs")}
        folders.append((bits, write(tmp_path / name, "bits.json", described, **columns, bits=bits, bytes=sizes)))
    (first, folder), (second, other) = folders
    web, code = results(folder)
    assert (web.task, web.metric, code.task) == ("text: web", "bits_per_byte", "text: code")
    assert web.scores.mean() == pytest.approx(first[:3].sum() / sizes[:3].sum())
    assert code.scores.mean() == pytest.approx(first[3] / 7)
    delta = paired_bootstrap(web.scores, results(other)[0].scores)
    assert delta.estimate == pytest.approx((first[:3].sum() - second[:3].sum()) / sizes[:3].sum())


def language(folder, suite=None):
    described = {"versions": {"sums": 2.0, "words": 1.0}, "task_hashes": {"sums": "h"}}
    if suite:
        described["suite"] = {"entries": suite}
    rows = [
        *(("sums", "acc,none", f"{i}", float(i % 2), 1.0) for i in range(4)),
        *(("sums", "acc_norm,none", f"{i}", 1.0, 1.0) for i in range(4)),
        *(("words", "word_perplexity,none", f"{i}", -2.0 * i, float(i + 1)) for i in range(3)),
        *(("bytes", "bits_per_byte,none", f"{i}", -3.0 * i, float(i + 2)) for i in range(3)),
    ]
    names = ("task", "metric", "item", "score", "weight")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return write(folder, "language.json", described, **columns, cluster=columns["item"])


def test_language_tasks_are_means_and_perplexities_their_logarithm(tmp_path):
    found = {(each.task, each.metric): each for each in results(language(tmp_path / "x"))}
    accuracies = [each for each in results(tmp_path / "x") if each.task == "sums"]
    assert [each.metric for each in accuracies] == ["acc", "acc_norm"]  # two measures of one task stay two
    assert accuracies[0].facts["version"] == "2.0"
    assert accuracies[0].facts["prompt"] == "h"
    nats = found["words", "word_log_perplexity"].scores.mean()
    assert np.exp(nats) == pytest.approx(np.exp((0 + 2 + 4) / (1 + 2 + 3)))
    assert found["bytes", "bits_per_byte"].scores.mean() == pytest.approx(9 / 9 / np.log(2))


def test_of_a_suite_the_metric_that_counts_is_taken(tmp_path):
    suite = [{"task": "sums", "metric": "acc_norm", "benchmark": "SUMS"}]
    found = [each for each in results(language(tmp_path / "x", suite)) if each.task == "sums"]
    assert [(each.metric, each.scores.mean()) for each in found] == [("accuracy", 1.0)]


def test_filters_of_one_metric_stay_apart(tmp_path):
    rows = [("sums", f"exact_match,{taken}", f"{i}", 1.0, 1.0) for taken in ("strict", "flexible") for i in range(2)]
    names = ("task", "metric", "item", "score", "weight")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    folder = write(tmp_path / "x", "language.json", {}, **columns, cluster=columns["item"])
    assert [each.metric for each in results(folder)] == ["exact_match,strict", "exact_match,flexible"]


def test_equal_names_under_other_questions_are_not_paired(tmp_path):
    (first,) = results(scores(tmp_path / "a", version="v1"))
    for name, fields, words in (
        ("b", {"version": "v2"}, "a and b differ in version of colours: 'v1' and 'v2'; measure both in the same way"),
        ("c", {"items": ("b", "a", "d")}, "a and b scored different items of colours"),
        ("d", {"version": "v1", "prompt": "2"}, "differ in prompt of colours"),
    ):
        (second,) = results(scores(tmp_path / name, **fields))
        with pytest.raises(PresightError, match=words):
            require_same_items(first, second, "a and b")
    require_same_items(first, results(scores(tmp_path / "e"))[0], "a and e")  # nothing is known of its version


def test_a_folder_of_records_only_grows(tmp_path):
    target = tmp_path / "records"
    one, two = scores(tmp_path / "one"), scores(tmp_path / "two", correct=(False, False, True))
    assert keep(target, one, CARD)
    before = (target / "scores-abc.parquet").read_bytes()
    assert not keep(target, one, CARD)
    assert keep(target, two, {**CARD, "artifact": "def"})
    assert (target / "scores-abc.parquet").read_bytes() == before
    table = pyarrow.dataset.dataset(target, format="parquet", exclude_invalid_files=True).to_table()
    assert table.num_rows == 6
    assert table.column_names == list(COLUMNS)
    row = table.to_pylist()[0]
    assert row == {
        "result": "scores/abc", "stage": "eval.Choices 1", "model": "m0del", "code": "c0de", "task": "colours",
        "task_version": "", "prompt": "1", "parser": "", "metric": "accuracy", "item": "a", "cluster": "of a",
        "score": 0.0,
    }  # fmt: skip
    assert json.loads((target / "schema.json").read_text()) == schema()
    assert set(schema()["properties"]) == set(COLUMNS)


def test_what_is_no_result_is_one_sentence(tmp_path):
    with pytest.raises(PresightError, match="holds no results; give an artifact of kind scores, language, bits"):
        results(tmp_path)
    with pytest.raises(PresightError, match="items of colours: some are scored twice"):
        results(scores(tmp_path / "x", items=("a", "a", "b")))
