import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.world.colours import NAMES, TINTS, colour_of, hsv, names_of, tinted


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=20))
def test_hue_saturation_and_value_are_those_of_the_standard_library(colours):
    found = np.stack(hsv(np.array(colours, np.uint8)), axis=1)
    for row, colour in zip(found, colours, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(each / 255 for each in colour))
        assert row == pytest.approx([360 * hue, saturation, value], abs=1e-9)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((250, 250, 250), "white"),
        ((120, 120, 120), "grey"),
        ((20, 18, 25), "black"),
        ((220, 20, 30), "red"),
        ((250, 140, 10), "orange"),
        ((240, 220, 20), "yellow"),
        ((30, 160, 40), "green"),
        ((30, 60, 220), "blue"),
        ((130, 30, 190), "purple"),
        ((255, 105, 180), "pink"),
        ((110, 60, 25), "brown"),
        ((225, 200, 160), "beige"),
    ],
)
def test_plain_colours_have_their_names(colour, name):
    assert NAMES[names_of(np.array([colour], np.uint8))[0]] == name
    assert colour_of(np.array([colour] * 5, np.uint8)) == name


def test_a_colour_needs_most_of_the_pixels():
    red, blue = [(220, 20, 30)], [(30, 60, 220)]
    assert colour_of(np.array(red * 6 + blue * 4, np.uint8)) == "red"
    assert colour_of(np.array(red * 5 + blue * 5, np.uint8)) is None
    assert colour_of(np.zeros((0, 3), np.uint8)) is None


@given(st.integers(0, 999), st.sampled_from(sorted(TINTS)))
def test_whatever_an_object_looks_like_it_has_the_colour_it_is_given(seed, tint):
    order = np.random.default_rng(seed)
    pixels = order.integers(0, 256, (12, 9, 4), np.uint8)
    pixels[..., 3] = np.where(order.random((12, 9)) < 0.8, 255, 0)
    pixels[0, 0, 3] = 255
    found = tinted(pixels, tint)
    assert np.array_equal(found[..., 3], pixels[..., 3])
    assert colour_of(found[..., :3][pixels[..., 3] > 0]) == tint
