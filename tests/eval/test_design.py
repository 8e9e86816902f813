"""What plans say of comparisons: of several seeds, of one, and of an effect that is expected."""

import math

import pytest
from pydantic import ValidationError

from eval.design import Assumed, Design
from eval.stats.intervals import minimum_detectable_effect, paired_item_sd


def design(seeds, **assumed):
    return Design(seeds, "mixture", 0.95, Assumed(**assumed))


def points(items, seeds, seed_sd=0.02, accuracy=0.5, correlation=0.3):
    spread = paired_item_sd(accuracy, correlation)
    return 100 * minimum_detectable_effect(items, seeds, item_sd=spread, seed_sd=seed_sd)


def test_several_seeds():
    line = design(3).sentence({"all": 2000, "some": 500})
    assert line.startswith("smallest detectable effect with 3 seeds: ")
    assert f"all: {points(2000, 3):.1f} points, some: {points(500, 3):.1f} points" in line
    assert "accuracy 0.5, item correlation 0.3, s.d. between seeds 2 points, power 0.8" in line
    assert "all: none" in design(2, seed_sd=30).sentence({"all": 2000})


def test_one_seed_is_told_plainly():
    line = design(1).sentence({"all": 2000, "some": 500})
    assert "inf" not in line
    assert line.startswith("one seed can show no difference along mixture, only between these models")
    assert f"(all: {points(2000, 1, 0.0):.1f} points, some: {points(500, 1, 0.0):.1f} points)" in line
    more = ", ".join(f"with {seeds} {points(2000, seeds):.1f} points" for seeds in (2, 3, 5, 8))
    assert f"more would show of all: {more} (assumed" in line


def test_one_seed_is_enough_where_seeds_do_not_matter():
    assert design(1, seed_sd=0).sentence({"all": 2000}).startswith("smallest detectable effect with 1 seed: all: 3.7")


def test_what_is_assumed_is_used():
    line = design(3, accuracy=0.35, correlation=0.7, seed_sd=0.5).sentence({"all": 22_000})
    assert f"all: {points(22_000, 3, 0.005, 0.35, 0.7):.1f} points" in line
    assert "accuracy 0.35, item correlation 0.7, s.d. between seeds 0.5 points" in line


@pytest.mark.parametrize("wrong", [{"accuracy": 0}, {"correlation": 1}, {"seed_sd": -1}, {"items": 3}])
def test_what_cannot_be_assumed(wrong):
    with pytest.raises(ValidationError):
        Assumed(**wrong)


def test_what_is_expected_is_judged():
    enough = next(seeds for seeds in range(2, 101) if points(22_000, seeds) <= 3)
    assert design(enough).verdict(3, 22_000) == "expected +3: resolvable, as one comparison before Holm"
    short = design(enough - 1).verdict(-3, 22_000, "of all groups")
    assert short == f"expected −3 of all groups: not resolvable with {enough - 1} seeds; about {enough} would"
    assert f"not resolvable with 1 seed; about {enough} would" in design(1).verdict(3, 22_000)


def test_where_seeds_are_not_what_is_lacking():
    assert points(100, 1, 0.0) > 1
    assert design(3).verdict(1, 100).endswith("no number of seeds would, it takes more items")
    assert points(10**7, 1, 0.0) < 0.3 < points(10**7, 100)
    assert design(3).verdict(0.3, 10**7).endswith("more than 100 would")
    assert math.isinf(design(1).detectable(10**7, 1))
