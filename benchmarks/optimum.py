"""How far optimum, verdict, proposals and mixing law can be trusted: simulations, the end of `docs/reanalysis.md`.

About two minutes on one core. Of RegMix's own tables the tests bring a part; ``--regmix FOLDER`` takes them in full
instead, from the csv files of its repository (``train_mixture_1m.csv``, ``train_pile_loss_1m.csv``, ``test_…``).
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
from eval.stats.correlation import correlation, correlation_difference
from eval.stats.margins import Interval

PRINTED = Path(__file__).parents[1] / "tests" / "eval" / "response" / "see_before_seeing.csv"
REGMIX = PRINTED.parent / "regmix"
TARGET = "the_pile_pile_cc"  # RegMix's: a domain, and a source
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
                done = optimum(surface, resampling=kind, draws=300, points=40, seed=seed)
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
            rng, found = np.random.default_rng(8), list[str]()
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


def regmix(folder: Path | None) -> None:
    """Rank correlations on RegMix's tables: proxies of 1M parameters against larger models at other mixtures.

    `folder` holds all of them; none: the part that the tests bring.
    """
    proxies, models = published(folder)
    own, one, n = proxies.sources.index(TARGET), np.ones(1), len(proxies.losses)
    law, rows = fit_law(proxies), []
    rest = [np.arange(n) != row for row in range(n)]
    others = [Proxies.of(proxies.sources, [TARGET], proxies.shares[each], proxies.losses[each]) for each in rest]
    planes = np.array([linear(each, x, one) for each, x in zip(others, proxies.shares, strict=True)])
    cases = {
        f"{size}, other mixtures": (test, law.predict(test.shares)[:, 0], linear(proxies, test.shares, one))
        for size, test in models.items()
    }
    cases["1M, each proxy left out"] = (proxies, left_out(proxies, law)[:, 0], planes)
    for case, (test, by_law, by_plane) in cases.items():
        truth = test.losses[:, 0]
        rows.append([case, "law", interval(correlation(by_law, truth)), ""])
        for name, by in (("plane", by_plane), ("share of Pile-CC alone", -test.shares[:, own])):
            lead = correlation_difference(by_law, truth, by, truth)
            rows.append([case, name, interval(correlation(by, truth)), interval(lead)])
    counts = ", ".join(f"{len(test.losses)} of {size}" for size, test in models.items())
    print("### RegMix's own tables\n")
    print(f"{n} of the 512 proxies (1M parameters, 17 sources) of arXiv 2407.01492, whose first 64 are in")
    print("`tests/eval/response/regmix`; the target is the loss on Pile-CC. Spearman's ρ with that of models at other")
    print(f"mixtures ({counts}), and with that of each proxy left out. The share of Pile-CC alone needs no")
    print("proxy: what proxies are worth is the law's lead over it.\n")
    table(["models", "predicted by", "ρ", "the law's lead"], rows)


def published(folder: Path | None) -> tuple[Proxies, dict[str, Proxies]]:
    """RegMix's proxies, and its models by size, with their losses on `TARGET`."""

    def read(shares: Path, losses: Path) -> Proxies:
        found = Proxies.read(shares, losses)
        target = found.losses[:, [found.domains.index(TARGET)]]
        return Proxies.of(found.sources, [TARGET], found.shares, target)

    if folder is None:
        proxies, models = (read(file, file) for file in (REGMIX / "proxies.csv", REGMIX / "models.csv"))
        return proxies, {"1B": models}
    files = {"1M": ("60m", "1m"), "60M": ("60m", "60m"), "1B": ("1B", "1B")}
    return read(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv"), {
        size: read(folder / f"test_mixture_{shares}.csv", folder / f"test_pile_loss_{losses}.csv")
        for size, (shares, losses) in files.items()
    }


def interval(found: Interval) -> str:
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description="How far the methods can be trusted.")
    parser.add_argument("--regmix", type=Path, help="folder with all csv files of RegMix's repository")
    folder = parser.parse_args().regmix
    print("## How far the methods can be trusted\n")
    coverage()
    verdicts()
    informative()
    laws()
    regmix(folder)


if __name__ == "__main__":
    main()
