"""EfficientNet-lite0 as it was published, read at any layer: over its places, or pooled."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from presight.errors import PresightError
from presight.packages import Archive, Fetched

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 224  # pixels, as it was trained
STRIDE = 32  # pixels from one place of the last layer to the next
# Expansion, channels, blocks, stride of the first, kernel: table 1 of arXiv 1905.11946. The lite models keep its
# numbers, leave squeeze-and-excitation out, and cut activations at 6.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM, HEAD = 32, 1280  # channels


class Convolution(nn.Module):
    """Convolution, batch norm and perhaps ReLU6; padded as TensorFlow pads, or the trained weights would be shifted.

    Args:
        channels: in.
        wide: out.
        kernel: side.
        stride: of the output.
        depthwise: every channel by itself.
        bent: with ReLU6.
    """

    def __init__(
        self, channels: int, wide: int, kernel: int, stride: int = 1, depthwise: bool = False, bent: bool = True
    ) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.convolution = nn.Conv2d(channels, wide, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(wide, eps=1e-3)
        self.kernel, self.stride, self.bent = kernel, stride, bent

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', ⌈H / stride⌉, ⌈W / stride⌉]."""
        pads = [max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0) for side in x.shape[2:]]
        x = nn.functional.pad(x, (pads[1] // 2, -(-pads[1] // 2), pads[0] // 2, -(-pads[0] // 2)))
        x = self.norm(self.convolution(x))
        return nn.functional.relu6(x) if self.bent else x


class Block(nn.Module):
    """Inverted residual: widen, look around channel by channel, narrow, and add what came if it fits."""

    def __init__(self, channels: int, wide: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        steps = [] if expansion == 1 else [Convolution(channels, inner, 1)]
        steps += [Convolution(inner, inner, kernel, stride, depthwise=True), Convolution(inner, wide, 1, bent=False)]
        self.steps = nn.Sequential(*steps)
        self.adds = stride == 1 and channels == wide

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', ⌈H / stride⌉, ⌈W / stride⌉]."""
        made: Tensor = self.steps(x)
        return x + made if self.adds else made


class EfficientNetLite(nn.Module):
    """EfficientNet-lite0 without its classifier: stem, 16 blocks, head; 18 layers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [Convolution(3, STEM, 3, 2)]
        channels = STEM
        for expansion, wide, blocks, stride, kernel in STAGES:
            for place in range(blocks):
                layers.append(Block(channels, wide, expansion, kernel, stride if place == 0 else 1))
                channels = wide
        self.layers = nn.ModuleList([*layers, Convolution(channels, HEAD, 1)])

    @classmethod
    def load(cls, weights: bytes) -> EfficientNetLite:
        """With published weights, a PyTorch state read as tensors only and never unpickled otherwise.

        Raises:
            PresightError: they are not this network's.
        """
        network = cls()
        try:
            state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
            tensors = [tensor for name, tensor in state.items() if not name.startswith("_fc.")]  # in order of layers
            network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
        except Exception as error:
            problem = f"its weights are not those of EfficientNet-lite0 ({type(error).__name__})"
            raise PresightError("model.vision", problem, "fetch it again") from error
        return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def fetched(cls, fetched: Fetched) -> EfficientNetLite:
        """Out of its package, the role ``model.vision``.

        Raises:
            PresightError: as `load`.
        """
        ((package, path),) = fetched.archives.items()
        ((name, _),) = fetched.members(package)
        return cls.load(Archive(path).read(name))

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        """Every layer's output, [B, channels, h, w] each, of pixels [B, 3, H, W] around nought."""
        for layer in self.layers:
            pixels = layer(pixels)
            yield pixels

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Mean over places of every layer's output, [B, channels] each."""
        return [state.mean((2, 3)) for state in self.states(pixels)]

    def grid(self, pixels: Tensor, layer: int = -1) -> Tensor:
        """One layer's output over its places, [B, h, w, channels]; of the last, a place is 32 pixels wide."""
        wanted = range(len(self.layers))[layer]
        state = next(islice(self.states(pixels), wanted, None))
        return state.permute(0, 2, 3, 1)


def pixels(pictures: Sequence[Image], side: int = SIDE) -> Tensor:
    """The middle square of each picture, as the network was trained: [n, 3, side, side] within ± 1."""
    from PIL import Image, ImageOps

    fitted = [np.asarray(ImageOps.fit(each, (side, side), Image.Resampling.BICUBIC), np.float32) for each in pictures]
    return torch.from_numpy((np.stack(fitted) - 127) / 128).permute(0, 3, 1, 2).contiguous()
