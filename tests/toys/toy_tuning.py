"""Sixty-four pictures that are nothing but features, what is said of them, and an LM of random weights."""

import json
from typing import ClassVar

import numpy as np
from toy_tokenizer import byte_tokenizer

from adapt.vlm import conversations
from adapt.vlm.conversations import Conversation
from adapt.vlm.pictures import key_of
from presight.stage import Stage

COLOURS = ("red", "blue", "green", "white", "black", "pink", "grey", "gold")
THINGS = ("cat", "dog", "cup", "hat", "bus", "key", "fox", "pen")
CAPTIONS = tuple(f"a {colour} {thing}" for colour in COLOURS for thing in THINGS)
KEYS = tuple(key_of(caption.encode()) for caption in CAPTIONS)
GRID, WIDTH = (4, 4), 8
CHAT = (
    "{{ bos_token }}{% for m in messages %}{{ '@' + m['role'] + ' ' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '@assistant ' }}{% endif %}"
)


def word_tokenizer(words=(*(f" {word}" for word in ("a", *COLOURS, *THINGS)), "User:", "Assistant:")):
    """One token for each of these, bytes for all else: less to compute."""
    merges = []
    for word in words:
        letters = word.replace(" ", "Ġ")
        merges += [(letters[:end], letters[end]) for end in range(1, len(letters))]
    tokenizer = byte_tokenizer(dict.fromkeys(merges))
    tokenizer.chat_template = CHAT
    return tokenizer


def toy_lm(vocabulary, depth=32, context=96):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(hidden_size=depth, intermediate_size=2 * depth, num_hidden_layers=2, num_attention_heads=2)
    config = LlamaConfig(vocab_size=vocabulary, max_position_embeddings=context, tie_word_embeddings=True, **sizes)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 0, 1, None
    torch.manual_seed(0)
    return LlamaForCausalLM(config).float()


def drawn(name, shape):
    return np.random.default_rng(list(name.encode())).normal(size=shape)


def features_of(caption, grid=GRID, width=WIDTH):
    """Colour in the upper half, thing in the lower, and some noise."""
    _, colour, thing = caption.split()
    upper = grid[0] // 2 * grid[1]
    parts = (drawn(colour, width), upper), (drawn(thing, width), grid[0] * grid[1] - upper)
    plain = np.concatenate([np.tile(value, (count, 1)) for value, count in parts])
    return plain + 0.1 * drawn(caption, plain.shape)


def write_features(folder, captions=CAPTIONS, encoder="toy@1", grid=GRID, width=WIDTH):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "features.npy", np.array([[features_of(each, grid, width)] for each in captions], np.float16))
    np.save(folder / "blank.npy", np.zeros((grid[0] * grid[1], width), np.float16))
    described = {"encoder": encoder, "modality": "image", "views": ["plain"], "layer": -2}
    described |= {"keys": [key_of(each.encode()) for each in captions], "grid": list(grid), "width": width}
    (folder / "features.json").write_text(json.dumps(described))


class Lm(Stage):
    kind: ClassVar[str] = "checkpoint"

    def run(self, out, inputs):
        tokenizer = word_tokenizer()
        toy_lm(len(tokenizer)).save_pretrained(out)
        tokenizer.save_pretrained(out)


class Seen(Stage):
    kind: ClassVar[str] = "features"
    encoder: str = "toy@1"

    def run(self, out, inputs):
        write_features(out, encoder=self.encoder)


class Captions(Stage):
    kind: ClassVar[str] = "conversations"

    def run(self, out, inputs):
        said = zip(CAPTIONS, KEYS, strict=True)
        conversations.write(out, (Conversation(caption, ("", caption), key) for caption, key in said))


class Instructions(Stage):
    """Two questions of every picture, the second of another ability, and as many without any picture."""

    kind: ClassVar[str] = "conversations"

    def run(self, out, inputs):
        def said():
            for place, (caption, key) in enumerate(zip(CAPTIONS, KEYS, strict=True)):
                _, colour, thing = caption.split()
                tag = ("perception", "reasoning")[place % 2]
                turns = ("What is it?", thing, "And its colour?", colour)
                yield Conversation(f"seen {place}", turns, key, tag)
                yield Conversation(f"told {place}", (f"Say {thing}.", thing), None, "other")

        conversations.write(out, said())
