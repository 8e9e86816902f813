"""Vision encoders, read layer by layer: folders of transformers, and EfficientNet-lite0 out of a package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from adapt.vlm.efficientnet import EfficientNetLite, pixels
from eval.alignment.features import Features, encoder_features
from presight.errors import PresightError
from presight.packages import Fetched

if TYPE_CHECKING:
    from PIL.Image import Image

Encoder = Callable[[Sequence["Image"]], list[Features]]
"""Pictures in RGB in; one matrix [n, d] a layer out, whose widths may differ."""


def sample(fetched: Fetched) -> Encoder:
    """EfficientNet-lite0, trained on ImageNet: 18 layers, each pooled over places.

    Args:
        fetched: the role ``model.vision``.
    """
    network = EfficientNetLite.fetched(fetched)

    def encode(pictures: Sequence[Image]) -> list[Features]:
        with torch.inference_mode():  # one by one: on a CPU a batch of them falls out of the cache
            read = [network(pixels([each])) for each in pictures]
        return [torch.cat(layer).numpy() for layer in zip(*read, strict=True)]

    return encode


def folder(name: str, path: Path, pooling: Literal["cls", "mean"]) -> Encoder:
    """A vision transformer that was saved with its image processor.

    Raises:
        PresightError: transformers cannot load it; and, when it reads, as `encoder_features`.
    """
    from transformers import AutoImageProcessor, AutoModel

    try:
        model: Any = AutoModel.from_pretrained(path, dtype=torch.float32, local_files_only=True)
        processor: Any = AutoImageProcessor.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError) as error:
        mend = "save model and image processor there with save_pretrained"
        raise PresightError(f"encoders.{name}", f"transformers cannot load {path}", mend) from error

    def encode(pictures: Sequence[Image]) -> list[Features]:
        read = processor(list(pictures), return_tensors="np")["pixel_values"]
        return list(encoder_features(model, np.asarray(read, np.float32), pooling))

    return encode
