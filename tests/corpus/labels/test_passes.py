import json
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from toy_labels import MEANING, SEGMENT, labelled

from corpus.labels import passes
from presight.errors import PresightError


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    return labelled(tiny, tmp_path_factory.mktemp("labels"))


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def label(tiny, made, out, segment=SEGMENT, place=None):
    place = place or tiny.path(tiny.tokens)
    return passes.label(place, tiny.path(made[0]), out, segment=segment, jobs=1, text_key="text")


def test_what_another_request_has_left_is_not_taken_up(tiny, made, tmp_path, monkeypatch):
    whole = files(label(tiny, made, tmp_path / "whole"))
    assert {name for name in whole if name.endswith(".npy")}

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(passes.segments, "describe", killed)
        with pytest.raises(KeyboardInterrupt):
            label(tiny, made, tmp_path / "out", segment=16)
    assert files(label(tiny, made, tmp_path / "out")) == whole
    assert not list(tmp_path.glob(".*.partial"))


def test_what_the_same_request_has_left_is_taken_up(tiny, made, tmp_path, monkeypatch):
    whole = files(label(tiny, made, tmp_path / "whole"))
    describe = passes.segments.describe

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(passes.segments, "describe", killed)
    with pytest.raises(KeyboardInterrupt):
        label(tiny, made, tmp_path / "out")
    monkeypatch.setattr(passes.segments, "describe", describe)
    monkeypatch.setattr(passes.segments, "score", killed)  # nothing is scored again
    assert files(label(tiny, made, tmp_path / "out")) == whole


def test_a_folder_without_a_name_and_one_without_text(tiny, made, tmp_path, monkeypatch):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.jsonl").write_text(json.dumps({"text": "def f(x): return x"}) + "\n")
    monkeypatch.chdir(folder)
    label(tiny, made, tmp_path / "one", place=Path("."))
    assert parquet.read_table(tmp_path / "one" / "texts.parquet").num_rows == 1
    (folder / "a.jsonl").write_text("")
    for _ in range(2):  # nor the second time, when the first has left its work
        with pytest.raises(PresightError, match="holds no documents"):
            label(tiny, made, tmp_path / "none", place=folder)


def test_documents_have_a_folder_a_source(tiny, made, tmp_path):
    out = label(tiny, made, tmp_path / "out", place=tiny.path(tiny.text))
    assert {path.name for path in out.iterdir()} == set(MEANING)
