"""Questions about pictures that are nothing but features, and models of random weights that are asked them."""

import json
from typing import ClassVar

import numpy as np
from toy_tokenizer import byte_tokenizer

from adapt.vlm.pictures import key_of
from eval.vision import items
from eval.vision.items import Item
from presight.stage import Cost, Stage

KEYS = tuple(key_of(f"picture {n}".encode()) for n in range(8))
GRID, WIDTH, ENCODER = (4, 4), 8, "toy@1"
COLOURS = ("red", "blue", "green")


def questions(pictures=KEYS):
    """Three tasks: of three options and of two, each picture twice, and of free answers; and a question of none."""
    for n, key in enumerate(pictures):
        yield Item(f"c{n}", "colour", "Vision-centric", f"Colour {n}?", key, COLOURS, n % 3)
        yield Item(f"d{n}", "colour", "Vision-centric", f"And {n}?", key, COLOURS, (n + 1) % 3)
        yield Item(f"w{n}", "where", "General", f"Is {n} left?", key, ("yes", "no"), n % 2, facts={"bucket": n % 2})
        yield Item(f"r{n}", "read", "OCR & Chart", f"Read {n}.", key, (), (f"{n}", "x"), metric="exact")
    yield Item("t", "where", "General", "Is the sky up?", None, ("yes", "no"), 0)


def write_features(folder, keys=KEYS, encoder=ENCODER, views=("plain", "scrambled"), width=WIDTH):
    folder.mkdir(parents=True, exist_ok=True)
    draw = [np.random.default_rng(int(key[:8], 16)) for key in keys]
    rows = np.array([each.normal(size=(len(views), GRID[0] * GRID[1], width)) for each in draw], np.float16)
    np.save(folder / "features.npy", rows)
    np.save(folder / "blank.npy", np.full((GRID[0] * GRID[1], width), 0.5, np.float16))
    described = {"encoder": encoder, "modality": "image", "keys": list(keys), "views": list(views)}
    (folder / "features.json").write_text(json.dumps({**described, "grid": GRID, "width": width, "layer": -2}))
    return folder


def write_lm(folder, seed=0, spread=0.5, words=300):
    """Of weights that are spread so far that what it reads matters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=words,
        max_position_embeddings=512,
        initializer_range=spread,
        bos_token_id=0,
        eos_token_id=1,
        **sizes,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def write_vlm(folder, tokens=4, template="plain", encoder=ENCODER, seed=0):
    from adapt.vlm.artifact import Attachment
    from adapt.vlm.model import VisionLanguageModel

    attachment = Attachment(tokens, WIDTH, GRID, encoder, "image", template, seed=seed)
    write_lm(folder / "lm", seed)
    model = VisionLanguageModel.attached(folder / "lm", attachment)
    model.save(folder / "vlm")
    return folder / "vlm"


def write_llava(folder, spread=0.5):
    """A LLaVA of random weights that sees pictures of 12 pixels."""
    import torch
    import transformers as hf

    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    tokenizer.chat_template = None
    side = {"height": 12, "width": 12}
    images = hf.CLIPImageProcessorPil(size=side, crop_size=side, do_center_crop=False)
    processor = hf.LlavaProcessor(
        images, tokenizer, patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, initializer_range=spread)
    vision = hf.CLIPVisionConfig(**sizes, intermediate_size=24, image_size=12, patch_size=4)
    ends = dict(bos_token_id=0, eos_token_id=1)
    text = hf.LlamaConfig(**sizes, **ends, intermediate_size=32, vocab_size=300, max_position_embeddings=512)
    token = tokenizer.convert_tokens_to_ids("<image>")
    torch.manual_seed(0)
    config = hf.LlavaConfig(vision_config=vision, text_config=text, image_token_id=token)
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


class Leaf(Stage):
    """Stands for an artifact that a test has written itself."""

    name: str = ""
    items: int = 0

    def estimate(self):
        return Cost(items=self.items)


class Vlm(Leaf):
    kind: ClassVar[str] = "vlm"


class Llava(Leaf):
    kind: ClassVar[str] = "llava"


class Lm(Leaf):
    kind: ClassVar[str] = "checkpoint"


class Questions(Leaf):
    kind: ClassVar[str] = "questions"


class Encoded(Leaf):
    kind: ClassVar[str] = "features"


class Shots(Leaf):
    kind: ClassVar[str] = "pictures"


def write_questions(folder, asked=None):
    folder.mkdir(parents=True, exist_ok=True)
    items.write(folder, questions() if asked is None else asked)
    return folder
