"""What LLaVA of transformers lacks, registered with its Auto classes when this module is imported.

``presight_llava`` resizes an encoder's grid to a number of tokens, takes encoders that LLaVA cannot read as they are
(registers, masked autoencoders, interpolated positions) and may have a norm behind its projector. EfficientNet-lite0
is a vision tower of it or of LLaVA. Exports that need neither load without this module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaPreTrainedModel,
    LlavaProcessor,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.image_processing_backends import PilBackend
from transformers.modeling_outputs import BaseModelOutputWithPooling

from adapt.vlm.efficientnet import HEAD, SIDE, STRIDE, EfficientNetLite, pixels
from adapt.vlm.model import resize


class EfficientNetLiteConfig(PreTrainedConfig):
    """Of EfficientNet-lite0: what its last layer is like."""

    model_type = "presight_efficientnet_lite"

    hidden_size: int = HEAD
    image_size: int = SIDE
    patch_size: int = STRIDE


class EfficientNetLiteModel(PreTrainedModel):
    """EfficientNet-lite0 as a vision tower: every layer's output [B, places, channels] as a hidden state."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.network = EfficientNetLite()
        self.post_init()

    def forward(self, pixel_values: Tensor, **given: Any) -> BaseModelOutputWithPooling:
        """Hidden states of pixels [B, 3, H, W]."""
        states = tuple(state.flatten(2).transpose(1, 2) for state in self.network.states(pixel_values))
        return BaseModelOutputWithPooling(last_hidden_state=states[-1], hidden_states=states)


class EfficientNetLiteImageProcessor(PilBackend):
    """The middle square of a picture, as `adapt.vlm.efficientnet.pixels` makes it."""

    size = {"height": SIDE, "width": SIDE}  # noqa: RUF012
    do_convert_rgb = True

    def _preprocess(self, images: list[Any], size: Any, return_tensors: Any, **given: Any) -> BatchFeature:
        from PIL import Image

        pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        return BatchFeature({"pixel_values": list(pixels(pictures, size.height).numpy())}, tensor_type=return_tensors)


class PresightLlavaConfig(LlavaConfig):
    """LLaVA's, and how features become tokens.

    Attributes:
        vision_grid: rows and columns of the encoder's patches.
        vision_others: its tokens before them.
        vision_ordered: a masked autoencoder, to be told to keep its patches in order.
        vision_interpolated: positions are interpolated to the side of its pictures.
        projector_norm: a norm stands behind the projector.
    """

    model_type = "presight_llava"

    vision_grid: list[int] | tuple[int, ...] = (1, 1)
    vision_others: int = 0
    vision_ordered: bool = False
    vision_interpolated: bool = False
    projector_norm: bool = False


class PresightLlavaModel(LlavaModel):
    """LLaVA whose features are resized before they are projected."""

    config_class = PresightLlavaConfig

    def __init__(self, config: PresightLlavaConfig) -> None:
        super().__init__(config)
        if config.projector_norm:
            self.multi_modal_projector.norm = nn.LayerNorm(config.text_config.hidden_size)
        self.post_init()

    def get_image_features(self, pixel_values: Tensor, *_: Any, **__: Any) -> BaseModelOutputWithPooling:
        """As LLaVA's: under ``pooler_output`` the tokens [image_seq_length, D] of each picture."""
        config = self.config
        given: dict[str, Any] = {"interpolate_pos_encoding": True} if config.vision_interpolated else {}
        high, wide = config.vision_grid
        if config.vision_ordered:
            given["noise"] = (
                torch.arange(high * wide, device=pixel_values.device).float().expand(len(pixel_values), -1)
            )
        found = self.vision_tower(pixel_values, output_hidden_states=True, return_dict=True, **given)
        states = found.hidden_states[config.vision_feature_layer][:, config.vision_others :]
        projector = self.multi_modal_projector
        resized = resize(states, (high, wide), config.image_seq_length).to(projector.linear_1.weight.dtype)
        shown = projector(resized)
        found.pooler_output = list(projector.norm(shown) if config.projector_norm else shown)
        return found


class PresightLlavaForConditionalGeneration(LlavaForConditionalGeneration):
    """LLaVA for conditional generation around `PresightLlavaModel`."""

    config_class = PresightLlavaConfig

    def __init__(self, config: PresightLlavaConfig) -> None:
        LlavaPreTrainedModel.__init__(self, config)
        self.model = PresightLlavaModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()


class PresightLlavaProcessor(LlavaProcessor):
    """LLaVA's, with the same number of tokens for every picture."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        patch_size: int | None = None,
        vision_feature_select_strategy: str | None = None,
        chat_template: str | None = None,
        image_token: str = "<image>",
        num_additional_image_tokens: int = 0,
        image_seq_length: int = 1,
        **more: Any,
    ) -> None:
        self.image_seq_length = image_seq_length
        super().__init__(
            image_processor,
            tokenizer,
            patch_size,
            vision_feature_select_strategy,
            chat_template,
            image_token,
            num_additional_image_tokens,
            **more,
        )

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **given: Any) -> str:
        """What stands in a prompt for a picture."""
        return str(self.image_token) * self.image_seq_length


AutoConfig.register("presight_efficientnet_lite", EfficientNetLiteConfig, exist_ok=True)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)
AutoImageProcessor.register(
    EfficientNetLiteConfig, image_processor_classes={"pil": EfficientNetLiteImageProcessor}, exist_ok=True
)
AutoConfig.register("presight_llava", PresightLlavaConfig, exist_ok=True)
AutoModelForImageTextToText.register(PresightLlavaConfig, PresightLlavaForConditionalGeneration, exist_ok=True)
AutoProcessor.register(PresightLlavaConfig, PresightLlavaProcessor, exist_ok=True)
