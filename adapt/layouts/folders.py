"""Folders of images or recordings, a sub folder a class."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from adapt.layouts.entries import Collection, Entry, picture, sound
from presight.errors import PresightError

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus")
NAMES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
NAMES |= {"test": "test", "testing": "test"}


def by_class(path: Path, modality: Literal["image", "sound"], side: int | None) -> Collection:
    """``<class>/…/<file>``, or ``train/<class>/…``, ``validation/…`` and ``test/…``, at any depth below the class.

    Hidden files and files of other kinds are passed over. Items are the paths below ``path``.

    Raises:
        PresightError: there are no classes, or fewer than two.
    """
    if not path.is_dir():
        raise PresightError(str(path), "is no folder", "give a folder with a sub folder for each class")
    tops = _folders(path)
    splits = {NAMES[each.name.lower()]: each for each in tops if each.name.lower() in NAMES}
    if "train" in splits and len(splits) < len(tops):
        odd = next(each.name for each in tops if each.name.lower() not in NAMES)
        raise PresightError(
            f"{path}/{odd}", "stands beside train and is no split", f"name it one of {', '.join(NAMES)}"
        )
    parts = splits if "train" in splits else {"": path}
    classes = sorted({each.name for part in parts.values() for each in _folders(part)})
    known = IMAGES if modality == "image" else SOUNDS
    entries = [
        Entry(
            file.relative_to(path).as_posix(),
            classes.index(folder.name),
            partial(picture, file, side) if modality == "image" else partial(sound, file),
            split=split,
        )
        for split, part in parts.items()
        for folder in _folders(part)
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in known and not any(name.startswith(".") for name in file.relative_to(path).parts)
    ]
    if len({each.label for each in entries}) < 2:
        kinds = ", ".join(known)
        raise PresightError(
            str(path), f"holds fewer than two classes with files {kinds}", "make a sub folder for each"
        )
    return Collection(modality, tuple(classes), entries, licences=("the user's own",))


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
