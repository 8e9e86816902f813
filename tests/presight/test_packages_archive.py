from contextlib import suppress
from fnmatch import fnmatchcase

import pytest
import toy_archives as toy
from hypothesis import given, settings
from hypothesis import strategies as st

from presight.errors import PresightError
from presight.packages import Archive
from presight.packages.archive import matcher

FILES = {"usr/share/b.txt": b"two", "usr/share/a.txt": b"one", "usr/lib/deep/er/c.py": b"three"}


@pytest.mark.parametrize("kind", ["xz", "gz", "zst"])
def test_deb(tmp_path, kind):
    archive = Archive(toy.deb(tmp_path / "toy_1.0_all.deb", FILES, kind))
    assert archive.names() == sorted(FILES)
    assert archive.read("usr/share/a.txt") == b"one"
    assert list(archive.members(["usr/share/*.txt"])) == [("usr/share/a.txt", b"one"), ("usr/share/b.txt", b"two")]


@pytest.mark.parametrize("build", [toy.wheel, toy.tgz])
def test_wheel_and_tgz(tmp_path, build):
    path = tmp_path / ("toy-1.0-py3-none-any.whl" if build is toy.wheel else "toy-1.0.tgz")
    archive = Archive(build(path, FILES))
    assert {name: archive.read(name) for name in archive.names()} == FILES


def test_folder_leaves_out_what_was_installed_and_links(tmp_path):
    for name in ("a.py", "pack/b.py", "site-packages/c.py", "__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link.py").symlink_to("/etc/hostname")
    assert Archive(tmp_path).names() == ["a.py", "pack/b.py"]
    assert Archive(tmp_path).read("pack/b.py") == b"pack/b.py"


def test_names_never_climb_out(tmp_path):
    evil = {"../up.txt": b"x", "/etc/passwd": b"x", "a/../../b": b"x", "fine.txt": b"ok"}
    assert Archive(toy.tgz(tmp_path / "t.tgz", evil)).names() == ["fine.txt"]
    assert Archive(toy.wheel(tmp_path / "t.whl", evil)).names() == ["fine.txt"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["t.tgz", "t.whl"]


def test_links_stay_inside(tmp_path):
    entries = {
        "usr/real.txt": b"real",
        "usr/hard.txt": "= usr/real.txt",
        "usr/near": "-> real.txt",
        "usr/lib/far": "-> ../near",
        "opt/rooted": "-> /usr/real.txt",
        "usr/out": "-> ../../../etc/passwd",
        "usr/etc": "-> /etc/passwd",
        "usr/loop": "-> loop",
        "usr/ping": "-> pong",
        "usr/pong": "-> ping",
    }
    archive = Archive(toy.tgz(tmp_path / "t.tgz", entries))
    assert archive.names() == ["opt/rooted", "usr/hard.txt", "usr/lib/far", "usr/near", "usr/real.txt"]
    assert {archive.read(name) for name in archive.names()} == {b"real"}


def test_last_of_two_members_with_one_name_counts(tmp_path):
    plain = toy.tar({"a.txt": b"old"})[:1024] + toy.tar({"./a.txt": b"new"})
    (tmp_path / "t.tar").write_bytes(plain)
    assert Archive(tmp_path / "t.tar").read("a.txt") == b"new"


def test_unknown_member_and_absent_file(tmp_path):
    archive = Archive(toy.tgz(tmp_path / "t.tgz", FILES))
    with pytest.raises(PresightError, match="holds no member 'nope'"):
        archive.read("nope")
    with pytest.raises(PresightError, match="cannot be read"):
        Archive(tmp_path / "absent.deb")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.deb", b""),
        ("a.deb", b"!<arch>\n"),
        ("a.deb", b"!<arch>\n" + b"x" * 60),
        ("a.deb", toy.ar({"data.tar.xz": b"no xz"})),
        ("a.deb", toy.ar({"data.tar.lzma": b"?"})),
        ("a.deb", b"!<arch>\n" + f"{'x':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{-60:<10}`\n".encode()),
        ("a.whl", b"PK"),
        ("a.tgz", b"\x1f\x8b\x08"),
        ("a.exe", b"MZ"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PresightError, match=r"cannot be read as an archive.*fetch it again"):
        Archive(tmp_path / name)


@pytest.mark.parametrize("kind", ["xz", "gz", "zst"])
def test_truncation_is_never_overlooked(tmp_path, kind):
    whole = toy.deb(tmp_path / "toy.deb", {"a": bytes(range(256)) * 40}, kind).read_bytes()
    for keep in range(0, len(whole) - 1, max(1, len(whole) // 40)):  # without its last byte: the padding of ar
        (tmp_path / "cut.deb").write_bytes(whole[:keep])
        with pytest.raises(PresightError):
            Archive(tmp_path / "cut.deb")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_a_presight_error_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from(["xz", "gz", "zst", "whl", "tar"]))
    if kind == "whl":
        path = toy.wheel(folder / "t.whl", FILES)
    elif kind == "tar":
        path = folder / "t.tar"
        path.write_bytes(toy.tar(FILES))
    else:
        path = toy.deb(folder / "t.deb", FILES, kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(PresightError):
        archive = Archive(path)
        for name in archive.names():
            archive.read(name)


def slow_match(name: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return slow_match(name, pattern[1:]) or (bool(name) and len(name) > 1 and slow_match(name[1:], pattern))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and slow_match(name[1:], pattern[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "ab", "a.py"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["**", "*", "a", "a*", "*.py", "?b", "b"]), max_size=3),
    st.sampled_from(["*", "a", "*.py", "ab"]),
)
def test_patterns_agree_with_a_slow_matcher(name, folders, last):
    assert matcher(["/".join([*folders, last])])("/".join(name)) == slow_match(name, [*folders, last])


def test_exclusions_win():
    wanted = matcher(["**/*.py", "!**/test/**", "!x.py"])
    assert [wanted(n) for n in ("a.py", "x.py", "b/x.py", "test/a.py", "b/test/c/a.py", "b/tests.py", "a.txt")] == [
        *(True, False, True, False, False, True, False)
    ]
    assert not matcher([])("a")
