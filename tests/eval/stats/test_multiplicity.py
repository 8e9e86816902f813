import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.stats import deltas as stats
from eval.stats.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm
from presight.errors import PresightError

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=9)


def test_holm_is_found_where_it_was():
    assert stats.holm is holm


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        assert adjusted[index] == running
    rejected = 0
    while rejected < len(order) and p_values[order[rejected]] * (len(order) - rejected) <= alpha:
        rejected += 1
    assert (adjusted <= alpha).sum() == rejected


@settings(deadline=None)
@given(P_VALUES)
def test_false_discovery_rates_are_those_of_scipy(p_values):
    from scipy.stats import false_discovery_control

    assert benjamini_hochberg(p_values) == pytest.approx(false_discovery_control(p_values, method="bh"))
    assert benjamini_yekutieli(p_values) == pytest.approx(false_discovery_control(p_values, method="by"))


@settings(deadline=None)
@given(P_VALUES, st.floats(0.001, 0.5))
def test_step_up_rejects_up_to_the_last_p_under_its_line(p_values, alpha):
    n, ordered = len(p_values), sorted(p_values)
    # A p within rounding of its line may fall on either side.
    if any(abs(p - alpha * (rank + 1) / n) < 1e-12 for rank, p in enumerate(ordered)):
        return
    last = max((rank + 1 for rank, p in enumerate(ordered) if p <= alpha * (rank + 1) / n), default=0)
    assert (benjamini_hochberg(p_values) <= alpha).sum() == last


@settings(deadline=None)
@given(P_VALUES)
def test_each_is_stricter_than_the_next(p_values):
    plain = benjamini_hochberg(p_values)
    assert (holm(p_values) >= plain - 1e-12).all()
    assert (benjamini_yekutieli(p_values) >= plain - 1e-12).all()
    assert (plain >= np.array(p_values) - 1e-12).all()


def test_false_discoveries_stay_below_their_rate():
    from scipy.stats import norm

    rng, shares = np.random.default_rng(0), []
    for _ in range(400):
        effects = np.where(np.arange(40) < 10, 3.0, 0.0)
        rejected = benjamini_hochberg(2 * norm.sf(np.abs(rng.normal(effects)))) <= 0.2
        shares.append(rejected[10:].sum() / max(1, rejected.sum()))
    assert np.mean(shares) == pytest.approx(0.2 * 30 / 40, abs=0.02)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg, benjamini_yekutieli])
@pytest.mark.parametrize("wrong", [[0.2, np.nan], [1.1], [[0.1]]])
def test_what_is_no_list_of_probabilities_is_refused(adjust, wrong):
    with pytest.raises(PresightError, match="p_values"):
        adjust(wrong)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg, benjamini_yekutieli])
def test_no_tests_need_no_adjustment(adjust):
    assert adjust([]).shape == (0,)
