"""What looks at pictures, behind one interface: features over a grid of places, and the sample's EfficientNet-lite0.

Vision transformers are in `towers`, what listens to sounds in `hearing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adapt.vlm.efficientnet import SIDE, STRIDE, EfficientNetLite, pixels
from adapt.vlm.pictures import Modality, Pictures, picture
from presight.errors import PresightError
from presight.packages import Fetched

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = (127, 127, 127)  # of a blank picture
LAYER = -2  # of a transformer, the last but one (arXiv 2509.26625; LLaVA)
_STREAM = 0x5C4A  # keeps the draws of scrambled pictures apart from all others

Prepared = npt.NDArray[np.float32]


class Encoder(ABC):
    """Frozen: pictures in, features over a grid that is the same for all of them.

    Attributes:
        name: what it is.
        modality: image or sound.
        grid: rows and columns of the features; of a sound, 1 and places in time.
        width: of each feature.
        layer: it was read at.
        size: what goes in, pixels of a side or seconds, as a text.
    """

    name: str
    modality: Modality
    grid: tuple[int, int]
    width: int
    layer: int
    size: str

    @abstractmethod
    def prepare(self, pictures: Pictures, key: str) -> Prepared:
        """Read and decode one picture: pixels [3, H, W] as the network takes them, or samples [T] of a sound.

        Raises:
            PresightError: it is broken; names its key.
        """

    @abstractmethod
    def blank(self) -> Prepared:
        """Mid-grey, or silence, as `prepare` gives it."""

    @abstractmethod
    def encode(self, prepared: Sequence[Prepared]) -> npt.NDArray[np.float32]:
        """Features [B, h × w, width], row by row, of prepared pictures; each as if it were alone."""


def scrambled(prepared: Prepared, key: str) -> Prepared:
    """Its frequencies with phases at random: a control that keeps amplitudes and loses forms.

    All channels are turned by the same phases, which keeps how they go together; the mean stays what it is.

    Args:
        prepared: pixels [3, H, W], or samples [T].
        key: the picture's, which seeds the phases.
    """
    if not prepared.size:
        return prepared
    axes = tuple(range(-min(prepared.ndim, 2), 0))
    sides = [prepared.shape[axis] for axis in axes]
    noise = np.random.default_rng([_STREAM, int(key, 16)]).standard_normal(sides)
    turn = np.fft.rfftn(noise)  # of what is real, or the result would not be
    turn /= np.abs(turn)
    turn.flat[0] = 1
    found = np.fft.irfftn(np.fft.rfftn(prepared, axes=axes) * turn, sides, axes=axes)
    return found.astype(np.float32)


class Sight(Encoder):
    """An encoder of images.

    Attributes:
        module: the network.
    """

    modality: Modality = "image"
    module: Any

    @abstractmethod
    def pixels(self, image: Image) -> Prepared:
        """Pixels [3, H, W] as the network takes them."""

    def prepare(self, pictures: Pictures, key: str) -> Prepared:
        """Pixels of a picture on white."""
        return self.pixels(picture(key, pictures.read(key)))

    def blank(self) -> Prepared:
        """Pixels of a mid-grey picture."""
        from PIL import Image

        return self.pixels(Image.new("RGB", (64, 64), GREY))

    def __call__(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """Features [B, h × w, width] of pictures in RGB."""
        return self.encode([self.pixels(image) for image in images])


class Lite(Sight):
    """EfficientNet-lite0, trained on ImageNet.

    Args:
        network: with its weights.
        side: pixels, a multiple of 32.
        layer: of 18, by default the last, which has 1280 channels.
        device: where it runs.

    Raises:
        PresightError: a side that its last layer does not divide, or no such layer.
    """

    name = "EfficientNet-lite0"

    def __init__(
        self, network: EfficientNetLite, side: int | None = None, layer: int | None = None, device: str = "cpu"
    ) -> None:
        self.side, self.layer = side or SIDE, -1 if layer is None else layer
        divided(self.side)
        within(self.layer, len(network.layers))
        self.module, self.size = network.to(device), f"{self.side} pixels"
        _, height, width, self.width = self._grid(self.blank()[None]).shape
        self.grid = height, width

    def pixels(self, image: Image) -> Prepared:
        """The middle square [3, side, side]."""
        return pixels([image], self.side)[0].numpy()

    def _grid(self, given: Prepared) -> Tensor:
        device = next(self.module.parameters()).device
        with torch.inference_mode():
            return self.module.grid(torch.from_numpy(given).to(device), self.layer)

    def encode(self, prepared: Sequence[Prepared]) -> npt.NDArray[np.float32]:
        """Features [B, h × w, width]."""
        # on a CPU one picture stays in the cache, and a batch takes twice as long
        size = 1 if next(self.module.parameters()).device.type == "cpu" else len(prepared)
        chunks = (np.stack(prepared[start : start + size]) for start in range(0, len(prepared), size))
        return torch.cat([self._grid(each).flatten(1, 2) for each in chunks]).float().cpu().numpy()


def divided(side: int) -> None:
    """Refuse a side that the last layer does not divide.

    Raises:
        PresightError: it is one.
    """
    if side % STRIDE:
        raise PresightError("side", f"{side} is no multiple of {STRIDE}", f"take {STRIDE * 7} or {STRIDE * 10}")


def sample(fetched: Fetched, side: int | None = None, layer: int | None = None, device: str = "cpu") -> Lite:
    """EfficientNet-lite0 out of its package.

    Args:
        fetched: the role ``model.vision``.
        side: as `Lite`; so are the others.

    Raises:
        PresightError: as `Lite`, or its weights are damaged.
    """
    return Lite(EfficientNetLite.fetched(fetched), side, layer, device)


def within(layer: int, layers: int) -> None:
    """Refuse a layer that a network of so many has not.

    Raises:
        PresightError: it is none.
    """
    if not -layers <= layer < layers:
        raise PresightError("layer", f"{layer} of {layers}", f"give one from {-layers} to {layers - 1}")
