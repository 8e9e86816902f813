"""Cut-out pictures of objects by name: emoji out of packages, or shapes made up for tests.

What may be asked of an object follows from its name here: its kind and what it is for are those of a table
(``vocabulary.yaml``) whose names exclude each other, its keywords are Unicode's, its colour is measured.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from eval.world.colours import colour_of, tinted
from eval.world.vocabulary import Entry, Vocabulary, entry, listed, rank, table, turned
from presight.errors import PresightError
from presight.packages import Archive, Fetched

OPAQUE = 128  # alpha from which a pixel belongs to an object
THIN = 0.2  # share of the square around it that an object must fill
SHEER = 0.8  # share of its pixels that must be all but opaque: what stands behind is not to be seen through it
THUMBNAIL = 48  # pixels, enough to see a colour

_PICTURES, _NAMES = "@lobehub/fluent-emoji-3d", "emojibase-data"

Pixels = npt.NDArray[np.uint8]  # [height, width, 4]: red, green, blue, alpha


@dataclass(frozen=True, eq=False)
class CutOut:
    """An object alone.

    Attributes:
        name: a noun, true of no other object.
        entry: what is known of it by that name.
        pixels: uint8 [height, width, 4], cut to its opaque pixels.
    """

    name: str
    entry: Entry
    pixels: Pixels

    @property
    def shape(self) -> npt.NDArray[np.bool_]:
        """Which pixels are its own [height, width]."""
        return np.asarray(self.pixels[..., 3] >= OPAQUE)

    @cached_property
    def fill(self) -> float:
        """Its pixels of those of the square around it."""
        return float(self.shape.sum() / max(self.shape.shape) ** 2)

    @cached_property
    def colour(self) -> str | None:
        """The colour that it shows above all, if one does."""
        return shown(self.sized(THUMBNAIL))

    def sized(self, length: int, mirrored: bool = False, tint: str | None = None) -> Pixels:
        """Its pixels, the longer side so many of them."""
        pixels = resized(self.pixels[:, ::-1] if mirrored else self.pixels, length)
        return tinted(pixels, tint) if tint else pixels

    def outline(self, length: int, mirrored: bool = False) -> npt.NDArray[np.bool_]:
        """Which of those pixels are its own; the colours are not looked at, which is faster."""
        alpha = self.pixels[..., 3]
        return np.asarray(resized(alpha[:, ::-1] if mirrored else alpha, length) >= OPAQUE)


def resized(pixels: npt.NDArray[np.uint8], length: int) -> npt.NDArray[np.uint8]:
    """Pixels [height, width(, 4)] at another size, the longer side of so many."""
    from PIL import Image

    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    width, height = (max(1, round(each * length / max(drawn.size))) for each in drawn.size)
    return np.asarray(drawn.resize((width, height), Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class Collection:
    """Cut-outs and words, and which kinds and uses overlap.

    Attributes:
        cutouts: sorted by name.
        words: to be written in pictures.
        overlaps: sets of kinds, and of uses, of which something may be several.
        spheres: what each tag has to do with.
        domains: of kinds and names; see `Vocabulary`.
        licences: of the pictures.
        dropped: names that the table has and that are not here, and why.
    """

    cutouts: tuple[CutOut, ...]
    words: tuple[str, ...]
    overlaps: tuple[frozenset[str], ...] = ()
    spheres: Mapping[str, str] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cutouts)

    def held_out(self, share: float, seed: int) -> frozenset[str]:
        """Names of objects, and words, that only test pictures show: that share of every kind, and of the words.

        What is held out follows from a name and from the others of its kind, not from the order of a table.
        """
        by_kind: dict[str, list[str]] = {"": list(self.words)}
        for each in self.cutouts:
            by_kind.setdefault(each.entry.kind, []).append(each.name)
        found: set[str] = set()
        for names in by_kind.values():
            found |= set(sorted(names, key=lambda name: rank(seed, name))[: round(share * len(names))])
        return frozenset(found)

    def vocabulary(self, novel: frozenset[str] = frozenset()) -> Vocabulary:
        """All that is known of the objects by their names; ``novel`` are held out."""
        entries = {each.name: replace(each.entry, novel=each.name in novel) for each in self.cutouts}
        return Vocabulary(entries, self.overlaps, self.spheres, self.domains)


def shown(pixels: Pixels) -> str | None:
    """The colour that most opaque pixels have, if most have one."""
    return colour_of(pixels[..., :3][pixels[..., 3] >= OPAQUE])


def emoji(fetched: Fetched) -> Collection:
    """The objects of the table whose picture (Fluent, 3D) is compact and opaque.

    Args:
        fetched: the role ``images.emoji``.

    Raises:
        PresightError: the packages hold none of them.
    """
    archive, names = (Archive(fetched.archives[package]) for package in (_PICTURES, _NAMES))
    entries = {entry["label"]: entry for entry in json.loads(names.read("package/en/data.json"))}
    files, dropped, found = {}, {}, []
    for name, (_, label) in listed().items():
        files[name] = f"package/assets/{entries[label]['hexcode'].lower()}.webp" if label in entries else ""
    there = dict(archive.members(sorted(set(files.values()) & set(archive.names()))))
    for name, (kind, label) in listed().items():
        if files[name] not in there:
            dropped[name] = "has no picture"
            continue
        pixels = _decoded(files[name], there[files[name]])
        if why := _unfit(pixels):
            dropped[name] = why
        else:
            found.append(CutOut(name, entry(name, kind, entries[label].get("tags", ())), trimmed(pixels)))
    if not found:
        raise PresightError(fetched.role, "holds none of the objects of the sample world", "fetch it again")
    return Collection(
        tuple(sorted(found, key=lambda each: each.name)),
        tuple(table()["words"].split()),
        tuple(map(frozenset, table()["overlaps"])),
        turned("spheres"),
        turned("domains"),
        tuple(sorted(set(fetched.licences.values()))),
        dropped,
    )


def _decoded(name: str, content: bytes) -> Pixels:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as opened:
            return np.asarray(opened.convert("RGBA"))
    except (OSError, ValueError) as error:
        raise PresightError(name, "cannot be read as an image", "delete its package and fetch it again") from error


def trimmed(pixels: Pixels) -> Pixels:
    """Cut to the box of what is opaque."""
    rows, columns = (np.flatnonzero((pixels[..., 3] >= OPAQUE).any(axis)) for axis in (1, 0))
    return np.ascontiguousarray(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _unfit(pixels: Pixels) -> str:
    """Why a picture cannot be used; empty: it can."""
    alpha = pixels[..., 3]
    if not (alpha >= OPAQUE).any() or (alpha >= 240).sum() < SHEER * (alpha >= 16).sum():
        return "can be seen through"
    own = CutOut("", Entry(""), trimmed(pixels))
    return f"fills {own.fill:.0%} of its square" if own.fill < THIN else ""
