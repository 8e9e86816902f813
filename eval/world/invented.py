"""Made-up objects in the place of emoji, for tests and for machines without a network: plain shapes of one colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from eval.world.colours import TINTS, tinted
from eval.world.cutouts import Collection, CutOut, Pixels, trimmed
from eval.world.vocabulary import Entry, plural, table

SIDE = 128
Points = Sequence[tuple[float, float]]


def shapes() -> Collection:
    """Two dozen shapes, four of each of six kinds; what they are for, and what goes with them, is made up, too."""
    found = []
    for place, (name, kind, drawn) in enumerate(sorted(_all())):
        tint = list(TINTS)[place % len(TINTS)]
        tags = (TAGS[kind][place % 2],)
        found.append(CutOut(name, Entry(kind, USES[kind], tags, plural(name)), trimmed(tinted(drawn, tint))))
    words = tuple(table()["words"].split())
    spheres = {tag: kind for kind, tags in TAGS.items() for tag in tags}
    return Collection(tuple(found), words, spheres=spheres, domains={kind: kind for kind in USES})


USES = {
    **{"round thing": "rolling", "polygon": "tiling", "star": "shining"},
    **{"cross": "marking", "letter": "spelling", "pointer": "pointing"},
}
TAGS = {
    **{"round thing": ("wheel", "sun"), "polygon": ("floor", "wall"), "star": ("dark", "sky")},
    **{"cross": ("map", "sum"), "letter": ("book", "page"), "pointer": ("road", "sign")},
}


def _all() -> Iterator[tuple[str, str, Pixels]]:
    for name, sides in (("triangle", 3), ("square", 4), ("pentagon", 5), ("octagon", 8)):
        yield name, "polygon", _filled(_ring(sides, 1.0, 1.0))
    for name, points in (("trefoil", 3), ("spark", 4), ("pentagram", 5), ("burst", 9)):
        yield name, "star", _filled(_ring(2 * points, 1.0, 0.45))
    disc = _ring(60, 1.0, 1.0)
    yield "disc", "round thing", _filled(disc)
    yield "ellipse", "round thing", _filled([(x, 0.6 * y) for x, y in disc])
    yield "hoop", "round thing", _filled(disc, [(0.6 * x, 0.6 * y) for x, y in disc])
    yield "crescent", "round thing", _filled(disc, [(0.8 * x + 0.5, 0.8 * y) for x, y in disc])
    plus = [(0.3, 1), (0.3, 0.3), (1, 0.3), (1, -0.3), (0.3, -0.3), (0.3, -1)]
    whole = [*plus, *((-x, y) for x, y in plus[::-1])]
    turn = math.sqrt(0.5)
    yield "plus", "cross", _filled(whole)
    yield "saltire", "cross", _filled([(turn * (x - y), turn * (x + y)) for x, y in whole])
    yield "tall cross", "cross", _filled([(0.6 * x, y) for x, y in whole])
    yield "wide cross", "cross", _filled([(x, 0.6 * y) for x, y in whole])
    yield "letter L", "letter", _filled([(-0.7, -1), (-0.2, -1), (-0.2, 0.5), (0.7, 0.5), (0.7, 1), (-0.7, 1)])
    stem = [(0.25, -0.5), (0.25, 1), (-0.25, 1), (-0.25, -0.5)]
    yield "letter T", "letter", _filled([(-0.9, -1), (0.9, -1), (0.9, -0.5), *stem, (-0.9, -0.5)])
    yield "letter V", "letter", _filled([(-1, -1), (-0.4, -1), (0, 0.3), (0.4, -1), (1, -1), (0.3, 1), (-0.3, 1)])
    yield (
        "letter U",
        "letter",
        _filled([(-0.9, -1), (0.9, -1), (0.9, 1), (-0.9, 1)], [(-0.3, -1), (0.3, -1), (0.3, 0.4), (-0.3, 0.4)]),
    )
    tail = [(0, -0.35), (-1, -0.35), (-1, 0.35), (0, 0.35)]
    yield "arrow", "pointer", _filled([(0, 0.9), (1, 0), (0, -0.9), *tail])
    yield "chevron", "pointer", _filled([(-0.8, -1), (0, -1), (0.8, 0), (0, 1), (-0.8, 1), (0, 0)])
    yield "wedge", "pointer", _filled([(-1, -0.6), (1, 0), (-1, 0.6)])
    yield "flag", "pointer", _filled([(-1, -1), (0.9, -0.4), (-0.7, 0.2), (-0.7, 1), (-1, 1)])


def _ring(count: int, even: float, odd: float) -> list[tuple[float, float]]:
    """Points around the middle, by turns at two distances."""
    angles = [2 * math.pi * (place / count - 0.25) for place in range(count)]
    radii = [odd if place % 2 else even for place in range(count)]
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in zip(radii, angles, strict=True)]


def _filled(points: Points, hole: Points = ()) -> Pixels:
    """A shape within −1 … 1, lighter above than below, without its hole."""
    from PIL import Image, ImageDraw

    def scaled(some: Points) -> list[tuple[float, float]]:
        return [((x + 1) * SIDE / 2, (y + 1) * SIDE / 2) for x, y in some]

    alpha = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(alpha)
    draw.polygon(scaled(points), fill=255)
    if hole:
        draw.polygon(scaled(hole), fill=0)
    light = np.broadcast_to(np.linspace(230, 90, SIDE)[:, None], (SIDE, SIDE)).astype(np.uint8)
    return np.dstack([light, light, light, np.asarray(alpha)])
