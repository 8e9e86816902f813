import numpy as np
import pytest
from toy_printed import printed

from eval.response.published import published_correlation, published_difference
from presight.errors import PresightError


def test_intervals_of_the_printed_correlations_are_those_that_were_recomputed():
    found = {(row, column): published_correlation(value, 105) for row, column, value in printed("correlations")}
    for pair, limits in {("General", "OCR"): (0.19, 0.52), ("Knowledge", "Vision"): (0.15, 0.49)}.items():
        assert (found[pair].low, found[pair].high) == pytest.approx(limits, abs=0.01)
    for pair, limits in {("General", "Knowledge"): (-0.22, 0.16), ("General", "Vision"): (-0.29, 0.09)}.items():
        assert (found[pair].low, found[pair].high) == pytest.approx(limits, abs=0.006)


def test_pearsons_interval_is_scipys():
    from scipy.stats import pearsonr

    x, y = np.random.default_rng(0).standard_normal((2, 30))
    found = published_correlation(pearsonr(x, y).statistic, 30, 0.9, ranks=False)
    expected = pearsonr(x, y).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_general_law_of_dependence_is_the_known_one_where_a_variable_is_shared():
    """Zou's formula for r_12 − r_13, written out."""
    r12, r13, r23, n = 0.4, 0.1, 0.3, 80
    found = published_difference([[1, r12, r13], [r12, 1, r23], [r13, r23, 1]], n, (0, 1), (0, 2), ranks=False)
    a, b = published_correlation(r12, n, ranks=False), published_correlation(r13, n, ranks=False)
    shared = ((r23 - 0.5 * r12 * r13) * (1 - r12**2 - r13**2 - r23**2) + r23**3) / ((1 - r12**2) * (1 - r13**2))
    down, up = r12 - a.low, b.high - r13
    assert found.low == pytest.approx(r12 - r13 - np.sqrt(down**2 + up**2 - 2 * shared * down * up))
    same = published_difference([[1, r12, r13], [r12, 1, r23], [r13, r23, 1]], n, (0, 1), (1, 0))
    assert same.estimate == 0
    assert same.half_width < 0.2 * found.half_width  # only what the two limits of one correlation differ by


@pytest.mark.parametrize(("first", "second"), [((0, 1), (0, 2)), ((0, 1), (2, 3))])
def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says(first, second):
    truth = np.array([[1, 0.5, 0.4, 0.1], [0.5, 1, 0.3, 0.2], [0.4, 0.3, 1, 0.6], [0.1, 0.2, 0.6, 1]])
    rng, runs, held = np.random.default_rng(2), 2000, 0
    samples = rng.multivariate_normal(np.zeros(4), truth, (runs, 40))
    for sample in samples:
        gap = published_difference(np.corrcoef(sample.T), 40, first, second, ranks=False)
        held += gap.low <= truth[first] - truth[second] <= gap.high
    assert held / runs == pytest.approx(0.95, abs=0.015)


def test_what_is_no_correlation_is_refused():
    for arguments in ((1.2, 10), (0.5, 3), (0.5, 10, 95)):
        with pytest.raises(PresightError):
            published_correlation(*arguments)
    with pytest.raises(PresightError, match="matrix"):
        published_difference([[1, 0.2], [0.3, 1]], 10, (0, 1), (0, 1))
