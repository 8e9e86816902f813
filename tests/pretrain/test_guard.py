import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.guard import LEAST, SIGMAS, WINDOW, Guard


def line(losses):
    """The slow twin: numpy's polynomial fit."""
    x = np.arange(len(losses))
    fit = np.polynomial.Polynomial.fit(x, losses, 1)
    return fit(len(losses)), np.sqrt(((losses - fit(x)) ** 2).sum() / (len(losses) - 2))


@given(st.integers(LEAST, 2 * WINDOW), st.integers(0, 2**31))
def test_the_limit_is_six_sigma_above_the_line_through_the_last_losses(count, seed):
    draw = np.random.default_rng(seed)
    losses = 5 - 0.01 * np.arange(count) + 0.1 * draw.standard_normal(count)
    expected, spread = line(losses[-WINDOW:])
    limit = expected + SIGMAS * spread
    assert Guard(losses.tolist()).fault(limit + 1e-6)
    assert Guard(losses.tolist()).fault(limit - 1e-6) is None


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_what_is_no_number_is_a_fault_at_once(loss):
    assert Guard().fault(loss) == f"is {loss}"


def test_a_fall_is_no_fault_and_does_not_hide_a_spike():
    guard = Guard()
    draw = np.random.default_rng(0)
    for step in range(100):
        assert guard.fault(10 - 0.05 * step + 0.01 * draw.standard_normal()) is None
    assert "was to be expected" in guard.fault(5.3)  # far below where the window began, far above where it ended


def test_a_faulty_loss_is_not_remembered():
    guard = Guard([1.0 + 0.01 * (step % 2) for step in range(LEAST)])
    assert guard.fault(9.0)
    assert guard.fault(9.0)


def test_false_alarms_are_rare():
    draw = np.random.default_rng(1)
    alarms = 0
    for _ in range(20):
        guard = Guard()
        alarms += sum(guard.fault(loss) is not None for loss in 3 + 0.05 * draw.standard_normal(500))
    assert alarms == 0
