"""What plans are told of the multimodal stages: tokens, arithmetic, disk."""

from pathlib import Path

import pytest

from adapt import StatsMatched
from presight.errors import PresightError
from presight.expansion import expand
from presight.recipe import read
from pretrain.model import shape

BASE = Path(__file__).parents[3] / "recipes" / "see_before_seeing" / "base.yaml"
WORDS, SCENES, CAPTIONED, TURN = 4096, 1960, 1500, 64


def stages(*settings):
    """Of one mixture and one seed of the recipe that all experiments extend, by name."""
    return {each.name: each.stage for each in expand(read(BASE, "tiny", ("init=[0]", *settings))).instances}


def test_a_frozen_language_model_takes_two_thirds_of_the_arithmetic_and_no_disk():
    found = stages()["align"].estimate()
    assert (found.items, found.tokens) == (CAPTIONED, CAPTIONED * (16 + TURN))
    assert found.flops == pytest.approx(found.tokens * shape("1m").flops(WORDS, 512) * 4 / 6)
    assert (found.disk, found.working) == (0, 0)


def test_instruction_trains_and_keeps_the_language_model():
    align, vlm = stages()["align"].estimate(), stages()["vlm"].estimate()
    each = shape("1m").flops(WORDS, 512)
    assert vlm.flops == pytest.approx(vlm.tokens * each)
    assert vlm.tokens == vlm.items * (16 + TURN) > align.tokens
    assert vlm.disk == 4 * shape("1m").parameters(WORDS)
    assert vlm.working == 2 * 12 * shape("1m").parameters(WORDS)


def test_a_short_context_bounds_a_conversation():
    found = stages("vlm.context=40")["vlm"].estimate()
    assert found.tokens == found.items * 40


def test_blind_conversations_have_no_pictures():
    found = stages("vlm.blind=true", "vlm.features=[]")["vlm"].estimate()
    assert found.tokens == found.items * TURN


def test_a_language_model_from_elsewhere_is_counted_in_conversations_alone():
    found = stages()["align"]
    other = found.model_copy(update={"model": found.model.model_copy(update={"model": "mine"})}).estimate()
    assert (other.items, other.tokens, other.flops) == (CAPTIONED, 0, 0.0)


def test_a_control_has_the_size_of_what_it_is_made_of():
    found = stages()["align"]
    assert found.changed(model=StatsMatched(model=found.model)).estimate() == found.estimate()


def test_smaller_pictures_fill_less():
    whole, small = stages()["features"].estimate(), stages("features.side=96")["features"].estimate()
    assert small.disk == pytest.approx(whole.disk * (96 / 224) ** 2)


def test_a_side_that_cannot_be_read_is_refused_before_anything_is_run():
    with pytest.raises(PresightError, match="side: 112 is no multiple of 32; take 224 or 320"):
        stages("features.side=112")


def test_features_fill_the_disk_of_their_grid():
    found = stages()["features"].estimate()
    assert found.disk == 2 * SCENES * 49 * 1280
    assert found.items == SCENES
