import ast
import json
import subprocess
import sys

import pytest

from presight import card
from presight.errors import PresightError
from slurm.code import ABOUT, FOLDER, freeze


def test_the_copy_is_named_by_its_bytes_and_made_once(tmp_path, monkeypatch):
    mine = tmp_path / "lab" / "frozenlab.py"
    mine.parent.mkdir()
    mine.write_text("WORD = 1\n")
    monkeypatch.syspath_prepend(str(mine.parent))
    where = freeze(tmp_path / "store", ["frozenlab"], write=False)
    assert not where.exists()
    first = freeze(tmp_path / "store", ["frozenlab"])
    assert first == where
    assert first.parent == (tmp_path / "store").resolve() / FOLDER
    assert (first / "frozenlab.py").read_text() == "WORD = 1\n"
    assert not list(first.rglob("__pycache__"))
    assert {"version"} <= set(json.loads((first / ABOUT).read_text()))
    stamp = (first / ABOUT).stat().st_mtime_ns
    assert freeze(tmp_path / "store", ["frozenlab"]) == first
    assert (first / ABOUT).stat().st_mtime_ns == stamp
    mine.write_text("WORD = 2\n")
    second = freeze(tmp_path / "store", ["frozenlab"])
    assert second != first
    assert (first / "frozenlab.py").read_text() == "WORD = 1\n"
    with pytest.raises(PresightError, match="package nowhere: is not to be found"):
        freeze(tmp_path / "store", ["nowhere"])


def test_jobs_import_the_copy_and_not_the_checkout(tmp_path):
    copy = freeze(tmp_path / "store")
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import presight.card, slurm.script as s; print(presight.__file__, s.__file__, presight.card.revision())",
        ],
        env={"PYTHONPATH": str(copy), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, revision = done.stdout.strip().split(" ", 2)
    assert [first, second] == [str(copy / "presight/__init__.py"), str(copy / "slurm/script.py")]
    assert ast.literal_eval(revision) == card.revision()  # cards of the copy name the commit it was made of
