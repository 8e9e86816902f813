"""What hardware could do at best, and how much of that training gets: data sheets, a measurement, published MFUs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from presight.errors import PresightError, nearest

Dtype = Literal["fp32", "bf16"]

GPUS_A_NODE = 8
REACH = 2.5  # times the nearest published size that its MFU is taken to hold for
SIDE = 1024  # of the square matrices that a CPU is measured with: large enough for its peak, 20 ms on one slow core


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU by its data sheet: *dense* peaks in floating-point operations a second, memory in bytes.

    NVIDIA's sheets since Hopper print tensor-core figures with 2:4 sparsity, which no training has; they are halved
    here.
    """

    chip: str  # cards of one chip differ in memory alone
    bf16: float
    tf32: float
    fp32: float
    memory: float
    devices: tuple[str, ...]  # as torch.cuda.get_device_name() spells them


CARDS = {
    "A100": Card("A100", 312e12, 156e12, 19.5e12, 80e9, ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe")),
    "A100-40GB": Card("A100", 312e12, 156e12, 19.5e12, 40e9, ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB")),
    "H100": Card("H100", 989.4e12, 494.7e12, 66.9e12, 80e9, ("NVIDIA H100 80GB HBM3",)),
    "H200": Card("H100", 989.4e12, 494.7e12, 66.9e12, 141e9, ("NVIDIA H200",)),
}


@dataclass(frozen=True, slots=True)
class Peak:
    """Floating-point operations a second, or None where nobody knows; ``source`` says which, for people."""

    flops: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Utilisation:
    """An MFU (0 to 1, counted as ``Shape.flops`` counts) and where it was taken from."""

    mfu: float
    source: str


# By parameters, at context 2,048 in bf16: llm-foundry's tables of MPT models with FSDP on eight GPUs (2.65B on 16
# H100s). Operations are counted as by `Shape.flops`.
ONE_NODE = {
    "A100": {125e6: 0.448, 356e6: 0.516, 760e6: 0.569, 1.32e9: 0.599, 2.65e9: 0.621, 6.66e9: 0.642, 12.9e9: 0.596},
    "H100": {760e6: 0.349, 1.32e9: 0.418, 2.65e9: 0.437, 6.66e9: 0.464, 12.9e9: 0.398},
}
# Of many nodes one figure a chip, the lower of what is reported (llm-foundry has 50 to 55 % on 128 A100s of 40 GB, 40
# to 41 % on 64 H100s): a budget had better be kept than beaten.
MANY_NODES = {
    "A100": Utilisation(0.40, "7B on 128 A100s for 32 days = 1T tokens (arXiv 2509.26625)"),
    "H100": Utilisation(0.38, "torchtitan, Llama 3.1 8B on 128 H100s, compiled: 6,514 tokens/s each"),
}


def card(name: str) -> Card:
    """The card of a short name (``A100``, ``H100``, …).

    Raises:
        PresightError: no such card in the table.
    """
    if name not in CARDS:
        raise PresightError("gpu", f"{name!r} is no card with a data sheet here", nearest(name, CARDS))
    return CARDS[name]


def published(gpu: str, gpus: int, parameters: int) -> Utilisation | None:
    """The MFU that others report for such a run in bf16, or None where no size near it is reported.

    Args:
        gpu: a card's short name.
        gpus: how many; beyond one node the figure of many nodes holds where it is the smaller.
        parameters: of the model; between published sizes by interpolation in their logarithm.
    """
    import numpy as np

    chip = card(gpu).chip
    sizes = ONE_NODE[chip]
    if not min(sizes) / REACH <= parameters <= max(sizes) * REACH:
        return None
    found = float(np.interp(np.log(parameters), np.log(list(sizes)), list(sizes.values())))
    how = "interpolated by size" if min(sizes) <= parameters <= max(sizes) else "the nearest size"
    one, many = Utilisation(found, f"llm-foundry on a node of {chip}s, {how}"), MANY_NODES[chip]
    best = many if gpus > GPUS_A_NODE and many.mfu < one.mfu else one
    return best if gpu == chip else Utilisation(best.mfu, f"{best.source}; the {gpu} is taken to be like it")


def of_device(name: str, dtype: Dtype, tf32: bool = False) -> Peak:
    """The peak of a GPU by the name that ``torch.cuda.get_device_name()`` gives it; never another card's.

    A slice of a card (MIG) and a variant that is not in the table have None: what bears a similar name may do half.
    """
    for short, each in CARDS.items():
        if name in each.devices:
            kind = "bf16" if dtype == "bf16" else "tf32" if tf32 else "fp32"
            return Peak(getattr(each, kind), f"data sheet of the {short}, {kind} dense")
    return Peak(None, f"no data sheet here for {name!r}: no MFU")


def peak(dtype: Dtype, seconds: float = 0.3) -> Peak:
    """Of the device that this process trains on: a GPU's by its data sheet, a CPU's measured."""
    import torch

    if torch.cuda.is_available():
        tf32 = torch.get_float32_matmul_precision() != "highest"
        return of_device(torch.cuda.get_device_name(), dtype, tf32)
    source = f"measured here: {dtype} matrix products of side {SIDE}, threads: {torch.get_num_threads()}"
    return Peak(matmul_peak(dtype, seconds), source)


def matmul_peak(dtype: Dtype, seconds: float = 0.3) -> float:
    """Floating-point operations a second of the best square matrix product of this CPU with torch's threads.

    Args:
        dtype: ``fp32`` or ``bf16``.
        seconds: to measure for; two products are the least.
    """
    import torch

    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    a, b = torch.ones(SIDE, SIDE, dtype=kind), torch.ones(SIDE, SIDE, dtype=kind)
    torch.mm(a, b)  # the first makes the kernel
    best, end = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        began = time.perf_counter()
        torch.mm(a, b)
        best = max(best, 2 * SIDE**3 / (time.perf_counter() - began))
    return best
