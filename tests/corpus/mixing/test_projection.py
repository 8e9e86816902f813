import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.mixing.projection import Rows, project, support

CELLS = 8  # two sources, two families


@st.composite
def problems(draw, size=CELLS):
    """Rows, proportions and caps that some point meets; now and then only just."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    natural = 10.0 ** rng.uniform(-draw(st.sampled_from([0, 2, 6])), 0, size) * (rng.random(size) < 0.9)
    natural[0] += 0.1
    natural /= natural.sum()
    upper = np.minimum(natural * 10.0 ** rng.uniform(-0.3, 1.5, size), 1)
    upper[0] = 1
    point = rng.dirichlet(np.full(size, draw(st.sampled_from([0.1, 1.0])))) * (natural > 0)
    point[0] += 1 - point.sum()
    for _ in range(size):
        point = np.minimum(point, upper)
        point[0] += 1 - point.sum()
    members = (np.arange(size) >> np.array([[0], [1], [2]])) & 1
    matrix = np.array([np.ones(size), *members, members[0] * members[1], 1 - members[2]])
    low, high = matrix @ point, matrix @ point
    for row in range(1, len(matrix)):
        kind = draw(st.sampled_from(["exact", "free", "range", "at least", "at most"]))
        if kind != "exact":
            low[row] *= {"free": 0, "range": rng.random(), "at least": 1, "at most": 0}[kind]
            high[row] += {"free": 1, "range": rng.random(), "at least": 1, "at most": 0}[kind] * (1 - high[row])
    return Rows(matrix, low.clip(0, 1), high.clip(0, 1)), natural, upper


def divergence(q, natural):
    on = q > 0
    return float((q[on] * np.log(q[on] / natural[on])).sum())


@settings(max_examples=80, deadline=None)
@given(problems())
def test_the_point_meets_its_bounds_and_the_conditions_of_a_minimum(problem):
    rows, natural, upper = problem
    q, prices, dear = project(rows, natural, upper)
    values = rows.matrix @ q
    assert (values >= rows.low - 1e-12).all()
    assert (values <= rows.high + 1e-12).all()
    assert (q >= 0).all()
    assert (q <= upper * (1 + 1e-12)).all()
    on = q > 0
    assert (np.log(q[on] / natural[on]) - (prices @ rows.matrix)[on] + dear[on]) == pytest.approx(0, abs=1e-9)
    assert (dear * (upper - q)) == pytest.approx(0, abs=1e-12)
    within = rows.low < rows.high
    assert (np.maximum(prices, 0) * (values - rows.low))[within] == pytest.approx(0, abs=1e-9)
    assert (np.minimum(prices, 0) * (rows.high - values))[within] == pytest.approx(0, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(problems())
def test_no_general_solver_finds_a_lesser_divergence(problem):
    from scipy.optimize import minimize

    rows, natural, upper = problem
    q, _, _ = project(rows, natural, upper)
    safe = np.maximum(natural, 1e-12)
    twin = minimize(
        lambda p: float((p * np.log(np.maximum(p, 1e-15) / safe) - p + safe).sum()),
        np.where(natural > 0, np.minimum(q + 0.01, upper), 0),
        jac=lambda p: np.log(np.maximum(p, 1e-15) / safe),
        bounds=[(0, u if n > 0 else 0) for u, n in zip(upper, natural, strict=True)],
        constraints=[
            {"type": "ineq", "fun": lambda p: rows.matrix @ p - rows.low, "jac": lambda _: rows.matrix},
            {"type": "ineq", "fun": lambda p: rows.high - rows.matrix @ p, "jac": lambda _: -rows.matrix},
        ],
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    values = rows.matrix @ twin.x
    if twin.success and max((rows.low - values).max(), (values - rows.high).max()) < 1e-9:
        assert divergence(q, natural) <= divergence(twin.x, natural) + 1e-6
        if rows.matrix[0] @ np.abs(twin.x - q) > 1e-2:  # another point, then a worse one
            assert divergence(q, natural) < divergence(twin.x, natural)


def test_without_requests_the_natural_proportions_stay():
    natural = np.array([0.5, 0.2, 0.3])
    q, prices, dear = project(Rows(np.ones((1, 3)), np.ones(1), np.ones(1)), natural, np.ones(3))
    assert q == pytest.approx(natural, abs=1e-15)
    assert prices == pytest.approx(0)
    assert dear == pytest.approx(0)


def test_one_marginal_scales_its_two_sides():
    """The known closed form: proportions within each side are kept."""
    natural = np.array([0.5, 0.2, 0.2, 0.1])
    members = np.array([[1.0, 1, 1, 1], [0, 0, 1, 1]])
    q, prices, _ = project(Rows(members, np.array([1, 0.6]), np.array([1, 0.6])), natural, np.ones(4))
    assert q == pytest.approx([0.4 * 5 / 7, 0.4 * 2 / 7, 0.4, 0.2], abs=1e-15)
    assert prices[1] == pytest.approx(np.log(0.6 / 0.3) - np.log(0.4 / 0.7))


def test_prices_are_derivatives():
    natural, upper = np.array([0.5, 0.2, 0.2, 0.1]), np.array([1, 1, 0.3, 1])
    matrix = np.array([[1.0, 1, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]])

    def least(share, cap):
        rows = Rows(matrix, np.array([1, share, 0.0]), np.array([1, share, 0.25]))
        q, prices, dear = project(rows, natural, np.append(upper[:2], [cap, 1]))
        return divergence(q, natural), prices, dear

    _, prices, dear = least(0.5, 0.3)
    step = 1e-5
    assert prices[1] == pytest.approx((least(0.5 + step, 0.3)[0] - least(0.5 - step, 0.3)[0]) / (2 * step), rel=1e-5)
    assert dear[2] == pytest.approx((least(0.5, 0.3 - step)[0] - least(0.5, 0.3 + step)[0]) / (2 * step), rel=1e-5)
    assert dear[2] > 0
    assert prices[2] < 0  # held down by its upper bound


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_marginal_of_all_or_nothing_removes_cells(share):
    natural = np.array([0.5, 0.3, 0.2])
    rows = Rows(np.array([[1.0, 1, 1], [0, 0, 1]]), np.array([1, share]), np.array([1, share]))
    q, _, _ = project(rows, natural, np.ones(3))
    assert q == pytest.approx([0, 0, 1] if share else [0.625, 0.375, 0], abs=1e-15)
    assert (q == 0).sum() == (2 if share else 1)


def test_cells_that_requests_force_to_nothing_together_are_found():
    """80 % and 60 % with 40 % of both leave nothing that has neither."""
    natural = np.full(4, 0.25)
    matrix = np.array([[1.0, 1, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
    rows = Rows(matrix, np.array([1, 0.8, 0.6, 0]), np.array([1, 0.8, 0.6, 0.4]))
    assert support(rows, natural, np.ones(4)).tolist() == [False, True, True, True]
    assert project(rows, natural, np.ones(4))[0] == pytest.approx([0, 0.2, 0.4, 0.4], abs=1e-12)
    assert project(Rows(matrix, rows.low, np.array([1, 0.8, 0.6, 0.39])), natural, np.ones(4)) is None


@pytest.mark.parametrize("margin", [0.0, 1e-12, 1e-10, 1e-8])
def test_a_cell_that_stands_at_its_cap_by_a_hair(margin):
    """The free optimum of one cell is its cap: neither reading of its curvature may leave the bounds unmet."""
    natural = np.array([0.5, 1 / 6, 1 / 6, 1 / 6])
    matrix = np.array([[1.0, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 0, 0]])
    rows = Rows(matrix, np.array([1, 0.5, 0.5, 0]), np.array([1, 0.5, 0.5, 1]))
    free = project(rows, natural, np.ones(4))[0]
    q, _, _ = project(rows, natural, np.append(np.ones(3), free[3] - margin))
    assert rows.matrix[:3] @ q == pytest.approx([1, 0.5, 0.5], abs=1e-14)
    assert q[3] == pytest.approx(free[3] - margin, abs=1e-14)


def test_tiny_proportions_grow_as_far_as_they_are_asked_to():
    natural = np.array([1 - 1e-200, 1e-200])
    rows = Rows(np.array([[1.0, 1], [0, 1]]), np.array([1, 0.4]), np.array([1, 0.4]))
    assert project(rows, natural, np.ones(2))[0] == pytest.approx([0.6, 0.4], abs=1e-12)
