"""How soon the largest report opens: megabytes, and milliseconds from navigation to the last plot in Chromium.

    python benchmarks/report.py [--models 105] [--mixtures 30] [--items 400] [--rounds 5]

Simulated: every mixture read by three seeds, more sizes of the first mixture until the models are used up, five groups
of questions with their surfaces over two shares and their structure, the paper's mixes beside, six curves of held-out
loss a model, the cards of all of it. Wanted: less than 10 MB, and less than 2 seconds until the page is there with the
plots that are near its first screen. Plots below are drawn as they are scrolled to: what Plotly takes to begin, the
longest plot and all of them together, as before printing, stand below. Medians over rounds, each in a Chromium that
never saw the page. It is that of the tests; without one only the size is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from corpus.mixture import compile_mixture
from eval.cohort import Cohort
from eval.report.evidence import Arm, Comparison, Evidence, Family, Lock, Model, Result
from eval.report.lineage import Record
from eval.report.page import render
from eval.response.landscape import Landscape
from eval.stats.deltas import holm, mean_interval, prior_delta
from eval.structure import PERCEPTION, REASONING, structure
from eval.vision.figures import OVERALL
from presight.stage import FrozenMap, Labelled, Stage

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "toys"))
from toy_browser import Browser, chromium

SIZE, OPENING = 10.0, 2000.0  # wanted: MB, milliseconds
SEEDS = 3
SOURCES = ("web", "encyclopedia", "academia", "literature", "math", "code")
GROUPS = (OVERALL, *PERCEPTION, *REASONING)
SIZES = ("1b", "3b", "7b", "13b", "33b", "70b")
MILESTONES = tuple(2_000_000_000 // 2**k for k in range(9, -1, -1))

# Milliseconds from navigation to the second frame after loading, when what is near the screen is drawn; what Plotly
# then takes to begin, and each of the plots that are left.
FIRST = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
REST = """(() => {
  const timed = work => { const began = performance.now(); work(); return performance.now() - began; };
  return [timed(begin), ...[...waiting.keys()].map(place => timed(() => draw(place)))];
})()"""
MISSING = "document.querySelectorAll('.plot:not(.js-plotly-plot)').length"


def places(models: int, mixtures: int) -> list[dict[str, str]]:
    """Where the models stand on the axes, seeds apart: mixtures at one size, then the first mixture at others."""
    by_mixture = [{"mixture": f"{index}", "size": SIZES[0]} for index in range(mixtures)]
    return by_mixture + [{"mixture": "0", "size": size} for size in SIZES[1:]][: models // SEEDS - mixtures]


def shares(rng: np.random.Generator) -> dict[str, float]:
    """Shares of the sources in one mixture."""
    return dict(zip(SOURCES, (100 * rng.dirichlet(np.full(len(SOURCES), 2.0))).tolist(), strict=True))


def curve(rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """Held-out loss of one model."""
    for step, tokens in enumerate(MILESTONES):
        for source in SOURCES:
            bits = 1.1 - 0.02 * np.log(tokens) + 0.003 * rng.standard_normal()
            yield {"step": step, "tokens": tokens, "source": source, "loss": 1.0, "bits_per_byte": float(bits)}


def record(kind: str, name: str, parents: list[tuple[str, str]]) -> Record:
    """A card as an artifact of a real run has it."""
    files = [{"name": f"part-{k:05d}.bin", "bytes": 12_345_678, "sha256": f"{k:x}" * 64} for k in range(6)]
    card = {
        "artifact": name, "kind": kind, "stage": f"eval.{kind.title()}", "version": "1", "code": "0123456789abcdef",
        "fields": {"learning_rate": 4e-5, "batch": 512, "seed": 0, "model": {"$artifact": name}},
        "parents": [{"field": kind, "kind": kind, "artifact": artifact} for kind, artifact in parents],
        "counts": {"items": 22_000, "tokens": 1_000_000_000}, "licences": ["CC-BY-4.0"],
        "numerics": "x86_64/cuda/threads=1", "estimate": {}, "files": files,
    }  # fmt: skip
    return Record(kind, name, card)


def families(rng: np.random.Generator, where: list[dict[str, str]], items: int) -> Iterator[Family]:
    """Mixtures against the first, sizes against the smallest, in each group of questions."""
    gains = rng.normal(0.0, 0.02, len(where))
    for along in ("mixture", "size"):
        other = "size" if along == "mixture" else "mixture"
        chosen = [index for index, place in enumerate(where) if place[other] == where[0][other]]
        arms, deltas = [], []
        for group in GROUPS:
            hard = rng.uniform(0.2, 0.6, items)
            scores = {
                index: (
                    rng.random((SEEDS, items)) < hard + gains[index] + 0.01 * rng.standard_normal((SEEDS, 1))
                ).astype(float)
                for index in chosen
            }
            for index, found in scores.items():
                mean = mean_interval(found)
                arms.append(
                    {
                        "labels": where[index], "task": group, "modality": "image", "trained": "",
                        "metric": "accuracy",
                        "mean": {key: getattr(mean, key) for key in ("estimate", "low", "high", "level", "method")},
                        "per_seed": found.mean(1).tolist(), "seeds": [str(seed) for seed in range(SEEDS)],
                        "chance": 0.25, "n_items": items, "n_clusters": items, "learning_rates": [], "edge": False,
                        "scores": [f"answers-{index:03d}-{seed}" for seed in range(SEEDS)],
                    }
                )  # fmt: skip
            deltas += [
                prior_delta(
                    scores[index],
                    scores[chosen[0]],
                    task=group,
                    trained="",
                    treatment_name=where[index][along],
                    control_name=where[chosen[0]][along],
                    along=along,
                    labels={},
                )
                for index in chosen[1:]
            ]
        card = f"deltas-{along}"
        corrected = holm([each.p for each in deltas])
        compared = tuple(Comparison(each, float(p), card) for each, p in zip(deltas, corrected, strict=True))
        yield Family(card, along, "other", "init", tuple(Arm(each, card) for each in arms), compared)


def cohort(rng: np.random.Generator, where: list[dict[str, str]]) -> Cohort:
    """Figures of the models: a factor for perception and one for reasoning."""
    labels = [{**place, "init": str(seed)} for place in where for seed in range(SEEDS)]
    kinds = rng.normal(0.3, 0.02, (len(where), 2))[:, [0, 0, 1, 1]] + rng.normal(0, 0.01, (len(where), 4))
    figures = np.column_stack([kinds.mean(axis=1), kinds]).repeat(SEEDS, axis=0)
    halves = figures[:, :, None] + rng.normal(0, 0.006, (*figures.shape, 2))
    families = np.arange(len(where)).repeat(SEEDS)
    return Cohort(labels, families, list(GROUPS), halves.mean(axis=2), halves, np.full(len(GROUPS), 0.006**2 / 2))


def surfaces(table: Cohort, mixtures: int) -> Result:
    """Responses of the figures to two shares, over the mixtures at one size."""
    chosen = slice(0, mixtures * SEEDS)
    labels, families = table.labels[chosen], table.families[chosen]
    part = Cohort(labels, families, table.names, table.scores[chosen], table.halves[chosen], table.errors)
    shares = [{"reasoning": 50.0 + 5 * (each // 5), "visual": 5.0 + 5 * (each % 5)} for each in families.tolist()]
    found, _ = Landscape(scores=(Labelled(FrozenMap({}), Answers()),), of=OVERALL).found(part, shares)
    return Result({}, "landscape", json.loads(json.dumps(found)))


class Answers(Stage):
    """What a landscape is said to stand on; its figures are made up."""

    kind = "scores"


def evidence(models: int, mixtures: int, items: int) -> Evidence:
    """The largest study that is planned for, made up."""
    rng = np.random.default_rng(0)
    where = places(models, mixtures)
    supplies = dict.fromkeys(SOURCES, 40_000)
    mixed = [compile_mixture(shares(rng), supplies, 1_900_000, 256, seed=0, tokens={}) for _ in range(mixtures)]
    locks = tuple(Lock({"mixture": f"{k}"}, f"mixture-{k:03d}", lock) for k, lock in enumerate(mixed))
    trained, records = [], {each.card: record("mixture", each.card, []) for each in locks}
    config = {"num_hidden_layers": 24, "hidden_size": 2048}
    for index, place in enumerate(where):
        for seed in range(SEEDS):
            lm, mixture = f"lm-{index:03d}-{seed}", f"mixture-{int(place['mixture']):03d}"
            trained.append(Model({**place, "init": str(seed)}, lm, tuple(curve(rng)), None, config))
            for kind, name, parent in (
                ("checkpoint", lm, ("mixture", mixture)),
                ("vlm", f"vlm-{index:03d}-{seed}", ("checkpoint", lm)),
                ("scores", f"answers-{index:03d}-{seed}", ("vlm", f"vlm-{index:03d}-{seed}")),
            ):
                records[name] = record(kind, name, [parent])
    found = tuple(families(rng, where, items))
    every = [("scores", name) for name, each in records.items() if each.kind == "scores"]
    records |= {each.card: record("deltas", each.card, every) for each in found}
    table = cohort(rng, where)
    together = Result({}, "structure", json.loads(json.dumps(structure(table))))
    records |= {name: record(name, name, every) for name in ("structure", "landscape")}
    return Evidence(
        "The largest report", found, tuple(trained), locks, records,
        landscapes=(surfaces(table, mixtures),), structures=(together,), published=("mixes",),
    )  # fmt: skip


def opening(page: Path, profile: Path) -> tuple[float, float, float, float]:
    """Milliseconds until a new browser has it open; of Plotly's beginning, of the longest plot, of all plots.

    Raises:
        SystemExit: some plot was not drawn.
    """
    browser = Browser(chromium(), profile)
    try:
        browser.open(page.as_uri(), 1280)
        opened, (begun, *plots) = browser.ask(FIRST), browser.ask(REST)
        if missing := browser.ask(MISSING):
            raise SystemExit(f"{missing} plots were not drawn: {json.dumps(browser.complaints())}")
    finally:
        browser.close()
    return opened, begun, max(plots, default=0.0), sum(plots)


def main() -> None:
    """Render, open, print; a minute."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=105)
    parser.add_argument("--mixtures", type=int, default=30)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="leave the page here")
    given = parser.parse_args()
    began = time.perf_counter()
    shown = evidence(given.models, given.mixtures, given.items)
    made = time.perf_counter()
    text, plots = render(shown)
    size = len(text.encode()) / 1e6
    print(
        f"{len(shown.models)} models, {len(shown.mixtures)} mixtures, {len(shown.arms)} arms, {len(shown.records)} "
        f"cards: {plots} plots; simulated in {made - began:.1f} s, rendered in {time.perf_counter() - made:.1f} s"
    )
    print(f"{'size':>28} {size:8.2f} MB   wanted: below {SIZE:g}")
    with tempfile.TemporaryDirectory() as folder:
        page = given.keep or Path(folder) / "report.html"
        page.write_text(text, encoding="utf-8")
        if chromium() is None:
            print("no chromium, chromium-browser or google-chrome on PATH: nothing was opened")
            return
        times = [opening(page, Path(folder) / f"profile-{index}") for index in range(given.rounds)]
    opened, *rest = (statistics.median(each) for each in zip(*times, strict=True))
    print(f"{'opened':>28} {opened:8.0f} ms   wanted: below {OPENING:g}")
    for name, took in zip(("Plotly begins", "the longest plot", "all plots"), rest, strict=True):
        print(f"{name:>28} {took:8.0f} ms")


if __name__ == "__main__":
    main()
