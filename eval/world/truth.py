"""What is true of every picture of a sample world: the file ``scenes.jsonl``, and the objects' masks in ``masks.npy``.

A mask is written as COCO writes one: the lengths of its runs, column after column, of what is outside first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.vlm.pictures import Pictures
from presight.errors import EXIT_DATA, PresightError

SCENES, MASKS, WORLD = "scenes.jsonl", "masks.npy", "world.json"
SPLITS = ("train", "validation", "test")

Mask = npt.NDArray[np.bool_]  # [height, width]
Runs = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of a scene, as it can be seen.

    Attributes:
        name: of the object, a noun: no other name of the world's vocabulary is true of it.
        category: what kind of thing it is.
        box: left, top, right, bottom of its visible pixels; the last two lie just outside.
        fraction: its visible pixels of all of the picture's.
        visible: its visible pixels of all that it has: others may hide some, and the edge may cut some off.
        depth: its place from the front, which is 0.
        colour: the one that it shows above all, measured; None: none clearly.
        tinted: whether that colour was given to it, and is not its own.
        mask: where the runs of its mask begin in ``masks.npy``, and how many there are.
    """

    name: str
    category: str
    box: tuple[int, int, int, int]
    fraction: float
    visible: float
    depth: int
    colour: str | None = None
    tinted: bool = False
    mask: tuple[int, int] = (0, 0)

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of its box, from the left and from the top, in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def length(self) -> int:
        """The longer side of its box, in pixels."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture of the world, and all that is true of it.

    Attributes:
        key: of the picture.
        split: train, validation or test.
        number: in its split.
        purpose: what it was composed for, a name of `eval.world.scenes.PURPOSES`.
        layout: digest of what is arranged, and where; no layout is in two splits.
        novel: its objects, or words, are held out: no picture of train and validation has them, and no text.
        objects: from the back to the front.
        background: plain, gradient, noise or photo.
        word: what is written in it; empty: nothing.
        bars: labels and values of its chart, from the left.
    """

    key: str
    split: str
    number: int
    purpose: str
    layout: str
    novel: bool = False
    objects: tuple[Thing, ...] = ()
    background: str = "plain"
    word: str = ""
    bars: tuple[tuple[str, int], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Names of all objects in it."""
        return frozenset(thing.name for thing in self.objects)


def runs_of(mask: Mask) -> Runs:
    """Lengths of a mask's runs, column by column; the first, which may be 0, is of what is outside."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0] if flat[:1].any() else [], [0], edges, [len(flat)]])
    return np.diff(bounds).astype(np.uint32)


def mask_of(runs: Runs, height: int, width: int) -> Mask:
    """The mask [height, width] of such runs.

    Raises:
        ValueError: they make another number of pixels.
    """
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def write(out: Path, scenes: Iterable[tuple[Scene, list[Runs]]], world: dict[str, Any]) -> None:
    """Write scenes with the runs of their objects' masks, and what is true of the world as a whole."""
    start = 0
    kept: list[Runs] = [np.zeros(0, np.uint32)]
    with (out / SCENES).open("w", encoding="utf-8") as file:
        for scene, masks in scenes:
            placed = []
            for thing, runs in zip(scene.objects, masks, strict=True):
                placed.append(replace(thing, mask=(start, len(runs))))
                kept.append(runs)
                start += len(runs)
            line = asdict(replace(scene, objects=tuple(placed)))
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    np.save(out / MASKS, np.concatenate(kept))
    (out / WORLD).write_text(json.dumps(world, indent=1, ensure_ascii=False))


def read(folder: Path, *splits: str) -> list[Scene]:
    """The scenes of these splits, or of all, in order.

    Raises:
        PresightError: the artifact is no sample world, or a line is no scene (exit code 87).
    """
    if not (folder / SCENES).exists():
        raise PresightError(str(folder), "holds no scenes with their truth", "give an artifact of eval.World")
    found = []
    with (folder / SCENES).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                objects = tuple(_thing(each) for each in record.pop("objects"))
                bars = tuple((str(label), int(value)) for label, value in record.pop("bars"))
                scene = Scene(**record, objects=objects, bars=bars)
            except (ValueError, KeyError, TypeError) as error:
                problem = f"is no scene ({error})"
                raise PresightError(
                    f"{folder / SCENES}, line {number}", problem, "make it again", EXIT_DATA
                ) from error
            if not splits or scene.split in splits:
                found.append(scene)
    return found


def _thing(record: dict[str, Any]) -> Thing:
    return Thing(**{**record, "box": tuple(record["box"]), "mask": tuple(record["mask"])})


def described(folder: Path) -> dict[str, Any]:
    """What is true of the world as a whole: among it ``side``, ``vocabulary`` and ``held_out``.

    Raises:
        PresightError: the artifact is no sample world.
    """
    if not (folder / WORLD).exists():
        raise PresightError(str(folder), "holds no sample world", "give an artifact of eval.World")
    found: dict[str, Any] = json.loads((folder / WORLD).read_text())
    return found


class Masks:
    """The masks of a world's objects, read as they are asked for.

    Args:
        folder: the artifact.
    """

    def __init__(self, folder: Path) -> None:
        self.side: int = described(folder)["side"]
        self._runs = np.load(folder / MASKS, mmap_mode="r")

    def runs(self, thing: Thing) -> Runs:
        """The runs of an object's mask."""
        start, count = thing.mask
        return np.asarray(self._runs[start : start + count])

    def mask(self, thing: Thing) -> Mask:
        """Where an object can be seen [side, side]."""
        return mask_of(self.runs(thing), self.side, self.side)


def contents(folder: Path) -> Iterator[tuple[Scene, bytes, list[Runs]]]:
    """The scenes of a world with their encoded pictures and the runs of their objects' masks."""
    pictures, masks = Pictures(folder), Masks(folder)
    for scene in read(folder):
        yield scene, pictures.read(scene.key), [masks.runs(thing) for thing in scene.objects]
