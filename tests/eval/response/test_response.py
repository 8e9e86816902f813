import numpy as np
import pytest
from toy_printed import grid

from eval.response.replicates import Runs
from eval.response.response import respond
from eval.response.shapes import Contrasts
from presight.errors import PresightError

LEVELS = np.array([0, 0.25, 0.5, 0.75, 1])
TRUTHS = {
    "nothing": lambda x: 0 * x,
    "line": lambda x: 2 * x,
    "saturation": lambda x: 2 * -np.expm1(-x / 0.15),
    "peak": lambda x: 2 - 8 * (x - 0.5) ** 2,
}


def runs_of(truth, seed, sd=0.25, repeats=3, known=False):
    x = np.repeat(LEVELS, repeats)
    sd = np.broadcast_to(sd, LEVELS.shape).repeat(repeats)
    y = 30 + TRUTHS[truth](x) + sd * np.random.default_rng(seed).standard_normal(len(x))
    return Runs.of(x, y, ["reasoning"], sd if known else None)


def verdicts(truth, count=40, **given):
    names = [respond(runs_of(truth, seed, **given), seed=seed, more=False).verdict for seed in range(count)]
    return {name: names.count(name) / count for name in set(names)}


@pytest.mark.parametrize(
    ("truth", "verdict"), [("line", "progressive"), ("saturation", "saturating"), ("peak", "peaked")]
)
@pytest.mark.parametrize("known", [False, True])
def test_true_shapes_are_told_where_noise_allows(truth, verdict, known):
    found = verdicts(truth, known=known, repeats=4)
    assert found.get(verdict, 0) > 0.75
    wrong = {"line": ("saturating", "peaked"), "saturation": ("peaked",), "peak": ("saturating", "progressive")}[truth]
    assert sum(found.get(each, 0) for each in wrong) < 0.1


@pytest.mark.parametrize("sd", [0.25, [0.05, 0.1, 0.2, 0.4, 0.8]])
def test_nothing_is_seldom_called_a_response_even_where_noise_differs_by_mixture(sd):
    assert verdicts("nothing", 100, sd=sd).get("not resolvable", 0) >= 0.9


def test_slopes_cover_the_truth_where_noise_differs_by_mixture():
    held, count = np.zeros(2), 300
    for seed in range(count):
        found = respond(runs_of("line", seed, sd=[0.1, 0.1, 0.2, 0.5, 0.5]), more=False)
        held += [each.low <= 2 <= each.high for each in (found.early, found.late)]
    assert (held / count > 0.92).all()


def test_slopes_and_misfits_are_those_of_least_squares_over_runs():
    runs = runs_of("peak", 0)
    x, y = np.repeat(LEVELS, 3), 30 + TRUTHS["peak"](np.repeat(LEVELS, 3))
    y = y + 0.25 * np.random.default_rng(0).standard_normal(15)
    found = respond(runs)
    for half, slope in ((x <= 0.5, found.early), (x >= 0.5, found.late)):
        assert slope.estimate == pytest.approx(np.polyfit(x[half], y[half], 1)[0])
    within = sum(((y[x == level] - y[x == level].mean()) ** 2).sum() for level in LEVELS)
    for shape, degree in ((found.shapes[0], 1), (found.shapes[2], 2)):
        left = y - np.polyval(np.polyfit(x, y, degree), x)
        assert shape.misfit + within == pytest.approx(left @ left)
        assert shape.lack_of_fit.df == pytest.approx(4 - degree, abs=0.9)
    curve = np.polyfit(x, y, 2)
    assert found.shapes[2].at == pytest.approx(-curve[1] / curve[0] / 2)


def test_saturation_is_fitted_at_the_best_of_its_rates():
    x = np.repeat(np.linspace(0, 1, 9), 2)
    y = 3 * -np.expm1(-x / 0.2) + 0.01 * np.random.default_rng(0).standard_normal(18)
    line, saturating, parabola = respond(Runs.of(x, y), equal_noise=True).shapes
    assert saturating.at == pytest.approx(0.2, rel=0.25)
    assert saturating.misfit < 0.02 * parabola.misfit < 0.02 * line.misfit
    assert parabola.lack_of_fit.p < 1e-6


def test_blocks_have_levels_of_their_own_and_one_shape():
    x, block = np.tile(LEVELS, 3), np.repeat([0.1, 0.2, 0.3], 5)
    y = 2 * x + 300 * block + 0.05 * np.random.default_rng(0).standard_normal(15)
    found = respond(Runs.of(np.column_stack([x, block]), y, ["reasoning", "visual"]), "reasoning")
    assert found.verdict == "progressive"
    assert found.early.estimate == pytest.approx(2, abs=0.2)
    assert found.noise[1] == "residuals"
    assert found.noise[0] == pytest.approx(0.05, rel=0.5)
    shifted = respond(Runs.of(np.column_stack([x, block]), y - 300 * block, ["reasoning", "visual"]), "reasoning")
    assert shifted.late.estimate == pytest.approx(found.late.estimate)


def test_the_papers_grid_peaks_along_both_shares():
    for share, turn in (("reasoning", 0.68), ("visual", 0.164)):
        found = respond(grid(), share)
        assert found.verdict == "peaked"
        assert found.shapes[2].at == pytest.approx(turn, abs=0.01)
        assert f"{share}: peaked" in found.sentence()


def test_the_number_of_runs_it_asks_for_is_about_what_it_takes():
    for truth, sd in (("line", 1.2), ("peak", 1.5)):
        found = respond(Runs.of(LEVELS, TRUTHS[truth](LEVELS), ["reasoning"], sd))
        assert found.verdict == "not resolvable"
        assert found.more_runs
        repeats = 1 + found.more_runs // len(LEVELS)
        assert verdicts(truth, 80, sd=sd, repeats=repeats, known=True).get("not resolvable", 0) <= 0.35
        assert verdicts(truth, 80, sd=sd, repeats=max(repeats // 3, 1), known=True).get("not resolvable", 0) > 0.2
    assert f"about {found.more_runs} more runs" in found.sentence()
    hopeless = respond(runs_of("nothing", 2, sd=0.25))
    assert hopeless.more_runs is None or hopeless.more_runs > 50


def test_contrasts_are_free_of_levels_and_bends_of_the_line():
    runs = grid()
    design = Contrasts.of(runs, 0, runs.weights)
    assert design.blocks == 6
    assert np.abs(design.changes @ design.level).max() < 1e-9
    assert np.abs(design.bends @ design.changes[0]).max() < 1e-9
    assert np.linalg.norm(design.bends, axis=1) == pytest.approx(np.ones(11))
    assert np.abs(np.concatenate([design.early[None], design.late[None], *design.sides]) @ design.level).max() < 1e-9


def test_what_shows_no_shape_is_refused():
    with pytest.raises(PresightError, match="reasoning"):
        respond(grid(), "reason")
    with pytest.raises(PresightError, match="along"):
        respond(grid())
    with pytest.raises(PresightError, match="too few values"):
        respond(Runs.of([0, 0, 1, 1], [1, 2, 3, 4]))
    with pytest.raises(PresightError, match="half"):
        respond(Runs.of([0, 0.1, 0.2, 1, 1], [1, 2, 3, 4, 5]))
    with pytest.raises(PresightError, match="repeat some"):
        respond(Runs.of([0, 0.5, 1], [1, 2, 3]))
