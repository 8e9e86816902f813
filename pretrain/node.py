"""Whether this machine is fit to train: a run on a bad node ends with the code that has the node left out."""

from __future__ import annotations

import re
import socket

from presight.errors import EXIT_BAD_NODE, PresightError

SIDE = 256

# Of the hardware, the driver or what joins them: another node may do. What a bug of the program causes as well (an
# illegal address, an assertion, memory that is used up) is none of these, nor is a peer that went away.
_HARDWARE = re.compile(
    r"uncorrectable ECC|hardware stack error|GPU is lost|fallen off the bus|NVLink|unspecified launch failure"
    r"|device\(s\) is/are busy or unavailable|no CUDA-capable device|CUDA driver initialization failed"
    r"|system not yet initialized|device not ready|ibv_|NCCL.{0,80}IB ",
    re.IGNORECASE,
)


def examine(gpus: int) -> None:
    """Look for the GPUs that were asked for, and let the device work out a product twice.

    Args:
        gpus: this process was promised; 0 where it trains on what there is.

    Raises:
        PresightError: there is none, or the device does not give what it should (exit code 86).
    """
    import torch

    if gpus and not torch.cuda.is_available():
        raise bad("no GPU is to be seen")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = torch.arange(SIDE, dtype=torch.float32)
    left = (rows[:, None] * 7 + rows) % 13 - 6  # whole numbers: their products are exact in any order
    a, b = left.to(device), left.T.contiguous().to(device)
    expected = (left.long() @ left.T.long()).float()
    for _ in range(2):
        if not torch.equal((a @ b).cpu(), expected):
            raise bad(f"{device} gets a product of whole numbers wrong")


def fault(error: BaseException) -> PresightError | None:
    """An error of the hardware as one that has the node left out; None for any other."""
    text = " ".join(str(error).split())
    return bad(text[:200].rstrip(".")) if isinstance(error, RuntimeError) and _HARDWARE.search(text) else None


def bad(problem: str) -> PresightError:
    """The error of a node."""
    name = socket.gethostname()
    return PresightError(f"node {name}", problem, "leave the node out and run again: work is kept", EXIT_BAD_NODE)
