"""The backward pass of causal attention in bf16 on this processor, ours beside torch's: time, and what is lost of it.

    python benchmarks/attention.py [--threads 2] [--rounds 12]

Per shape, [batch, heads, tokens, width of a head]: milliseconds of both, in turns, and the median of their ratio;
then, on a smaller one, the relative error of the gradients of query, key and value against float64, for scores of two
sizes. Rows longer than `pretrain.attention.LONGEST` are left to torch by what trains: here they are shown, too.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pretrain.attention import CausalAttention

SHAPES = [(16, 4, 256, 32), (16, 4, 256, 64), (8, 8, 512, 64), (4, 8, 512, 128), (2, 8, 1024, 64), (1, 8, 2048, 128)]


def three(shape: tuple[int, ...], size: float = 1.0) -> list[Tensor]:
    batch, heads, length, width = shape
    made = (size * torch.randn(batch, length, heads, width) for _ in range(3))
    return [each.bfloat16().transpose(1, 2).requires_grad_() for each in made]


def ours(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return CausalAttention.apply(query, key, value, query.shape[3] ** -0.5)


def torchs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scaled_dot_product_attention(query, key, value, is_causal=True)


def gradients(attend, given: list[Tensor]) -> tuple[tuple[Tensor, ...], float]:
    """Of a fixed direction, and the seconds that going back took."""
    out = attend(*given)
    onward = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape).to(out.dtype)
    began = time.perf_counter()
    return torch.autograd.grad(out, given, onward), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for shape in SHAPES:
        given = three(shape)
        laps = [[gradients(attend, given)[1] for attend in (ours, torchs)] for _ in range(arguments.rounds + 2)][2:]
        own, other = (1e3 * statistics.median(each) for each in zip(*laps, strict=True))
        ratio = statistics.median(a / b for a, b in laps)
        print(f"{shape!s:20} ours {own:6.1f} ms   torch {other:6.1f} ms   {ratio:.2f} of its time", flush=True)
    for size in (1.0, 2.0):
        given = three((2, 4, 300, 32), size)
        exact = gradients(torchs, [each.detach().double().requires_grad_() for each in given])[0]
        for name, attend in (("ours", ours), ("torch", torchs)):
            pairs = zip(gradients(attend, given)[0], exact, strict=True)
            lost = ", ".join(f"{(found - true).norm() / true.norm():.2%}" for found, true in pairs)
            print(f"queries, keys and values times {size:g}: {name:5} gradients off by {lost}")


if __name__ == "__main__":
    main()
