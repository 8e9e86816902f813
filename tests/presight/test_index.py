import hashlib
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presight import index
from presight.errors import PresightError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "index.json"


def fill(folder, content):
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


CONTENT = {"a.txt": "one", "deep/b.txt": "two", "deep/er/c": ""}


def slow(folder):
    total = hashlib.sha256()
    for name in sorted(CONTENT):
        data = (folder / name).read_bytes()
        total.update(f"{name}\0{len(data)}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    return total.hexdigest()


def test_content_not_place(tmp_path):
    one, two = fill(tmp_path / "one", CONTENT), fill(tmp_path / "elsewhere" / "two", dict(reversed(CONTENT.items())))
    assert index.content(one) == index.content(two) == slow(one)
    os.utime(two / "a.txt", (0, 0))
    fill(two, {".hidden": "x", "deep/.git/config": "x"})
    assert index.content(two) == slow(one)


@pytest.mark.parametrize(
    "change",
    [{"a.txt": "One"}, {"a.txt": "longer"}, {"new": ""}, {"deep/er/c": "x"}],
)
def test_every_change_is_seen(tmp_path, change):
    folder = fill(tmp_path / "one", CONTENT)
    before = index.content(folder)
    fill(folder, change)
    assert index.content(folder) != before


def test_renames_and_moves_between_files_are_seen(tmp_path):
    folder = fill(tmp_path / "one", CONTENT)
    before = index.content(folder)
    (folder / "a.txt").rename(folder / "z.txt")
    renamed = index.content(folder)
    assert renamed != before
    (folder / "z.txt").write_text("two")
    (folder / "deep" / "b.txt").write_text("one")
    assert index.content(folder) not in (before, renamed)


def test_a_file_by_its_name_and_bytes(tmp_path):
    fill(tmp_path, {"x/data": "1", "y/data": "1", "y/other": "1"})
    assert index.content(tmp_path / "x" / "data") == index.content(tmp_path / "y" / "data")
    assert index.content(tmp_path / "y" / "other") != index.content(tmp_path / "y" / "data")
    assert index.content(tmp_path / "x") == index.content(tmp_path / "x" / "data")


def test_unchanged_files_are_not_read_again(tmp_path, cache, monkeypatch):
    folder = fill(tmp_path / "one", CONTENT)
    before = index.content(folder)
    assert len(json.loads(cache.read_text())) == 3
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: read.append(file.name) or digest(file, kind))
    assert index.content(folder) == before
    assert read == []
    (folder / "a.txt").write_text("other")
    assert index.content(folder) != before
    assert read == [str(folder / "a.txt")]
    assert [path.name for path in cache.parent.iterdir()] == ["index.json"]


@pytest.mark.parametrize("broken", ["", "{", "[]", "[1]", "3"])
def test_a_broken_memory_is_forgotten(tmp_path, cache, broken):
    folder = fill(tmp_path / "one", CONTENT)
    before = index.content(folder)
    cache.write_text(broken)
    assert index.content(folder) == before


@pytest.mark.parametrize("what", ["missing", "empty", "hidden"])
def test_nothing_there(tmp_path, what):
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "hidden", {".x": "1"})
    with pytest.raises(PresightError) as caught:
        index.content(tmp_path / what)
    assert str(caught.value) == f"{tmp_path / what}: holds no files; give a file or a folder with files in it."


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.text("xy", max_size=3), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_different_content_has_different_digests(tmp_path_factory, content):
    one, two = (fill(tmp_path_factory.mktemp("x"), content) for _ in range(2))
    assert index.content(one) == index.content(two)
    name = min(content)
    fill(two, {name: content[name] + "z"})
    assert index.content(one) != index.content(two)
