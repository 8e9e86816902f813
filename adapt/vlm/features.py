"""What an encoder made of pictures, once: memory-mapped files, read by the picture's key. The format ``features``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from adapt.vlm.pictures import Modality
from presight.errors import EXIT_DATA, PresightError

INDEX, BLANK, WHOLE = "features.json", "blank.npy", "features.npy"

View = Literal["plain", "scrambled"]
Rows = npt.NDArray[np.float16]


def part(number: int, parts: int) -> str:
    """The file of one part of so many."""
    return WHOLE if parts == 1 else f"features-{number:05d}.npy"


class Features:
    """The features of an artifact.

    Args:
        folder: the artifact.

    Attributes:
        keys: of its pictures, in the order of its rows.
        grid: rows and columns of places; of a sound, 1 and places in time.
        width: of the features of a place.
        layer: of the encoder that was read.
        encoder: what it is, pinned.
        modality: image or sound.
        views: that it holds.

    Raises:
        PresightError: it holds no features, or others than it says (exit code 87).
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / INDEX).exists():
            raise PresightError(str(folder), "holds no features", "give an artifact of kind features")
        described = json.loads((folder / INDEX).read_text())
        self.folder = folder
        self.keys: tuple[str, ...] = tuple(described["keys"])
        self.grid: tuple[int, int] = (described["grid"][0], described["grid"][1])
        self.width, self.layer = int(described["width"]), int(described["layer"])
        self.encoder: str = described["encoder"]
        self.modality: Modality = described["modality"]
        self.views: tuple[str, ...] = tuple(described["views"])
        self._rows = {key: row for row, key in enumerate(self.keys)}
        self._parts = [np.load(path, mmap_mode="r", allow_pickle=False) for path in self._files()]
        self._ends = np.cumsum([len(each) for each in self._parts])
        shape = (len(self.views), self.grid[0] * self.grid[1], self.width)
        if sum(len(each) for each in self._parts) != len(self.keys) or any(
            each.shape[1:] != shape or each.dtype != np.float16 for each in self._parts
        ):
            problem = "its files do not hold what its description says"
            raise PresightError(str(folder), problem, "delete the artifact and run again", EXIT_DATA)

    def _files(self) -> list[Path]:
        whole = self.folder / WHOLE
        return [whole] if whole.exists() else sorted(self.folder.glob("features-*.npy"))

    def __reduce__(self) -> tuple[Any, ...]:
        return Features, (self.folder,)  # or a process that is sent it would be sent all its rows

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def read(self, keys: Sequence[str], view: View = "plain") -> Rows:
        """Features of pictures, float16 [len, h × w, width].

        Raises:
            PresightError: there are none of such a key, or no such view.
        """
        if view not in self.views:
            mend = f"encode them with views: [{', '.join((*self.views, view))}]"
            raise PresightError(str(self.folder), f"has no {view} view", mend)
        found = np.empty((len(keys), self.grid[0] * self.grid[1], self.width), np.float16)
        shown = self.views.index(view)
        for row, key in zip(found, keys, strict=True):
            if key not in self._rows:
                problem = f"has no features of picture {key}"
                raise PresightError(str(self.folder), problem, "encode the pictures that the data were made with")
            place = self._rows[key]
            number = int(np.searchsorted(self._ends, place, side="right"))
            row[:] = self._parts[number][place - self._ends[number], shown]  # counted from the part's end
        return found

    @cached_property
    def blank(self) -> Rows:
        """Features of a blank picture, float16 [h × w, width]."""
        found: Rows = np.load(self.folder / BLANK, allow_pickle=False)
        return found
