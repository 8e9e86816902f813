"""How far optimum, verdict, proposals and mixing law can be trusted: simulations, the end of `docs/reanalysis.md`.

About two minutes on one core. ``--regmix FOLDER`` adds the rank correlations on RegMix's own tables, from the csv
files of its repository (``train_mixture_1m.csv``, ``train_pile_loss_1m.csv``, ``test_…``), which are not shipped here.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eval.response.feasible import Feasible
from eval.response.mixing_law import Proxies, fit_law, left_out
from eval.response.optimum import optimum
from eval.response.proposals import propose
from eval.response.replicates import Runs
from eval.response.response import respond
from eval.response.surface import fit
from eval.stats.correlation import correlation

PRINTED = Path(__file__).parents[1] / "tests" / "eval" / "response" / "see_before_seeing.csv"
NOISE = 0.25  # about the residual of the paper's grid
Score = Callable[[Any], Any]


def table(header: list[str], rows: list[list[str]]) -> None:
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def grid() -> Any:
    """The shares of the paper's 30 cells."""
    lines = (line for line in PRINTED.read_text().splitlines() if not line.startswith("#"))
    rows = [row for row in csv.DictReader(lines) if row["table"] == "grid"]
    return np.array([[float(row["row"]), float(row["column"])] for row in rows]) / 100


def hill(x: Any) -> Any:
    """The surface that was fitted to the paper's grid; its top, 32.56, is at (0.661, 0.164)."""
    a, b = x[:, 0] - 0.661, x[:, 1] - 0.164
    return 32.56 - 26.3 * a**2 - 20.1 * a * b - 60.8 * b**2


def ramp(x: Any) -> Any:
    """Highest at a corner, (0.85, 0.15)."""
    return 30 + 10 * x[:, 0] + 8 * x[:, 1] - 20 * (x[:, 1] - 0.2) ** 2


def coverage(runs: int = 300) -> None:
    shares, rows = grid(), []
    uneven = np.where(shares[:, 0] >= 0.75, 2 * NOISE, NOISE)
    cases: list[tuple[str, Score, tuple[float, float], Any]] = [
        ("inside, as fitted to the grid", hill, (0.661, 0.164), NOISE),
        ("inside, noise twice as large from 75 % on", hill, (0.661, 0.164), uneven),
        ("at a corner, 85 / 15", ramp, (0.85, 0.15), NOISE),
    ]
    for name, truth, top, sd in cases:
        for kind in ("residual", "wild", "parametric"):
            rng, held, region, size = np.random.default_rng(7), np.zeros(2), 0, 0.0
            for seed in range(runs):
                surface = fit(Runs.of(shares, truth(shares) + sd * rng.standard_normal(len(shares))))
                done = optimum(surface, resampling=kind, draws=300, points=40, seed=seed)  # type: ignore[arg-type]
                held += [one.low - 1e-9 <= t <= one.high + 1e-9 for one, t in zip(done.marginals, top, strict=True)]
                region += done.holds(top)
                size += len(done.region) / len(done.grid) / runs
            rates = [f"{each / runs:.3f}" for each in (*held, region)]
            rows.append([name, kind, *rates, f"{100 * size:.0f} %"])
    print("### How often the optimum is held\n")
    print(f"{runs} simulated grids of the paper's shape, noise {NOISE}; nominal 0.95, Monte-Carlo error 0.013.\n")
    header = ["true optimum", "bootstrap", "reasoning interval", "visual interval", "region", "region / feasible"]
    table(header, rows)


def verdicts(runs: int = 200) -> None:
    levels = np.repeat([0, 0.25, 0.5, 0.75, 1], 3)
    truths: dict[str, Score] = {
        "nothing": lambda x: 0 * x,
        "a line, +2": lambda x: 2 * x,
        "saturation, +2, rate 15 %": lambda x: 2 * -np.expm1(-x / 0.15),
        "a peak at 50 %, +2": lambda x: 2 - 8 * (x - 0.5) ** 2,
    }
    names, rows = ("progressive", "saturating", "peaked", "not resolvable"), []
    for truth, curve in truths.items():
        for noise, sd in (("equal", NOISE), ("by mixture", np.repeat([0.4, 0.6, 1, 1.6, 2.4], 3) * NOISE)):
            rng, found = np.random.default_rng(8), []
            for seed in range(runs):
                y = curve(levels) + sd * rng.standard_normal(len(levels))
                found.append(respond(Runs.of(levels, y), seed=seed, more=False).verdict)
            rows.append([truth, noise, *(f"{100 * found.count(name) / runs:.0f} %" for name in names)])
    print("### What a verdict on a share is worth\n")
    print(
        f"{runs} simulated curves of five shares × three seeds, noise {NOISE}, or 0.4 to 2.4 times that by mixture.\n"
    )
    table(["truth", "noise", *names], rows)


def informative(runs: int = 200) -> None:
    shares = grid()
    feasible = Feasible.hull(shares)
    pool = feasible.grid(300)
    losses: dict[str, list[float]] = {name: [] for name in ("no more runs", "chance", "D", "I", "optimum")}
    for seed in range(runs):
        rng = np.random.default_rng([9, seed])
        y = hill(shares) + NOISE * rng.standard_normal(len(shares))
        surface = fit(Runs.of(shares, y))
        done = optimum(surface, draws=200, points=5, seed=seed)
        for name, found in losses.items():
            peak = done.peak.shares
            if name != "no more runs":
                new = rng.choice(pool, 6, replace=False)
                if name != "chance":
                    new = propose(surface, 6, criterion=name, optimum=done, candidates=pool, repeats=2).shares  # type: ignore[arg-type]
                new = np.repeat(new, 2, axis=0)
                more = hill(new) + NOISE * rng.standard_normal(len(new))
                peak = fit(Runs.of(np.concatenate([shares, new]), np.concatenate([y, more]))).peak(feasible).shares
            found.append(float(32.56 - hill(peak[None])[0]))
    print("### What twelve more runs buy\n")
    print(f"How much worse the mixture taken for best truly is, after six more mixtures twice each; {runs} grids.\n")
    rows = [[name, f"{np.mean(each):.4f} ± {np.std(each) / math.sqrt(runs):.4f}"] for name, each in losses.items()]
    table(["chosen by", "points below the true optimum"], rows)


def linear(proxies: Proxies, fresh: Any, weights: Any) -> Any:
    """What a plane in the shares predicts of the target."""
    return fresh @ np.linalg.lstsq(proxies.shares, proxies.losses @ weights, rcond=None)[0]


def laws() -> None:
    rows = []
    for sd in (0.003, 0.01, 0.03):
        found: list[list[float]] = []
        for seed in range(4):
            rng = np.random.default_rng([10, seed])
            shares = rng.dirichlet(np.maximum(8 * rng.dirichlet(np.ones(17)), 0.1), 164)
            floor, exponents = rng.uniform(1.2, 2.2, 17), rng.normal(0.3, 0.4, (17, 17)) - 3 * np.eye(17)
            losses = floor + np.exp(shares @ exponents.T)
            names, noisy = [f"source {each}" for each in range(17)], losses + sd * rng.standard_normal(losses.shape)
            proxies = Proxies.of(names, names, shares[:64], noisy[:64])
            law, weights = fit_law(proxies), proxies.weights()
            truth, seen = losses[64:] @ weights, proxies.losses @ weights
            ranked = [
                (law.predict(shares[64:]) @ weights, truth),
                (linear(proxies, shares[64:], weights), truth),
                (left_out(proxies, law) @ weights, seen),
            ]
            found.append([correlation(*pair).estimate for pair in ranked])
        rows.append([f"{sd}", *(f"{each:.3f}" for each in np.mean(found, axis=0))])
    print("### The exponential mixing law\n")
    print("Simulated tables in the shape of RegMix's: 64 proxies × 17 sources × 17 domains, the target their mean.")
    print("Spearman's ρ with the true target of 100 held-out mixtures, and with the noisy one of each proxy left out;")
    print(
        "mean of four tables. They are drawn from the law: the fit works, which is not to say that losses obey it.\n"
    )
    table(["noise of a loss", "law, held out", "plane, held out", "law, left out"], rows)


def regmix(folder: Path) -> None:
    """Rank correlations on RegMix's tables: proxies of 1M parameters against larger models at other mixtures."""
    train = Proxies.read(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv")
    law, rows = fit_law(train), []
    for size, mixtures in (("1m", "60m"), ("60m", "60m"), ("1B", "1B")):
        test = Proxies.read(folder / f"test_mixture_{mixtures}.csv", folder / f"test_pile_loss_{size}.csv")
        target = {next(name for name in test.domains if name.endswith("pile_cc")): 1.0}
        weights, truth = train.weights(target), test.losses @ test.weights(target)
        found = [
            correlation(each, truth)
            for each in (law.predict(test.shares) @ weights, linear(train, test.shares, weights))
        ]
        rows.append([size, f"{len(truth)}", *(f"{one.estimate:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in found)])
    print(f"### RegMix's own tables\n\n{len(train.losses)} proxies of 1M, target Pile-CC, Spearman's ρ:\n")
    table(["models", "mixtures", "law", "plane"], rows)


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description="How far the methods can be trusted.")
    parser.add_argument("--regmix", type=Path, help="folder with the csv files of RegMix's repository")
    folder = parser.parse_args().regmix
    print("## How far the methods can be trusted\n")
    coverage()
    verdicts()
    informative()
    laws()
    if folder:
        regmix(folder)


if __name__ == "__main__":
    main()
