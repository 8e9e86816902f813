"""Text of the sample data: the packages of a role, or of several, as plain documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from corpus.sources.readers import READERS
from presight.errors import PresightError
from presight.packages import Fetched
from presight.packages import role as manifest_role


@dataclass(frozen=True)
class Document:
    """One text.

    A segment of the published labels is ``text[2000 * k : 2000 * (k + 1)]``, known by the first 16 hex digits of its
    SHA-256.

    Args:
        id: ``package/member`` or ``package/member#piece``, stable across runs and machines.
        text: stripped, never empty.
        metadata: ``role``, ``package``, ``member``, ``licence``.
    """

    id: str
    text: str
    metadata: dict[str, str] = field(default_factory=dict)


def documents(role: str, fetched: Fetched) -> Iterator[Document]:
    """The documents of a role, in a fixed order.

    Args:
        role: a text role of the manifest, ``text.web``.
        fetched: its data (:func:`presight.packages.fetch`).

    Raises:
        PresightError: the role has no text, or an archive is damaged.
    """
    for pool in _pools(role, fetched):
        yield from pool


def take(fetched: Iterable[Fetched], limit_bytes: int) -> Iterator[Document]:
    """A fair sample of several roles: packages take turns by bytes of UTF-8 until ``limit_bytes`` are given.

    Each package gives its documents in the order of their ids' hashes, so a smaller limit gives a prefix.

    Raises:
        PresightError: a role has no text, or an archive is damaged.
    """
    return _spread([list(pool) for each in fetched for pool in _pools(each.role, each)], limit_bytes)


def _pools(role: str, fetched: Fetched) -> list[Iterator[Document]]:
    sources = {package: manifest_role(role).source(package) for package in fetched.archives}
    if strange := [source.reader for source in sources.values() if source.reader not in READERS]:
        raise PresightError("role", f"{role!r} holds no text (its reader is {strange[0]})", "name a text role")
    return [_read(role, fetched, package, source.reader) for package, source in sources.items()]


def _read(role: str, fetched: Fetched, package: str, reader: str) -> Iterator[Document]:
    about = {"role": role, "package": package, "licence": fetched.licences[package]}
    for name, text in READERS[reader](fetched.members(package)):
        if text := text.strip():
            yield Document(f"{package}/{name}", text, about | {"member": name.partition("#")[0]})


def _spread(pools: list[list[Document]], limit_bytes: int) -> Iterator[Document]:
    queues = [sorted(pool, key=lambda d: hashlib.sha256(d.id.encode()).digest(), reverse=True) for pool in pools]
    taken = [0] * len(queues)
    while sum(taken) < limit_bytes and any(queues):
        turn = min((i for i, queue in enumerate(queues) if queue), key=lambda i: (taken[i], i))
        document = queues[turn].pop()
        taken[turn] += len(document.text.encode())
        yield document
