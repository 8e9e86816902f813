"""Pictures to be read: a word, or a bar chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eval.world.backgrounds import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 10  # where the axis of a chart ends
APART = 2  # units between the values of a chart, at least


def bars(order: np.random.Generator, words: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Labels and values of a chart of three or four bars, from the left; no two values come near."""
    count = int(order.integers(3, 5))
    short = [word for word in words if len(word) <= (6 if count == 3 else 5)]
    labels = [short[place] for place in order.choice(len(short), count, replace=False)]
    # values that lie APART are those of a shorter axis, spread out again
    drawn = np.sort(order.choice(MOST - (count - 1) * (APART - 1), count, replace=False))
    values = order.permutation(drawn + 1 + (APART - 1) * np.arange(count))
    return tuple(zip(labels, values.tolist(), strict=True))


def written(order: np.random.Generator, word: str, ground: Picture) -> Image:
    """A word in print across a background, dark on light or light on dark, a little aslant."""
    from PIL import Image, ImageDraw, ImageFont

    side = len(ground)
    dark = ground.mean() > 127
    ink = order.integers(0, 70, 3) if dark else order.integers(190, 256, 3)
    probe = ImageFont.load_default(100).getlength(word) / 100
    size = order.uniform(0.45, 0.85) * side / probe
    font = ImageFont.load_default(float(min(size, side / 3)))
    left, top, right, bottom = font.getbbox(word)
    layer = Image.new("L", (round(right - left) + 4, round(bottom - top) + 4))
    ImageDraw.Draw(layer).text((2 - left, 2 - top), word, fill=255, font=font)
    layer = layer.rotate(float(order.uniform(-10, 10)), Image.Resampling.BICUBIC, expand=True)
    free = [max(0, side - length) for length in layer.size]
    place = tuple(int(order.integers(each + 1)) for each in free)
    picture = Image.fromarray(ground)
    red, green, blue = ink.tolist()
    picture.paste((red, green, blue), (place[0], place[1]), layer)
    return picture


def chart(order: np.random.Generator, values: Sequence[tuple[str, int]], side: int) -> Image:
    """A bar chart on white: an axis from 0 to ten with lines across at every second unit, bars of one colour each."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    unit = side / 224
    font, small = ImageFont.load_default(14 * unit), ImageFont.load_default(12 * unit)
    left, right, top, bottom = 24 * unit, side - 6 * unit, 12 * unit, side - 26 * unit

    def height(value: float) -> float:
        return bottom - (bottom - top) * value / MOST

    for value in range(0, MOST + 1, 2):
        draw.line([(left, height(value)), (right, height(value))], fill="lightgrey", width=max(1, round(unit)))
        draw.text((left - 4 * unit, height(value)), str(value), fill="black", font=small, anchor="rm")
    width = (right - left) / len(values)
    for place, (label, value) in enumerate(values):
        hue = int(order.integers(360))
        middle = left + (place + 0.5) * width
        box = [(middle - 0.3 * width, height(value)), (middle + 0.3 * width, bottom)]
        draw.rectangle(box, fill=f"hsl({hue}, 70%, 45%)")
        draw.text((middle, bottom + 4 * unit), label, fill="black", font=font, anchor="ma")
    draw.line([(left, top), (left, bottom), (right, bottom)], fill="black", width=max(1, round(unit)))
    return picture
