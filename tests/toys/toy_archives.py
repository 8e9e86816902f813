"""Tiny archives in the layouts of the registries, written byte by byte."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

from presight.packages import Fetched, role


def tar(entries: dict[str, bytes | str]) -> bytes:
    """A tar; a text value is a symbolic link (``"-> target"``) or a hard link (``"= target"``)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, value in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(value, str):
                info.type = tarfile.SYMTYPE if value.startswith("->") else tarfile.LNKTYPE
                info.linkname = value.split(" ", 1)[1]
                archive.addfile(info)
            else:
                info.size = len(value)
                archive.addfile(info, io.BytesIO(value))
    return out.getvalue()


def compress(plain: bytes, kind: str) -> bytes:
    if kind == "zst":
        import pyarrow

        return pyarrow.compress(plain, codec="zstd", asbytes=True)
    return {"xz": lzma.compress, "gz": gzip.compress}[kind](plain)


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


def deb(path: Path, entries: dict[str, bytes | str], kind: str = "xz") -> Path:
    control = gzip.compress(tar({"./control": b"Package: toy\n"}))
    data = compress(tar({f"./{name}": value for name, value in entries.items()}), kind)
    path.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.gz": control, f"data.tar.{kind}": data}))
    return path


def wheel(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def tgz(path: Path, entries: dict[str, bytes | str]) -> Path:
    path.write_bytes(gzip.compress(tar(entries)))
    return path


def fetched(name: str, folder: Path, packages: dict[str, dict[str, bytes]]) -> Fetched:
    """What ``fetch`` would return if these members were all that the role's packages hold."""
    archives = {package: wheel(folder / f"{package}.whl", entries) for package, entries in packages.items()}
    assert archives.keys() <= role(name).sources.keys()
    return Fetched(name, archives, "0" * 64, dict.fromkeys(archives, "toy licence"))
