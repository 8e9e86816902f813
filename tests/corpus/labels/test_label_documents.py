import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
from toy_labels import labelled

from corpus import LabelDocuments
from corpus.documents import read_source
from corpus.labels import documents as labelling
from corpus.labels.classifier import Classifier
from presight.errors import PresightError


@pytest.fixture(scope="module")
def classifier(tiny, tmp_path_factory):
    return labelled(tiny, tmp_path_factory.mktemp("labels"))[0]


def made(stage, out, inputs):
    out.mkdir(parents=True)
    for shard in range(stage.shards()):
        stage.run_shard(shard, out, inputs)
    stage.finish(out, inputs)
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def test_every_document_has_a_row(tiny, classifier, tmp_path):
    inputs = {"documents": tiny.path(tiny.text), "classifier": tiny.path(classifier)}
    stage = LabelDocuments(documents=tiny.text, classifier=classifier, parts=3)
    files = made(stage, tmp_path / "a" / "payload", inputs)
    assert files == made(stage.changed(parts=1), tmp_path / "b" / "payload", inputs)
    model = Classifier.load(tiny.path(classifier))
    for source in json.loads((tiny.path(tiny.text) / "documents.json").read_text())["sources"]:
        folder = tmp_path / "a" / "payload" / source
        rows = {row["id"]: row for path in folder.iterdir() for row in parquet.read_table(path).to_pylist()}
        documents = list(read_source(tiny.path(tiny.text) / source))
        assert list(rows) != []
        assert set(rows) == {document.id for document in documents}
        scores = model.score_long([document.text for document in documents])
        for document, expected in zip(documents, scores, strict=True):
            row = rows[document.id]
            np.testing.assert_allclose([row[name] for name in model.labels], expected, atol=1e-6)
            families = model.taxonomy.combine(expected)
            np.testing.assert_allclose([row[name] for name in model.taxonomy.families], families, atol=1e-6)


def test_what_a_killed_run_has_finished_is_kept(tiny, classifier, tmp_path, monkeypatch):
    inputs = {"documents": tiny.path(tiny.text), "classifier": tiny.path(classifier)}
    stage = LabelDocuments(documents=tiny.text, classifier=classifier, parts=1)
    whole = made(stage, tmp_path / "a" / "payload", inputs)
    out = tmp_path / "b" / "payload"
    out.mkdir(parents=True)
    write = labelling.write
    calls = []

    def broken(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return write(*given)

    monkeypatch.setattr(labelling, "write", broken)
    with pytest.raises(KeyboardInterrupt):
        stage.run_shard(0, out, inputs)
    calls.clear()
    monkeypatch.setattr(labelling, "write", lambda *given: calls.append(given) or write(*given))
    stage.run_shard(0, out, inputs)
    assert len(calls) == len(whole) - 3
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*.parquet")} == whole


def test_files_of_ones_own(tiny, classifier, tmp_path):
    folder = tiny.path(classifier)
    (tmp_path / "mine.jsonl").write_text('{"body": "one"}\n{"body": "two"}\n')
    assert labelling.label_files(tmp_path / "mine.jsonl", folder, tmp_path / "out.parquet", "body") == 2
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(PresightError, match="holds no"):
        labelling.label_files(tmp_path / "empty.jsonl", folder, tmp_path / "none.parquet")
