"""Official collections of images and sounds, as they lie on the user's disk, made into examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from adapt.examples import SPLITS
from presight import index
from presight.console import say
from presight.errors import PresightError, nearest
from presight.stage import FrozenMap, Stage

if TYPE_CHECKING:
    from adapt.layouts.entries import Collection

Layout = Literal["cifar-10", "cifar-10-bigbench", "fashion-mnist", "gtzan", "fsd50k", "image-folder", "audio-folder"]
# tokens' sides and the splits' usual sizes, for estimates
SIDES = {"cifar-10": 32, "cifar-10-bigbench": 32, "fashion-mnist": 28}
SIZES = {"cifar-10": (50_000, 0, 10_000), "cifar-10-bigbench": (10_000, 0, 0), "fashion-mnist": (60_000, 0, 10_000)}
SIZES |= {"gtzan": (1000, 0, 0), "fsd50k": (36_796, 4170, 10_231)}
PATCH, TOKEN_SECONDS = 4, 0.025


class Import(Stage):
    """A collection in its official layout, or a folder with a sub folder for each class, as examples.

    Its content is its identity, its place is not; what is too big to hash may be declared as ``name@version``. A split
    that the collection does not have is drawn by the hash of names; every split lies in the order of a hash, so that
    its beginning is a fair draw. What cannot be read is left out, counted and named in the index, up to
    ``tolerance``. Recordings become mono clips of one length at one rate.
    """

    kind = "examples"
    version = "1"

    layout: Layout = Field(description="which collection")
    path: str = Field(exclude=True, description="its folder or archive")
    lists: str | None = Field(None, exclude=True, description="GTZAN: folder of train*.txt, valid*.txt and test*.txt")
    artists: str | None = Field(None, exclude=True, description="GTZAN: csv with the columns clip and artist")
    fold: int | None = Field(None, ge=0, le=9, description="GTZAN: which of ten folds is tested; the next validates")
    declared: str | None = Field(None, description="name@version of path, taken at your word instead of hashing it")
    validation: float = Field(0.1, gt=0, lt=1, description="share drawn for validation, where there is no such split")
    test: float = Field(0.2, gt=0, lt=1, description="the same for testing")
    limit: FrozenMap[str, int] = Field(FrozenMap(), description="split: images or recordings of it, at most")
    side: int | None = Field(None, ge=2, description="image-folder: scale and cut to squares of so many pixels")
    rate: int = Field(16_000, ge=1000, description="of sounds: samples a second")
    seconds: float = Field(1.0, gt=0, description="of sounds: length of a clip")
    crops: int = Field(1, ge=1, description="of sounds: clips of a recording, at most, evenly spaced")
    tolerance: float = Field(0.01, ge=0, le=1, description="share of a split that may be broken; 0: none")
    shard: int = Field(1000, ge=1, description="examples of a shard")
    seed: int = Field(0, ge=0, description="of splits, folds and order")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digests of path, lists and artists; filled in")

    @property
    def sizes(self) -> FrozenMap[str, int]:
        """Examples of each split, about; empty where they are not known before."""
        if self.layout not in SIZES:
            return FrozenMap()
        found = dict(zip(SPLITS, SIZES[self.layout], strict=True))
        for split, share in (("test", self.test), ("validation", self.validation)):
            if not found[split]:
                found[split] = round(share * SIZES[self.layout][0])
                found["train"] -= found[split]
        return FrozenMap(
            {split: min(size, self.limit.get(split, size)) * self._clips for split, size in found.items()}
        )

    @property
    def tokens(self) -> int:
        """Tokens of an example: patches of 4 × 4 pixels, or 25 ms."""
        side = self.side or SIDES.get(self.layout)
        return (side // PATCH) ** 2 if side else round(self.seconds / TOKEN_SECONDS)

    @property
    def _clips(self) -> int:
        return self.crops if self.layout in ("gtzan", "fsd50k", "audio-folder") else 1

    def settle(self, fetch: bool) -> Stage:
        """Index the files; a declared path is not read."""
        if self.content:
            return self
        if unknown := set(self.limit) - set(SPLITS):
            raise PresightError(f"limit.{min(unknown)}", "is no split", nearest(min(unknown), SPLITS))
        if self.declared is not None and "@" not in self.declared:
            raise PresightError("declared", f"{self.declared!r} has no version", "write name@version")
        if self.layout != "gtzan" and (self.lists or self.artists or self.fold is not None):
            raise PresightError("layout", f"{self.layout} has no lists, artists and folds", "leave them out")
        return self.changed(content=FrozenMap(self._digests()))

    def _digests(self) -> dict[str, str]:
        given = {"path": self.path, "lists": self.lists, "artists": self.artists}
        places = {name: Path(place).expanduser() for name, place in given.items() if place}
        for name, place in places.items():
            if not place.exists():
                raise PresightError(name, f"{str(place)!r} is not here", "name a file or folder that is")
        return {
            name: self.declared if name == "path" and self.declared else index.content(place)
            for name, place in places.items()
        }

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Read the collection and write it."""
        from adapt import examples
        from adapt.layouts import entries

        if self._digests() != dict(self.content):
            raise PresightError("path", "its files changed since it was planned", "run again")
        found = self._collection()
        parts = entries.parted(found.entries, self.validation, self.test, self.seed, self.limit)
        entries.check_classes(parts, found.classes)
        if found.modality == "image":
            splits = {split: entries.pictures(part) for split, part in parts.items()}
            rate, patch = None, PATCH if self.layout != "image-folder" else None
        else:
            splits = {split: entries.clips(part, self.rate, self.seconds, self.crops) for split, part in parts.items()}
            rate, patch = self.rate, None
        examples.write(
            out, splits, found.modality, list(found.classes), rate, patch, found.multilabel, self.tolerance, self.shard
        )
        (out / "licences.json").write_text(json.dumps(found.licences))
        for split, described in examples.index(out)["splits"].items():
            if skipped := described["skipped"]:
                item, why = skipped[0]
                say(f"{split}: left out {len(skipped)} that cannot be read, first {item} ({why})")

    def _collection(self) -> Collection:
        from adapt.layouts import cifar, fashion, folders, fsd50k, gtzan

        path, lists, artists = (
            Path(each).expanduser() if each else None for each in (self.path, self.lists, self.artists)
        )
        assert path
        match self.layout:
            case "cifar-10":
                return cifar.official(path)
            case "cifar-10-bigbench":
                return cifar.bigbench(path)
            case "fashion-mnist":
                return fashion.official(path)
            case "gtzan":
                return gtzan.official(path, lists, artists, self.fold, self.seed)
            case "fsd50k":
                return fsd50k.official(path)
            case "image-folder":
                return folders.by_class(path, "image", self.side)
            case _:
                return folders.by_class(path, "sound", None)
