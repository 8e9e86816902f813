import pytest
import torch
from toy_experiment import beside, forked, varied

from presight.errors import EXIT_BAD_NODE, PresightError
from pretrain import node


def test_a_sound_machine_passes():
    node.examine(0)


def test_a_promised_gpu_that_is_not_there_is_a_bad_node(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PresightError, match="no GPU is to be seen; leave the node out") as error:
        node.examine(1)
    assert error.value.code == EXIT_BAD_NODE


def test_a_wrong_product_is_a_bad_node(monkeypatch):
    plain = torch.Tensor.__matmul__

    def flips_a_bit(a, b):
        found = plain(a, b)
        if found.is_floating_point():
            found[3, 5] += 1
        return found

    monkeypatch.setattr(torch.Tensor, "__matmul__", flips_a_bit)
    with pytest.raises(PresightError, match="gets a product of whole numbers wrong"):
        node.examine(0)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be reported later",
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "No CUDA-capable device is detected",
        "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.",
        "CUDA error: unspecified launch failure",
    ],
)
def test_faults_of_the_hardware(text):
    found = node.fault(RuntimeError(text))
    assert found is not None
    assert found.code == EXIT_BAD_NODE
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("NCCL error: remote process exited or there was a network error"),
        ValueError("uncorrectable ECC error"),
    ],
)
def test_faults_of_the_program_are_not_the_nodes(error):
    assert node.fault(error) is None


def test_a_run_on_it_ends_with_its_code(tiny, tmp_path):
    store = beside(tiny.store, tmp_path, tiny.mixture)
    before = """
from pretrain.loss import Objective
def broken(self, *given):
    raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
Objective.forward = broken
"""
    done = forked((store, varied(tiny.train)), before=before)
    assert done.returncode == EXIT_BAD_NODE, done.stderr
    assert "uncorrectable ECC error encountered; leave the node out and run again" in done.stderr
