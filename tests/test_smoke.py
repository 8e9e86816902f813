"""The one whole recipe among the tests: through the command line, as a user would."""

import json
import os
import subprocess
import sys

import pytest
from toy_experiment import ENVIRONMENT

from presight import recipe
from presight.executor import needed
from presight.expansion import expand
from presight.store import Store

pytestmark = pytest.mark.recipe


def run(root, *options):
    done = subprocess.run(
        [sys.executable, "-m", "presight", "run", "smoke", "--root", str(root), "--json", *options],
        env={**os.environ, **ENVIRONMENT, "PRESIGHT_CACHE": str(root / "cache")},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def stamps(root):
    return {card: card.stat().st_mtime_ns for card in (root / "store").glob("*/*/card.json")}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("smoke")
    return root, run(root)


def test_every_stage_is_made_once(made):
    root, found = made
    assert (found["failed"], found["skipped"], found["reused"]) == ({}, [], 0)
    assert len(found["ran"]) == len(set(found["ran"])) == len(stamps(root)) > 40
    assert not any((root / "store" / ".work").iterdir())
    page = (root / "runs" / "smoke" / "report.html").read_text()
    for word in ("words", "sums", "random", "stats"):
        assert word in page


def test_the_seeds_are_paired_through_to_the_deltas(made):
    root, _ = made
    found = [json.loads(path.read_text()) for path in (root / "store" / "deltas").glob("*/deltas.json")]
    by_axis = {each["along"]: each["deltas"] for each in found}
    assert len(by_axis["weights"]) == 8  # 2 mixtures × 2 tasks × 2 controls
    assert len(by_axis["mixture"]) == 4  # text and stats × 2 tasks
    assert {delta["n_seeds"] for deltas in by_axis.values() for delta in deltas} == {2}


def test_again_nothing_is_made(made):
    root, first = made
    before = stamps(root)
    found = run(root)
    assert found["ran"] == []
    assert found["reused"] > 0
    assert stamps(root) == before
    assert found["runs"] == first["runs"]


def test_another_seed_makes_only_what_depends_on_it(made):
    root, _ = made
    graph = expand(recipe.read("smoke", None, ["init=[0,2]"]))
    todo, _ = needed(graph.targets(None), Store(root / "store"))
    titles = graph.titles()
    asked = sorted(titles[stage.fingerprint] for stage in todo)
    names = {title.partition("[")[0] for title in asked}
    assert names == {"lm", "matched", "random", "scores", "deltas", "mixtures", "report"}
    assert all("init=2" in title or title in ("deltas", "mixtures", "report") for title in asked)
    before = stamps(root)
    made_now = run(root, "--set", "init=[0,2]", "--until", "random")["ran"]
    assert made_now == [title for title in asked if title.startswith("random")]
    after = stamps(root)
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()
