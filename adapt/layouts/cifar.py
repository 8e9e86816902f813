"""CIFAR-10: the official Python batches (Krizhevsky 2009), or the test images that the BIG-bench package carries."""

from __future__ import annotations

import base64
import io
import json
import operator
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adapt.layouts import pickles
from adapt.layouts.entries import Collection, Entry, picture, wrong
from presight.errors import PresightError
from presight.packages.archive import CORRUPT

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST, META = "test_batch", "batches.meta"
FILES = (*TRAIN, TEST, META)
TASK = "cifar10_classification/base64/task.json"
LICENCES = ("none stated by its authors",)


def official(path: Path) -> Collection:
    """CIFAR-10 out of ``cifar-10-python.tar.gz``, which is not unpacked, or out of the folder it unpacks to.

    Images are uint8 [32, 32, 3]; items ``train-00000`` count through the batches in order.

    Raises:
        PresightError: a file is missing, damaged, or wants to run code.
    """
    files = _archived(path) if path.is_file() else _unpacked(path)
    if missing := [name for name in FILES if name not in files]:
        raise wrong(path, f"lacks {missing[0]}", "CIFAR-10 (Python version)")
    meta = pickles.load(files[META](), f"{path}: {META}")
    names = meta.get(b"label_names") if isinstance(meta, dict) else None
    if names != [name.encode() for name in CLASSES]:
        raise wrong(path, f"{META} does not name the ten classes", "CIFAR-10 (Python version)")
    entries: list[Entry] = []
    for name in (*TRAIN, TEST):
        split = "test" if name == TEST else "train"
        pixels, labels = _batch(pickles.load(files[name](), f"{path}: {name}"), f"{path}: {name}")
        first = 0 if name == TEST else len(entries)
        for row, label in enumerate(labels):
            load = partial(operator.getitem, pixels, row)
            entries.append(Entry(f"{split}-{first + row:05d}", label, load, split=split))
    return Collection("image", CLASSES, entries, licences=LICENCES)


def _batch(batch: Any, name: str) -> tuple[np.ndarray, list[int]]:
    """Pixels [n, 32, 32, 3] and labels of a batch, whose rows are three planes of 32 × 32."""
    data, labels = (batch.get(key) for key in (b"data", b"labels")) if isinstance(batch, dict) else (None, None)
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3 * SIDE * SIDE:
        raise PresightError(name, f"holds no `data` of {3 * SIDE * SIDE} bytes a row", "fetch the file again")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise PresightError(name, f"holds no `labels` for its {len(data)} images", "fetch the file again")
    if not all(isinstance(label, int) and 0 <= label < len(CLASSES) for label in labels):
        raise PresightError(name, f"holds labels beyond the {len(CLASSES)} classes", "fetch the file again")
    return data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), labels


def _unpacked(path: Path) -> dict[str, Callable[[], bytes]]:
    folder = next((each for each in (path, path / "cifar-10-batches-py") if (each / META).is_file()), path)
    return {name: (folder / name).read_bytes for name in FILES if (folder / name).is_file()}


def _archived(path: Path) -> dict[str, Callable[[], bytes]]:
    found: dict[str, Callable[[], bytes]] = {}
    for member, read in _members(path):
        _check(path, member)
        if member.isreg() and (name := posixpath.basename(member.name)) in FILES:
            found[name] = partial(bytes, read())
    return found


def _members(path: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """The members of a packed tar in its order, and what reads them; nothing is written anywhere."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                yield member, partial(_content, path, archive, member)
    except CORRUPT as error:
        raise PresightError(str(path), f"cannot be read as a tar ({error})", "fetch it again") from error


def _content(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > pickles.LARGEST:
        raise PresightError(str(path), f"{member.name} is {member.size} bytes long", "fetch it again")
    try:
        stream = archive.extractfile(member)
        return stream.read() if stream else b""
    except CORRUPT as error:
        raise PresightError(str(path), f"cannot be read as a tar ({error})", "fetch it again") from error


def _check(path: Path, member: tarfile.TarInfo) -> None:
    """Refuse a member that is no plain file or folder inside the archive."""
    climbs = member.name.startswith("/") or ".." in member.name.split("/")
    if climbs or not (member.isreg() or member.isdir()) or member.issparse():
        kind = "leads out of the archive" if climbs else "is a link or a device, not a file"
        raise PresightError(str(path), f"is refused: {member.name!r} {kind}", "fetch it from its authors again")


def bigbench(path: Path) -> Collection:
    """CIFAR-10's 10,000 test images out of the source package of ``bigbench`` 1.0.0, or its ``task.json``.

    They belong to no split, since all of them are test images: the splits are drawn. Get the package (358 MB) with
    ``pip download --no-deps --no-binary :all: bigbench==1.0.0``.

    Raises:
        PresightError: the task is missing or is not what its name says.
    """
    content = path.read_bytes() if path.name == "task.json" else _task(path)
    try:
        task = json.loads(content)["examples"]
        rows = [(each["input"], max(each["target_scores"], key=each["target_scores"].get)) for each in task]
        labels = [CLASSES.index(name) for _, name in rows]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PresightError(f"{path}: {TASK}", f"is not the task ({error!r})", "fetch the package again") from error
    entries = [
        Entry(f"test-{row:05d}", label, partial(_encoded, image))
        for row, ((image, _), label) in enumerate(zip(rows, labels, strict=True))
    ]
    return Collection("image", CLASSES, entries, licences=(*LICENCES, "Apache-2.0 (package)"))


def _task(path: Path) -> bytes:
    for member, read in _members(path):
        if member.name.endswith("/" + TASK):
            _check(path, member)
            return read()
    raise PresightError(str(path), f"holds no {TASK}", "give bigbench-1.0.0.tar.gz")


def _encoded(image: str) -> np.ndarray:
    return picture(io.BytesIO(base64.b64decode(image)), None)
