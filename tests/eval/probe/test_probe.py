from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eval.probe.probe import (
    STRENGTHS,
    Split,
    class_ranks,
    data_fractions,
    few_shot,
    fit_neighbours,
    fit_probe,
    majority,
)
from presight.errors import PresightError


def splits(seed=0, sizes=(150, 80, 200), width=8, classes=4, noise=1.5):
    rng = np.random.default_rng(seed)
    weights, made = rng.standard_normal((width, classes)), []
    for n in sizes:
        x = rng.standard_normal((n, width))
        labels = (x @ weights + noise * rng.standard_normal((n, classes))).argmax(1)
        labels[:classes] = range(classes)
        made.append(Split((5 * x + 3).astype(np.float32), labels))
    return made


# --- linear probe --------------------


@pytest.mark.parametrize("strength", STRENGTHS)
def test_linear_probe_is_scikit_learns(strength):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, validation, test = splits()
    scale = StandardScaler().fit(train.features.astype(float))
    slow = LogisticRegression(C=1 / (strength * len(train.labels)), tol=1e-9, max_iter=10_000)
    slow.fit(scale.transform(train.features.astype(float)), train.labels)
    path = tuple(s for s in STRENGTHS if s >= strength)  # warm starts must not show
    done = fit_probe(train, Split(train.features[:1], np.array([1])), test, (strength,))
    assert (done.predicted == slow.predict(scale.transform(test.features.astype(float)))).mean() >= 0.995
    whole = fit_probe(train, validation, test, path)
    expected = slow.score(scale.transform(validation.features.astype(float)), validation.labels)
    assert whole.curve[0].validation == pytest.approx(expected, abs=1.01 / 80)
    assert whole.curve[0].converged


def test_confidence_is_the_probability_of_the_true_class():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, validation, test = splits()
    scale = StandardScaler().fit(train.features.astype(float))
    slow = LogisticRegression(C=1 / (0.1 * len(train.labels)), tol=1e-9, max_iter=10_000)
    slow.fit(scale.transform(train.features.astype(float)), train.labels)
    odds = slow.predict_proba(scale.transform(test.features.astype(float)))
    expected = odds[range(200), test.labels]
    assert fit_probe(train, validation, test, (0.1,)).confidence == pytest.approx(expected, abs=1e-3)
    unseen = test._replace(labels=test.labels + 100)
    assert (fit_probe(train, validation, unseen, (0.1,)).confidence == 0).all()
    near = fit_neighbours(train, validation, test, (5,))
    assert set(np.rint(5 * near.confidence)) <= set(range(6))
    assert ((near.confidence > 0.5) <= near.correct).all()
    assert (near.confidence[near.correct] >= 0.2).all()


def test_strength_is_chosen_on_validation_alone():
    train, validation, test = splits()
    done = fit_probe(train, validation, test)
    assert [trial.strength for trial in done.curve] == sorted(STRENGTHS)
    best = max(trial.validation for trial in done.curve)
    assert done.strength == max(trial.strength for trial in done.curve if trial.validation == best)
    assert done.validation == best
    alone = fit_probe(train, validation, test, (done.strength,))
    assert (alone.predicted == done.predicted).mean() >= 0.99
    wrong = test._replace(labels=(test.labels + 1) % 4)
    other = fit_probe(train, validation, wrong)
    assert (other.strength, other.curve) == (done.strength, done.curve)
    assert (done.correct == (done.predicted == test.labels)).all()
    assert other.accuracy == pytest.approx((other.predicted == wrong.labels).mean())


def test_best_at_the_edge_is_said():
    train, validation, test = splits()
    inside = fit_probe(train, validation, test, (1e-3, 1e-2, 1e-1, 10))
    assert not inside.edge
    assert inside.warnings() == []
    outside = fit_probe(train, validation, test, (1, 10, 100))
    assert outside.edge
    assert outside.strength == 1
    assert "edge of 1 to 100" in outside.warnings()[0]
    few = splits(4, sizes=(40, 400, 100), width=30)
    strongest = fit_probe(*few, (1e-3, 1e-2, 3e-1))
    assert strongest.edge
    assert strongest.strength == 0.3
    assert not fit_probe(train, train._replace(labels=0 * train.labels + 9), test).edge  # all equally bad


def test_a_fit_cut_off_is_said():
    done = fit_probe(*splits(), strengths=(1e-5,), steps=1)
    assert not done.curve[0].converged
    assert "cut off" in done.warnings()[0]


def test_scale_place_and_constant_dimensions_do_not_matter():
    made = splits()
    rng = np.random.default_rng(0)
    factor, shift = 10.0 ** rng.integers(-6, 7, 8), rng.standard_normal(8)
    moved = [
        Split(np.hstack([each.features * factor + shift, np.full((len(each.labels), 2), 7.3)]), each.labels)
        for each in made
    ]
    moved[2].features[:, -1] = 1e6  # a dimension silent in training is not heard later
    first, second = fit_probe(*made), fit_probe(*moved)
    assert first.strength == second.strength
    assert (first.predicted == second.predicted).mean() >= 0.99


def test_classes_may_have_any_numbers_and_be_missing_from_training():
    first = fit_probe(*splits(), strengths=(1e-2,))
    moved = [Split(each.features, 7 + 5 * each.labels) for each in splits()]
    moved[1].labels[:3] = moved[2].labels[:3] = 1000
    second = fit_probe(*moved, strengths=(1e-2,))
    assert (second.predicted == 7 + 5 * first.predicted).all()
    assert not second.correct[:3].any()
    assert set(second.predicted) <= set(moved[0].labels)


def test_what_cannot_be_probed_is_refused():
    train, validation, test = splits()
    for strengths in ((), (0.0, 1.0)):
        with pytest.raises(PresightError, match="strengths"):
            fit_probe(train, validation, test, strengths)
    with pytest.raises(PresightError, match=r"validation\.labels"):
        fit_probe(train, Split(validation.features, validation.labels[:-1]), test)
    with pytest.raises(PresightError, match=r"test\.labels"):
        fit_probe(train, validation, Split(test.features, test.labels.astype(float)))
    with pytest.raises(PresightError, match="different widths"):
        fit_probe(train, validation, Split(test.features[:, 1:], test.labels))
    with pytest.raises(PresightError, match="one class"):
        fit_probe(Split(train.features, 0 * train.labels), validation, test)


# --- nearest neighbours --------------------


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.integers(0, 3)))
def test_majority_is_that_of_a_counter(labels):
    assert majority(labels).tolist() == [Counter(row.tolist()).most_common(1)[0][0] for row in labels]


def test_neighbour_probe_is_that_of_loops():
    train, validation, test = splits(1)

    def answers(split, k):
        found = []
        for x in split.features.astype(float):
            cosine = [x @ y / np.sqrt((x @ x) * (y @ y)) for y in train.features.astype(float)]
            near = [int(train.labels[j]) for j in sorted(range(len(cosine)), key=lambda j: -cosine[j])[:k]]
            found.append(Counter(near).most_common(1)[0][0])
        return np.array(found)

    done = fit_neighbours(train, validation, test, (1, 3, 8, 1000))
    expected = {k: (answers(validation, k) == validation.labels).mean() for k in (1, 3, 8)}
    assert {trial.strength: trial.validation for trial in done.curve} == pytest.approx(expected)
    assert expected[done.strength] == max(expected.values())
    assert (done.predicted == answers(test, int(done.strength))).all()
    with pytest.raises(PresightError, match="neighbours"):
        fit_neighbours(train, validation, test, (0, 1000))


def test_one_neighbour_is_no_edge_and_the_most_tried_is():
    train, validation, test = splits(1)
    assert not fit_neighbours(train, train, test, (1, 20)).edge  # each item is its own nearest
    assert fit_neighbours(train, validation, test, (1, 2, 20)).edge
    odd = Split(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), np.array([1, 0, 0, 0]))
    asked = Split(np.array([[1.0, 0.1]]), np.array([0]))  # beside the odd one out: only a majority knows
    assert fit_neighbours(odd, asked, asked, (1, 3)).edge
    assert not fit_neighbours(odd.take(np.arange(3)), asked, asked, (1, 3)).edge  # none are left to ask


# --- amounts of data --------------------


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 5))
@settings(deadline=None)
def test_ranks_are_a_random_order_of_every_class(labels, seed):
    labels = np.array(labels)
    ranks = class_ranks(labels, seed)
    for label in np.unique(labels):
        assert sorted(ranks[labels == label]) == list(range((labels == label).sum()))
    assert (class_ranks(labels, seed) == ranks).all()


def spy(seen):
    """A probe that notes what it is given and answers class 0."""

    def probe(train, validation, test):
        seen.append((train, validation))
        return fit_neighbours(train, validation, test, (1,))

    return probe


def items(split):
    return {tuple(row) for row in split.features.tolist()}


def test_few_shots_are_nested_balanced_and_equal_for_arms():
    made, seen = splits(2), []
    curve = few_shot(*made, shots=(1, 3, 5), draws=(0, 1), probe=spy(seen))
    assert curve.correct.shape == (3, 2, 200)
    assert curve.amounts == (1, 3, 5)
    for n, (train, validation) in zip((1, 1, 3, 3, 5, 5), seen, strict=True):
        assert np.bincount(train.labels).tolist() == [n] * 4
        assert (np.bincount(validation.labels) <= n).all()
    assert items(seen[0][0]) < items(seen[2][0]) < items(seen[4][0])
    assert items(seen[0][0]) != items(seen[1][0])
    arm, again = [each._replace(features=-each.features) for each in made], []
    few_shot(*arm, shots=(1, 3, 5), draws=(0, 1), probe=spy(again))
    assert all(items(a._replace(features=-a.features)) == items(b) for (a, _), (b, _) in zip(again, seen, strict=True))
    assert (few_shot(*made, shots=(3,), draws=(1,), probe=spy([])).correct[0, 0] == curve.correct[1, 1]).all()


@pytest.mark.parametrize("step", [5, 10**12])
def test_curves_are_those_of_any_numbers_of_classes(step):
    made = splits(2)
    moved = [Split(each.features, 7 + step * each.labels) for each in made]
    for curve, amounts in ((few_shot, (2, 5)), (data_fractions, (0.1, 0.5))):
        first, second = (curve(*each, amounts, (0,), fit_neighbours) for each in (made, moved))
        assert (first.correct == second.correct).all()
    with pytest.raises(PresightError, match=r"train\.labels"):
        few_shot(made[0]._replace(labels=made[0].labels.astype(float)), *made[1:])


@given(st.integers(2, 40), st.integers(2, 40), st.floats(0.01, 1))
@settings(max_examples=40, deadline=None)
def test_fractions_hold_the_classes_in_proportion(first, second, share):
    labels, seen = np.repeat([0, 1], [first, second]), []
    split = Split(np.arange(len(labels), dtype=float)[:, None] + 1, labels)

    def probe(train, validation, test):
        seen.append(train)
        return fit_neighbours(split, validation, test, (1,))

    data_fractions(split, split, split, (share,), (0,), probe)
    counts = np.bincount(seen[0].labels, minlength=2)
    assert counts.sum() == max(1, np.ceil(round(share * len(labels), 9)))
    assert (np.abs(counts - share * np.array([first, second])) <= 1.5).all()


def test_more_data_helps_and_all_of_it_is_the_whole_probe():
    made = splits(3, sizes=(400, 200, 300))
    probe = partial(fit_probe, strengths=(1e-3, 1e-2, 1e-1))
    curve = data_fractions(*made, fractions=(0.03, 0.2, 1), draws=(0, 1), probe=probe)
    assert (np.diff(curve.accuracy) > 0.02).all()
    whole = probe(*made)
    assert (curve.correct[2, 0] == whole.correct).mean() > 0.99
    assert curve.edges[2, 0] == whole.edge
    with pytest.raises(PresightError, match="fractions"):
        data_fractions(*made, fractions=(0, 1))
    with pytest.raises(PresightError, match="a class has"):
        few_shot(*made, shots=(1, 1000))


# --- emergence --------------------
