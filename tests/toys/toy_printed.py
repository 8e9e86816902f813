"""What "Learning to See Before Seeing" prints, as `tests/eval/response/see_before_seeing.csv` has it."""

import csv
from pathlib import Path

import numpy as np

from eval.response.replicates import Runs

FILE = Path(__file__).parents[1] / "eval" / "response" / "see_before_seeing.csv"


def printed(table):
    """Rows (row, column, value) of one table."""
    lines = (line for line in FILE.read_text().splitlines() if not line.startswith("#"))
    return [
        (each["row"], each["column"], float(each["value"])) for each in csv.DictReader(lines) if each["table"] == table
    ]


def grid(**known):
    """The grid of reasoning × visual shares."""
    rows = printed("grid")
    shares = np.array([[float(row), float(column)] for row, column, _ in rows]) / 100
    return Runs.of(shares, [value for *_, value in rows], ["reasoning", "visual"], **known)
