"""Conversations side by side in rows of equal length, each as if it were alone.

Positions begin anew with every conversation, which is what transformers parts attention by, as long as it is given
neither an attention mask nor a cache: an all-ones mask, or a cache, mixes them without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapt.vlm.template import Tokens

IGNORED = -100  # a target that is none


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """A conversation with room for its picture.

    Attributes:
        ids: int64 [T]; 0 where the picture's tokens stand.
        targets: the next token where that is learnt, else ``IGNORED``; int64 [T].
        shown: where the picture's tokens stand, bool [T].
        picture: its key; None: there is none.
        tag: a number for the ability that it trains.
    """

    ids: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    shown: npt.NDArray[np.bool_]
    picture: str | None
    tag: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt(self) -> int:
        """Tokens that are learnt."""
        return int((self.targets != IGNORED).sum())

    @classmethod
    def of(cls, text: Tokens, picture: str | None, tokens: int, tag: int = 0) -> Sample:
        """With so many tokens for its picture where the template places it."""
        place = text.place if picture is not None else None
        room = 0 if place is None else tokens
        at = place or 0
        shown = np.zeros(len(text.ids) + room, dtype=np.bool_)
        shown[at : at + room] = True
        ids = np.zeros(len(shown), dtype=np.int64)
        ids[~shown] = text.ids
        learnt = np.zeros(len(shown), dtype=np.bool_)
        learnt[~shown] = text.learnt
        targets = np.full(len(shown), IGNORED, dtype=np.int64)
        targets[:-1][learnt[1:]] = ids[1:][learnt[1:]]
        return cls(ids, targets, shown, picture, tag)

    def cut(self, length: int) -> Sample:
        """Its first so many tokens; what would have come next is not learnt."""
        targets = self.targets[:length].copy()
        targets[-1:] = IGNORED
        return Sample(self.ids[:length], targets, self.shown[:length], self.picture, self.tag)


def first_fit(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Which go together in rows of ``context`` tokens: the longest first, each into the first row with room for it.

    Raises:
        ValueError: one is longer than a row.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for each in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        length = lengths[each]
        if length > context:
            raise ValueError(f"{length} tokens do not go into {context}")
        row = next((number for number, left in enumerate(room) if left >= length), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(context)
        rows[row].append(each)
        room[row] -= length
    return rows


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Packed conversations, all arrays [R, L].

    Attributes:
        ids: int64.
        targets: int64, ``IGNORED`` where nothing is learnt.
        positions: int64, from 0 in every conversation; padding is all zeros, each token its own conversation.
        shown: bool, where pictures' tokens stand.
        tags: int64, of the conversation a token is of.
        pictures: keys, in the order in which they stand.
    """

    ids: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    shown: npt.NDArray[np.bool_]
    tags: npt.NDArray[np.int64]
    pictures: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Sequence[Sample]]) -> Rows:
        """Some rows, as long as the longest of them needs to be; none give one of padding."""
        length = max((sum(len(sample) for sample in row) for row in rows), default=1)
        shape = (max(1, len(rows)), length)
        ids, positions, tags = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        targets, shown = np.full(shape, IGNORED, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
        pictures = []
        for number, row in enumerate(rows):
            start = 0
            for sample in row:
                part = number, slice(start, start + len(sample))
                ids[part], targets[part], shown[part] = sample.ids, sample.targets, sample.shown
                positions[part] = np.arange(len(sample))
                tags[part] = sample.tag
                pictures += [] if sample.picture is None else [sample.picture]
                start += len(sample)
        return cls(ids, targets, positions, shown, tags, tuple(pictures))
