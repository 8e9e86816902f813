import dataclasses
import sys
import threading
from pathlib import Path

import pytest
import toy_archives as toy

from presight.errors import PresightError
from presight.packages import Package, clients
from presight.packages.archive import Archive
from presight.packages.clients import download, find

DEB = Package("toy-data", "debian", ("1:2.0-1", "1.0-1"), 100, "MIT")
WHEEL = Package("toy.pack-age", "pypi", ("1.2",), 100, "MIT")
SDIST = dataclasses.replace(WHEEL, form="sdist")
NPM = Package("@toy/data", "npm", ("3.0.0",), 100, "MIT")


def client(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    """A PATH on which nothing lies but what a test puts there (and the shell's tools)."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv(clients.MIRROR, raising=False)
    return tmp_path / "bin"


def nothing_is_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_apt_falls_back_to_older_versions(tmp_path, path):
    source = toy.deb(tmp_path / "source", {"a": b"x"})
    client(
        path,
        "apt-get",
        f"""echo "$@" >> {tmp_path}/calls
case "$*" in
  *toy-data=1.0-1) /bin/cp {source} toy-data_1.0-1_all.deb;;
  *) echo "E: Version '2.0' for 'toy-data' was not found"; exit 100;;
esac""",
    )
    got = download(DEB, tmp_path / "cache")
    assert got == tmp_path / "cache" / "toy-data_1.0-1_all.deb"
    assert Archive(got).read("a") == b"x"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["download", "download"]
    assert calls[0].endswith("toy-data=1:2.0-1")
    assert [p.name for p in got.parent.iterdir()] == [got.name]


def test_apt_takes_any_version_last(tmp_path, path):
    client(path, "apt-get", 'case "$*" in *toy-data=*) exit 100;; *) echo x > toy-data_9.9_all.deb;; esac')
    assert download(DEB, tmp_path / "cache").name == "toy-data_9.9_all.deb"


@pytest.mark.parametrize("said", ["Unable to locate package toy-data", "Can't find a source to download version"])
def test_empty_apt_lists_name_apt_get_update(tmp_path, path, said):
    client(path, "apt-get", f'echo "Reading package lists..."; echo "E: {said}" >&2; exit 100')
    with pytest.raises(PresightError, match=r"packages\.toy-data.*run `apt-get update`.*PRESIGHT_MIRROR") as caught:
        download(DEB, tmp_path / "cache")
    assert "toy-data_1:2.0-1" not in str(caught.value)
    assert "toy-data_1%3a2.0-1_*.deb" in str(caught.value)
    assert nothing_is_left(tmp_path / "cache")


@pytest.mark.parametrize(("package", "named"), [(DEB, "apt-get is needed"), (NPM, "npm is needed")])
def test_missing_client(tmp_path, package, named):
    with pytest.raises(PresightError, match=rf"{named}.*PRESIGHT_MIRROR"):
        download(package, tmp_path / "cache")
    assert nothing_is_left(tmp_path / "cache")


def test_missing_pip(tmp_path):
    with pytest.raises(PresightError, match=r"pip is needed.*ensurepip"):
        download(WHEEL, tmp_path / "cache", run=lambda *_: (1, f"{sys.executable}: No module named pip\n"))


def test_npm_packs(tmp_path, path):
    source = toy.tgz(tmp_path / "source.tgz", {"package/data.json": b"{}"})
    client(path, "npm", f'[ "$*" = "pack --silent @toy/data@3.0.0" ] && /bin/cp {source} toy-data-3.0.0.tgz')
    assert Archive(download(NPM, tmp_path / "cache")).names() == ["package/data.json"]


@pytest.mark.parametrize(
    ("package", "only", "file"),
    [
        (WHEEL, "--only-binary", "toy_pack_age-1.2-py3-none-any.whl"),
        (SDIST, "--no-binary", "toy.pack-age-1.2.tar.gz"),
        (SDIST, "--no-binary", "toy_pack_age-1.2.tar.gz"),
    ],
)
def test_pip_downloads_exactly_one_archive(tmp_path, package, only, file):
    seen, ticks = [], []

    def run(command, folder, tick):
        seen.append(command)
        (folder / file).write_bytes(b"x")
        tick(1)
        return 0, ""

    assert download(package, tmp_path / "cache", ticks.append, run).name == file
    (command,) = seen
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[command.index(only) + 1] == ":all:"
    assert {"--no-deps", "--disable-pip-version-check", "toy.pack-age==1.2"} <= set(command)
    assert ticks == [1]


def test_failure_quotes_the_client(tmp_path):
    said = "WARNING: slow\nERROR: No matching distribution found for toy\nhint\n"
    with pytest.raises(PresightError, match=r"it said: ERROR: No matching distribution.*check the network"):
        download(WHEEL, tmp_path / "cache", run=lambda *_: (1, said))


def test_success_without_a_file_is_a_failure(tmp_path):
    with pytest.raises(PresightError, match="could not fetch it"):
        download(WHEEL, tmp_path / "cache", run=lambda *_: (0, ""))


def test_mirror_comes_first(tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "toy_pack_age-1.2-py3-none-any.whl").write_bytes(b"mirrored")
    monkeypatch.setenv(clients.MIRROR, str(mirror))

    def run(*_):
        raise AssertionError("the mirror has it")

    got = download(WHEEL, tmp_path / "cache", run=run)
    assert got.read_bytes() == b"mirrored"
    assert (mirror / got.name).exists()
    with pytest.raises(AssertionError, match="the mirror has it"):
        download(DEB, tmp_path / "cache", run=run)
    monkeypatch.setenv(clients.MIRROR, str(tmp_path / "absent"))
    with pytest.raises(PresightError, match=r"PRESIGHT_MIRROR: .*absent' is not a folder"):
        download(WHEEL, tmp_path / "cache")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError("disk full")])
def test_interrupted_download_leaves_nothing(tmp_path, fault):
    def run(command, folder, tick):
        (folder / "toy_pack_age-1.2-py3-none-any.whl").write_bytes(b"half")
        raise fault

    with pytest.raises((KeyboardInterrupt, OSError)):
        download(WHEEL, tmp_path / "cache", run=run)
    assert nothing_is_left(tmp_path / "cache")
    scratch = tmp_path / "cache" / ".toy.pack-age-killed"  # as after SIGKILL
    scratch.mkdir()
    (scratch / "toy_pack_age-1.2-py3-none-any.whl").write_bytes(b"half")
    assert find(WHEEL, tmp_path / "cache") is None


def test_two_at_once_do_not_disturb_each_other(tmp_path):
    both = threading.Barrier(2)
    got = []

    def run(command, folder, tick):
        file = folder / "toy_pack_age-1.2-py3-none-any.whl"
        file.write_bytes(b"first half, ")
        both.wait(10)
        with file.open("ab") as out:
            out.write(b"second half")
        both.wait(10)
        return 0, ""

    threads = [threading.Thread(target=lambda: got.append(download(WHEEL, tmp_path / "c", run=run))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] == got[1]
    assert [p.read_bytes() for p in (tmp_path / "c").iterdir()] == [b"first half, second half"]


def test_preferred_version_is_found_first(tmp_path):
    for name in ("toy-data_9_all.deb", "toy-data_1.0-1_all.deb", "toy-data-more_1_all.deb"):
        (tmp_path / name).touch()
    assert find(DEB, tmp_path).name == "toy-data_1.0-1_all.deb"
    (tmp_path / "toy-data_1%3a2.0-1_amd64.deb").touch()
    assert find(DEB, tmp_path).name == "toy-data_1%3a2.0-1_amd64.deb"


def test_running_client_reports_what_has_arrived(tmp_path, path):
    client(path, "slow", "echo 0123456789 > part; /bin/sleep 0.5; echo said; echo wrong >&2; exit 3")
    ticks = []
    assert clients.run_client(["slow"], tmp_path / "bin", ticks.append) == (3, "said\nwrong\n")
    assert ticks[0] >= 11
