import os

import pytest

from presight.ranks import ranks


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (3, 8)),
        ({"SLURM_PROCID": "2", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}, (2, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),  # a batch script, not a step
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}, (0, 1)),
    ],
)
def test_ranks_are_read_from_whoever_started_them(monkeypatch, given_names, expected):
    monkeypatch.setattr(os, "environ", dict(given_names))
    assert ranks() == expected
    if expected[1] > 1 and "SLURM_PROCID" in given_names:
        assert (os.environ["RANK"], os.environ["LOCAL_RANK"], os.environ["WORLD_SIZE"]) == ("2", "0", "4")
