"""Which of several processes this is: a stage that runs on many is run by all of them, and published by the first."""

from __future__ import annotations

import os


def ranks() -> tuple[int, int]:
    """This process's rank and how many there are, as torchrun, deepspeed or ``srun`` say it; 0 of 1 without them.

    A batch script has SLURM's variables as well: only within a step (``srun``) do they count ranks. What ``srun`` says
    is passed on in the names that torch reads.
    """
    found = os.environ
    if "RANK" not in found and "SLURM_STEP_ID" in found and int(found.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        found["RANK"], found["LOCAL_RANK"] = found["SLURM_PROCID"], found["SLURM_LOCALID"]
        found["WORLD_SIZE"] = found["SLURM_STEP_NUM_TASKS"]
    return int(found.get("RANK", "0")), int(found.get("WORLD_SIZE", "1"))
