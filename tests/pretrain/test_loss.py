import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.batches import IGNORED, Batch
from pretrain.loss import ChunkedLoss, Objective
from pretrain.model import configuration, initialise


def plain(hidden, weight, targets, weights):
    """The slow twin: all logits at once, torch's own cross-entropy and autograd."""
    each = torch.nn.functional.cross_entropy((hidden @ weight.T).float(), targets, reduction="none")
    return (each * weights).sum(), each


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(2, 30), st.integers(0, 2**31))
def test_chunks_give_the_loss_and_both_gradients_of_all_logits(tokens, chunk, words, seed):
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 8, generator=draw, dtype=torch.float64).requires_grad_()
    weight = torch.randn(words, 8, generator=draw, dtype=torch.float64).requires_grad_()
    targets = torch.randint(0, words, (tokens,), generator=draw)
    targets[torch.rand(tokens, generator=draw) < 0.2] = IGNORED
    weights = torch.rand(tokens, generator=draw)
    expected, each = plain(hidden, weight, targets, weights)
    slopes = torch.autograd.grad(3 * expected, (hidden, weight))
    total, losses = ChunkedLoss.apply(hidden, weight, targets, weights, chunk, True)
    found = torch.autograd.grad(3 * total, (hidden, weight))
    assert losses == pytest.approx(each.detach(), abs=1e-5)
    assert float(total.detach()) == pytest.approx(float(expected.detach()), abs=1e-4)
    for mine, theirs in zip(found, slopes, strict=True):
        assert mine.numpy() == pytest.approx(theirs.numpy(), abs=1e-5)


@pytest.fixture(scope="module")
def model():
    return initialise(configuration("tiny", 64, 32, 0), 0)


def rows(count, length, seed=0):
    tokens = np.random.default_rng(seed).integers(1, 64, (count, length))
    return Batch(tokens, np.zeros(count, dtype=np.int16))


def losses(objective, batch):
    x, y = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets())
    positions = None if batch.positions is None else torch.from_numpy(batch.positions)
    return objective(x, y, torch.ones(x.shape), positions)


@pytest.mark.parametrize("chunk", [0, 5, 512])
def test_a_model_gets_the_loss_that_transformers_gives(model, chunk):
    batch = rows(3, 32)
    x = torch.from_numpy(batch.tokens)
    total, each = losses(Objective(model, chunk), batch)
    assert each[:, -1].abs().max() == 0
    assert total.item() / (3 * 31) == pytest.approx(model(input_ids=x, labels=x).loss.item(), abs=1e-5)


def test_gradients_of_a_tied_model_do_not_depend_on_the_chunk(model):
    found = []
    for chunk in (0, 7):
        model.zero_grad()
        losses(Objective(model, chunk), rows(2, 32))[0].backward()
        found.append({name: each.grad.clone() for name, each in model.named_parameters()})
    for name, mine in found[0].items():
        assert mine.numpy() == pytest.approx(found[1][name].numpy(), abs=2e-4), name


def test_logits_that_a_model_reshapes_are_taken_from_the_model():
    from transformers import AutoModelForCausalLM, Gemma2Config

    config = Gemma2Config(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, final_logit_softcapping=2.0, max_position_embeddings=32,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).float().eval()
    batch = rows(2, 16)
    x = torch.from_numpy(batch.tokens)
    assert Objective(model).chunk == 0
    total, _ = losses(Objective(model), batch)
    assert total.item() / 30 == pytest.approx(model(input_ids=x, labels=x).loss.item(), abs=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_documents_packed_into_a_row_are_to_each_other_as_if_alone(attention):
    """Packed loss equals unpacked loss, token by token; without positions it does not."""
    config = configuration("tiny", 64, 32, 0)
    config._attn_implementation = attention
    model = initialise(config, 1)
    lengths = [5, 1, 9, 17]
    whole = rows(1, sum(lengths))
    positions = np.concatenate([np.arange(length) for length in lengths])[None]
    packed = Batch(whole.tokens, whole.pools, positions)
    _, together = losses(Objective(model), packed)
    at = 0
    for length in lengths:
        part = Batch(whole.tokens[:, at : at + length], whole.pools)
        _, alone = losses(Objective(model), part)
        assert together[0, at : at + length].detach().numpy() == pytest.approx(alone[0].numpy(), abs=1e-5)
        at += length
    _, mixed = losses(Objective(model), whole)
    assert (mixed - together).abs().max() > 1e-3
