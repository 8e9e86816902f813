"""DeepSpeed as the engine: its configuration written out in full, and no compiler at run time on a CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def accelerator() -> str:
    """``cuda`` where there is one, else ``cpu``; told to DeepSpeed before it is imported."""
    import torch

    name = "cuda" if torch.cuda.is_available() else "cpu"
    os.environ.setdefault("DS_ACCELERATOR", name)
    return os.environ["DS_ACCELERATOR"]


def configuration(batch: int, micro_batch: int, zero: int, dtype: str, clip: float) -> dict[str, Any]:
    """The DeepSpeed JSON of a run, nothing left to silent defaults that change the arithmetic.

    DeepSpeed would clip at 1.0 and accumulate bf16 gradients in bf16 without being asked.
    """
    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": batch // micro_batch,
        "gradient_clipping": clip,
        "zero_optimization": {"stage": zero},
        "bf16": {"enabled": dtype == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def begin() -> None:
    """Start a process group of one. No port is opened, and nothing is compiled.

    DeepSpeed builds a C++ extension for shared-memory communication when a CPU process group starts: a minute of
    compiling, and a stale lock that hangs the next run if it is killed. One rank has nobody to talk to.
    """
    device = accelerator()
    import deepspeed
    import torch.distributed
    from deepspeed.ops import __compatible_ops__ as compatible

    if device == "cpu":
        compatible["deepspeed_shm_comm"] = False
    os.environ.setdefault("LOCAL_RANK", "0")
    if not torch.distributed.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False, dist_init_required=False)


def engine(model: Any, config: dict[str, Any], learning_rate: float, betas: tuple[float, float], decay: float) -> Any:
    """A DeepSpeed engine with AdamW; vectors (norms) do not decay."""
    import deepspeed
    import torch

    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=1e-8)
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)[0]


def save(engine: Any, out: Path) -> None:
    """Write the model as a transformers checkpoint in float32; what ZeRO 3 has parted is gathered first."""
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        engine.module.float().save_pretrained(out)
