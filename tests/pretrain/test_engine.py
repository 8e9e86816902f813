import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain import engine
from pretrain.model import configuration, initialise


@given(st.integers(1, 64), st.integers(1, 64), st.sampled_from([0, 1, 2, 3]), st.floats(0, 10))
def test_nothing_that_changes_the_arithmetic_is_left_to_defaults(accumulation, micro, zero, clip):
    found = engine.configuration(accumulation * micro, micro, zero, "fp32", clip)
    assert found["gradient_accumulation_steps"] == accumulation
    assert found["train_batch_size"] == accumulation * found["train_micro_batch_size_per_gpu"]
    assert found["gradient_clipping"] == clip  # 1.0 when it is absent
    assert found["data_types"]["grad_accum_dtype"] == "fp32"
    assert found["communication_data_type"] == "fp32"
    assert found["zero_optimization"]["stage"] == zero
    assert found["bf16"] == {"enabled": False}


def test_bf16_is_asked_for_by_name_and_what_was_added_up_is_not_rounded_to_it():
    for zero, reduced in enumerate(["fp32", "fp32", "bf16", "bf16"]):
        assert engine.configuration(4, 4, zero, "bf16", 1.0)["communication_data_type"] == reduced
    assert engine.configuration(4, 4, 1, "bf16", 1.0)["bf16"] == {"enabled": True}


def test_norms_do_not_decay(monkeypatch):
    model = initialise(configuration("tiny", 512, 64, 0), 0)
    taken = {}
    deepspeed = ModuleType("deepspeed")
    deepspeed.__spec__ = ModuleSpec("deepspeed", None)  # transformers asks whether it is installed
    deepspeed.initialize = lambda **given: (taken.update(given), SimpleNamespace(optimizer=None))[1:]
    monkeypatch.setitem(sys.modules, "deepspeed", deepspeed)
    engine.engine(model, {"x": 1, "zero_optimization": {"stage": 1}}, 0.01, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {
        group["weight_decay"]: {names[id(parameter)] for parameter in group["params"]}
        for group in taken["optimizer"].param_groups
    }
    assert set(groups) == {0.1, 0.0}
    assert groups[0.0] == {name for name in names.values() if "norm" in name}
    assert groups[0.0] | groups[0.1] == set(names.values())
    assert taken["optimizer"].defaults["betas"] == (0.9, 0.95)
    bucket = sum(parameter.numel() for parameter in model.parameters())  # no larger than the model
    assert taken["config"] == {"x": 1, "zero_optimization": {"stage": 1, "reduce_bucket_size": bucket}}


@pytest.mark.parametrize("given_name", [None, "cuda"])
def test_the_accelerator_is_told_unless_somebody_did(monkeypatch, given_name):
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    if given_name:
        monkeypatch.setenv("DS_ACCELERATOR", given_name)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert engine.accelerator() == (given_name or "cpu")
    import os

    assert os.environ["DS_ACCELERATOR"] == (given_name or "cpu")
