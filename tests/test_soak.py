"""``make soak``: kill a whole recipe again and again; its payload must be an undisturbed run's, byte for byte."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
COMMAND = [sys.executable, "-P", "-m", "presight", "run", "smoke", "--root"]
KILLS = 12


def payload(root: Path) -> dict[str, str]:
    store = root / "store"
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.glob("[!.]*/*/**/*")
        if path.is_file() and path.name != "card.json" and path.relative_to(store).parts[2] != "log"
    }


def test_killed_runs_end_with_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, tmp_path / "calm"], check=True)
    draw = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen([*COMMAND, tmp_path / "killed"], start_new_session=True)
        try:
            process.wait(timeout=draw.uniform(1, 8))
            break
        except subprocess.TimeoutExpired:
            # in turn the whole group, or the parent alone, whose workers then finish what they have in hand
            os.killpg(process.pid, signal.SIGKILL) if kills % 2 else process.kill()
            process.wait()
            kills += 1
    assert kills >= 3
    subprocess.run([*COMMAND, tmp_path / "killed"], check=True)
    print(f"{kills} kills")
    assert payload(tmp_path / "killed") == payload(tmp_path / "calm")
    assert not list((tmp_path / "killed" / "store" / ".work").iterdir())
