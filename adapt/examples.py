"""Labelled images and sounds as webdataset shards with an index: the format ``examples``."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from adapt import pixels, records
from presight.errors import EXIT_DATA, PresightError

INDEX = "examples.json"
SPLITS = ("train", "validation", "test")
SHARD_ITEMS = 1000
HOPELESS = 100  # broken ones without a single whole one: a wrong folder need not cost hours
END = bytes(2 * records.BLOCK)  # of a tar


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled input: uint8 [H, W] or [H, W, 3] pixels, or float32 [T] samples within −1 … 1.

    ``label`` is a class, or the classes that are present where there may be several or none. ``cluster`` names what it
    shares with others (a recording, an instrument): intervals resample clusters. ``extra`` is kept beside them.
    """

    item: str
    data: npt.NDArray[Any]
    label: int | tuple[int, ...]
    cluster: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """An input that cannot be read, and why: counted and named where an example would have stood."""

    item: str
    why: str


@dataclass(frozen=True, slots=True)
class Examples:
    """Some examples of a split in memory."""

    data: npt.NDArray[Any]  # uint8 [N, H, W(, 3)] or float32 [N, T]
    labels: npt.NDArray[Any]  # int64 [N], or bool [N, classes] where an example may have several
    items: tuple[str, ...]
    clusters: tuple[str, ...]
    extras: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


def write(
    out: Path,
    splits: Mapping[str, Iterable[Example | Broken]],
    modality: str,
    classes: list[str],
    rate: int | None = None,
    patch: int | None = None,
    multilabel: bool = False,
    tolerance: float = 0.0,
    shard: int | None = None,
) -> None:
    """Write the shards of every split, where each record lies in them, and ``examples.json``.

    The bytes depend on the arguments alone.

    Args:
        out: the artifact's folder.
        splits: examples by split, and broken ones in their place.
        modality: ``image`` or ``sound``.
        classes: names, by label.
        rate: samples a second, of sounds.
        patch: how long a token is unless a stage says otherwise: side in pixels, or samples.
        multilabel: whether an example may have several labels, or none.
        tolerance: share of a split that may be broken; 0: the first one stops.
        shard: examples of a shard; default 1,000.

    Raises:
        PresightError: too many are broken, or an example differs in shape from the first.
    """
    writer = _Writer(out, modality, len(classes), rate, multilabel, tolerance, shard or SHARD_ITEMS)
    described = {split: writer.split(split, examples) for split, examples in splits.items()}
    index = {
        "modality": modality,
        "classes": classes,
        "rate": rate,
        "patch": patch,
        "multilabel": multilabel,
        "splits": described,
    }
    (out / INDEX).write_text(json.dumps(index, indent=1))
    (out / "counts.json").write_text(json.dumps({split: each["items"] for split, each in described.items()}))


def index(folder: Path) -> dict[str, Any]:
    """The index of an ``examples`` artifact."""
    return {"multilabel": False, **json.loads((folder / INDEX).read_text())}


def places(split: str) -> str:
    """The file that says where a split's records lie: int64 [N, 3], number of shard, offset and length in bytes."""
    return f"{split}.index.npy"


def read(folder: Path, split: str, limit: int | None = None) -> Examples:
    """Read a split, or its first ``limit`` examples.

    Raises:
        PresightError: the split is empty; or a shard cannot be read, or holds another number of examples than the
            index says (exit code 87).
    """
    import webdataset

    described = index(folder)
    shards = [str(folder / name) for name in described["splits"][split]["shards"]]
    expected = described["splits"][split]["items"]
    wanted = expected if limit is None else min(limit, expected)
    if not wanted:
        raise PresightError(f"{folder}/{split}", "holds no examples", "give it some")
    found: list[Example] = []
    try:
        for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False):
            found.append(decode(sample, described))
            if len(found) == limit:
                break
    except Exception as error:
        raise damaged(folder, split, f"cannot be read ({error})") from error
    if len(found) != wanted:
        raise damaged(folder, split, f"holds {len(found)} examples where its index says {expected}")
    return stacked(found, described)


def decode(sample: Mapping[str, Any], described: Mapping[str, Any]) -> Example:
    """An example from the members of its record; ``described`` is the artifact's index."""
    extra = json.loads(sample["json"])
    data = pixels.decode(sample["png"]) if described["modality"] == "image" else _samples(sample["wav"])
    label = tuple(extra.pop("labels")) if described["multilabel"] else int(sample["cls"])
    return Example(extra.pop("item"), data, label, extra.pop("cluster"), extra)


def stacked(found: list[Example], described: Mapping[str, Any]) -> Examples:
    """Examples, at least one, as arrays."""
    if described["multilabel"]:
        labels = np.zeros((len(found), len(described["classes"])), dtype=bool)
        for row, each in enumerate(found):
            labels[row, list(each.label)] = True  # type: ignore[arg-type]
    else:
        labels = np.array([each.label for each in found], dtype=np.int64)
    items, clusters = (tuple(getattr(each, name) for each in found) for name in ("item", "cluster"))
    return Examples(np.stack([each.data for each in found]), labels, items, clusters, tuple(e.extra for e in found))


def damaged(folder: Path, split: str, problem: str) -> PresightError:
    """The error of a split that is not what it was when it was written."""
    return PresightError(f"{folder}/{split}", problem, "delete the artifact and run again", EXIT_DATA)


class _Writer:
    """Writes splits; what it knows of the first example holds for all."""

    def __init__(
        self, out: Path, modality: str, classes: int, rate: int | None, multilabel: bool, tolerance: float, shard: int
    ) -> None:
        self.out, self.modality, self.classes, self.rate = out, modality, classes, rate
        self.multilabel, self.tolerance, self.shard = multilabel, tolerance, shard
        self.shape: tuple[int, ...] | None = None

    def split(self, split: str, examples: Iterable[Example | Broken]) -> dict[str, Any]:
        """Write a split's shards and places; what the index says of it."""
        names: list[str] = []
        rows: list[tuple[int, int, int]] = []
        broken: list[Broken] = []
        per_class = [0] * self.classes
        file: BinaryIO | None = None
        try:
            for example in examples:
                if isinstance(example, Broken):
                    broken.append(example)
                    if not self.tolerance or (len(broken) >= HOPELESS and not rows):
                        raise self._too_many(split, broken, len(rows))
                    continue
                if len(rows) % self.shard == 0:
                    if file:
                        file.write(END)
                        file.close()
                    names.append(f"{split}-{len(names):06d}.tar")
                    file = (self.out / names[-1]).open("wb")
                assert file
                record = self._record(f"{len(rows):08d}", example)
                rows.append((len(names) - 1, file.tell(), len(record)))
                file.write(record)
                for label in example.label if isinstance(example.label, tuple) else (example.label,):
                    per_class[label] += 1
            if file:
                file.write(END)
        finally:
            if file:
                file.close()
        if len(broken) > self.tolerance * (len(rows) + len(broken)):
            raise self._too_many(split, broken, len(rows))
        np.save(self.out / places(split), np.array(rows, dtype=np.int64).reshape(-1, 3))
        skipped = [[each.item, each.why] for each in broken]
        return {"items": len(rows), "per_class": per_class, "shards": names, "skipped": skipped}

    def _record(self, key: str, example: Example) -> bytes:
        self.shape = self.shape or example.data.shape
        if example.data.shape != self.shape:
            problem = f"has shape {list(example.data.shape)} where the first has {list(self.shape)}"
            raise PresightError(example.item, problem, "set `side` or `seconds`, so that all are alike")
        extra: dict[str, Any] = {"item": example.item, "cluster": example.cluster, **example.extra}
        members = {"cls": str(example.label).encode()}
        if self.multilabel:
            members, extra["labels"] = {}, example.label
        members["json"] = json.dumps(extra).encode()
        if self.modality == "image":
            members["png"] = pixels.encode(example.data)
        else:
            members["wav"] = _wav(example.data, self.rate or 0)
        return records.pack(key, members)

    def _too_many(self, split: str, broken: list[Broken], whole: int) -> PresightError:
        named = "; ".join(f"{each.item} ({each.why})" for each in broken[:3])
        problem = f"{len(broken)} of {len(broken) + whole} cannot be read: {named}"
        return PresightError(split, problem, "repair or remove them, or raise `tolerance`")


def _wav(samples: npt.NDArray[np.float32], rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _samples(encoded: bytes) -> npt.NDArray[np.float32]:
    import soundfile

    return np.asarray(soundfile.read(io.BytesIO(encoded), dtype="float32")[0])
