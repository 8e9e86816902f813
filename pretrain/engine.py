"""DeepSpeed as the engine: its configuration written out in full, and no compiler at run time on a CPU."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from presight.ranks import ranks

Optimizer = Literal["adamw", "muon"]

BETAS = (0.9, 0.95)
MUON_MOMENTUM = 0.95
BUCKET = 500_000_000  # elements reduced at once, at most: DeepSpeed reserves them however small the model
PATIENCE = timedelta(minutes=30)  # of a collective: a rank may be saving, compiling, or waiting for a disk


def accelerator() -> str:
    """``cuda`` where there is one, else ``cpu``; told to DeepSpeed before it is imported."""
    import torch

    name = "cuda" if torch.cuda.is_available() else "cpu"
    os.environ.setdefault("DS_ACCELERATOR", name)
    return os.environ["DS_ACCELERATOR"]


def configuration(
    batch: int, micro_batch: int, zero: int, dtype: str, clip: float, world: int = 1, offload: bool = False
) -> dict[str, Any]:
    """The DeepSpeed JSON of a run, nothing left to silent defaults that change the arithmetic.

    Unasked, DeepSpeed would clip at 1.0, and in bf16 accumulate gradients in bf16 and round them to it to reduce them.
    """
    stage: dict[str, Any] = {"stage": zero}
    if offload:
        stage["offload_optimizer"] = {"device": "cpu", "pin_memory": accelerator() == "cuda"}
    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": batch // (micro_batch * world),
        "gradient_clipping": clip,
        "zero_optimization": stage,
        "bf16": {"enabled": dtype == "bf16"},
        "data_types": {"grad_accum_dtype": "fp32"},
        # stages 0 and 1 reduce what was accumulated: it is not rounded first; the others reduce, then accumulate
        "communication_data_type": "fp32" if zero < 2 else dtype,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # torch's AdamW everywhere: the same arithmetic, and nothing to compile
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def begin() -> None:
    """Join the process group that the environment describes; alone, start one without opening a port.

    Nothing is compiled: DeepSpeed would build a C++ extension for shared-memory communication when a CPU process group
    starts, a minute of compiling, and a stale lock that hangs the next run if it is killed.
    """
    device = accelerator()
    import deepspeed
    import torch
    from deepspeed.ops import __compatible_ops__ as compatible

    if device == "cpu":
        from pretrain import attention

        compatible["deepspeed_shm_comm"] = False
        if attention.pays():
            attention.install()
    rank, world = ranks()
    os.environ.setdefault("LOCAL_RANK", "0")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not torch.distributed.is_initialized():
        backend = "nccl" if device == "cuda" else "gloo"
        if world == 1:
            store = torch.distributed.HashStore()
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
        else:
            torch.distributed.init_process_group(backend, rank=rank, world_size=world, timeout=PATIENCE)
    deepspeed.init_distributed(auto_mpi_discovery=False, verbose=False, dist_init_required=False)


def engine(
    module: Any, config: dict[str, Any], learning_rate: float, decay: float, optimizer: Optimizer = "adamw"
) -> Any:
    """A DeepSpeed engine; vectors (norms) do not decay, and parameters without a gradient are not trained.

    Under Muon the matrices of the blocks take its orthogonalised steps, scaled by ``learning_rate``; embeddings and
    vectors take AdamW's, at the same rate.
    """
    import deepspeed
    import torch

    parameters = sum(p.numel() for p in module.parameters())
    config["zero_optimization"]["reduce_bucket_size"] = min(BUCKET, parameters)
    if optimizer == "muon":
        embedded = {id(each.weight) for each in module.modules() if isinstance(each, torch.nn.Embedding)}
        head = module.model.get_output_embeddings()
        embedded |= {id(head.weight)} if head is not None else set()
        for parameter in module.parameters():
            parameter.use_muon = parameter.ndim == 2 and id(parameter) not in embedded
        settings = {"lr": learning_rate, "momentum": MUON_MOMENTUM, "weight_decay": decay, "betas": list(BETAS)}
        config["optimizer"] = {"type": "Muon", "params": settings | {"torch_adam": True, "ns_method": "standard"}}
        if config["zero_optimization"]["stage"] == 3:
            config["zero_optimization"]["reduce_scatter"] = False
        return deepspeed.initialize(
            model=module, model_parameters=list(module.parameters()), config=config, dist_init_required=False
        )[0]
    trained = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2]
    vectors = [p for p in trained if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, eps=1e-8, fused=True)
    return _alone(deepspeed.initialize(model=module, optimizer=adam, config=config, dist_init_required=False)[0])


def _alone(engine: Any) -> Any:
    """Spare a single rank the mean over ranks, for which DeepSpeed copies all its gradients there and back.

    That is so at stage 1 in bf16, where the optimizer hands the engine its gradients to reduce.
    """
    if ranks()[1] == 1 and hasattr(engine.optimizer, "get_grads_for_reduction"):
        engine.enable_backward_allreduce = False
    return engine


def compile_layers(engine: Any) -> None:
    """Compile a model's layers, one for all that are alike, rather than the model.

    While it is traced transformers cannot look at positions, and makes a mask for whole rows as if documents were
    packed into them, which keeps attention from its quick kernels. Outside the layers it looks, and makes none.
    """
    import deepspeed
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [each for each in engine.module.modules() if isinstance(each, GradientCheckpointingLayer)]
    if not layers:  # not of transformers' make
        engine.compile()
        return
    deepspeed.utils.nvtx.enable_nvtx = False  # as DeepSpeed does: every range would break the graph
    for layer in layers:
        layer.compile()


def load(engine: Any, place: Path, universal: bool) -> None:
    """Load a checkpoint from its folder.

    What DeepSpeed 0.19 does to stage 3 on the way from its universal format is mended: every group of parameters gets
    the settings of the first, and all of them one counter of steps between them, which each then counts up.
    """
    groups = [{name: value for name, value in each.items() if name != "params"} for each in _groups(engine)]
    whole = all(parameter.requires_grad for parameter in engine.module.parameters())
    engine.load_checkpoint(str(place.parent), tag=place.name, load_module_strict=whole)  # what is frozen is not in it
    if universal:
        for group, settings in zip(_groups(engine), groups, strict=True):
            group.update(settings)
        inner = getattr(engine.optimizer, "optimizer", engine.optimizer)
        for state in inner.state.values():
            if hasattr(state.get("step"), "clone"):
                state["step"] = state["step"].clone()


def _groups(engine: Any) -> Any:
    return getattr(engine.optimizer, "optimizer", engine.optimizer).param_groups


def gradient_norm(engine: Any) -> float | None:
    """Norm of the whole gradient before it was clipped, as it stood at the last step."""
    norm = engine.get_global_grad_norm()
    return None if norm is None else float(norm)


def whole_norm(engine: Any) -> float:
    """The same before a step, where every rank holds the whole gradient: stage 0, of which DeepSpeed says nothing."""
    import torch

    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def agreed(values: Any, how: Literal["sum", "max"] = "sum") -> Any:
    """A float64 array [n], reduced over all ranks; as it is where there is one."""
    import torch
    from torch import distributed

    if distributed.get_world_size() == 1:
        return values
    tensor = torch.as_tensor(values, dtype=torch.float64).to("cuda" if accelerator() == "cuda" else "cpu")
    distributed.all_reduce(tensor, distributed.ReduceOp.SUM if how == "sum" else distributed.ReduceOp.MAX)
    return tensor.cpu().numpy()


def save(engine: Any, out: Path, model: Any = None) -> None:
    """Write a model as a transformers checkpoint in float32, by rank 0; what ZeRO 3 has parted is gathered first.

    Args:
        engine: that trained it.
        out: the folder.
        model: a part of the module; by default its ``model``.
    """
    import deepspeed
    import torch

    model = engine.module.model if model is None else model
    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        if torch.distributed.get_rank() == 0:
            once: dict[int, Any] = {}  # tied weights stay one tensor
            state = {
                name: once.setdefault(value.data_ptr(), value.detach().to("cpu", torch.float32))
                for name, value in model.state_dict().items()
            }
            with torch.device("meta"):
                plain = type(model)(model.config)
            plain.load_state_dict(state, assign=True)
            plain.tie_weights()
            plain.generation_config = model.generation_config  # what ends a reply, of an LM from elsewhere
            plain.save_pretrained(out)
    torch.distributed.barrier()
