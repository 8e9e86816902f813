"""Vision transformers of transformers, read over the grid of their patches."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adapt.vlm.encoders import LAYER, Prepared, Sight, within
from presight import hub
from presight.errors import PresightError

if TYPE_CHECKING:
    from PIL.Image import Image


class Tower(Sight):
    """A vision transformer of transformers that was saved with its image processor.

    Works for encoders that put patches after whatever else they read (CLIP and MetaCLIP, SigLIP, DINOv2 with and
    without registers, ViT, ViT-MAE); how many tokens are no patches is seen from their number. The masking of ViT-MAE
    is switched off and its patches keep their order.

    Args:
        folder: as save_pretrained writes it; of a model with two towers, the one that sees is taken.
        side: pixels, by default what the processor says; position embeddings are interpolated where they must be.
        layer: of the hidden states, of which the first is the embeddings.
        device: where it runs.
        dtype: of its arithmetic: float32, float16 or bfloat16.

    Raises:
        PresightError: transformers cannot load it, its hidden states are not its patches, there is no such layer, or
            it cannot take that side.
    """

    def __init__(
        self,
        folder: Path,
        side: int | None = None,
        layer: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        model, processor = load(folder, "AutoImageProcessor", dtype)
        self.processor = _of_side(processor, side) if side else processor
        self.module: Any = getattr(model, "vision_model", model).to(device).eval()
        self.name = type(self.module).__name__
        self.layer = LAYER if layer is None else layer
        shown = self.blank()
        self.size = f"{shown.shape[1]} pixels" if shown.shape[1] == shown.shape[2] else f"{shown.shape[1:]} pixels"
        patch = getattr(self.module.config, "patch_size", None)
        if patch is None:
            raise PresightError("encoder", f"{self.name} has no patches", "take a vision transformer")
        self.grid = shown.shape[1] // _pair(patch)[0], shown.shape[2] // _pair(patch)[1]
        self.given = self._given(shown.shape[1:])
        states = self._states(shown[None])
        self.others = states.shape[1] - self.grid[0] * self.grid[1] if states.ndim == 3 else -1
        if self.others < 0:
            problem = f"the states of {self.name} are not its patches"
            raise PresightError("encoder", problem, "take a vision transformer that keeps its patches apart")
        self.width = states.shape[2]

    def _given(self, sides: Sequence[int]) -> dict[str, Any]:
        """What its forward pass takes beside pixels."""
        given: dict[str, Any] = {}
        if getattr(self.module.config, "mask_ratio", None) is not None:
            self.module.config.mask_ratio = 0.0
            # it sorts patches by noise: ascending noise leaves them as they are
            given["noise"] = torch.arange(self.grid[0] * self.grid[1], dtype=torch.float32)
        trained = getattr(self.module.config, "image_size", None)
        takes = inspect.signature(self.module.forward).parameters
        if trained and _pair(trained) != tuple(sides) and "interpolate_pos_encoding" in takes:
            given["interpolate_pos_encoding"] = True
        return given

    def pixels(self, image: Image) -> Prepared:
        """Pixels [3, H, W] as its processor makes them."""
        read = self.processor(image, return_tensors="np")["pixel_values"]
        return np.asarray(read[0], np.float32)

    def _states(self, given: Prepared) -> Tensor:
        """Hidden states [B, others + h × w, width] of the layer, of pixels [B, 3, H, W]."""
        parameter = next(self.module.parameters())
        shown = torch.from_numpy(given).to(parameter.device, parameter.dtype)
        more = dict(self.given)
        if "noise" in more:
            more["noise"] = more["noise"].to(parameter.device).expand(len(given), -1)
        try:
            with torch.inference_mode():
                states = self.module(pixel_values=shown, output_hidden_states=[self.layer], **more).hidden_states
        except ValueError as error:  # of a side that it was not made for
            raise PresightError("side", hub.line(error), "leave it out") from error
        within(self.layer, len(states))
        found: Tensor = states[self.layer]
        return found

    def encode(self, prepared: Sequence[Prepared]) -> npt.NDArray[np.float32]:
        """Features [B, h × w, width]."""
        if odd := next((each.shape for each in prepared if each.shape != prepared[0].shape), None):
            problem = f"its processor gives pixels {prepared[0].shape[1:]} and {odd[1:]}: grids would differ"
            raise PresightError("encoder", problem, "save a processor that crops to one size, or give side")
        return self._states(np.stack(prepared))[:, self.others :].float().cpu().numpy()


def load(folder: Path, processor: str, dtype: str = "float32") -> tuple[Any, Any]:
    """An encoder of transformers in a folder, and what prepares its inputs.

    Args:
        folder: as save_pretrained writes it.
        processor: the class of transformers that loads it: AutoImageProcessor, AutoFeatureExtractor.
        dtype: of the weights.

    Raises:
        PresightError: they cannot be loaded, or weights are missing.
    """
    import transformers
    from safetensors import SafetensorError

    # of pictures the same pixels whatever else is installed
    more = {"backend": "pil"} if processor == "AutoImageProcessor" else {}
    try:
        model, known = transformers.AutoModel.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, output_loading_info=True
        )
        # heads that pool are not read, and not there in folders of classifiers
        if missing := sorted(name for name in known["missing_keys"] if "pooler" not in name):
            raise ValueError(f"{len(missing)} weights are missing, as {missing[0]}")
        made = getattr(transformers, processor).from_pretrained(folder, local_files_only=True, **more)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        mend = "save encoder and processor there with save_pretrained"
        raise PresightError("encoder", f"transformers cannot load {folder} ({hub.line(error)})", mend) from error
    return model, made


def _of_side(processor: Any, side: int) -> Any:
    """A processor that gives pictures of another side; what it crops off stays in proportion."""
    size, crop = (dict(getattr(processor, name, None) or {}) for name in ("size", "crop_size"))
    square = {"height": side, "width": side}
    if not crop:
        return type(processor)(**{**processor.to_dict(), "size": square})
    edge = size.get("shortest_edge") or size.get("height") or crop["height"]
    scaled = {"shortest_edge": round(edge * side / crop["height"])} if "shortest_edge" in size else square
    return type(processor)(**{**processor.to_dict(), "size": scaled, "crop_size": square})


def _pair(side: Any) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else (int(side[0]), int(side[1]))
