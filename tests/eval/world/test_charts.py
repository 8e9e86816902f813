import colorsys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eval.world import backgrounds
from eval.world.charts import APART, MOST, bars, chart, written
from eval.world.vocabulary import table

WORDS = table()["words"].split()
seeds = st.integers(0, 2**32)


@given(seeds)
def test_values_of_a_chart_lie_apart_and_on_the_axis(seed):
    found = bars(np.random.default_rng(seed), WORDS)
    values = sorted(value for _, value in found)
    assert len(found) in (3, 4)
    assert len({label for label, _ in found}) == len(found)
    assert values[0] >= 1
    assert values[-1] <= MOST
    assert min(np.diff(values)) >= APART


def test_every_value_is_as_likely_in_every_place():
    order = np.random.default_rng(0)
    charts = [bars(order, WORDS) for _ in range(2000)]
    for place in range(3):
        values = np.array([found[place][1] for found in charts])
        assert set(values) == set(range(1, MOST + 1))
        assert abs(values.mean() - 5.5) < 0.3


@given(seeds, st.sampled_from([64, 224]))
def test_a_bar_is_as_high_as_its_value(seed, side):
    order = np.random.default_rng(seed)
    values = bars(order, WORDS)
    pixels = np.asarray(chart(order, values, side)) / 255
    left, right, top, bottom = (each * side / 224 for each in (24, 218, 12, 198))
    width = (right - left) / len(values)
    for place, (_, value) in enumerate(values):
        column = pixels[:, round(left + (place + 0.5) * width)]
        strong = [colorsys.rgb_to_hsv(*pixel)[1] > 0.6 for pixel in column]
        height = sum(strong) / (bottom - top) * MOST
        assert abs(height - value) < 0.5


@given(seeds, st.sampled_from(WORDS), st.sampled_from([64, 224]))
def test_a_word_can_be_told_from_what_it_is_written_on(seed, word, side):
    order = np.random.default_rng(seed)
    _, ground = backgrounds.even(order, side)
    pixels = np.asarray(written(order, word, ground)).astype(int)
    changed = np.abs(pixels - ground).max(-1)
    assert pixels.shape == (side, side, 3)
    assert 0.01 < (changed > 60).mean() < 0.5
    rows, columns = np.nonzero(changed > 60)
    assert np.ptp(columns) > 0.35 * side
    assert rows.size


@given(seeds)
def test_backgrounds_have_no_strong_colours_and_all_kinds(seed):
    order = np.random.default_rng(seed)
    kind, pixels = backgrounds.draw(order, 32)
    assert kind in backgrounds.KINDS
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert np.ptp(pixels.astype(int), axis=-1).max() < 130


def test_what_hides_an_object():
    ground = np.full((20, 20, 3), 200, np.uint8)
    thing = np.full((6, 6, 4), 210, np.uint8)
    thing[..., 3] = 255
    assert backgrounds.hides(ground, thing, (3, 3))
    thing[..., 0] = 20
    assert not backgrounds.hides(ground, thing, (3, 3))
    thing[:, :3] = 210  # half of it, and that half is outside
    thing[..., 3] = 255
    assert not backgrounds.hides(ground, thing, (-3, 0))
    assert backgrounds.hides(ground, thing, (17, 0))
