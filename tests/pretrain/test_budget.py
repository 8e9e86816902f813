import json
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_experiment import CHECKOUT, ENVIRONMENT

from presight.errors import PresightError
from pretrain import budget, loss
from pretrain.budget import BUCKET, GATHERED, Layout, activations, cost, logits, memory, predict, program
from pretrain.loss import Objective
from pretrain.model import SHAPES, Shape, configuration, initialise, shape
from pretrain.peaks import CARDS

SMALL = {"gpus": 1, "context": 64, "vocabulary": 4096, "micro_batch": 1}


def model_of(name, layout):
    """A real one, of the layout's dtype."""
    model = initialise(configuration(name, layout.vocabulary, layout.context, 0), 0)
    if layout.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.to(torch.bfloat16 if layout.dtype == "bf16" else torch.float32).train()


def kept(name, layout):
    """Bytes of the storages that a real forward pass keeps, weights left out; the loss is a sum of hidden states."""
    model = model_of(name, layout)
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    tokens = torch.randint(0, layout.vocabulary, (layout.micro_batch, layout.context))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    return sum(each.nbytes() for each in storages.values())


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "micro", "context"), [("tiny", 3, 32), ("1m", 2, 64), ("7m", 1, 128)])
def test_activations_are_what_a_real_model_keeps(name, micro, context, dtype):
    layout = Layout(dtype=dtype, micro_batch=micro, context=context, vocabulary=512)
    assert activations(shape(name), layout) == pytest.approx(kept(name, layout), rel=1e-3)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_checkpointing_keeps_inputs_and_one_block(dtype):
    layout = Layout(dtype=dtype, micro_batch=8, context=64, vocabulary=512, checkpointing=True)
    plain = Layout(dtype=dtype, micro_batch=8, context=64, vocabulary=512)
    shapes = [Shape(layers, 128, 4, 344) for layers in (4, 5)]
    block = activations(shapes[1], plain) - activations(shapes[0], plain)
    assert activations(shapes[0], layout) - block == pytest.approx(kept("1m", layout), rel=0.02)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(("chunk", "context"), [(0, 128), (64, 128), (16, 64), (512, 128)])
def test_the_peak_of_a_real_pass(dtype, chunk, context):
    """Weights, activations and logits against torch's own tracker; small widths, so that the peak is the loss's."""
    tracker = pytest.importorskip("torch.distributed._tools.mem_tracker")
    layout = Layout(gpus=1, dtype=dtype, micro_batch=2, context=context, vocabulary=4096, chunk=chunk, zero=1)
    model = model_of("1m", layout)
    objective = Objective(model, chunk)
    tokens, weights = torch.randint(0, 4096, (2, context)), torch.ones(2, context)
    memories = tracker.MemTracker()
    memories.track_external(model, tokens, weights)
    with memories:
        total, _ = objective(tokens, tokens, weights)
        total.backward()
    (found,) = memories.get_tracker_snapshot("peak").values()
    measured = next(value for key, value in found.items() if "Total" in str(key))
    need = memory(shape("1m"), layout)
    assert need.weights + need.activations + need.logits == pytest.approx(measured, rel=0.02)


def test_the_chunk_is_the_losses():
    assert budget.CHUNK == loss.CHUNK


ENGINES = """
import gc, json, logging, sys, torch
from pretrain import engine
from pretrain.loss import Objective
from pretrain.model import configuration, initialise

def storages(model):
    gc.collect()
    found = [each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)]
    found += [each.grad for each in model.parameters() if each.grad is not None]
    return {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in found if not each.is_meta}

engine.begin()
logging.disable(logging.CRITICAL)
for zero, dtype, offload in json.load(sys.stdin):
    gc.freeze()  # what was there before is not looked at
    model = initialise(configuration("1m", 4096, 64, 0), 0)
    made = engine.engine(Objective(model), engine.configuration(2, 1, zero, dtype, 1.0, 1, offload), 1e-3, 0.1)
    seen = {}
    late = model.model.layers[0].input_layernorm.weight  # its gradient comes last but for the embedding's
    late.register_hook(lambda _: seen.update(storages(model) if micro == 2 else {}))
    for micro in range(3):  # a step's two micro-batches, so that the optimizer has states, and one more
        tokens = torch.randint(0, 4096, (1, 64))
        total, _ = made(tokens, tokens, torch.ones(1, 64) / 64)
        made.backward(total)
        del total
        seen = {**seen, **storages(model)} if micro == 2 else seen
        made.step()
    weights = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in model.parameters()}
    inner = made.optimizer.optimizer
    states = [each for state in inner.state.values() for each in state.values() if torch.is_tensor(each)]
    states += [each for group in inner.param_groups for each in group["params"]]
    held = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in states}
    rest = {key: size for key, size in seen.items() if key not in weights and key not in held}
    print(json.dumps([sum(each.values()) for each in (weights, held, rest)] + [max(rest.values())]), flush=True)
"""


def test_state_is_what_an_engine_holds():
    """DeepSpeed's own tensors on one rank, in bytes: weights; masters and states; gradients, a bucket among them."""
    asked = [(zero, dtype, False) for zero in (1, 2) for dtype in ("fp32", "bf16")] + [
        (1, "fp32", True),
        (2, "bf16", True),
    ]
    done = subprocess.run(
        [sys.executable, "-c", ENGINES], input=json.dumps(asked), env={**os.environ, **ENVIRONMENT}, cwd=CHECKOUT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    for (zero, dtype, offload), (weights, held, rest, largest) in zip(asked, lines, strict=True):
        need = memory(shape("1m"), Layout(zero=zero, dtype=dtype, offload=offload, **SMALL))
        element = {(1, "fp32"): 4, (1, "bf16"): 0, (2, "fp32"): 4, (2, "bf16"): 2}[zero, dtype]
        bucket, tied = shape("1m").parameters(4096) * element, 4096 * 128 * (2 if dtype == "bf16" else 4)
        assert weights == pytest.approx(need.weights, rel=0.01)
        assert bucket == 0 or largest >= bucket
        rest -= bucket + tied  # the tied embedding's gradient from the loss is counted with the logits
        if offload:  # here the host is the device
            assert held + rest == pytest.approx(need.gradients + need.host - bucket, rel=0.03)
            continue
        assert held == pytest.approx(need.optimizer, rel=0.01)
        assert rest == pytest.approx(need.gradients - bucket, rel=0.03), (zero, dtype)


def slow_state(model, layout):
    """Parameter by parameter: bytes of weights, gradients and optimizer on a GPU, AdamW or Muon, nothing offloaded."""
    with torch.device("meta"):
        from transformers import LlamaForCausalLM

        config = configuration("tiny", layout.vocabulary, layout.context, 0)
        config.update({"hidden_size": model.width, "head_dim": model.width // model.heads})
        config.update({"intermediate_size": model.feed_forward, "tie_word_embeddings": model.tied})
        config.update({"num_hidden_layers": model.layers, "num_attention_heads": model.heads})
        config.update({"num_key_value_heads": model.heads})
        made = LlamaForCausalLM(config)
    e = 2 if layout.dtype == "bf16" else 4
    weights = gradients = optimizer = 0.0
    for name, each in made.named_parameters():
        matrix = each.ndim == 2 and "embed" not in name and "lm_head" not in name
        states = 8
        if layout.optimizer == "muon" and matrix:
            states = {0: 4, 1: 4 if layout.dtype == "bf16" else 8, 2: 2 * e, 3: e}[layout.zero]
        parted = layout.gpus if layout.zero else 1
        optimizer += each.numel() * (states + (4 if layout.zero else 0)) / parted
        weights += each.numel() * e / (layout.gpus if layout.zero == 3 else 1)
        gradients += each.numel() * 4 / (layout.gpus if layout.zero > 1 else 1)
        if (layout.zero, layout.dtype) == (1, "bf16"):
            gradients += each.numel() * 2
    if layout.zero == 3 and layout.gpus > 1:
        weights += e * min(sum(each.numel() for each in made.parameters()), GATHERED)
    bucket = {0: 0, 1: 4 if layout.dtype == "fp32" else 0, 2: e, 3: e}[layout.zero]
    return weights, gradients + bucket * min(BUCKET, sum(each.numel() for each in made.parameters())), optimizer


RUNNABLE = [(0, "fp32"), *((zero, dtype) for zero in (1, 2, 3) for dtype in ("fp32", "bf16"))]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(("zero", "dtype"), RUNNABLE)
@pytest.mark.parametrize(("name", "gpus"), [("7m", 1), ("340m", 8), ("7b", 64)])
def test_state_equals_the_slow_twin(name, gpus, zero, dtype, optimizer):
    layout = Layout(gpus=gpus, zero=zero, dtype=dtype, optimizer=optimizer)
    need = memory(shape(name), layout)
    assert (need.weights, need.gradients, need.optimizer) == pytest.approx(slow_state(shape(name), layout))


layouts = st.builds(
    Layout,
    gpus=st.integers(1, 256),
    zero=st.sampled_from([1, 2, 3]),
    dtype=st.sampled_from(["fp32", "bf16"]),
    optimizer=st.sampled_from(["adamw", "muon"]),
    offload=st.booleans(),
    checkpointing=st.booleans(),
    micro_batch=st.integers(1, 8),
    context=st.sampled_from([64, 2048, 8192]),
    vocabulary=st.sampled_from([4096, 32_768]),
    chunk=st.sampled_from([0, 512]),
)


@given(st.sampled_from(list(SHAPES)), layouts)
def test_what_is_meant_to_save_memory_saves_it(name, layout):
    from dataclasses import replace

    model, need = shape(name), memory(shape(name), layout)
    assert need.total == need.weights + need.gradients + need.optimizer + need.activations + need.logits
    assert min(need.weights, need.gradients, need.activations, need.logits) > 0
    assert (need.host > 0) == layout.offload
    assert (need.optimizer == 0) == layout.offload
    more = memory(model, replace(layout, gpus=layout.gpus * 2))
    assert more.optimizer <= need.optimizer
    assert more.gradients <= need.gradients
    assert activations(model, replace(layout, checkpointing=True)) <= activations(
        model, replace(layout, checkpointing=False)
    )
    away = memory(model, replace(layout, offload=True))
    kept_here = memory(model, replace(layout, offload=False))
    passing = layout.width * layout.vocabulary * model.width
    bucket = (
        4 * min(BUCKET, model.parameters(layout.vocabulary)) if layout.zero == 1 else 0
    )  # which stage 1 in bf16 has only with offload
    assert away.total <= kept_here.total + bucket + passing
    twice = replace(layout, micro_batch=2 * layout.micro_batch)
    assert activations(model, twice) > need.activations
    assert logits(model, twice) >= need.logits


def test_offloading_moves_and_does_not_lose():
    plain, away = (memory(shape("1b"), Layout(zero=3, offload=each)) for each in (False, True))
    parameters = shape("1b").parameters(32_768)
    assert away.host == pytest.approx((4 + 8 + 4 + 4) * parameters / 8)
    assert away.gradients == 2 * BUCKET
    assert plain.total - away.total == pytest.approx((4 + 8 + 4) * parameters / 8)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"zero": 0}, "zero: stage 0 has no fp32 gradients for bf16 weights; take stage 1, 2 or 3, or fp32."),
        ({"zero": 0, "dtype": "fp32", "offload": True}, "offload: stage 0 has no optimizer state to part with; "),
        ({"gpus": 0}, "gpus: 0 is less than 1; give a positive whole number."),
        ({"micro_batch": -1}, "micro_batch: -1 is less than 1"),
    ],
)
def test_layouts_that_cannot_be(fields, sentence):
    with pytest.raises(PresightError) as found:
        Layout(**fields)
    assert str(found.value).startswith(sentence)


def test_the_papers_flagship():
    """7B × 1T tokens on 128 A100s took about 32 days, 98,304 GPU-hours: what MFU is that, by our count?"""
    taken = 128 * 32 * 24
    found = predict("7b", 1e12, gpu="A100", layout=Layout(gpus=128))
    assert found.gpu_hours == pytest.approx(taken, rel=0.1)
    implied = 1e12 * found.flops_per_token / (taken * 3600 * 312e12)
    assert implied == pytest.approx(0.399, abs=5e-4)
    assert found.utilisation.mfu == pytest.approx(implied, abs=0.005)
    assert "2509.26625" in found.utilisation.source


def test_a_prediction_by_hand():
    layout = Layout(gpus=4, context=1024)
    found = predict("1b", 1e9, gpu="H100", layout=layout, mfu=0.4)
    flops = shape("1b").flops(32_768, 1024)
    assert found.rate == pytest.approx(4 * 0.4 * 989.4e12 / flops)
    assert found.seconds == pytest.approx(1e9 / found.rate)
    assert found.gpu_hours == pytest.approx(1e9 * flops / (0.4 * 989.4e12) / 3600)
    assert found.memory == memory(shape("1b"), layout)
    assert found.formula.startswith("6N + 12LDT (N: ")
    assert predict(shape("1b"), 1e9, gpu="H100", layout=layout, mfu=0.4) == found


def test_a_measured_rate_overrides():
    found = predict("1b", 1e9, gpu="A100", rate=1e5)
    assert found.rate == pytest.approx(1e5)
    assert found.utilisation.mfu == pytest.approx(1e5 * found.flops_per_token / (8 * 312e12))
    assert predict("1b", 1e9, gpu="A100", mfu=found.utilisation.mfu).gpu_hours == pytest.approx(found.gpu_hours)


def test_this_cpu(monkeypatch):
    monkeypatch.setattr(budget, "matmul_peak", lambda dtype: {"fp32": 1e11}[dtype])
    layout = Layout(dtype="fp32", **SMALL)
    found = predict("7m", 1e6, gpu="cpu", layout=layout, mfu=0.5)
    assert found.rate == pytest.approx(0.5e11 / shape("7m").flops(4096, 64))
    assert found.fits is None
    with pytest.raises(PresightError, match=r"^mfu: none is published for 6M parameters on cpu in fp32; give"):
        predict("7m", 1e6, gpu="cpu", layout=layout)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tokens": 0}, "tokens: 0 is not positive"),
        ({"mfu": 0.4, "rate": 1e5}, "rate: a rate and an MFU say the same thing twice; give one of them."),
        ({"mfu": 40}, "mfu: 40 is no share of a peak"),
        ({"rate": -1}, "rate: -1 is not positive"),
        ({"rate": 1e9}, "rate: 1e+09 tokens/s would take "),
        ({"gpu": "V100"}, "gpu: 'V100' is no card with a data sheet here"),
        ({"model": "2b"}, "model: '2b' is no size"),
        (
            {"model": "7m"},
            "mfu: none is published for 13M parameters on H100 in bf16; give an MFU or a measured rate.",
        ),
        ({"layout": Layout(dtype="fp32")}, "mfu: none is published for 1,003M parameters on H100 in fp32"),
    ],
)
def test_refusals_are_one_sentence(arguments, sentence):
    with pytest.raises(PresightError) as found:
        predict(**{"model": "1b", "tokens": 1e9} | arguments)
    assert str(found.value).startswith(sentence)


def test_a_card_is_full_at_nine_tenths():
    need = memory(shape("7b"), Layout(gpus=8))
    assert need.total > 0.9 * CARDS["H100"].memory
    assert predict("7b", 1e9, layout=Layout(gpus=8)).fits is False
    assert predict("7b", 1e9, gpu="H200", layout=Layout(gpus=8)).fits is True
    assert predict("7b", 1e9, layout=Layout(gpus=8, zero=2)).fits is True


def test_the_papers_program():
    rows = program("see_before_seeing")
    assert sum(row.runs for row in rows) == 5 * 7 + 15 + 8 * 5 + 30 + 11 + 2
    costs = cost(rows)
    flops = sum(row.runs * row.tokens * shape(row.model).flops(32_768, 2048) for row in rows)
    total = sum(row.runs * each.gpu_hours for row, each in costs)
    assert total == pytest.approx(flops / (0.40 * 312e12) / 3600)
    assert total < 500_000  # what the paper took with adaptation and evaluation
    longest = max((each.gpu_hours, row.study) for row, each in costs)
    assert longest[1] == "1T tokens"
    with pytest.raises(
        PresightError, match=r"^program: 'see_before' is no programme of runs; did you mean see_before_s"
    ):
        program("see_before")


def test_a_program_of_ones_own():
    rows = [budget.Row("mine", "1b", 1e9, 3)]
    ((row, found),) = cost(rows, gpu="H100", layout=Layout(gpus=8), mfu=0.4)
    assert row is rows[0]
    assert found == predict("1b", 1e9, gpu="H100", layout=Layout(gpus=8), mfu=0.4)
