import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from presight.errors import PresightError
from pretrain import peaks
from pretrain.peaks import CARDS, MANY_NODES, ONE_NODE, card, matmul_peak, of_device, peak, published


@pytest.mark.parametrize(
    ("device", "bf16", "tf32", "fp32"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 156e12, 19.5e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12, 494.7e12, 66.9e12),
        ("NVIDIA H200", 989.4e12, 494.7e12, 66.9e12),
    ],
)
def test_data_sheets_by_the_name_of_the_device(device, bf16, tf32, fp32):
    assert of_device(device, "bf16").flops == bf16
    assert of_device(device, "fp32").flops == fp32
    assert of_device(device, "fp32", tf32=True).flops == tf32
    assert "data sheet" in of_device(device, "bf16").source


@pytest.mark.parametrize(
    "device", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H100", "NVIDIA A100-SXM-64GB", "Tesla T4", "H100", ""]
)
def test_an_unknown_device_has_no_peak_and_says_so(device):
    found = of_device(device, "bf16")
    assert found.flops is None
    assert repr(device) in found.source


def test_no_device_is_named_twice():
    devices = [device for each in CARDS.values() for device in each.devices]
    assert len(devices) == len(set(devices))
    assert {each.chip for each in CARDS.values()} == set(ONE_NODE) == set(MANY_NODES)


def test_the_peak_of_this_process(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA A100-SXM4-40GB")
    monkeypatch.setattr("torch.get_float32_matmul_precision", lambda: "highest")
    assert peak("bf16").flops == 312e12
    assert peak("fp32").flops == 19.5e12
    monkeypatch.setattr("torch.get_float32_matmul_precision", lambda: "high")
    assert peak("fp32").flops == 156e12
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA B9000")
    assert peak("fp32").flops is None
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(peaks, "matmul_peak", lambda dtype, seconds: {"bf16": 7.0}[dtype])
    assert peak("bf16").flops == 7.0
    assert "measured" in peak("bf16").source


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_best_of_the_products_in_the_time_given(monkeypatch, dtype):
    """A clock that we turn: products of 4, 2 and 5 seconds after the first, which is not counted."""
    now, products = [0.0], [100.0, 4.0, 2.0, 5.0, 1.0]

    def product(a, b):
        assert a.dtype == b.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
        now[0] += products.pop(0)

    monkeypatch.setattr(peaks.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr("torch.mm", product)
    assert matmul_peak(dtype, seconds=10) == 2 * peaks.SIDE**3 / 2.0
    assert products == [1.0]


def test_a_real_measurement_has_the_right_order():
    found = matmul_peak("fp32", seconds=0.01)
    assert 1e8 < found < 1e15


@pytest.mark.parametrize(
    ("gpu", "gpus", "parameters", "mfu"),
    [("A100", 8, 6.66e9, 0.642), ("H100", 8, 1.32e9, 0.418), ("A100", 8, 3e10, 0.596)],
)
def test_published_sizes_have_their_own_figure(gpu, gpus, parameters, mfu):
    assert published(gpu, gpus, parameters).mfu == pytest.approx(mfu)


def between(sizes, parameters):
    """Straight lines over the logarithm, by hand."""
    for (low, a), (high, b) in pairwise(sizes.items()):
        if low <= parameters <= high:
            share = math.log(parameters / low) / math.log(high / low)
            return a + share * (b - a)
    return sizes[min(sizes, key=lambda each: abs(math.log(each / parameters)))]


@given(st.sampled_from(["A100", "H100"]), st.floats(6e7, 3e10), st.sampled_from([1, 8, 9, 1024]))
def test_between_sizes_by_interpolation_and_never_far_beyond(gpu, parameters, gpus):
    sizes = ONE_NODE[gpu]
    found = published(gpu, gpus, parameters)
    if parameters < min(sizes) / peaks.REACH:
        assert found is None
        return
    one = between(sizes, parameters)
    assert found.mfu == pytest.approx(one if gpus <= 8 else min(one, MANY_NODES[gpu].mfu))


def test_an_h200_is_taken_for_an_h100_and_says_so():
    assert published("H200", 8, 7e9).mfu == published("H100", 8, 7e9).mfu
    assert "H200 is taken to be like it" in published("H200", 8, 7e9).source
    assert "taken" not in published("H100", 8, 7e9).source


def test_torchtitans_figure_by_our_formula():
    """Llama 3.1 8B at context 8,192: 8 of 32 heads have keys and values."""
    width, forward, layers, vocabulary = 4096, 14_336, 32, 128_256
    block = 2 * width**2 + 2 * width * width // 4 + 3 * width * forward
    flops = 6 * (layers * block + vocabulary * width) + 12 * layers * width * 8192
    assert 6514 * flops / CARDS["H100"].bf16 == pytest.approx(MANY_NODES["H100"].mfu, abs=0.005)


def test_an_unknown_card_is_one_sentence():
    with pytest.raises(PresightError, match=r"^gpu: 'H1000' is no card with a data sheet here; did you mean H100\?$"):
        card("H1000")
