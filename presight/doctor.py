"""Is this installation sound, and how fast is this machine?"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from presight import card
from presight.console import table
from presight.packages import cache_root

HOUSE = ("presight", "corpus", "pretrain", "adapt", "eval", "slurm")
CLIENTS = {"pip": "PyPI packages", "apt-get": "Debian packages", "npm": "npm packages"}


def checks() -> list[tuple[str, bool, str]]:
    """``(what, sound, detail)``: a line that is not sound names its mend."""
    found = [("python", sys.version_info >= (3, 11), sys.version.split()[0])]
    home = Path(__file__).resolve().parents[1]
    for name in HOUSE:
        spec = importlib.util.find_spec(name)
        place = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        mend = "" if place == home else f"; expected under {home}: another package shadows it, use a fresh venv"
        found.append((f"package {name}", place == home, f"{place}{mend}"))
    found += [_torch(), _deepspeed()]
    cores = len(os.sched_getaffinity(0))
    found.append(("threads", True, f"{cores} cores; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"))
    for client, what in CLIENTS.items():
        there = importlib.util.find_spec("pip") is not None if client == "pip" else shutil.which(client) is not None
        detail = "found" if there else f"not found: {what} of the sample need it, or PRESIGHT_MIRROR with their files"
        found.append((f"client {client}", there or client == "npm", detail))
    root = cache_root()
    near = next(path for path in [root, *root.parents] if path.exists())
    free = shutil.disk_usage(near).free
    found.append(("cache", os.access(near, os.W_OK), f"{root}, {free / 1e9:.1f} GB free"))
    return found


def _torch() -> tuple[str, bool, str]:
    try:
        import torch
    except ImportError as error:
        return "torch", False, f"{error}: pip install torch"
    gpus = f"{torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "no GPU"
    peak = matmul_peak()
    return "torch", True, f"{torch.__version__}, {gpus}, fp32 matmul peak {peak / 1e9:.0f} GFLOP/s"


def _deepspeed() -> tuple[str, bool, str]:
    version = card.versions().get("deepspeed")
    return "deepspeed", version is not None, version or "not installed: pip install deepspeed"


def matmul_peak(size: int = 1024, seconds: float = 0.5) -> float:
    """Measured floating-point operations a second of a square float32 matrix product with torch's threads."""
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    torch.mm(a, b)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        torch.mm(a, b)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def report(as_json: bool) -> int:
    """Print the checks; the exit code is 0 when all are sound."""
    found = checks()
    if as_json:
        described: list[dict[str, Any]] = [
            {"check": what, "sound": sound, "detail": text} for what, sound, text in found
        ]
        print(json.dumps(described, indent=1))
    else:
        table(
            "", ["check", "", "detail"], ((what, "ok" if sound else "NOT SOUND", text) for what, sound, text in found)
        )
    return 0 if all(sound for _, sound, _ in found) else 2
