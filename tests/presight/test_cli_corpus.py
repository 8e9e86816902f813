import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest
from toy_endpoint import Say, Server
from toy_experiment import ENVIRONMENT, ITEM
from toy_labels import MEANING, labelled

from corpus.documents import read_source


def presight(*words, cwd, code=0):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "presight", *map(str, words)],
        cwd=cwd, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    classifier, label, cells = labelled(tiny, folder)
    return folder, tiny.path(classifier), tiny.path(label), tiny.path(cells)


def test_a_classifier_from_annotations_to_its_report(made, tmp_path):
    presight("corpus", "train-classifier", "--annotations", made[0] / "a.jsonl", "--out", "model", cwd=tmp_path)
    words = ("corpus", "evaluate-classifier", "model", "--annotations", made[0] / "a.jsonl")
    report = json.loads(presight(*words, "--json", cwd=tmp_path).stdout)
    assert {"labels", "families", "by_source", "baseline"} <= set(report)
    keys = {"n", "precision", "recall", "f1", "average_precision", "brier", "threshold"}
    assert keys <= set(report["families"]["visual"])
    assert keys <= set(report["baseline"]["families"]["reasoning"])
    assert report["families"]["visual"]["average_precision"] > 0.95
    assert "visual" in presight(*words, cwd=tmp_path).stdout
    refused = presight("corpus", "evaluate-classifier", made[0], cwd=tmp_path, code=2)
    assert refused.stderr.startswith("presight: ")
    assert refused.stderr.count("\n") == 1


def test_the_samples_labels_need_their_own_taxonomy(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nfamilies: {tone: {formal: reads like a form}}\n")
    done = presight("corpus", "train-classifier", "--taxonomy", "mine.yaml", "--out", "model", cwd=tmp_path, code=2)
    assert "which the published annotations have" in done.stderr
    assert not (tmp_path / "model").exists()


def test_labels_of_tokens_and_of_documents(tiny, made, tmp_path):
    _, classifier, label, _ = made
    tokens = tiny.path(tiny.tokens)
    words = ("--classifier", classifier, "--segment", 48, "--jobs", 2)
    presight("corpus", "label", tokens, *words, "--out", "labels", cwd=tmp_path)
    for path in label.rglob("*.npy"):
        assert (tmp_path / "labels" / path.relative_to(label)).read_bytes() == path.read_bytes()
    assert json.loads((tmp_path / "labels" / "labels.json").read_text())["segment"] == 48
    again = presight("corpus", "label", tokens, *words, "--out", "labels", cwd=tmp_path, code=2)
    assert "is there already" in again.stderr
    presight("corpus", "label", tiny.path(tiny.text), *words, "--out", "rows", cwd=tmp_path)
    for source, names in MEANING.items():
        found = parquet.read_table(tmp_path / "rows" / source)
        assert np.mean(found[names[0]].to_numpy()) > 0.8
        ids = {document.id for document in read_source(tiny.path(tiny.text) / source)}
        assert set(found["id"].to_pylist()) == ids
    (tmp_path / "mine.jsonl").write_text('{"id": 7, "text": "def f(x): return x + 1"}\n{"text": "two"}\n')
    presight("corpus", "label", "mine.jsonl", "--classifier", classifier, "--out", "one", cwd=tmp_path)
    assert parquet.read_table(tmp_path / "one" / "mine.parquet").num_rows == 2
    assert not list(tmp_path.glob(".*.partial"))


def test_mix_check_and_diff(tiny, made, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        f"tokens: {tiny.path(tiny.tokens)}\ncells: {made[3]}\nitem: {ITEM}\nbudget: {ITEM * 100}\n"
        "families: {reasoning: $reasoning}\ngrid: {reasoning: 50..70 step 10}\n"
    )
    rows = json.loads(presight("corpus", "mix", spec, "--out", "grid", "--json", cwd=tmp_path).stdout)
    assert [row["place"] for row in rows] == ["reasoning=50", "reasoning=60", "reasoning=70"]
    checks = json.loads(presight("corpus", "check", "grid/reasoning=60", "--json", cwd=tmp_path).stdout)
    assert all(each["holds"] for each in checks)
    shown = presight("corpus", "diff", "grid/reasoning=50", "grid/reasoning=70", cwd=tmp_path).stdout
    assert "in common" in shown
    assert "✓" in presight("corpus", "check", "grid/reasoning=50/mixture.lock", cwd=tmp_path).stdout
    assert "one plan" in presight("corpus", "diff", "grid/reasoning=50", "grid/reasoning=50", cwd=tmp_path).stdout
    lock = tmp_path / "grid" / "reasoning=60" / "mixture.lock"
    lock.write_text(lock.read_text().replace('"seed": 0', '"seed": 1'))
    assert "plan hash" in presight("corpus", "check", "grid/reasoning=60", cwd=tmp_path, code=2).stderr


def test_the_sources_are_listed(tmp_path):
    rows = json.loads(presight("corpus", "sources", "--json", cwd=tmp_path).stdout)
    assert {"web", "math", "philosophy"} <= {row["source"] for row in rows}
    assert "literature" in presight("corpus", "sources", cwd=tmp_path).stdout


def test_annotators_are_asked_once_and_compared(tiny, tmp_path):
    def says(asked):
        label = ["math_reasoning"] if "+" in asked.piece else []
        return Say(json.dumps({"reason": "a toy's", "labels": label}))

    with Server(says) as server:
        words = ("corpus", "annotate", tiny.path(tiny.text), "--endpoint", server.url, "--per-source", 4)
        for name in ("a", "b"):
            presight(*words, "--model", name, "--out", name, cwd=tmp_path)
        found = json.loads(presight(*words, "--model", "a", "--out", "a", "--json", cwd=tmp_path).stdout)
        assert len(server.asked) == 24  # the third run had nothing to ask
        assert (found["segments"], found["labelled"], found["asked"]) == (12, 12, 0)
        capped = presight(*words, "--model", "c", "--out", "c", "--max-tokens", 300, cwd=tmp_path, code=85)
        assert "max_tokens" in capped.stderr
    assert len((tmp_path / "a" / "annotations.jsonl").read_text().splitlines()) == 12
    rows = json.loads(presight("corpus", "agreement", "a", "b", "--merge", "m.jsonl", "--json", cwd=tmp_path).stdout)
    assert {row["name"]: row["f1"] for row in rows}["visual"] is None  # nobody said so: there is no F1, and no NaN
    assert len((tmp_path / "m.jsonl").read_text().splitlines()) == 12
    assert "reasoning" in presight("corpus", "agreement", "a", "b", cwd=tmp_path).stdout
