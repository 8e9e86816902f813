import json

import numpy as np
import pytest

from eval.stats.factors import _misfit, factor_test
from presight.errors import PresightError

HALVES = [0, 1, 0, 1, 0, 1]


def scores(rng, models, apart, tasks=6, loading=0.85, error_sd=0.0):
    """Scores [models, tasks]; even and odd tasks have a factor each, of correlation `apart`."""
    factors = rng.normal(size=(models, 2))
    factors[:, 1] = apart * factors[:, 0] + np.sqrt(1 - apart**2) * factors[:, 1]
    true = loading * factors[:, np.arange(tasks) % 2] + np.sqrt(1 - loading**2) * rng.normal(size=(models, tasks))
    return true + error_sd * rng.normal(size=(models, tasks))


def slow_misfit(correlations, floor):
    """The least discrepancy by a general optimiser over loadings and own variances."""
    from scipy.optimize import minimize

    tasks = len(correlations)

    def discrepancy(point):
        model = np.outer(point[:tasks], point[:tasks]) + np.diag(point[tasks:])
        trace = np.trace(np.linalg.solve(model, correlations))
        return np.linalg.slogdet(model)[1] + trace - np.linalg.slogdet(correlations)[1] - tasks

    start = np.concatenate([np.full(tasks, 0.6), np.full(tasks, 0.6)])
    bounds = [(None, None)] * tasks + [(max(each, 1e-3), None) for each in floor]
    return minimize(discrepancy, start, bounds=bounds, method="L-BFGS-B", options={"maxiter": 2000}).fun


@pytest.mark.parametrize("floor", [0.0, 0.4])
@pytest.mark.parametrize("seed", range(4))
def test_fit_is_the_maximum_likelihood_one(floor, seed):
    rng = np.random.default_rng(seed)
    found = np.corrcoef(scores(rng, 60, 0.6).T)
    fast = _misfit(found[None], np.full(6, floor))
    assert fast[0][0] == pytest.approx(slow_misfit(found, np.full(6, floor)), abs=2e-3)
    assert (fast[2][0] >= floor).all()


def test_tables_fitted_together_are_those_fitted_alone():
    rng = np.random.default_rng(0)
    tables = np.stack([np.corrcoef(scores(rng, 30, 0.5).T) for _ in range(5)])
    together = _misfit(tables, np.zeros(6))[0]
    assert together == pytest.approx([_misfit(each[None], np.zeros(6))[0][0] for each in tables])


@pytest.mark.parametrize(("models", "error_sd"), [(20, 0.0), (60, 0.0), (60, 0.5)])
def test_one_factor_is_rejected_no_more_often_than_the_level(models, error_sd):
    rng, rejected = np.random.default_rng(0), 0
    for run in range(60):
        table = scores(rng, models, 1.0, error_sd=error_sd)
        errors = np.full(6, error_sd**2)
        rejected += factor_test(table, errors, HALVES, level=0.9, power=0.01, draws=100, seed=run).p <= 0.1
    assert rejected <= 13  # binomial(60, 0.1): more has a chance of 0.4 %


def test_two_factors_are_found_as_often_as_tables_of_one_promise():
    rng, found, promised = np.random.default_rng(1), [], []
    for run in range(50):
        options = dict(halves=HALVES, apart=0.7, power=0.01, draws=100, seed=run)
        found.append(factor_test(scores(rng, 24, 0.7), **options).p <= 0.05)
        promised.append(factor_test(scores(rng, 24, 1.0), **options).power)
    assert 0.2 < np.mean(promised) < 0.9
    assert np.mean(found) == pytest.approx(np.mean(promised), abs=0.2)


def test_verdicts():
    rng = np.random.default_rng(0)
    two = factor_test(scores(rng, 150, 0.3), draws=200)
    one = factor_test(scores(rng, 150, 1.0), draws=200)
    few = factor_test(scores(rng, 10, 1.0), draws=200)
    assert (two.verdict, one.verdict, few.verdict) == ("two", "one", "cannot say")
    assert (two.models_needed, one.models_needed) == (150, 150)
    assert few.models_needed is not None
    assert few.models_needed > 10
    assert few.power < 0.8 <= one.power
    assert len({two.halves[0], two.halves[1]}) == 2
    assert two.halves[::2] == (two.halves[0],) * 3  # the split that the residuals speak for is the true one
    assert json.loads(json.dumps(two.to_json(), allow_nan=False))["verdict"] == "two"


def test_noise_asks_for_more_models():
    rng, needed = np.random.default_rng(0), []
    for error_sd in (0.0, 1.0):
        table = scores(rng, 12, 1.0, error_sd=error_sd)
        found = factor_test(table, np.full(6, error_sd**2), HALVES, draws=200)
        assert found.verdict == "cannot say"
        needed.append(found.models_needed)
    assert needed[0] is not None
    assert needed[1] is None or needed[1] > needed[0]


def test_units_of_the_scores_do_not_matter():
    table, errors = scores(np.random.default_rng(0), 40, 0.5), np.full(6, 0.1)
    scale = np.array([1, 100, 0.01, 5, 2, 1.0])
    first, second = (
        factor_test(table, errors, HALVES, draws=100),
        factor_test(table * scale + 3, errors * scale**2, HALVES, draws=100),
    )
    assert first.p == second.p
    assert first.loadings == pytest.approx(second.loadings)
    assert first.error_shares == pytest.approx(second.error_shares)


good = np.random.default_rng(0).normal(size=(12, 4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: factor_test(good[:, :3]), "always fit"),
        (lambda: factor_test(good[:4]), "more models"),
        (lambda: factor_test(good * [1, 1, 1, 0]), "score alike"),
        (lambda: factor_test(good, [0.1]), "error_variances"),
        (lambda: factor_test(good, [0.1, 0.1, 0.1, -1]), "error_variances"),
        (lambda: factor_test(good, halves=[0, 0, 0, 0]), "halves"),
        (lambda: factor_test(good, apart=1), "apart"),
        (lambda: factor_test(good, level=2), "level"),
        (lambda: factor_test(good, power=0), "power"),
        (lambda: factor_test(good, draws=3), "draws"),
    ],
)
def test_faults_name_themselves(call, words):
    with pytest.raises(PresightError, match=words):
        call()
