import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.patches import Standardiser, image_patches, patch_order, wave_patches
from presight.errors import PresightError


def slow_patches(images, size):
    """Patch by patch, row by row, value by value."""
    images = images if images.ndim == 4 else images[..., None]
    count, height, width, channels = images.shape
    out = []
    for n in range(count):
        patches = []
        for top in range(0, height, size):
            for left in range(0, width, size):
                values = []
                for y in range(size):
                    for x in range(size):
                        for c in range(channels):
                            values.append(float(images[n, top + y, left + x, c]))
                patches.append(values)
        out.append(patches)
    return out


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.sampled_from([0, 1, 3]))
def test_images_equal_the_slow_twin(count, rows, columns, size, channels):
    shape = (count, rows * size, columns * size) + ((channels,) if channels else ())
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = image_patches(images, size)
    assert found.dtype == np.float32
    assert found.shape == (count, rows * columns, size * size * max(1, channels))
    assert found.tolist() == slow_patches(images, size)


@given(st.integers(1, 3), st.integers(1, 50), st.integers(1, 60))
def test_waves_equal_the_slow_twin(count, length, size):
    waves = np.random.default_rng(0).normal(size=(count, length)).astype(np.float32)
    if size > length:
        with pytest.raises(PresightError, match=f"{size} samples are longer than a clip of {length}"):
            wave_patches(waves, size)
        return
    found = wave_patches(waves, size)
    assert found.dtype == np.float32
    expected = [[wave[i : i + size].tolist() for i in range(0, length - size + 1, size)] for wave in waves]
    assert found.tolist() == expected


@pytest.mark.parametrize(("shape", "size"), [((1, 8, 9), 4), ((1, 9, 8), 4), ((1, 8, 8, 3), 5), ((1, 8, 8), 16)])
def test_a_size_that_does_not_divide_is_one_sentence(shape, size):
    with pytest.raises(PresightError, match=rf"^patch: {size} does not divide {shape[1]} × {shape[2]} pixels"):
        image_patches(np.zeros(shape, np.uint8), size)


@given(st.floats(-100, 100), st.floats(1e-3, 100), st.integers(0, 99))
def test_standardised_training_values(mean, deviation, seed):
    patches = np.random.default_rng(seed).normal(mean, deviation, (5, 4, 30)).astype(np.float32)
    found = Standardiser.of(patches)(patches)
    assert found.dtype == np.float32
    assert abs(found.mean()) < 1e-3 * max(1.0, abs(mean) / deviation)
    assert found.std() == pytest.approx(1, abs=1e-3)


def test_another_split_is_measured_by_the_first():
    train, test = np.float32([[[1, 3]]]), np.float32([[[5, 7]]])
    scale = Standardiser.of(train)
    assert (scale.mean, scale.deviation) == (2.0, 1.0)
    assert scale(test).tolist() == [[[3.0, 5.0]]]


def test_constant_patches_stay_finite():
    patches = np.full((2, 3, 4), 7, np.float32)
    assert (Standardiser.of(patches)(patches) == 0).all()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 99))
def test_parts_are_measured_as_one(sizes, seed):
    order = np.random.default_rng(seed)
    parts = [order.normal(order.normal(), 2, (size, 3, 4)).astype(np.float32) for size in sizes]
    found, whole = Standardiser.of(parts), np.concatenate(parts).astype(np.float64)
    assert found.mean == pytest.approx(whole.mean(), abs=1e-6)
    assert found.deviation == pytest.approx(whole.std(), abs=1e-6)


@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 99), st.sampled_from(["train", "test"]))
def test_orders_are_permutations(count, tokens, seed, split):
    assert patch_order("none", count, tokens, seed, split) is None
    assert patch_order("labels", count, tokens, seed, split) is None
    one = patch_order("order", count, tokens, seed, split)
    assert one.shape == (1, tokens)
    assert one.tolist() == patch_order("order", count + 3, tokens, seed, "validation").tolist()  # of all splits alike
    each = patch_order("patches", count, tokens, seed, split)
    assert each.shape == (count, tokens)
    for row in [*one, *each]:
        assert sorted(row) == list(range(tokens))


def test_examples_have_orders_of_their_own():
    each = patch_order("patches", 50, 20, 0, "train")
    assert len({tuple(row) for row in each}) == 50
    assert each.tolist() != patch_order("patches", 50, 20, 0, "test").tolist()
    assert each.tolist() != patch_order("patches", 50, 20, 1, "train").tolist()
