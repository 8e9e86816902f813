"""Package archives (``.deb``, ``.whl``, ``.zip``, ``.tar.*``) and folders, read in memory and never unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import posixpath
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from presight.errors import PresightError

MAX_BYTES = 2**31  # a package that unpacks to more than 2 GiB is a mistake or an attack
CORRUPT = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, ValueError, OSError, RuntimeError),  # the last: an encrypted zip, an unknown compression
)
AR_MAGIC, AR_HEADER = b"!<arch>\n", 60


class Archive:
    """The files of one archive by name, a read-only mapping that never touches the disk again.

    Names are POSIX paths without a leading ``./``. Names that are absolute or climb out (``..``) are dropped;
    symbolic and hard links are followed inside the archive and dropped when they leave it or point at a folder;
    of two members with one name the last counts, as it would after unpacking.

    Args:
        path: a ``.deb``, ``.whl``, ``.zip``, ``.tgz`` or ``.tar.{gz,xz,bz2,zst}`` file, or a folder.

    Raises:
        PresightError: the file is no such archive, is cut short, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._readers = dict(sorted(_index(path).items()))
        except CORRUPT as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> PresightError:
        reason = str(error) or type(error).__name__
        return PresightError(
            str(self.path), f"cannot be read as an archive ({reason})", "delete it and fetch it again"
        )

    def names(self) -> list[str]:
        """Names of the files, sorted."""
        return list(self._readers)

    def read(self, name: str) -> bytes:
        """Content of one member.

        Raises:
            PresightError: no such member, or its bytes are damaged.
        """
        if name not in self._readers:
            raise PresightError(str(self.path), f"holds no member {name!r}", "fetch the version that presight knows")
        try:
            return self._readers[name]()
        except CORRUPT as error:
            raise self._damaged(error) from error

    def members(self, patterns: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """``(name, content)`` of the members that match, sorted by name (see :func:`matcher`)."""
        wanted = matcher(patterns)
        return ((name, self.read(name)) for name in self._readers if wanted(name))


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A test for names: at least one pattern fits and no ``!pattern`` does.

    ``*`` and ``?`` stay within a folder; ``**/`` spans any number of folders, none included.
    """
    keep: list[str] = []
    drop: list[str] = []
    for pattern in patterns:
        parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("!"))
        wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        (drop if pattern.startswith("!") else keep).append("".join(wild.get(p, re.escape(p)) for p in parts))
    # an empty alternation would fit everything, hence the pattern that fits nothing
    yes, no = (re.compile("|".join(f"(?:{p})" for p in side) or r"(?!)", re.DOTALL) for side in (keep, drop))
    return lambda name: bool(yes.fullmatch(name)) and not no.fullmatch(name)


def _index(path: Path) -> dict[str, Callable[[], bytes]]:
    if path.is_dir():
        return dict(_folder(path))
    if path.name.endswith((".whl", ".zip")):
        archive = zipfile.ZipFile(path)
        infos = [i for i in archive.infolist() if _safe(i.filename) and not i.is_dir()]
        if sum(i.file_size for i in infos) > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
        return {i.filename: partial(archive.read, i) for i in infos}
    content = path.read_bytes()
    return _tar(_decompress(*_deb_data(content))) if path.suffix == ".deb" else _tar(_decompress(path.name, content))


def _folder(root: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Files of an installed Python, without what was installed into it (which may be large)."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in ("site-packages", "dist-packages", "__pycache__")]
        for path in (Path(folder, name) for name in files):
            if not path.is_symlink():
                yield path.relative_to(root).as_posix(), path.read_bytes


def _deb_data(content: bytes) -> tuple[str, bytes]:
    """Name and bytes of the ``data.tar.*`` in a Debian package (an ``ar`` archive)."""
    if not content.startswith(AR_MAGIC):
        raise ValueError("no ar archive")
    at = len(AR_MAGIC)
    while at + AR_HEADER <= len(content):
        header = content[at : at + AR_HEADER]
        name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        at += AR_HEADER
        if not 0 <= size <= len(content) - at:
            raise ValueError(f"{name} is cut short")
        if name.startswith("data.tar"):
            return name, content[at : at + size]
        at += size + size % 2
    raise ValueError("no data.tar inside")


def _decompress(name: str, content: bytes) -> bytes:
    """The plain tar. It is held in memory whole: the compressors cannot seek, and sorted order must."""
    if Path(name).suffix not in OPENERS:
        raise ValueError("its name ends like no known archive")
    with OPENERS[Path(name).suffix](io.BytesIO(content)) as stream:
        plain: bytes = stream.read(MAX_BYTES + 1)
    if len(plain) > MAX_BYTES:
        raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
    return plain


def _open_zstd(packed: io.BytesIO) -> Any:
    import pyarrow  # Python has no zstd of its own before 3.14

    return pyarrow.CompressedInputStream(pyarrow.BufferReader(packed.getvalue()), "zstd")


OPENERS: dict[str, Callable[[io.BytesIO], Any]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".xz": lzma.open,
    ".bz2": bz2.open,
    ".zst": _open_zstd,
    ".tar": lambda packed: packed,
}


def _tar(plain: bytes) -> dict[str, Callable[[], bytes]]:
    files: dict[str, tuple[int, int]] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        for member in archive:
            if member.size < 0:  # the next header would lie before this one, for ever
                raise ValueError(f"{member.name} has a negative size")
            if not _safe(member.name):
                continue
            name = posixpath.normpath(member.name)
            files.pop(name, None), links.pop(name, None)  # the last of two members with one name counts
            if member.isreg() and not member.issparse():
                if member.offset_data + member.size > len(plain):
                    raise ValueError(f"{name} is cut short")
                files[name] = (member.offset_data, member.size)
            elif member.issym():  # an absolute target means the root of the package; one outside is no file here
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)).lstrip("/")
            elif member.islnk():
                links[name] = posixpath.normpath(member.linkname)
    for name, target in links.items():
        for _ in range(8):  # chains end; loops must too
            if target in files:
                files[name] = files[target]
                break
            target = links.get(target, "")
    view = memoryview(plain)
    return {name: partial(bytes, view[at : at + size]) for name, (at, size) in files.items()}


def _safe(name: str) -> bool:
    return bool(name) and not name.startswith("/") and ".." not in name.split("/")
