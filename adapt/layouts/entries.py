"""What a layout holds: entries with labels and places in a split, read one by one when they are written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from adapt.examples import SPLITS, Broken, Example
from adapt.sounds import Audio, resample
from presight.console import progress
from presight.errors import PresightError


@dataclass(frozen=True, slots=True)
class Entry:
    """One image or recording of a collection, not read yet.

    Args:
        item: its name, unlike all others.
        label: its class, or its classes in a collection where there may be several.
        load: reads it: uint8 [H, W] or [H, W, 3], or float32 [T] with samples a second. What it raises is the reason
            why the entry is broken.
        cluster: what it shares with others, if anything; a split made here keeps it on one side.
        split: ``train``, ``validation`` or ``test`` where the collection says so, else empty.
    """

    item: str
    label: int | tuple[int, ...]
    load: Callable[[], Any]
    cluster: str = ""
    split: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """All entries of a collection.

    Args:
        modality: ``image`` or ``sound``.
        classes: names, by label.
        entries: in any order.
        multilabel: whether an entry may have several labels.
        licences: of the data.
    """

    modality: Literal["image", "sound"]
    classes: tuple[str, ...]
    entries: Sequence[Entry]
    multilabel: bool = False
    licences: tuple[str, ...] = ()


def fraction(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that follows from the arguments alone, as good as random."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def parted(
    entries: Sequence[Entry], validation: float, test: float, seed: int, limit: Mapping[str, int]
) -> dict[str, list[Entry]]:
    """The entries by split, each in the order of a hash of their names, so that every beginning is a fair draw.

    What the collection says about a split holds. A split that it does not have is drawn from the others' training
    part by the hash of the cluster: the draw of an entry does not depend on which others there are.

    Args:
        entries: of the whole collection.
        validation: share that is drawn for validation, if the collection names none.
        test: the same for testing.
        seed: of both hashes.
        limit: entries of a split that are kept, at most.

    Raises:
        PresightError: two entries share a name; or a class lacks training entries that other splits have.
    """
    named = {each.split for each in entries}
    shares = {"test": 0.0 if "test" in named else test, "validation": 0.0 if "validation" in named else validation}
    found: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for each in entries:
        if each.item in seen:
            raise PresightError(each.item, "is there twice", "give every file a name of its own")
        seen.add(each.item)
        split = each.split or "train"
        if split == "train":
            drawn = fraction(seed, "split", each.cluster or each.item)
            if drawn < shares["test"]:
                split = "test"
            elif drawn < shares["test"] + shares["validation"]:
                split = "validation"
        found[split].append(each)
    for split, chosen in found.items():
        chosen.sort(key=lambda each: (fraction(seed, "order", each.item), each.item))
        del chosen[limit.get(split, len(chosen)) :]
    return found


def check_classes(parts: Mapping[str, Sequence[Entry]], classes: Sequence[str]) -> None:
    """Refuse splits from which nothing could be learnt or scored.

    Raises:
        PresightError: a split is empty, or a class of another split has no training entry.
    """
    labels = {split: {label for each in part for label in _labels(each)} for split, part in parts.items()}
    for split, part in parts.items():
        if not part:
            raise PresightError(split, "would hold no examples", "raise its share, or give more files")
        if unknown := labels[split] - labels["train"]:
            names = ", ".join(classes[label] for label in sorted(unknown)[:3])
            raise PresightError(split, f"has examples of {names}, of which train has none", "give more, or drop them")


def _labels(entry: Entry) -> tuple[int, ...]:
    return entry.label if isinstance(entry.label, tuple) else (entry.label,)


def pictures(entries: Sequence[Entry]) -> Iterator[Example | Broken]:
    """The images of entries, one after another."""
    for each in progress(entries, "importing images"):
        pixels = _load(each)
        yield (
            pixels if isinstance(pixels, Broken) else Example(each.item, pixels, each.label, each.cluster or each.item)
        )


def clips(entries: Sequence[Entry], rate: int, seconds: float, crops: int) -> Iterator[Example | Broken]:
    """Clips of one length out of the recordings of entries.

    A recording gives up to ``crops`` clips, spaced evenly from its beginning to its end: item ``name#k``, and ``clip``
    beside it names the recording, over which scores are averaged. A recording that is shorter ends in silence.
    Levels stay as they were recorded.
    """
    length = round(seconds * rate)
    for each in progress(entries, "importing sounds"):
        loaded = _load(each)
        if isinstance(loaded, Broken):
            yield loaded
            continue
        samples, native = loaded
        if not len(samples) or not np.isfinite(samples).all():
            yield Broken(each.item, "holds no samples" if not len(samples) else "holds samples that are no numbers")
            continue
        for number, piece in enumerate(cut(samples, round(seconds * native), crops)):
            clip = np.zeros(length, dtype=np.float32)
            wave = np.clip(resample(piece, native, rate)[:length], -1, 1)
            clip[: len(wave)] = wave
            item = each.item if crops == 1 else f"{each.item}#{number}"
            yield Example(item, clip, each.label, each.cluster or each.item, {"clip": each.item})


def cut(samples: Audio, length: int, crops: int) -> list[Audio]:
    """Up to ``crops`` different pieces [length] of ``samples`` [T], evenly spaced; all of it where it is shorter."""
    last = max(0, len(samples) - length)
    starts = np.unique(np.linspace(0, last, crops).round().astype(int))
    return [samples[start : start + length] for start in starts]


def _load(entry: Entry) -> Any:
    try:
        return entry.load()
    except PresightError:
        raise
    except Exception as error:  # decoders raise whatever they like
        return Broken(entry.item, " ".join(f"{type(error).__name__}: {error}".split())[:200])


def picture(source: Any, side: int | None) -> npt.NDArray[np.uint8]:
    """An image file as uint8 [H, W, 3], upright; with ``side`` scaled and cut to the square in its middle."""
    import warnings

    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(source) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    return np.asarray(ImageOps.fit(image, (side, side)) if side else image)


def sound(path: Path) -> tuple[Audio, int]:
    """An audio file as float32 [T], its channels averaged, and its samples a second."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate)


def wrong(path: Path, problem: str, layout: str) -> PresightError:
    """The error of a folder that is not in its layout."""
    return PresightError(str(path), problem, f"give the folder of {layout} as its authors publish it")
