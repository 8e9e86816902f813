import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.probe.emergence import emergence
from eval.stats.deltas import crossed_interval, holm
from presight.errors import PresightError


def scores(seed, gains, seeds=3, n=150, layers=1):
    """Text [T, L, S, I] above control [L, S, I] by the gains [T] or [T, L]; items and seeds vary."""
    rng = np.random.default_rng(seed)
    gains = np.broadcast_to(np.reshape(gains, (len(gains), -1)), (len(gains), layers))
    control = rng.standard_normal((1, 1, n)) + 0.5 * rng.standard_normal((layers, seeds, n))
    noise = 0.5 * rng.standard_normal((len(gains), layers, seeds, n)) + 0.02 * rng.standard_normal((seeds, 1))
    return control + gains[:, :, None, None] + noise, control


def test_every_point_is_a_crossed_interval_at_the_layers_share_of_the_error():
    text, control = scores(0, [0, 0.1, 0.5], layers=2)
    clusters = np.arange(150) // 3
    done = emergence([1, 2, 4], text, control, clusters, level=0.9)
    for t in range(3):
        for layer in range(2):
            expected = crossed_interval(text[t, layer], control[layer], clusters, level=0.95)
            assert done.estimate[t, layer] == expected.estimate
            assert (done.low[t, layer], done.high[t, layer]) == (expected.low, expected.high)
    assert done.p_holm.ravel() == pytest.approx(holm(done.p.ravel()))
    assert ((done.p < 0.05) == ((done.low > 0) | (done.high < 0))).all()
    along = np.broadcast_to(control, text.shape)
    assert (emergence([1, 2, 4], text, along, clusters, level=0.9).low == done.low).all()


def slow_onset(tokens, low, high):
    for t, time in enumerate(tokens):
        if (low[t:] > 0).all() or (high[t:] < 0).all():
            return float(time)
    return None


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=6), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_onset_is_where_the_interval_leaves_nought_and_stays_out(gains, seed):
    text, control = scores(seed, gains, n=30)
    tokens = [10.0**t for t in range(len(gains))]
    done = emergence(tokens, text, control)
    assert done.onset == (slow_onset(tokens, done.low[:, 0], done.high[:, 0]),)


def test_onset_of_priors_that_come_stay_go_and_turn():
    gains = np.array([[0, 1, 0, -1, 0], [0, 1, 1, 1, 1], [0, 1, 0, 1, -1], [0, 1, 0, 1, -1]])
    text, control = scores(1, gains, layers=5)
    assert emergence([1e6, 2e6, 4e6, 8e6], text, control).onset == (None, 1e6, None, 2e6, 4e6)


def test_layers_share_one_error():
    """Where nothing differs, an onset in any of four layers at any of five milestones is rare; so are early ones."""
    runs, found, early = 120, 0, 0
    for run in range(runs):
        nothing = emergence(range(1, 6), *scores(run, [0] * 5, n=30, layers=4))
        found += any(onset is not None for onset in nothing.onset)
        late = emergence(range(1, 6), *scores(run, [0, 0, 0, 5, 5], n=30, layers=4))
        early += any(onset is not None and onset < 4 for onset in late.onset)
        assert all(onset is not None and onset <= 4 for onset in late.onset)
    assert found / runs <= 0.09  # the standard error of 0.05 is 0.02
    assert early / runs <= 0.09


def test_what_cannot_emerge_is_refused():
    text, control = scores(0, [0, 1], layers=2)
    with pytest.raises(PresightError, match="3 milestones"):
        emergence([1, 2, 3], text, control)
    for tokens in ([2, 2], [1, np.nan]):
        with pytest.raises(PresightError, match="out of order"):
            emergence(tokens, text, control)
    with pytest.raises(PresightError, match="control"):
        emergence([1, 2], text, control[:, :2])
    with pytest.raises(PresightError, match="control"):
        emergence([1, 2], text, control[0])
    with pytest.raises(PresightError, match="level"):
        emergence([1, 2], text, control, level=1)
