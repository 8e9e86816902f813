import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.response.optimum import optimum
from eval.response.replicates import Noise, Runs, quadratic_form_test
from eval.response.response import respond
from eval.response.surface import fit
from presight.errors import PresightError


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([0.1, 0.2]), st.floats(-9, 9), st.floats(0.1, 3)),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_runs_are_gathered_by_mixture_as_a_dictionary_would(rows, known):
    runs = Runs.of(
        [row[:2] for row in rows], [row[2] for row in rows], noise=[row[3] for row in rows] if known else None
    )
    groups = {}
    for a, b, score, sd in rows:
        groups.setdefault((a, b), []).append((score, sd**-2 if known else 1.0))
    assert [tuple(row) for row in runs.shares] == sorted(groups)
    for place, key in enumerate(sorted(groups)):
        scores, weights = np.array(groups[key]).T
        mean = (scores * weights).sum() / weights.sum()
        assert runs.means[place] == pytest.approx(mean)
        assert runs.weights[place] == pytest.approx(weights.sum())
        assert runs.within[place] == pytest.approx((weights * (scores - mean) ** 2).sum(), abs=1e-9)
        assert runs.counts[place] == len(scores)
    assert runs.n == len(rows)
    assert runs.repeats == len(rows) - len(groups)


def table(seed, counts, sds):
    rng = np.random.default_rng(seed)
    x = np.repeat(np.arange(len(counts)) / 10, counts)
    return x, rng.standard_normal(len(x)) * np.repeat(sds, counts)


def means_apart(runs):
    """Projector on what the means differ by."""
    unit = np.sqrt(runs.weights / runs.weights.sum())
    return np.eye(len(unit)) - np.outer(unit, unit)


def test_the_form_of_equal_noise_is_the_f_test_of_an_analysis_of_variance():
    from scipy.stats import f_oneway

    x, y = table(0, [3, 2, 4, 3], [1, 1, 1, 1])
    runs = Runs.of(x, y)
    projector, z = means_apart(runs), np.sqrt(runs.weights) * runs.means
    found = quadratic_form_test(float(z @ projector @ z), projector, Noise.repeated(runs))
    expected = f_oneway(*(y[x == each] for each in np.unique(x)))
    assert found.statistic == pytest.approx(expected.statistic)
    assert (found.df, found.noise_df, found.p) == pytest.approx((3, 8, expected.pvalue))


def test_the_form_of_unequal_noise_between_two_mixtures_is_welchs():
    from scipy.stats import ttest_ind

    x, y = table(1, [4, 9], [1, 5])
    runs = Runs.of(x, y)
    projector, z = means_apart(runs), np.sqrt(runs.weights) * runs.means
    noise = Noise.repeated(runs, equal=False)
    found = quadratic_form_test(float(z @ projector @ z), projector, noise)
    expected = ttest_ind(y[x == 0], y[x > 0], equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic**2)
    assert (found.df, found.noise_df, found.p) == pytest.approx((1, expected.df, expected.pvalue))
    contrast = np.array([1, -1]) / np.sqrt(runs.weights)
    sd, df = noise.spread(contrast)
    assert (contrast @ z / sd, df) == pytest.approx((expected.statistic, expected.df))


def test_tests_hold_their_level_where_noise_differs_by_mixture():
    counts, sds, runs_of = [3, 3, 3, 3, 3], [0.3, 0.3, 1, 3, 3], 1500
    wrong = {True: 0, False: 0}
    for seed in range(runs_of):
        runs = Runs.of(*table(seed, counts, sds))
        projector, z = means_apart(runs), np.sqrt(runs.weights) * runs.means
        for equal in wrong:
            p = quadratic_form_test(float(z @ projector @ z), projector, Noise.repeated(runs, equal)).p
            wrong[equal] += p < 0.05
    assert wrong[False] / runs_of < 0.07
    assert wrong[True] / runs_of > 0.07  # pooling does not bear it


def test_a_mixture_of_one_run_borrows_the_pooled_noise():
    runs = Runs.of([0, 0, 0.5, 0.5, 1], [1, 3, 5, 9, 7])
    noise = Noise.repeated(runs, equal=False)
    assert noise.run_variance == pytest.approx([2, 8, 5])
    assert noise.df[noise.component] == pytest.approx([1, 1, 2])
    assert Noise.repeated(Runs.of([0, 0.5], [1, 2])) is None
    given_noise = Noise.repeated(Runs.of([0, 0.5], [1, 2], noise=3))
    assert (given_noise.source, given_noise.df[0], given_noise.run_variance.tolist()) == ("given", np.inf, [1, 1])


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([10, 20], [1, 2]), "shares"),
        (([0.1, 0.2], [1, 2, 3]), "shares"),
        (([0.1, 0.2], [1, np.nan]), "scores"),
        (([0.1, 0.2], [1, 2], ["a", "b"]), "names"),
        (([0.1, 0.2], [1, 2], None, [1, 0]), "noise"),
    ],
)
def test_malformed_runs_are_refused_by_field(arguments, field):
    with pytest.raises(PresightError) as error:
        Runs.of(*arguments)
    assert error.value.field == field


NINE = np.array([[a, b] for a in (0.4, 0.6, 0.8) for b in (0.1, 0.2, 0.3)])
RISING = 20 + 10 * NINE[:, 0] - 5 * NINE[:, 1] ** 2


@pytest.mark.parametrize(
    ("shares", "scores", "words"),
    [
        (NINE, np.zeros(9), "score alike, at 0"),
        (np.tile(NINE, (2, 1)), np.zeros(18), "score alike, at 0"),
        (np.tile(NINE, (3, 1)), np.full(27, 0.1), "score alike, at 0.1"),  # whose mean of three is not 0.1
        (np.tile(NINE, (2, 1)), np.tile(RISING, 2), "repeats agree exactly"),
        (NINE, RISING, "lie exactly on the curve"),
    ],
)
def test_scores_without_noise_are_refused_in_a_sentence(shares, scores, words):
    runs = Runs.of(shares, scores, ["reasoning", "visual"])
    with pytest.raises(PresightError, match=words):
        respond(runs, "reasoning")
    with pytest.raises(PresightError, match=words):
        optimum(fit(runs))
    given = Runs.of(shares, scores, ["reasoning", "visual"], 0.5)  # noise that is known needs none in the scores
    assert respond(given, "reasoning", more=False).noise == (0.5, "given")
    assert optimum(fit(given), points=20, draws=100).surface.sd == pytest.approx(0.5)


def test_noise_where_a_model_fits_whatever_there_is_says_nothing_of_its_misfit():
    """Only the first mixture's repeats differ, and the projector leaves it out."""
    noise = Noise(np.array([0, 1, 1]), np.array([2.0, 0.0]), np.array([1.0, 2.0]), "3 repeats")
    assert quadratic_form_test(0.5, np.diag([0.0, 1, 1]), noise).p == 0
    assert quadratic_form_test(0.0, np.diag([0.0, 1, 1]), noise).p == 1
    assert 0 < quadratic_form_test(0.5, np.eye(3), noise).p < 1
