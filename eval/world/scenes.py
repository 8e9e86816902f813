"""Scenes composed of cut-outs: drawn from a number, pasted, and measured pixel by pixel.

The pictures are composed, not photographed: objects keep no natural size, place or company, and lie on backgrounds
that were made up. That is what makes all that is asked of them exactly true, and not to be guessed from words.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eval.world import backgrounds, charts, layout
from eval.world.colours import TINTS
from eval.world.cutouts import OPAQUE, Collection, CutOut, Pixels, shown
from eval.world.layout import Slot
from eval.world.truth import SPLITS, Mask, Runs, Scene, Thing, runs_of
from eval.world.vocabulary import OTHER
from presight.errors import PresightError

if TYPE_CHECKING:
    from PIL.Image import Image

# what a scene is composed for, and the groups of questions that it serves
PURPOSES: Mapping[str, tuple[str, ...]] = {
    "close": ("General", "Knowledge"),  # one object, of any size up to nearly all of the picture
    "known": ("Knowledge",),  # one whose kind, use or keyword is as likely as any other
    "scatter": ("General", "Knowledge", "Vision-centric"),  # two to four, apart
    "tint": ("General",),  # three, apart, each in a colour that was given to it
    "repeat": ("Vision-centric",),  # one to five of the same among others
    "overlap": ("Vision-centric",),  # one in front of another
    "word": ("OCR & Chart",),
    "chart": ("OCR & Chart",),
}
TWICE = ("known", "scatter")  # purposes that serve more questions
NOVEL = 4  # one in so many test scenes of a purpose is of what was held out
COUNTS = 5
TRIES = 5000  # arrangements drawn for another split, after which there are held to be none for this one
LEVEL = 3  # of PNG's compression: a third of the time, a tenth more bytes
COVERED = (0.15, 0.6)  # share of the object behind that the one in front hides
CLOSE = (0.08, 0.92)  # share of the picture that a close view is to cover
COARSE = 64  # side that close views are fitted at, in pixels
DOMAIN = 0x5CE  # of random draws


class Placed(NamedTuple):
    """An object, its slot, whether it is mirrored, and the colour that was given to it."""

    cutout: CutOut
    slot: Slot
    mirrored: bool = False
    tint: str | None = None


class Rendered(NamedTuple):
    """A picture in PNG, what is true of it (its key still empty), and the runs of its objects' masks."""

    content: bytes
    scene: Scene
    masks: list[Runs]


def corner(slot: Slot, shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Where the left and the upper edge of an object of that height and width lie, in its slot's middle."""
    return round(slot.x * side - shape[1] / 2), round(slot.y * side - shape[0] / 2)


def spread(outline: Mask, slot: Slot, side: int) -> Mask:
    """Which of the picture's pixels are an object's own, if nothing stands before it."""
    found = np.zeros((side, side), dtype=bool)
    (left, top), (height, width) = corner(slot, outline.shape, side), outline.shape
    inside = outline[max(0, -top) : side - top, max(0, -left) : side - left]
    found[max(0, top) : top + height, max(0, left) : left + width] = inside
    return found


def visible(shapes: Sequence[Mask]) -> list[Mask]:
    """What can be seen of each shape, given from the back to the front."""
    before = np.zeros_like(shapes[0])
    found = []
    for shape in reversed(shapes):
        found.append(shape & ~before)
        before = before | shape
    return found[::-1]


@dataclass(frozen=True)
class Composer:
    """Scenes by split and number: the same arguments give the same scene, whatever was drawn before.

    Attributes:
        collection: the objects.
        seed: of all draws.
        side: of a picture, in pixels.
        groups: of questions that the scenes are to serve.
        novel: share of objects, and of words, that only test scenes show.
    """

    collection: Collection
    seed: int = 0
    side: int = 224
    groups: tuple[str, ...] = ("General", "Knowledge", "OCR & Chart", "Vision-centric")
    novel: float = 0.2

    @property
    def cycle(self) -> list[str]:
        """The purposes of scenes 0, 1, … until they repeat."""
        purposes = [purpose for purpose, groups in PURPOSES.items() if set(groups) & set(self.groups)]
        return purposes + [purpose for purpose in purposes if purpose in TWICE]

    @cached_property
    def novel_names(self) -> frozenset[str]:
        """Names of objects, and words, that only test scenes show."""
        return self.collection.held_out(self.novel, self.seed)

    @cached_property
    def pools(self) -> dict[str, tuple[list[CutOut], list[str]]]:
        """Objects and words to draw from: those that all splits show ("seen"), and those held out ("novel")."""
        objects, words, out = self.collection.cutouts, self.collection.words, self.novel_names
        known = [each for each in objects if each.name not in out], [word for word in words if word not in out]
        kept = [each for each in objects if each.name in out], [word for word in words if word in out]
        return {"seen": known, "novel": kept}

    def known(self, objects: Sequence[CutOut]) -> list[dict[str, list[CutOut]]]:
        """Objects by their kind, by their use, and by what their tags have to do with, where these may be asked."""
        kinds: dict[str, list[CutOut]] = {}
        uses: dict[str, list[CutOut]] = {}
        spheres: dict[str, list[CutOut]] = {}
        for each in objects:
            if each.entry.kind != OTHER:
                kinds.setdefault(each.entry.kind, []).append(each)
            if each.entry.use:
                uses.setdefault(each.entry.use, []).append(each)
            for sphere in {self.collection.spheres[tag] for tag in each.entry.tags}:
                spheres.setdefault(sphere, []).append(each)
        return [by for by in (kinds, uses, spheres) if by]

    def scene(self, split: str, number: int) -> Rendered:
        """Draw one."""
        order = np.random.default_rng([DOMAIN, self.seed, SPLITS.index(split), number])
        turn, place = divmod(number, len(self.cycle))
        purpose = self.cycle[place]
        novel = self.novel > 0 and split == "test" and turn % NOVEL == NOVEL - 1
        objects, words = self.pools["novel" if novel else "seen"]
        scene = Scene("", split, number, purpose, "", novel)
        if purpose in ("word", "chart"):
            return self._read(scene, order, words)
        for _ in range(TRIES):
            placed = self._placed(purpose, order, objects, turn)
            known = layout.identity([each.cutout.name for each in placed], [each.slot for each in placed])
            own = novel or layout.split_of(known, self.seed) == split  # no other split has what is held out
            if own and (purpose != "overlap" or self._either_in_front(placed)):
                return self._rendered(replace(scene, layout=known), order, placed)
        raise _none_left(purpose, split)

    def _placed(self, purpose: str, order: np.random.Generator, objects: Sequence[CutOut], turn: int) -> list[Placed]:
        """Objects in their slots, from the back to the front."""

        def some(count: int) -> list[CutOut]:
            return [objects[place] for place in order.choice(len(objects), count, replace=False)]

        tints: list[str | None] = []
        if purpose == "close":
            found = some(1)
            slots = [layout.close(order, float(order.uniform(*CLOSE)), lambda slot: self._fill(found[0], slot))]
        elif purpose == "known":
            ways = self.known(objects)
            groups = sorted(ways[turn % len(ways)].items())
            _, group = groups[int(order.integers(len(groups)))]
            found, slots = [group[int(order.integers(len(group)))]], layout.lone(order)
        elif purpose == "overlap":
            found, slots = some(2), list(layout.overlapping(order))
        elif purpose == "repeat":
            count = 1 + turn % COUNTS
            one, *others = some(1 + int(order.integers(1 if count == 1 else 0, 3)))
            found = [one] * count + others
            slots = layout.scattered(order, len(found), largest=0.34)
        elif purpose == "tint":
            found, slots = some(3), layout.scattered(order, 3)
            tints = [list(TINTS)[place] for place in order.choice(len(TINTS), 3, replace=False)]
        else:
            found = some(int(order.integers(2, 5)))
            slots = layout.scattered(order, len(found))
        tints = tints or [None] * len(found)
        mirrored = order.random(len(found)) < 0.5
        return [Placed(*each) for each in zip(found, slots, mirrored.tolist(), tints, strict=True)]

    def _fill(self, cutout: CutOut, slot: Slot) -> tuple[float, float]:
        """The share of the picture that an object covers, and the share of it that is inside; seen coarsely."""
        outline = cutout.outline(_length(slot, COARSE))
        covered = int(spread(outline, slot, COARSE).sum())
        return covered / COARSE**2, covered / max(1, int(outline.sum()))

    def _either_in_front(self, placed: Sequence[Placed]) -> bool:
        """Whether one object hides enough of the other, and not too much, and so it would if they changed places."""
        behind, front = placed
        for one, other in ((behind.cutout, front.cutout), (front.cutout, behind.cutout)):
            pair = ((one, behind), (other, front))
            outlines = [each.outline(_length(at.slot, self.side), at.mirrored) for each, at in pair]
            slots = (behind.slot, front.slot)
            shapes = [spread(each, slot, self.side) for each, slot in zip(outlines, slots, strict=True)]
            hidden = 1 - visible(shapes)[0].sum() / shapes[0].sum()
            if not COVERED[0] <= hidden <= COVERED[1]:
                return False
        return True

    def _rendered(self, scene: Scene, order: np.random.Generator, placed: Sequence[Placed]) -> Rendered:
        """Paste the objects on a background that hides none of them, and measure."""
        from PIL import Image

        drawn = [each.cutout.sized(_length(each.slot, self.side), each.mirrored, each.tint) for each in placed]
        corners = [corner(each.slot, pixels.shape, self.side) for each, pixels in zip(placed, drawn, strict=True)]
        for _ in range(backgrounds.TRIES):
            kind, ground = backgrounds.draw(order, self.side)
            if not any(backgrounds.hides(ground, *each) for each in zip(drawn, corners, strict=True)):
                break
        picture = Image.fromarray(ground)
        for pixels, upper_left in zip(drawn, corners, strict=True):
            pasted = Image.fromarray(np.ascontiguousarray(pixels))
            picture.paste(pasted, upper_left, pasted)
        outlines = [pixels[..., 3] >= OPAQUE for pixels in drawn]
        shapes = [spread(own, each.slot, self.side) for own, each in zip(outlines, placed, strict=True)]
        masks = visible(shapes)
        things = []
        for place, (each, pixels, mask) in enumerate(zip(placed, drawn, masks, strict=True)):
            things.append(measured(each, pixels, mask, len(placed) - 1 - place))
        found = replace(scene, objects=tuple(things), background=kind)
        return Rendered(encoded(picture), found, [runs_of(mask) for mask in masks])

    def _read(self, scene: Scene, order: np.random.Generator, words: Sequence[str]) -> Rendered:
        """A word or a chart."""
        for _ in range(TRIES):
            if scene.purpose == "word":
                word = words[int(order.integers(len(words)))]
                known = layout.digest(word, *order.integers(layout.GRID, size=2).tolist())
            else:
                values = charts.bars(order, words)
                known = layout.digest(sorted(label for label, _ in values))
            if scene.novel or layout.split_of(known, self.seed) == scene.split:
                break
        else:
            raise _none_left(scene.purpose, scene.split)
        if scene.purpose == "word":
            kind, ground = backgrounds.even(order, self.side)
            found = replace(scene, layout=known, word=word, background=kind)
            return Rendered(encoded(charts.written(order, word, ground)), found, [])
        found = replace(scene, layout=known, bars=values)
        return Rendered(encoded(charts.chart(order, values, self.side)), found, [])


def _none_left(purpose: str, split: str) -> PresightError:
    problem = f"no arrangement for {purpose} is left to the {split} split"
    return PresightError("sample", problem, "take more objects, or another seed")


def _length(slot: Slot, side: int) -> int:
    """Pixels of an object's longer side."""
    return max(2, round(slot.side * side))


def measured(placed: Placed, pixels: Pixels, mask: Mask, depth: int) -> Thing:
    """What is true of an object, drawn in those pixels, of which those in the mask can be seen."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    count, whole = int(mask.sum()), int((pixels[..., 3] >= OPAQUE).sum())
    colour = shown(pixels) if placed.tint else placed.cutout.colour
    return Thing(
        placed.cutout.name,
        placed.cutout.entry.kind,
        box,
        fraction=count / mask.size,
        visible=count / whole,
        depth=depth,
        colour=colour,
        tinted=placed.tint is not None,
    )


def encoded(picture: Image) -> bytes:
    """A picture in PNG."""
    written = io.BytesIO()
    picture.save(written, "png", compress_level=LEVEL)
    return written.getvalue()
