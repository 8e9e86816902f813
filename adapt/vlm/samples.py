"""Conversations in the order in which a tuning reads them, as packed rows: a pure function of data, seed and step."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from adapt.vlm.conversations import TAGS, Conversation, read
from adapt.vlm.packing import Rows, Sample, first_fit
from presight.errors import PresightError

if TYPE_CHECKING:
    from adapt.vlm.artifact import Attachment
    from adapt.vlm.features import Features
    from adapt.vlm.template import Template


@dataclass(frozen=True, eq=False, slots=True)
class Share:
    """What a rank reads of a step.

    Attributes:
        parts: rows to be read together, with the features [P, h·w, d] of their pictures; every rank has as many.
        learnt: tokens of the whole step that are learnt, on all ranks.
        counts: of the whole step, on all ranks.
    """

    parts: tuple[tuple[Rows, npt.NDArray[np.float16]], ...]
    learnt: int
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Features of one encoder, of one artifact or several; the first that has a key gives it."""

    artifacts: tuple[Features, ...]

    @classmethod
    def of(cls, folders: Sequence[Path]) -> Shelf:
        """Of artifacts.

        Raises:
            PresightError: they are of more than one encoder.
        """
        from adapt.vlm.features import Features

        found = tuple(Features(folder) for folder in folders)
        kinds = {(each.encoder, each.modality, each.width, tuple(each.grid)) for each in found}
        if len(kinds) > 1:
            names = " and ".join(sorted(str(kind[0]) for kind in kinds))
            raise PresightError("features", f"are of {names}, with one grid each", "give those of one encoder")
        return cls(found)

    def match(self, attachment: Attachment) -> None:
        """Refuse a model that was aligned with another encoder.

        Raises:
            PresightError: it was.
        """
        first = self.artifacts[0]
        mine = first.encoder, first.width, tuple(first.grid)
        if mine != (attachment.encoder, attachment.width, tuple(attachment.grid)):
            problem = f"are of {first.encoder}, but the start was aligned with {attachment.encoder}"
            raise PresightError("features", problem, "give those that the start was aligned with")

    def __contains__(self, key: object) -> bool:
        return any(key in each for each in self.artifacts)

    def read(self, keys: Sequence[str]) -> npt.NDArray[np.float16]:
        """Features [len, h·w, d] of some pictures, in order."""
        places = [next(number for number, each in enumerate(self.artifacts) if key in each) for key in keys]
        first = self.artifacts[0]
        found = np.empty((len(keys), first.grid[0] * first.grid[1], first.width), dtype=np.float16)
        for number in sorted(set(places)):
            rows = [row for row, place in enumerate(places) if place == number]
            found[rows] = self.artifacts[number].read([keys[row] for row in rows])
        return found


@dataclass(slots=True)
class Choice:
    """Which conversations are read.

    Attributes:
        without: tags that are left out.
        items: so many at most; a choice that smaller ones are part of, whatever the seed.
        fraction: a share of them, chosen likewise.
        pictured: leave out those without a picture.
    """

    without: Sequence[str] = ()
    items: int | None = None
    fraction: float | None = None
    pictured: bool = False

    def of(self, folders: Sequence[Path]) -> tuple[list[Conversation], Counter[str]]:
        """The conversations of the training splits of some artifacts, and how many were left out for what.

        Raises:
            PresightError: none are left.
        """
        counts: Counter[str] = Counter()
        kept: list[tuple[bytes, Conversation]] = []
        for number, folder in enumerate(folders):
            for each in read(folder):
                if each.tag in self.without:
                    counts[f"left out: {each.tag}"] += 1
                elif self.pictured and each.picture is None:
                    counts["left out: without a picture"] += 1
                else:
                    kept.append((hashlib.sha256(f"{number}/{each.item}".encode()).digest(), each))
        wanted = len(kept) if self.fraction is None else max(1, round(self.fraction * len(kept)))
        wanted = min(wanted, self.items or wanted)
        if wanted < len(kept):
            counts["left out: beyond what was asked for"] += len(kept) - wanted
            limit = sorted(name for name, _ in kept)[wanted]
            kept = [pair for pair in kept if pair[0] < limit]
        if not kept:
            raise PresightError("data", "no conversation is left to learn from", "give others, or leave out less")
        return [each for _, each in kept], counts


@dataclass(slots=True)
class Samples:
    """Conversations by step.

    Every epoch reads each of them once, in an order of its own; a step reads the next ``batch``, and an epoch's last
    step what is left. Rows are dealt out to the ranks in turn.

    Attributes:
        conversations: all of them.
        template: how they are written.
        tokens: of a picture.
        context: tokens of a row.
        limit: tokens of a conversation; what is over is cut off.
        batch: conversations a step, over all ranks.
        seed: of the order.
        features: of their pictures; None: they are read without them.
        blank: features [1, h·w, d] for a part of rows without any picture.
    """

    conversations: Sequence[Conversation]
    template: Template
    tokens: int
    context: int
    limit: int
    batch: int
    seed: int
    features: Shelf | None
    blank: npt.NDArray[np.float16]
    _order: tuple[int, npt.NDArray[np.int64]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be read.

        Raises:
            PresightError: pictures without features, or longer than a conversation; turns that the template refuses.
        """
        for turns in {len(each.turns) for each in self.conversations}:
            self.template.segments(["x"] * turns, picture=False)
        if self.features is None:
            return
        keys = {each.picture for each in self.conversations if each.picture is not None}
        if missing := sorted(key for key in keys if key not in self.features):
            problem = f"{len(missing)} of the {len(keys)} pictures are not among them, as {missing[0]}"
            raise PresightError("features", problem, "encode the pictures that the data speak of")
        if keys and self.tokens + 2 > self.limit:
            problem = f"{self.tokens} of a picture leave no room for words: a conversation has {self.limit}"
            raise PresightError("tokens", problem, "give fewer, or more context to an LM with as many positions")

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-len(self.conversations) // self.batch)

    def texts(self) -> list[list[int]]:
        """Token ids of the first conversation and the last, without pictures."""
        ends = self.conversations[0], self.conversations[-1]
        return [self.template.conversation(each.turns, picture=False).ids.tolist() for each in ends]

    def chosen(self, step: int) -> list[int]:
        """The conversations of a step, by number."""
        epoch, place = divmod(step, self.steps)
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.conversations))
            self._order = epoch, order
        found: list[int] = self._order[1][place * self.batch : (place + 1) * self.batch].tolist()
        return found

    def rows(self, step: int) -> tuple[list[list[Sample]], Counter[str]]:
        """All rows of a step, and what there is to count; a conversation with nothing left to learn is left out."""
        samples, counts = [], Counter[str]()
        for number in self.chosen(step):
            said = self.conversations[number]
            picture = said.picture if self.features is not None else None
            text = self.template.conversation(said.turns, picture is not None)
            sample = Sample.of(text, picture, self.tokens, TAGS.index(said.tag))
            counts["samples"] += 1
            if len(sample) > self.limit:
                counts["samples cut"] += 1
                counts["tokens cut"] += len(sample) - self.limit
                sample = sample.cut(self.limit)
            if not sample.learnt:
                counts["samples without an answer left"] += 1
                continue
            counts["pictures"] += picture is not None
            counts["tokens"] += len(sample)
            counts["tokens of pictures"] += int(sample.shown.sum())
            counts["tokens learnt"] += sample.learnt
            samples.append(sample)
        packed = first_fit([len(each) for each in samples], self.context)
        counts["rows"] += len(packed)
        return [[samples[place] for place in row] for row in packed], counts

    def share(self, step: int, rank: int, world: int, together: int) -> Share:
        """What a rank reads of a step, ``together`` rows at a time."""
        rows, counts = self.rows(step)
        parts = []
        most = -(-len(rows) // world)  # what the rank with most of them has
        mine = rows[rank::world]
        for start in range(0, max(1, most), together):
            part = Rows.of(mine[start : start + together])
            shown = self.features.read(part.pictures) if self.features and part.pictures else self.blank
            parts.append((part, shown))
        return Share(tuple(parts), counts["tokens learnt"], counts)

    def shares(self, steps: Sequence[int], rank: int, world: int, together: int) -> Iterator[Share]:
        """The shares of some steps, each made while the one before is in use."""
        with ThreadPoolExecutor(1, thread_name_prefix="samples") as thread:
            coming = [thread.submit(self.share, step, rank, world, together) for step in steps[:1]]
            for after in [*steps[1:], None]:
                if not coming:
                    return
                share = coming.pop().result()
                if after is not None:
                    coming.append(thread.submit(self.share, after, rank, world, together))
                yield share
