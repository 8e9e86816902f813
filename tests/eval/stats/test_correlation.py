import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.stats.correlation import correlation, correlation_difference, disattenuated, reliability
from presight.errors import PresightError


def pair(rng, models, rho, families=None, share=0.0):
    """Two normal scores of this correlation; `share` of either's variance is the family's."""
    own = rng.normal(size=(2, models))
    if families is not None:
        own = np.sqrt(share) * rng.normal(size=(2, families.max() + 1))[:, families] + np.sqrt(1 - share) * own
    return own[0], rho * own[0] + np.sqrt(1 - rho**2) * own[1]


def of_ranks(rho):
    """Spearman's correlation of normal scores whose Pearson's is rho."""
    return 6 / np.pi * np.arcsin(rho / 2)


def test_estimates_are_those_of_scipy_with_ties():
    from scipy import stats

    rng = np.random.default_rng(0)
    x, y = np.round(rng.normal(size=(2, 40)))
    assert correlation(x, y).estimate == pytest.approx(stats.spearmanr(x, y).statistic)
    assert correlation(x, y, "pearson").estimate == pytest.approx(stats.pearsonr(x, y).statistic)
    low, high = stats.pearsonr(x, y).confidence_interval(0.9)
    found = correlation(x, y, "pearson", level=0.9)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_interval_of_ranks_is_that_of_bonett_and_wright():
    from scipy import stats

    y = np.arange(105.0)
    x = y + 90 * np.random.default_rng(0).normal(size=105)
    rho = stats.spearmanr(x, y).statistic
    reach = stats.norm.isf(0.025) * np.sqrt((1 + rho**2 / 2) / 102)
    found = correlation(x, y)
    assert (found.low, found.high) == pytest.approx(
        (np.tanh(np.arctanh(rho) - reach), np.tanh(np.arctanh(rho) + reach))
    )


def gathered_limits(x, y, families, kind, draws, level):
    """Gather each drawn family's models and correlate them anew; stretch on the z scale."""
    from scipy import stats

    measure = {"spearman": stats.spearmanr, "pearson": stats.pearsonr}[kind]
    rng, names = np.random.default_rng(5), np.unique(families)
    values = []
    for _ in range(draws):
        index = np.concatenate([np.flatnonzero(families == name) for name in rng.choice(names, len(names))])
        values.append(np.arctanh(measure(x[index], y[index]).statistic))
    sizes = np.array([(families == name).sum() for name in names])
    tail, n, centre = (1 - level) / 2, len(names), np.arctanh(measure(x, y).statistic)
    stretch = stats.t.isf(tail, sizes.sum() ** 2 / (sizes**2).sum() - 1) / stats.norm.isf(tail) * np.sqrt(n / (n - 1))
    return np.tanh(centre + stretch * (np.quantile(values, [tail, 1 - tail]) - centre))


@pytest.mark.parametrize("kind", ["spearman", "pearson"])
def test_bootstrap_over_families_agrees_with_a_loop(kind):
    rng, families = np.random.default_rng(0), np.arange(48) % 10
    x, y = pair(rng, 48, 0.5, families, 0.5)
    x = np.round(x, 1)
    found = correlation(x, y, kind, families, level=0.8)
    slow = gathered_limits(x, y, families, kind, draws=1500, level=0.8)
    assert (found.low, found.high) == pytest.approx(slow, abs=0.04)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("models", [10, 20, 105])
@pytest.mark.parametrize("kind", ["spearman", "pearson"])
def test_coverage_of_independent_models(kind, models, rho):
    rng, truth = np.random.default_rng(1), of_ranks(rho) if kind == "spearman" else rho
    hits = sum(not correlation(*pair(rng, models, rho), kind).excludes(truth) for _ in range(500))
    assert 0.92 <= hits / 500 <= 0.985


def test_families_must_be_drawn_whole():
    rng, families, covered = np.random.default_rng(2), np.arange(60) % 8, np.zeros(2)
    for run in range(150):
        x, y = pair(rng, 60, 0.5, families, 0.6)
        whole = correlation(x, y, families=families, draws=300, seed=run)
        covered += [not each.excludes(of_ranks(0.5)) for each in (whole, correlation(x, y))]
    assert covered[0] / 150 >= 0.92
    assert covered[1] / 150 < 0.85


@pytest.mark.parametrize("shared", [False, True])
def test_coverage_of_a_difference_of_dependent_correlations(shared):
    rng, hits = np.random.default_rng(3), 0
    for run in range(200):
        z = rng.normal(size=(4, 30))
        x, y = z[0], 0.6 * z[0] + 0.8 * z[1]
        other = z[0] if shared else z[2]
        other_y = 0.3 * other + np.sqrt(0.91) * z[3]
        found = correlation_difference(x, y, other, other_y, draws=300, seed=run)
        hits += not found.excludes(of_ranks(0.6) - of_ranks(0.3))
    assert hits / 200 >= 0.91


def test_a_correlation_does_not_differ_from_itself():
    x, y = pair(np.random.default_rng(0), 20, 0.5)
    found = correlation_difference(x, y, y, x)
    assert found.low == found.estimate == found.high == 0


def test_sharing_models_shortens_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    x, y = pair(rng, 40, 0.6)
    near = y + 0.1 * rng.normal(size=40)
    apart = correlation_difference(x, y, *pair(rng, 40, 0.6))
    assert correlation_difference(x, y, x, near).half_width < apart.half_width / 3


def test_reliability_is_cronbachs_alpha():
    table = np.random.default_rng(0).normal(size=(12, 1)) + np.random.default_rng(1).normal(size=(12, 5))
    k = 5
    alpha = k / (k - 1) * (1 - table.var(axis=0, ddof=1).sum() / table.sum(axis=1).var(ddof=1))
    assert reliability(table) == pytest.approx(alpha)
    assert reliability(table + np.arange(5)) == pytest.approx(alpha)  # a repeat's own ease is no error


def test_reliability_is_the_correlation_with_fresh_repeats():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(4000, 1))
    first, second = (truth + 1.5 * rng.normal(size=(4000, 4)) for _ in range(2))
    assert reliability(first) == pytest.approx(np.corrcoef(first.mean(axis=1), second.mean(axis=1))[0, 1], abs=0.03)


def noisy(rng, scores, reliable, repeats):
    sd = np.sqrt((1 - reliable) / reliable * repeats)
    return scores[:, None] + sd * rng.normal(size=(len(scores), repeats))


def test_correction_is_the_correlation_over_the_root_of_the_reliabilities():
    rng = np.random.default_rng(0)
    x, y = (noisy(rng, each, 0.8, 3) for each in pair(rng, 60, 0.6))
    raw = correlation(x.mean(axis=1), y.mean(axis=1), "pearson").estimate
    found = disattenuated(x, y)
    assert found.estimate == pytest.approx(raw / np.sqrt(reliability(x) * reliability(y)))
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize(
    ("models", "rho", "reliable"), [(20, 0.9, 0.9), (20, 0.5, 0.8), (50, 0.9, 0.7), (50, 0.0, 0.7)]
)
def test_corrected_intervals_hold_the_true_correlation_and_raw_ones_do_not(models, rho, reliable):
    rng, hits, raw_hits = np.random.default_rng(4), 0, 0
    for run in range(200):
        x, y = (noisy(rng, each, reliable, 3) for each in pair(rng, models, rho))
        hits += not disattenuated(x, y, draws=300, seed=run).excludes(rho)
        raw_hits += not correlation(x.mean(axis=1), y.mean(axis=1), "pearson").excludes(rho)
    assert hits / 200 >= 0.9
    if (rho, reliable) == (0.9, 0.7):
        assert raw_hits / 200 < 0.5


def test_little_reliability_opens_the_interval():
    rng = np.random.default_rng(0)
    x, y = pair(rng, 20, 0.5)
    sure = disattenuated(noisy(rng, x, 0.95, 2), noisy(rng, y, 0.95, 2))
    unsure = disattenuated(noisy(rng, x, 0.5, 2), noisy(rng, y, 0.5, 2))
    assert unsure.half_width > 1.5 * sure.half_width


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 30), st.integers(0, 10**6), st.sampled_from(["spearman", "pearson"]))
def test_symmetries(models, seed, kind):
    x, y = pair(np.random.default_rng(seed), models, 0.4)
    families = np.arange(models) % 3
    found = correlation(x, y, kind)
    swapped, flipped = correlation(2 * y + 1, x, kind), correlation(-x, y, kind)
    assert (swapped.low, swapped.high) == pytest.approx((found.low, found.high))
    assert (flipped.low, flipped.high) == pytest.approx((-found.high, -found.low))
    drawn = correlation(x, y, kind, families, draws=100)
    assert -1 <= drawn.low <= drawn.high <= 1
    assert drawn == correlation(x, y, kind, [f"size {k}" for k in families], draws=100)


four = np.arange(4.0)
good = np.array([[1, 2], [3, 4], [2, 2], [0, 5.0]])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: correlation(four, four[:3]), "shape"),
        (lambda: correlation(four[:3], four[:3]), "four"),
        (lambda: correlation(four, 0 * four), "all scores are equal"),
        (lambda: correlation(four, four, level=1), "level"),
        (lambda: correlation(four, four, families=[0, 0, 0, 0]), "clusters"),
        (lambda: correlation(four, four, families=[0, 1, 0, 1], draws=9), "draws"),
        (lambda: correlation_difference(four, four, np.arange(5.0), np.arange(5.0)), "other_x"),
        (lambda: reliability(np.ones((2, 2))), "at least 3 models"),
        (lambda: reliability(np.ones((3, 2))), "score alike"),
        (lambda: disattenuated(good[:3], good), "same models"),
        (lambda: disattenuated([[1, -1], [-1, 1.1], [0, 0.2]], [[1, 1], [2, 2], [3, 3]]), "none is left"),
    ],
)
def test_faults_name_themselves(call, words):
    with pytest.raises(PresightError, match=words):
        call()
