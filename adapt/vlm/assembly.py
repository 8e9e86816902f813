"""LLaVA of transformers put together from a model's parts, with the processor that belongs to it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers import AddedToken, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from adapt.vlm.encoders import Lite, Sight
from adapt.vlm.llava import (
    EfficientNetLiteConfig,
    EfficientNetLiteImageProcessor,
    EfficientNetLiteModel,
    PresightLlavaConfig,
    PresightLlavaForConditionalGeneration,
    PresightLlavaProcessor,
)
from adapt.vlm.model import VisionLanguageModel
from adapt.vlm.prompting import TOKEN, chat_template
from adapt.vlm.towers import Tower


def assembled(model: VisionLanguageModel, encoder: Sight) -> tuple[Any, Any]:
    """LLaVA, which shares the parts it is made of, and its processor.

    The token that stands for a picture is the tokenizer's next. Where the LM has no row for it, it is given the mean
    of the others: by Jensen's inequality its share of the probability is then at most one in so many words.

    Args:
        model: in float32; its LM and tokenizer get the token.
        encoder: in float32.
    """
    attached, tokenizer, language = model.attachment, model.tokenizer, model.language
    template = chat_template(attached.template, tokenizer)
    tower, images, others, given = _parts(encoder)
    image = _token(tokenizer)
    _widen(language, image + 1)
    plain = attached.tokens == encoder.grid[0] * encoder.grid[1] and attached.interface == "plain"
    plain = plain and not given and others <= 1
    head, text = _head(language)
    for config in (text, tower.config):
        config.name_or_path = ""  # places would make equal exports differ
    settings: dict[str, Any] = {
        "vision_config": tower.config,
        "text_config": text,
        "image_token_index": image,
        "image_seq_length": attached.tokens,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": encoder.layer,
        "vision_feature_select_strategy": "default" if plain and others else "full",
        "tie_word_embeddings": bool(text.tie_word_embeddings),
    }
    with torch.device("meta"):  # its own weights are all replaced
        if plain:
            made: Any = LlavaForConditionalGeneration(LlavaConfig(**settings))
        else:
            config = PresightLlavaConfig(
                **settings,
                vision_grid=list(encoder.grid),
                vision_others=others,
                vision_ordered="noise" in given,
                vision_interpolated="interpolate_pos_encoding" in given,
                projector_norm=attached.interface == "matched",
            )
            made = PresightLlavaForConditionalGeneration(config)
    made.model.vision_tower, made.model.language_model = tower, language.base_model
    made.lm_head = head
    made.model.multi_modal_projector.load_state_dict(model.projector.state_dict(), assign=True)
    made.generation_config = _generation(model, image)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"  # answers go on at the right
    shared: dict[str, Any] = {
        "image_processor": images,
        "tokenizer": tokenizer,
        "patch_size": tower.config.patch_size,
        "vision_feature_select_strategy": settings["vision_feature_select_strategy"],
        "num_additional_image_tokens": others,
        "chat_template": template,
        "image_token": TOKEN,
    }
    if plain:
        return made.eval(), LlavaProcessor(**shared)
    return made.eval(), PresightLlavaProcessor(**shared, image_seq_length=attached.tokens)


def _parts(encoder: Sight) -> tuple[Any, Any, int, dict[str, Any]]:
    """Vision tower, image processor, tokens that are no patches, and what the tower takes beside pixels."""
    if isinstance(encoder, Tower):
        return encoder.module, encoder.processor, encoder.others, encoder.given
    assert isinstance(encoder, Lite)
    patch = encoder.side // encoder.grid[0]
    config = EfficientNetLiteConfig(hidden_size=encoder.width, image_size=encoder.side, patch_size=patch)
    tower = EfficientNetLiteModel(config)
    tower.network = encoder.module
    return tower, EfficientNetLiteImageProcessor(size={"height": encoder.side, "width": encoder.side}), 0, {}


def _token(tokenizer: Any) -> int:
    """The id of the token that stands for a picture."""
    if TOKEN not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(TOKEN, special=True, normalized=False)], special_tokens=True)
    return int(tokenizer.convert_tokens_to_ids(TOKEN))


def _widen(language: Any, rows: int) -> None:
    """Give an LM so many rows of words, if it has fewer."""
    before = language.get_input_embeddings().weight.shape[0]
    if rows <= before:
        return
    language.resize_token_embeddings(rows, mean_resizing=False)
    tables: list[nn.Module] = [language.get_input_embeddings(), language.get_output_embeddings()]
    with torch.no_grad():
        for table in tables:
            table.weight[before:] = table.weight[:before].mean(0)  # type: ignore[index, operator]


def _head(language: Any) -> tuple[Any, Any]:
    """What gives logits, and the LM's configuration; a head that shares its words' rows gets its own where it must.

    LLaVA ties a head to what is called ``embed_tokens``.
    """
    head, text = language.get_output_embeddings(), copy.deepcopy(language.config)
    if text.tie_word_embeddings and not hasattr(language.base_model, "embed_tokens"):
        head = copy.deepcopy(head)
        text.tie_word_embeddings = False
    return head, text


def _generation(model: VisionLanguageModel, image: int) -> Any:
    """The LM's own settings, answers that end where they were taught to, and never a picture."""
    settings = copy.deepcopy(model.language.generation_config)
    settings.eos_token_id = list(model.template.ends)
    settings.suppress_tokens = [image]
    if settings.pad_token_id is None:
        settings.pad_token_id = model.tokenizer.pad_token_id or settings.eos_token_id[0]
    return settings
