"""Fashion-MNIST's four IDX files (Xiao et al. 2017), packed or not."""

from __future__ import annotations

import operator
from functools import partial
from pathlib import Path

from adapt import images
from adapt.layouts.entries import Collection, Entry
from presight.errors import PresightError


def official(path: Path) -> Collection:
    """Fashion-MNIST out of its folder; images are uint8 [28, 28], items ``train-00000`` count through a file.

    Raises:
        PresightError: a file is missing or is not what its name says.
    """
    if not path.is_dir():
        raise PresightError(str(path), "is no folder", "give the folder of the four IDX files")
    files = {each.name: each.read_bytes() for each in sorted(path.glob("*-ubyte*")) if each.is_file()}
    found = images.image_set(files, str(path))
    entries = [
        Entry(f"{split}-{row:05d}", int(label), partial(operator.getitem, pixels, row), split=split)
        for split, pixels, labels in (
            ("train", found.train_images, found.train_labels),
            ("test", found.test_images, found.test_labels),
        )
        for row, label in enumerate(labels)
    ]
    return Collection("image", found.classes, entries, licences=("MIT",))
