import json
import os
import platform

import pytest
import toy_archives as toy

from presight.errors import PresightError
from presight.packages import Package, Role, Source, cache, cache_root, cached, clients, fetch, fetch_all, manifest

SOURCES = {
    "toy-text": Source("plain", ("usr/share/*.txt",)),
    "toy-more": Source("plain", ("toy_more/*.txt", "!**/skip.txt")),
}
SHARED = {
    "toy-rest": Source("plain", ("*.txt",)),
    "toy-more": Source("plain", ("toy_more/skip.txt",), licence="other"),
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
    rest = toy.wheel(mirror / "toy_rest-1.0-py3-none-any.whl", {"d.txt": b"four"})
    known = cache.digest({"toy-text": debian, "toy-more": wheel}, SOURCES)
    packages = {
        "toy-text": Package("toy-text", "debian", ("1.0",), debian.stat().st_size, "MIT"),
        "toy-more": Package("toy-more", "pypi", ("2.0",), wheel.stat().st_size, "GPL"),
        "toy-rest": Package("toy-rest", "pypi", ("1.0",), rest.stat().st_size, "BSD"),
        "toy-gone": Package("toy-gone", "debian", ("1.0",), 7, "MIT"),
        "python": Package("python", "local", (platform.python_version(),), 0, "PSF"),
        "python-2": Package("python-2", "local", ("2.7.18",), 0, "PSF"),
    }
    here = {"python": Source("plain", ("here.py",))}
    stdlib = tmp_path / "stdlib"
    stdlib.mkdir()
    (stdlib / "here.py").write_text("pass")
    gone = {"toy-gone": Source("plain", ("*",))}
    old = {"python-2": here["python"]}
    installed = cache.digest({"python": stdlib}, here)
    shared = cache.digest({"toy-rest": rest, "toy-more": wheel}, SHARED)
    roles = {
        "text.toy": Role("text.toy", SOURCES, (known,), ("1.0",)),
        "text.shared": Role("text.shared", SHARED, (shared,), ("1.0",)),
        "text.gone": Role("text.gone", gone, (known,), ("1.0",)),
        "text.here": Role("text.here", SOURCES, (known, installed), ("1.0", "3"), local=here),
        "text.patched": Role("text.patched", SOURCES, (known,), ("1.0",), local=here),
        "text.old": Role("text.old", gone, (installed,), ("2.7.18",), local=old),
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


def test_the_running_python_is_preferred(world, monkeypatch):
    found = cached("text.here")
    assert list(found.members("python")) == [("here.py", b"pass")]
    assert fetch("text.here") == found
    assert not list((world / "cache" / "text.here").glob("*.deb"))
    monkeypatch.setattr(cache.platform, "python_version", lambda: "3.99")
    assert cached("text.here") is None  # what is recorded is another interpreter's
    downloaded = fetch("text.here")
    assert downloaded.archives.keys() == SOURCES.keys()
    assert cached("text.here") == downloaded
    monkeypatch.undo()
    monkeypatch.setenv("PRESIGHT_CACHE", str(world / "cache"))


def test_a_python_that_is_not_known_is_passed_over(world):
    assert cached("text.patched") is None  # its version is known, its content is not
    assert fetch("text.patched").archives.keys() == SOURCES.keys()
    with pytest.raises(PresightError, match=r"apt-get is needed.*or use Python 2\.7\.18"):
        fetch("text.old")


def test_roles_share_archives(world, monkeypatch):
    first = fetch("text.toy")
    assert cached("text.shared") is None
    seen = []
    found = fetch("text.shared", lambda *report: seen.append(report[2]))
    assert found.archives["toy-more"] == first.archives["toy-more"]
    assert list(found.archives) == ["toy-rest", "toy-more"]  # in the manifest's order, however they came
    assert found.licences == {"toy-rest": "BSD", "toy-more": "other"}
    assert set(seen) == {"toy-rest"}
    assert list(found.members("toy-more")) == [("toy_more/skip.txt", b"not read")]
    monkeypatch.setattr(cache, "digest", None)
    assert cached("text.shared") == found
    assert cached("text.toy") == first


def test_a_damaged_archive_of_another_role_is_fetched_again(world):
    path = fetch("text.toy").archives["toy-more"]
    path.write_bytes(path.read_bytes()[:-50])
    found = fetch("text.shared")
    assert found.archives["toy-more"].parent.name == "text.shared"
    assert fetch("text.toy")
    assert cached("text.shared") == found


def test_shared_packages_are_counted_once(world):
    seen = []
    have, _ = fetch_all(["text.toy", "text.shared"], lambda *report: seen.append(report))
    assert have.keys() == {"text.toy", "text.shared"}
    known = manifest.packages()
    total = sum(known[name].bytes for name in ("toy-text", "toy-more", "toy-rest"))
    assert {report[1] for report in seen} == {total}
    done = [report[0] for report in seen]
    assert done == sorted(done)
    assert done[-1] == total


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
@pytest.mark.parametrize("name", ["text.literature", "text.visual", "text.code", "text.law", "model.language"])
def test_real_packages(name):
    try:
        found = fetch(name)
    except PresightError as error:
        pytest.skip(f"neither cached nor reachable: {error}")
    assert found.digest in manifest.role(name).digests
    assert all(list(found.members(package)) for package in found.archives)
