"""Colours by name: which one an object shows above all, and an object in another colour than its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Channels = npt.NDArray[np.uint8]  # [..., 3] or [..., 4]

CLEAR = 0.6  # share of an object's pixels that must be of one colour
HUES = (  # degrees at which a hue ends, and its name; red goes on beyond 0
    (18, "red"),
    (42, "orange"),
    (68, "yellow"),
    (165, "green"),
    (255, "blue"),
    (300, "purple"),
    (342, "pink"),
    (361, "red"),
)
NAMES = ("black", "grey", "white", "brown", "beige", "red", "orange", "yellow", "green", "blue", "purple", "pink")
# the colours that are given to objects: far from each other, whatever the light
TINTS: Mapping[str, tuple[float, float]] = {  # hue in degrees, value where it is darkest
    "red": (0, 0.55),
    "orange": (30, 0.85),
    "yellow": (54, 0.75),
    "green": (125, 0.4),
    "blue": (220, 0.5),
    "purple": (278, 0.45),
}


def names_of(pixels: Channels) -> npt.NDArray[np.int64]:
    """For each colour [n, 3] the index of its name in ``NAMES``.

    Hue decides where there is any; a dark orange or a dull red is brown, a pale one beige or pink.
    """
    hue, saturation, value = hsv(pixels)
    ends = np.array([end for end, _ in HUES])
    hues = np.array([NAMES.index(name) for _, name in HUES])
    found = hues[np.searchsorted(ends, hue, side="right")]

    def name(where: npt.NDArray[np.bool_], colour: str) -> None:
        found[where] = NAMES.index(colour)

    name(
        ((hue < 42) | (hue >= 342)) & (value < 0.7) & (saturation < 0.72) | (hue >= 12) & (hue < 42) & (value < 0.7),
        "brown",
    )
    name(((hue < 18) | (hue >= 342)) & (saturation < 0.6) & (value >= 0.7), "pink")
    name((hue >= 12) & (hue < 50) & (saturation < 0.6) & (value >= 0.7), "beige")
    dull = saturation < 0.16
    name(dull & (value >= 0.82), "white")
    name(dull & (value < 0.82), "grey")
    name(value < 0.25, "black")
    return found


def colour_of(pixels: Channels) -> str | None:
    """The name of most of these colours [n, 3]; None where fewer than ``CLEAR`` share one."""
    if not len(pixels):
        return None
    counts = np.bincount(names_of(pixels), minlength=len(NAMES))
    best = int(counts.argmax())
    return NAMES[best] if counts[best] >= CLEAR * len(pixels) else None


def hsv(pixels: Channels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Hue in degrees, saturation and value within 0 … 1, of colours [n, 3]."""
    red, green, blue = (pixels[..., channel] / 255 for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    range_ = value - np.minimum(np.minimum(red, green), blue)
    some = np.where(range_ > 0, range_, 1)
    hue = np.where(
        value == red,
        (green - blue) / some,
        np.where(value == green, 2 + (blue - red) / some, 4 + (red - green) / some),
    )
    return np.where(range_ > 0, 60 * hue % 360, 0.0), range_ / np.where(value > 0, value, 1), value


def tinted(pixels: Channels, tint: str) -> Channels:
    """An object [height, width, 4] all in one colour: its lights and shades stay, between those of the colour."""
    hue, darkest = TINTS[tint]
    light = pixels[..., :3] @ np.array([0.299, 0.587, 0.114])
    low, high = np.percentile(light[pixels[..., 3] >= 128], [2, 98])
    place = np.clip((light - low) / max(high - low, 1), 0, 1)
    value, saturation = darkest + (1 - darkest) * place, 1 - 0.3 * place**2
    # the usual way from hue, saturation and value to red, green and blue
    sector = (np.array([5, 3, 1]) + hue / 60) % 6
    chroma = np.clip(np.minimum(sector, 4 - sector), 0, 1)
    colours = value[..., None] * (1 - saturation[..., None] * chroma)
    return np.dstack([np.round(255 * colours).astype(np.uint8), pixels[..., 3]])
