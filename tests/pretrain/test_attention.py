from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.llama.modeling_llama import eager_attention_forward

from pretrain import attention
from pretrain.attention import HEADS, LONGEST, ROWS, CausalAttention, attend


def three(batch, heads, length, width, dtype=torch.float64, key_heads=None, value_width=None):
    """Query, key and value, as a model makes them: a view with heads and tokens swapped."""
    made, fewer = [], key_heads or heads
    for number, wide in ((heads, width), (fewer, width), (fewer, value_width or width)):
        made.append(torch.randn(batch, length, number, wide, dtype=dtype).transpose(1, 2).requires_grad_())
    return made


def plain(query, key, value, scaling):
    """The twin: scores of all pairs, a softmax, and autograd."""
    scores = scaling * query @ key.transpose(2, 3)
    later = torch.ones(scores.shape[2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(3) @ value


def through(function, *given):
    """What comes out and the gradients of what goes in, all in one list."""
    out = function(*given)
    tensors = [each for each in given if isinstance(each, torch.Tensor)]
    onward = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, tensors, onward)]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 2, HEADS // 2]), st.integers(1, 3), st.sampled_from([1, 4, 8]), st.sampled_from([1, 4, 6]),
    st.sampled_from([1, 2, 7, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 3]), st.floats(0.01, 2),
)  # fmt: skip
def test_gradients_are_those_of_all_scores_at_once(batch, heads, width, value_width, length, scaling):
    given = three(batch, heads, length, width, value_width=value_width)
    for ours, twin in zip(
        through(CausalAttention.apply, *given, scaling), through(plain, *given, scaling), strict=True
    ):
        torch.testing.assert_close(ours, twin, rtol=1e-9, atol=1e-11)


def flash(query, key, value, scaling):
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)


def eager(query, key, value, scaling):
    later = torch.full((query.shape[2], key.shape[2]), float("-inf"), dtype=query.dtype).triu(1)
    layer = SimpleNamespace(num_key_value_groups=1, training=False)
    return eager_attention_forward(layer, query, key, value, later, scaling)[0].transpose(1, 2)


@pytest.mark.parametrize(("sharpness", "length"), [(1, 300), (2, 300), (1, LONGEST)])
def test_in_bf16_its_gradients_are_as_exact_as_those_of_eager_attention(sharpness, length):
    """What comes out is torch's to the bit; torch's gradients, of scores in float32, are more exact."""
    torch.manual_seed(0)
    given = [(sharpness * each.detach()).requires_grad_() for each in three(2, 4, length, 32, torch.bfloat16)]
    exact = through(plain, *(each.detach().double().requires_grad_() for each in given), 32**-0.5)
    ours, torchs = through(CausalAttention.apply, *given, 32**-0.5), through(flash, *given, 32**-0.5)
    eagers = through(eager, *given, 32**-0.5)
    assert torch.equal(ours[0], torchs[0])
    error = [
        torch.stack([(own - true).norm() / true.norm() for own, true in zip(found, exact, strict=True)])[1:]
        for found in (ours, eagers, torchs)
    ]
    assert error[0].norm() < 1.25 * error[1].norm()
    assert error[0].max() < 3 * error[2].max()


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_heads_that_serve_several_get_the_sum_of_their_gradients(key_heads):
    torch.manual_seed(0)
    given = three(2, 4, 40, 16, torch.bfloat16, key_heads)
    layer = SimpleNamespace(num_key_value_groups=4 // key_heads)

    def ours(query, key, value):
        return attend(layer, query, key, value, None)[0]

    def theirs(query, key, value):
        return sdpa_attention_forward(layer, query, key, value, None)[0]

    for own, other in zip(through(ours, *given), through(theirs, *given), strict=True):
        assert own.shape == other.shape
        assert (own - other).float().norm() <= 0.02 * other.float().norm()


def taken(monkeypatch, call):
    """Whether `CausalAttention` was used."""
    seen = []
    apply = CausalAttention.apply
    monkeypatch.setattr(CausalAttention, "apply", lambda *given: (seen.append(1), apply(*given))[1])
    call()
    return bool(seen)


OTHERS = {
    "float32": {"dtype": torch.float32},
    "a mask": {"mask": torch.ones(1, 1, 8, 8, dtype=torch.bool)},
    "not causal": {"is_causal": False},
    "a layer that is not causal": {"layer": {"is_causal": False}},
    "long rows": {"length": LONGEST + 1},
    "dropout": {"dropout": 0.5},
    "a bias by position": {"position_bias": torch.zeros(1, 2, 8, 8, dtype=torch.bfloat16)},
    "keys kept from before": {"kept": 3},
    "no gradient": {"learning": False},
}


@pytest.mark.parametrize("case", ["causal", *OTHERS])
def test_all_else_is_left_to_transformers(case, monkeypatch):
    torch.manual_seed(0)
    case = dict(OTHERS.get(case, {"causal": True}))
    ours = case.pop("causal", False)
    query, key, value = three(1, 2, case.pop("length", 8), 4, case.pop("dtype", torch.bfloat16))
    kept, mask, layer = case.pop("kept", 0), case.pop("mask", None), SimpleNamespace(**case.pop("layer", {}))

    def call():
        with torch.set_grad_enabled(case.pop("learning", True)):
            torch.manual_seed(1)
            own = attend(layer, query[:, :, kept:], key, value, mask, **case)[0]
            torch.manual_seed(1)
            assert torch.equal(own, sdpa_attention_forward(layer, query[:, :, kept:], key, value, mask, **case)[0])

    assert taken(monkeypatch, call) == ours


def test_values_may_be_narrower_than_queries():
    given = three(1, 2, 8, 6, torch.bfloat16, value_width=4)
    found = torch.autograd.grad(attend(SimpleNamespace(), *given, None)[0].sum(), given)
    assert [each.shape for each in found] == [each.shape for each in given]


def test_a_model_trains_through_it_once_it_is_installed(monkeypatch):
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    model, tokens = LlamaForCausalLM(config).bfloat16(), torch.arange(24)[None]
    assert model.config._attn_implementation == "sdpa"
    before = AttentionInterface._global_mapping["sdpa"]

    def learn():
        model.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    theirs = learn()
    try:
        attention.install()
        assert taken(monkeypatch, learn)
        ours = learn()
    finally:
        AttentionInterface.register("sdpa", before)
    for own, other in zip(ours, theirs, strict=True):
        assert (own - other).float().norm() <= 0.05 * other.float().norm()
    assert any(not torch.equal(own, other) for own, other in zip(ours, theirs, strict=True))
