import itertools

import numpy as np
import pytest
import yaml
from toy_printed import grid

from eval.response.feasible import Feasible
from eval.response.optimum import optimum
from eval.response.proposals import _gains, propose
from eval.response.replicates import Runs
from eval.response.surface import fit
from presight import axes
from presight.errors import PresightError


def criterion_value(surface, rows, criterion, done):
    """By the definition, from scratch: the mean variance of what the criterion averages."""
    runs = surface.runs
    design = surface.terms(np.concatenate([np.repeat(runs.shares, runs.counts, axis=0), rows]))
    covariance = np.linalg.inv(design.T @ design) * surface.noise.variance[0]
    if criterion == "D":
        return np.linalg.det(covariance) ** (1 / len(covariance))
    if criterion == "I":
        at = surface.terms(Feasible.hull(runs.shares).grid(300))
    else:
        at = surface.terms(done.draws) - surface.terms(done.peak.shares[None])
    return float(np.mean([row @ covariance @ row for row in at]))


@pytest.mark.parametrize("criterion", ["optimum", "I", "D"])
@pytest.mark.parametrize("repeats", [1, 2])
def test_the_exchange_finds_the_best_of_all_sets(criterion, repeats):
    """Brute-force twin: every pair of ten candidates."""
    surface = fit(grid())
    done = optimum(surface, draws=200, points=20)
    pool = Feasible.hull(grid().shares).grid(300)[:: 300 // 10]
    found = propose(surface, 2, criterion=criterion, optimum=done, candidates=pool, repeats=repeats)
    values = {
        pair: criterion_value(surface, np.repeat(pool[list(pair)], repeats, axis=0), criterion, done)
        for pair in itertools.combinations(range(len(pool)), 2)
    }
    best = min(values, key=lambda pair: values[pair])
    assert found.after**2 == pytest.approx(values[best], rel=1e-6)
    assert {tuple(row) for row in found.shares} == {tuple(row) for row in np.round(pool[list(best)], 9)}
    assert found.before**2 == pytest.approx(criterion_value(surface, np.empty((0, 2)), criterion, done))


def test_gains_are_differences_of_the_criteria():
    rng = np.random.default_rng(0)
    x, rows = rng.standard_normal((20, 4)), rng.standard_normal((5, 4))
    aim = np.cov(rng.standard_normal((4, 9)))
    before = x.T @ x
    for row, gain, drop in zip(rows, _gains(before, rows, None), _gains(before, rows, aim), strict=True):
        after = before + np.outer(row, row)
        assert gain == pytest.approx(np.log(np.linalg.det(after) / np.linalg.det(before)))
        assert drop == pytest.approx(np.trace((np.linalg.inv(before) - np.linalg.inv(after)) @ aim))


def test_proposed_runs_pin_the_optimum_down_better_than_runs_drawn_at_random():
    def truth(x):
        return 32.5 - 26 * (x[:, 0] - 0.66) ** 2 - 60 * (x[:, 1] - 0.16) ** 2

    shares, errors = grid().shares, {"proposed": [], "random": []}
    feasible = Feasible.hull(shares)
    pool = feasible.grid(300)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = truth(shares) + 0.25 * rng.standard_normal(len(shares))
        surface = fit(Runs.of(shares, y))
        done = optimum(surface, draws=100, points=5, seed=seed)
        for name, new in (
            ("proposed", propose(surface, 6, optimum=done, candidates=pool, repeats=2).shares),
            ("random", rng.choice(pool, 6, replace=False)),
        ):
            new = np.repeat(new, 2, axis=0)
            more = truth(new) + 0.25 * rng.standard_normal(len(new))
            peak = fit(Runs.of(np.concatenate([shares, new]), np.concatenate([y, more]))).peak(feasible)
            errors[name].append(32.5 - truth(peak.shares[None])[0])
    assert np.mean(errors["proposed"]) < 0.9 * np.mean(errors["random"])


def test_a_proposal_reads_as_the_axes_of_a_recipe():
    found = propose(fit(grid()), 3, criterion="I", repeats=2)
    read = yaml.safe_load(found.axes(first_seed=1))["axes"]
    mixtures = axes.values("mixture", read["mixture"])
    assert list(mixtures) == ["next1", "next2", "next3"]
    assert np.array([[each["reasoning"], each["visual"]] for each in mixtures.values()]) == pytest.approx(
        100 * found.shares, rel=1e-5
    )
    assert list(axes.values("init", read["init"]).values()) == [1, 2]
    assert "3 mixtures × 2 runs" in found.sentence()
    assert found.after < found.before


def test_proposals_stay_within_what_can_be_mixed_and_differ():
    square = Feasible.hull([[0.55, 0.1], [0.65, 0.1], [0.55, 0.2], [0.65, 0.2]])
    candidates = square.grid(40)
    found = propose(fit(grid()), 5, criterion="D", candidates=candidates, feasible=square)
    assert square.contains(found.shares).all()
    assert len(np.unique(found.shares, axis=0)) == 5


def test_what_cannot_be_proposed_is_refused():
    surface = fit(grid())
    with pytest.raises(PresightError, match="is needed"):
        propose(surface, 2)
    with pytest.raises(PresightError, match="2 for 3 mixtures"):
        propose(surface, 3, criterion="D", candidates=[[0.5, 0.1], [0.6, 0.1]])
    with pytest.raises(PresightError, match="count"):
        propose(surface, 0, criterion="D")
    with pytest.raises(PresightError, match="criterion"):
        propose(surface, 1, criterion="A")
    with pytest.raises(PresightError, match="fractions"):
        propose(surface, 1, criterion="D", candidates=[[50, 10]])
    shares = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2))
    sure = fit(Runs.of(shares, 10 * shares[:, 0] + 10 * shares[:, 1], noise=1e-3))
    square = Feasible.hull([[0.2, 0.2], [0.4, 0.2], [0.2, 0.4], [0.4, 0.4]])
    with pytest.raises(PresightError, match="the same one"):
        propose(sure, 1, optimum=optimum(sure, square))
