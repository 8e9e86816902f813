"""Sample images and sounds as labelled examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from presight.errors import PresightError, Unavailable
from presight.stage import FrozenMap, Stage

RATE = 16_000
PEAK = 0.5


class Images(Stage):
    """Fashion-MNIST from a Debian package: balanced draws of its training part, and of its test part."""

    kind = "examples"
    version = "1"

    sample: Literal["fashion-mnist"] = Field("fashion-mnist", description="which images")
    train: int = Field(1500, ge=10, description="examples of this split")
    validation: int = Field(500, ge=10, description="examples of this split")
    test: int = Field(2000, ge=10, description="examples of this split")
    patch: Literal[2, 4, 7, 14] = Field(4, description="side of a token's patch, in pixels")
    seed: int = Field(0, ge=0, description="of the draw")
    content: str = Field("", description="digest of the package's members; filled in")

    @property
    def sizes(self) -> FrozenMap[str, int]:
        """Examples of each split."""
        return FrozenMap({"train": self.train, "validation": self.validation, "test": self.test})

    @property
    def tokens(self) -> int:
        """Tokens of an example."""
        return (28 // self.patch) ** 2

    def settle(self, fetch: bool) -> Stage:
        """Learn the content of the package."""
        return self if self.content else self.changed(content=package(f"images.{self.sample}", fetch))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Draw and write."""
        from adapt import examples, images
        from presight import packages

        found = images.fashion_mnist(packages.fetch(f"images.{self.sample}"))
        order = np.random.default_rng(self.seed)
        known = balanced(found.train_labels, self.train + self.validation, order)

        def drawn(part: str, rows: np.ndarray) -> Iterator[examples.Example]:
            pixels, labels = getattr(found, f"{part}_images"), getattr(found, f"{part}_labels")
            for row in rows:
                yield examples.Example(f"{part}-{row}", pixels[row], int(labels[row]), f"{part}-{row}")

        splits = {
            "train": drawn("train", known[: self.train]),
            "validation": drawn("train", known[self.train :]),
            "test": drawn("test", balanced(found.test_labels, self.test, order)),
        }
        examples.write(out, splits, "image", list(found.classes), patch=self.patch)


class Sounds(Stage):
    """Recorded sounds by class; one instrument's notes, or one drum kit's hits, are never on both sides of a split.

    ``instruments`` are notes by family out of a sound font; ``drums`` are hits by drum out of Hydrogen's kits
    (149 MB), whose test kits are held out whole. A clip is the first ``seconds`` of a sound at 16 kHz, mono, scaled to
    one peak; shorter ones end in silence.
    """

    kind = "examples"
    version = "1"

    sample: Literal["instruments", "drums"] = Field("instruments", description="which sounds")
    split_by: Literal["series"] = Field("series", description="what stays on one side: an instrument, or a drum kit")
    seconds: float = Field(1.0, gt=0, description="length of a clip")
    seed: int = Field(0, ge=0, description="of the draw")
    content: str = Field("", description="digest of the package's members; filled in")

    @property
    def sizes(self) -> FrozenMap[str, int]:
        """Examples of each split, about."""
        if self.sample == "drums":
            return FrozenMap({"train": 310, "validation": 90, "test": 140})
        return FrozenMap({"train": 440, "validation": 140, "test": 160})

    @property
    def tokens(self) -> int:
        """Tokens of an example, at 25 ms each."""
        return round(self.seconds / 0.025)

    def settle(self, fetch: bool) -> Stage:
        """Learn the content of the package."""
        return self if self.content else self.changed(content=package(f"audio.{self.sample}", fetch))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Cut, split by series, write."""
        from adapt import drums, examples, sounds
        from presight import packages

        fetched = packages.fetch(f"audio.{self.sample}")
        if self.sample == "drums":
            notes, split = drums.hits(fetched), drums.split_kits
        else:
            notes, split = sounds.instruments(fetched), sounds.split_by_series
        families = sorted({note.family for note in notes})
        length = round(self.seconds * RATE)

        def clips(rows: list[int]) -> Iterator[examples.Example]:
            for row in rows:
                note = notes[row]
                clip = np.zeros(length, dtype=np.float32)
                wave = sounds.resample(note.samples, note.rate, RATE)[:length]
                clip[: len(wave)] = wave * (PEAK / max(float(np.abs(wave).max(initial=0.0)), 1e-4))
                yield examples.Example(f"{note.name}-{row}", clip, families.index(note.family), note.series)

        order = np.random.default_rng(self.seed)
        rows = split(notes, (0.6, 0.15, 0.25), self.seed)
        splits = {
            name: clips([chosen[k] for k in order.permutation(len(chosen))])
            for name, chosen in zip(examples.SPLITS, rows, strict=True)
        }
        examples.write(out, splits, "sound", families, RATE)


def package(role: str, fetch: bool) -> str:
    """The digest of a sample role.

    Raises:
        Unavailable: it can neither be found nor fetched.
    """
    from presight import packages

    digests, missing = packages.digests([role], fetch)
    if role in missing:
        error = missing[role]
        raise Unavailable(error.field, error.problem, error.mend)
    return digests[role]


def balanced(labels: np.ndarray, count: int, order: np.random.Generator) -> np.ndarray:
    """Rows of ``count`` examples in random order, every class as often as every other, give or take one."""
    classes = np.unique(labels)
    by_class = [order.permutation(np.flatnonzero(labels == each)) for each in classes]
    rounds = -(-count // len(classes))
    if any(len(rows) < rounds for rows in by_class):
        raise PresightError("items", f"{count} were asked of {len(labels)}", "ask for fewer")
    return np.stack([rows[:rounds] for rows in by_class], axis=1).reshape(-1)[:count]
