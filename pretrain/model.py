"""Llama-style models by name: a table of shapes, each a plain transformers model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from presight.errors import PresightError, nearest

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM

# What `Shape.flops` counts, to be printed beside every MFU: others count otherwise, and their figures differ for it.
FORMULA = "6N + 12LDT"
COUNTED = (
    "N: matrices of the blocks and the output embedding, not the input embedding; "
    "L layers of width D at context T: attention in full, no causal discount"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Layers, width, heads and feed-forward width of a model; those up to 340m tie input and output embeddings."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    tied: bool = True

    def parameters(self, vocabulary: int) -> int:
        """Parameters, embeddings included."""
        norms = (2 * self.layers + 1) * self.width
        return self.matrices() + norms + vocabulary * self.width * (1 if self.tied else 2)

    def matrices(self) -> int:
        """Parameters of the matrices of the blocks: those that Muon's steps are for."""
        return self.layers * (4 * self.width**2 + 3 * self.width * self.feed_forward)

    def flops(self, vocabulary: int, context: int) -> float:
        """Floating-point operations of a training step, per token: 6 per weight that multiplies, and attention.

        Counted: all matrix products, the output embedding once; attention scores and values at full context (no
        causal discount), 12 · layers · width · context. Not counted: the input embedding, which is a look-up.
        """
        multiplied = self.matrices() + vocabulary * self.width
        return 6.0 * multiplied + 12.0 * self.layers * self.width * context


# From 125m up the names are true within 3 % at vocabularies of 32,000 and 32,768, embeddings included.
SHAPES = {
    "tiny": Shape(2, 64, 2, 176),
    "1m": Shape(4, 128, 4, 344),
    "7m": Shape(6, 256, 4, 688),
    "33m": Shape(8, 512, 8, 1376),
    "125m": Shape(12, 768, 12, 2560),
    "340m": Shape(24, 1024, 16, 2816),
    "1b": Shape(18, 2048, 16, 5120, tied=False),
    "3b": Shape(32, 2560, 20, 8064, tied=False),
    "7b": Shape(32, 4096, 32, 11520, tied=False),
    "13b": Shape(40, 5120, 40, 13824, tied=False),
}


def shape(name: str) -> Shape:
    """The shape of a name.

    Raises:
        PresightError: no such shape.
    """
    if name not in SHAPES:
        raise PresightError("model", f"{name!r} is no size", nearest(name, SHAPES))
    return SHAPES[name]


def flops(model: Any, context: int) -> float:
    """`Shape.flops` of any transformers causal LM: floating-point operations of a training step, per token.

    Args:
        model: its parameters are counted: all with two dimensions or more but embeddings, which are look-ups unless
            they are the output embedding, too. Of a mixture of experts every expert is counted: too many.
        context: tokens of a sequence.
    """
    from torch import nn

    config, head = model.config.get_text_config(), model.get_output_embeddings()
    looked_up = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    looked_up -= {id(head.weight)} if head is not None else set()
    multiplied = sum(p.numel() for p in model.parameters() if p.ndim > 1 and id(p) not in looked_up)
    return 6.0 * multiplied + 12.0 * config.num_hidden_layers * config.hidden_size * context


def configuration(name: str, vocabulary: int, context: int, end: int) -> LlamaConfig:
    """The transformers configuration of a shape; ``end`` is the end-of-text token."""
    from transformers import LlamaConfig

    found = shape(name)
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=found.width,
        intermediate_size=found.feed_forward,
        num_hidden_layers=found.layers,
        num_attention_heads=found.heads,
        num_key_value_heads=found.heads,
        max_position_embeddings=context,
        tie_word_embeddings=found.tied,
        rms_norm_eps=1e-5,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=None,  # a padding token's embedding has no gradient, and the end of a text is read all the time
    )


def initialise(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A model with fresh weights: the same seed gives the same bytes, in float32."""
    import torch
    from transformers import LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()
