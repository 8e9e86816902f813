"""What scenes stand on: plain colours, gradients, soft noise; none of them strong enough to hide an object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

KINDS = ("plain", "gradient", "noise")
CONTRAST = 40  # of 255: how far an object's colours must lie from what is behind it, in the mean
TRIES = 12

Picture = npt.NDArray[np.uint8]  # [side, side, 3]


def draw(order: np.random.Generator, side: int) -> tuple[str, Picture]:
    """A background, and which kind it is of."""
    kind = KINDS[int(order.integers(len(KINDS)))]
    if kind == "plain":
        pixels = np.broadcast_to(_colour(order), (side, side, 3))
    elif kind == "gradient":
        across = np.linspace(0, 1, side)
        angle = order.uniform(0, 2 * np.pi)
        place = (across - 0.5)[None] * np.cos(angle) + (across - 0.5)[:, None] * np.sin(angle)
        place = (place - place.min()) / np.ptp(place)
        one, other = _colour(order), _colour(order)
        pixels = one + (other - one) * place[..., None]
    else:
        pixels = _noise(order, side)
    return kind, np.clip(np.round(pixels), 0, 255).astype(np.uint8)


def even(order: np.random.Generator, side: int) -> tuple[str, Picture]:
    """A background that is pale all over, or dark all over, to write on."""
    while True:
        kind, pixels = draw(order, side)
        if pixels.min() > 150 or pixels.max() < 110:
            return kind, pixels


def _colour(order: np.random.Generator) -> npt.NDArray[np.float64]:
    """A pale or a dark colour of little saturation: objects have the strong ones."""
    grey = order.uniform(200, 250) if order.random() < 0.7 else order.uniform(30, 80)
    tint = order.normal(0, 14, 3)
    return np.clip(grey + tint - tint.mean(), 0, 255)


def _noise(order: np.random.Generator, side: int) -> npt.NDArray[np.float64]:
    """Blotches around one colour, of one grain."""
    from PIL import Image

    cells = int(order.integers(4, 20))
    coarse = order.normal(0, order.uniform(8, 20), (cells, cells)).astype(np.float32)
    fine = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    return _colour(order) + np.asarray(fine, np.float64)[..., None]


def hides(background: Picture, pixels: npt.NDArray[np.uint8], corner: tuple[int, int]) -> bool:
    """Whether an object [height, width, 4] whose upper left corner is there can hardly be told from what is behind."""
    left, top = corner
    side = len(background)
    inside = pixels[max(0, -top) : side - top, max(0, -left) : side - left]
    behind = background[max(0, top) : top + len(pixels), max(0, left) : left + pixels.shape[1]]
    own = inside[..., 3] >= 128
    differ = np.abs(inside[..., :3].astype(np.int16) - behind).max(-1)
    return bool(own.any() and differ[own].mean() < CONTRAST)
