"""Labelled images and sounds as webdataset shards with an index: the format ``examples``."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from presight.errors import EXIT_DATA, PresightError

INDEX = "examples.json"
SPLITS = ("train", "validation", "test")
SHARD_ITEMS = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled input: uint8 [H, W] or [H, W, 3] pixels, or float32 [T] samples within −1 … 1.

    ``cluster`` names what it shares with others (a recording, an instrument): intervals resample clusters.
    """

    item: str
    data: npt.NDArray[Any]
    label: int
    cluster: str


@dataclass(frozen=True, slots=True)
class Examples:
    """A split in memory, in the order of its shards."""

    data: npt.NDArray[Any]  # uint8 [N, H, W(, 3)] or float32 [N, T]
    labels: npt.NDArray[np.int64]
    items: tuple[str, ...]
    clusters: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def write(
    out: Path,
    splits: Mapping[str, Iterable[Example]],
    modality: str,
    classes: list[str],
    rate: int | None = None,
    patch: int | None = None,
) -> None:
    """Write the shards of every split and ``examples.json``; the bytes depend on the arguments alone.

    Args:
        out: the artifact's folder.
        splits: examples by split.
        modality: ``image`` or ``sound``.
        classes: names, by label.
        rate: samples a second, of sounds.
        patch: how long a token is unless a stage says otherwise: side in pixels, or samples.
    """
    import webdataset

    described = {}
    for split, examples in splits.items():
        names: list[str] = []
        writer: Any = None
        count = 0
        per_class = [0] * len(classes)
        for example in examples:
            if count % SHARD_ITEMS == 0:
                if writer:
                    writer.close()
                names.append(f"{split}-{len(names):06d}.tar")
                writer = webdataset.TarWriter(str(out / names[-1]), mtime=0, user="presight", group="presight")
            encoded = {"png": _png(example.data)} if modality == "image" else {"wav": _wav(example.data, rate or 0)}
            extra = json.dumps({"item": example.item, "cluster": example.cluster}).encode()
            writer.write({"__key__": f"{count:08d}", "cls": str(example.label).encode(), "json": extra, **encoded})
            per_class[example.label] += 1
            count += 1
        if writer:
            writer.close()
        described[split] = {"items": count, "per_class": per_class, "shards": names}
    index = {"modality": modality, "classes": classes, "rate": rate, "patch": patch, "splits": described}
    (out / INDEX).write_text(json.dumps(index, indent=1))
    (out / "counts.json").write_text(json.dumps({split: each["items"] for split, each in described.items()}))


def index(folder: Path) -> dict[str, Any]:
    """The index of an ``examples`` artifact."""
    return dict(json.loads((folder / INDEX).read_text()))


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
    data, labels, items, clusters = [], [], [], []
    try:
        for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False):
            extra = json.loads(sample["json"])
            data.append(_pixels(sample["png"]) if described["modality"] == "image" else _samples(sample["wav"]))
            labels.append(int(sample["cls"]))
            items.append(extra["item"])
            clusters.append(extra["cluster"])
            if len(labels) == limit:
                break
    except Exception as error:
        raise PresightError(
            f"{folder}/{split}", f"cannot be read ({error})", "delete the artifact and run again", EXIT_DATA
        ) from error
    if len(labels) != wanted:
        raise PresightError(
            f"{folder}/{split}",
            f"holds {len(labels)} examples where its index says {expected}",
            "delete the artifact and run again",
            EXIT_DATA,
        )
    return Examples(np.stack(data), np.array(labels, dtype=np.int64), tuple(items), tuple(clusters))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def _pixels(encoded: bytes) -> npt.NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encoded)))


def _wav(samples: npt.NDArray[np.float32], rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _samples(encoded: bytes) -> npt.NDArray[np.float32]:
    import soundfile

    return np.asarray(soundfile.read(io.BytesIO(encoded), dtype="float32")[0])
