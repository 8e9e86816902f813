import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from presight.errors import PresightError
from pretrain.model import SHAPES, Shape, configuration, flops, initialise, shape

UNITS = {"m": 1e6, "b": 1e9}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["tiny", "1m", "7m"])
@pytest.mark.parametrize("vocabulary", [512, 1000])
def test_the_formula_counts_the_real_parameters(name, vocabulary):
    assert count(initialise(configuration(name, vocabulary, 64, 0), 0)) == shape(name).parameters(vocabulary)


@pytest.mark.parametrize("vocabulary", [4096, 8192, 16_384, 32_768])
@pytest.mark.parametrize("name", SHAPES)
def test_the_formula_counts_large_models_without_making_them(name, vocabulary):
    import torch
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(configuration(name, vocabulary, 4096, 0))
    assert count(model) == SHAPES[name].parameters(vocabulary)
    blocks = [each for part, each in model.named_parameters() if ".layers." in part and each.ndim == 2]
    assert sum(each.numel() for each in blocks) == SHAPES[name].matrices()


@pytest.mark.parametrize("vocabulary", [32_000, 32_768])
@pytest.mark.parametrize("name", ["125m", "340m", "1b", "3b", "7b", "13b"])
def test_names_are_within_three_per_cent(name, vocabulary):
    asked = float(name[:-1]) * UNITS[name[-1]]
    assert abs(SHAPES[name].parameters(vocabulary) / asked - 1) < 0.03


def test_embeddings_are_tied_up_to_340m():
    assert list(SHAPES) == ["tiny", "1m", "7m", "33m", "125m", "340m", "1b", "3b", "7b", "13b"]
    assert [name for name, each in SHAPES.items() if each.tied] == ["tiny", "1m", "7m", "33m", "125m", "340m"]


def test_names_are_in_order_of_size():
    sizes = [each.parameters(32_768) for each in SHAPES.values()]
    assert sizes == sorted(sizes)
    assert all(each.width % each.heads == 0 and each.width // each.heads % 2 == 0 for each in SHAPES.values())


def slow_flops(model, context):
    """Of one training step per token: 2 · (1 + 2) per weight of every matrix product, and attention by its shapes."""
    from torch import nn

    total = 0
    for module in model.modules():
        if isinstance(module, nn.Linear):
            total += 3 * 2 * module.in_features * module.out_features
    heads, width = model.config.num_attention_heads, model.config.hidden_size
    for _ in range(model.config.num_hidden_layers):
        scores = 2 * heads * context * (width // heads)  # one query against all keys
        total += 3 * 2 * scores  # and the values
    return total


@pytest.mark.parametrize(("name", "context"), [("tiny", 64), ("1m", 256), ("7m", 1024), ("1b", 2048)])
def test_flops_equal_the_slow_twin(name, context):
    import torch
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(configuration(name, 4096, context, 0))
    assert shape(name).flops(4096, context) == slow_flops(model, context)
    assert flops(model, context) == slow_flops(model, context)


@given(st.integers(1, 50), st.integers(1, 64), st.integers(512, 50_000))
def test_untied_embeddings_count_twice_but_cost_the_same(layers, width, vocabulary):
    tied, untied = (Shape(layers, 2 * width, 1, 4 * width, tied=tied) for tied in (True, False))
    assert untied.parameters(vocabulary) - tied.parameters(vocabulary) == vocabulary * 2 * width
    assert untied.flops(vocabulary, 64) == tied.flops(vocabulary, 64)


def state(seed, name="tiny"):
    return {
        key: value.numpy().copy()
        for key, value in initialise(configuration(name, 512, 64, 0), seed).state_dict().items()
    }


def test_one_seed_one_model():
    import torch

    torch.manual_seed(7)
    first = state(3)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert torch.rand(1) == drawn  # the seed of the caller is left alone
    second, other = state(3), state(4)
    assert {value.dtype for value in first.values()} == {np.dtype("float32")}
    for key, value in first.items():
        assert value.tobytes() == second[key].tobytes()
        assert value.ndim == 1 or not np.array_equal(value, other[key])


def test_ties_and_ends():
    model = initialise(configuration("tiny", 512, 64, 9), 0)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert (model.config.eos_token_id, model.config.bos_token_id) == (9, 9)
    assert model.get_input_embeddings().padding_idx is None  # the end of a text is read, and must learn
    assert model.config.max_position_embeddings == 64
    assert configuration("1b", 512, 64, 9).tie_word_embeddings is False


def test_an_unknown_size_is_one_sentence():
    with pytest.raises(PresightError, match=r"^model: '124m' is no size; did you mean 125m\?$"):
        shape("124m")
