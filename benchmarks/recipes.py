"""Does every recipe run whole? Each at ``--scale smoke``, through the command line, in a store that begins empty.

    python benchmarks/recipes.py [NAME …] [--root FOLDER] [--jobs N]

One after another in one store, so that what two recipes share is made once and counted as found by the second. Names
are those of ``presight run``; none given: all that ship with a smoke scale and need nothing from the hub. Those of
GPT-2 on CIFAR-10, FSD50K and GTZAN have no such scale: their data are for you to bring. With ``--root`` the store is
kept, and another run goes on from it. A recipe that fails, or goes without something, is named with the reason; the
others run all the same, and the exit code is 1. Numbers of this size mean nothing; that every step runs does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from presight import recipe
from presight.console import clock, say, size, table
from presight.errors import PresightError

SCALE = "smoke"
SHELF = Path(__file__).resolve().parents[1] / "recipes"
ABROAD = ("see_before_seeing/benchmarks",)  # its questions lie on the hub at every scale: run only when named


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a recipe: stages made and found, seconds, comparisons, bytes of its pages, or why it failed."""

    name: str
    made: int
    found: int
    seconds: float
    comparisons: int
    page: int
    problem: str = ""

    def row(self) -> list[str | int]:
        """It in the table."""
        state = "failed" if self.problem else "whole"
        page = size(self.page) if self.page else ""
        return [self.name, state, self.made, self.found, clock(self.seconds), self.comparisons or "", page]


def shipped() -> Iterator[str]:
    """Names of the recipes that can be run at this scale with what packages carry."""
    for path in sorted(SHELF.rglob("*.yaml"), key=lambda path: (len(path.relative_to(SHELF).parts), path)):
        name = str(path.relative_to(SHELF).with_suffix(""))
        if name not in ABROAD and has_scale(str(path)):
            yield name


def has_scale(name: str) -> bool:
    """Whether a recipe has a smoke scale.

    Raises:
        PresightError: there is no such recipe, or it cannot be read.
    """
    try:
        recipe.read(name, SCALE)
    except PresightError as error:
        if error.field == f"--scale {SCALE}":
            return False
        raise
    return True


def run(name: str, root: Path, jobs: int | None) -> Outcome:
    """Make a recipe as anybody would, and look at what is there afterwards."""
    command = [sys.executable, "-P", "-m", "presight", "run", name, "--scale", SCALE, "--root", str(root), "--json"]
    began = time.monotonic()
    done = subprocess.run([*command, *(["--jobs", str(jobs)] if jobs else [])], capture_output=True, text=True)
    seconds = time.monotonic() - began
    problem = fault(done.stderr, done.returncode) if done.returncode else ""
    try:
        told = json.loads(done.stdout)
        made, found, folder = len(told["ran"]), told["reused"], Path(told["runs"])
    except (ValueError, KeyError):  # it failed before it began
        return Outcome(name, 0, 0, seconds, 0, 0, problem or "it says nothing of what it made")
    if lacking := left_out(done.stderr):
        problem = problem or lacking
    return Outcome(name, made, found, seconds, comparisons(folder), page(folder), problem)


def fault(said: str, code: int) -> str:
    """The last line that names an error; else the last of all."""
    lines = [line for line in said.splitlines() if line.strip()] or [f"exit code {code}"]
    return next((line for line in reversed(lines) if line.startswith("presight: ")), lines[-1])


def left_out(said: str) -> str:
    """What a run went without: it is not whole then, though it ends well."""
    return next((line for line in said.splitlines() if line.startswith("left out: ")), "")


def comparisons(folder: Path) -> int:
    """Differences in all artifacts of a recipe; its folder holds links to them, one or two levels down."""
    counts = [*folder.glob("*/counts.json"), *folder.glob("*/*/counts.json")]
    return sum(json.loads(path.read_text()).get("deltas", 0) for path in counts)


def page(folder: Path) -> int:
    """Bytes of its reports."""
    return sum(path.stat().st_size for path in folder.glob("*.html"))


def main() -> int:
    """Run, tell of each as it ends, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="recipes; default: all that ship")
    parser.add_argument("--root", type=Path, help="folder of store/ and runs/, which is kept")
    parser.add_argument("--jobs", type=int, help="workers")
    given = parser.parse_args()
    try:
        if lacking := [name for name in given.names if not has_scale(name)]:
            parser.error(f"{', '.join(lacking)} has no scale {SCALE}")
    except PresightError as error:
        parser.error(str(error))
    outcomes = []
    with tempfile.TemporaryDirectory() as empty:
        root = given.root or Path(empty)
        for name in given.names or shipped():
            outcome = run(name, root, given.jobs)
            outcomes.append(outcome)
            say(f"{name}: {outcome.problem or f'{outcome.made} stages made, {clock(outcome.seconds)}'}")
    columns = ["recipe", "", "made", "found", "time", "comparisons", "report"]
    table("", columns, [outcome.row() for outcome in outcomes])
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        print(f"{outcome.name}: {outcome.problem}")
    total = clock(sum(outcome.seconds for outcome in outcomes))
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} recipes run whole; {total}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
