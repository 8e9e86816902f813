"""The command line as tests call it: in this process, which is quick, or in one of its own, which is true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import presight
from presight import cli

HOUSE = Path(presight.__file__).resolve().parents[1]
PYTHONPATH = os.pathsep.join([str(HOUSE), str(Path(__file__).resolve().parents[1])])


def environment(**changes: str) -> dict[str, str]:
    """An environment in which presight and the toys are found."""
    return {**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1", **changes}


def start(*words: str, cwd: Path, **changes: str) -> subprocess.Popen[str]:
    """``presight`` in a process, and a process group, of its own."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "presight", *words],
        cwd=cwd,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def presight_process(*words: str, cwd: Path, **changes: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``presight``."""
    process = start(*words, cwd=cwd, **changes)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


class Shell:
    """Calls ``presight`` here: ``code, out, err = shell("plan", "x.yaml")``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path) -> None:
        self.monkeypatch, self.capfd, self.folder = monkeypatch, capfd, folder
        monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
        monkeypatch.setenv("PRESIGHT_CACHE", str(folder / "cache"))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(folder)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["presight", *words])
        self.capfd.readouterr()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = self.capfd.readouterr()
        return code, out, err

    def write(self, text: str, name: str = "toy.yaml") -> str:
        """A recipe file."""
        (self.folder / name).write_text(text)
        return name
