import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adapt.vlm.efficientnet import EfficientNetLite, pixels
from adapt.vlm.encoders import Lite, sample, scrambled
from adapt.vlm.pictures import Pictures, Writer
from presight import packages
from presight.errors import PresightError

SHAPES = st.one_of(st.tuples(st.just(3), st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 40)))


@given(SHAPES, st.integers(0, 2**128 - 1))
def test_scrambling_keeps_amplitudes_and_how_channels_go_together(shape, number):
    drawn = np.random.default_rng(0).normal(0.3, 1, shape).astype(np.float32)
    found = scrambled(drawn, f"{number:032x}")
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.array_equal(found, scrambled(drawn, f"{number:032x}"))
    axes = (-2, -1) if len(shape) == 3 else (-1,)
    before, after = (
        np.fft.fftn(each.astype(np.float64), axes=axes) for each in (drawn, found)
    )  # all, not half of them
    assert np.abs(np.abs(before) - np.abs(after)).max() < 1e-3
    assert np.abs(found.mean(axes) - drawn.mean(axes)).max() < 1e-5
    if len(shape) == 3:
        for one, other in ((0, 1), (1, 2)):
            assert np.abs(before[one] * before[other].conj() - after[one] * after[other].conj()).max() < 1e-2


def test_scrambling_depends_on_the_picture_and_moves_almost_everything():
    drawn = np.zeros((3, 32, 32), np.float32)
    drawn[:, 12:20, 12:20] = 1
    one, other = scrambled(drawn, "0" * 32), scrambled(drawn, "1" * 32)
    assert np.abs(one - other).max() > 0.1
    assert np.corrcoef(one.ravel(), drawn.ravel())[0, 1] < 0.5
    empty = np.zeros(0, np.float32)
    assert scrambled(empty, "ab").shape == (0,)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EfficientNetLite().eval()


def images(count, side=40):
    return [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (side, side, 3), np.uint8)) for i in range(count)
    ]


def test_lite_gives_the_grid_of_its_last_layer(network):
    encoder = Lite(network, 64)
    assert (encoder.modality, encoder.grid, encoder.width, encoder.layer) == ("image", (2, 2), 1280, -1)
    given = images(3)
    found = encoder(given)
    with torch.inference_mode():
        slow = network.grid(pixels(given, 64))
    assert found.shape == (3, 4, 1280)
    for row in range(2):
        for column in range(2):
            assert np.abs(found[:, 2 * row + column] - slow[:, row, column].numpy()).max() < 1e-6
    alone = np.concatenate([encoder([each]) for each in given])
    assert np.abs(alone - found).max() < 1e-4 * np.abs(found).max()
    early = Lite(network, 64, layer=2)
    assert (early.grid, early.width) == ((16, 16), 24)
    assert early(given).shape == (3, 256, 24)


def test_lite_refuses_what_it_cannot_do(network):
    with pytest.raises(PresightError, match="side: 100 is no multiple of 32"):
        Lite(network, 100)
    with pytest.raises(PresightError, match="layer: 18 of 18"):
        Lite(network, layer=18)


def test_pictures_are_prepared_by_their_key(network, tmp_path):
    encoder, (given,) = Lite(network, 64), images(1)
    written = io.BytesIO()
    given.save(written, "png")
    with Writer(tmp_path) as writer:
        key, broken = writer.add(written.getvalue(), "png"), writer.add(b"broken", "png")
    pictures = Pictures(tmp_path)
    assert np.array_equal(encoder.encode([encoder.prepare(pictures, key)]), encoder([given]))
    with pytest.raises(PresightError, match=f"^{broken}: cannot be read as an image"):
        encoder.prepare(pictures, broken)
    assert np.unique(encoder.blank()).tolist() == [0]  # half way between black and white, as the network sees them


@pytest.mark.network
def test_real_network_sees_where_things_are():
    """A picture's halves look different, and the halves of their mirror image just so the other way round."""
    encoder = sample(packages.fetch("model.vision"))
    assert (encoder.grid, encoder.width) == ((7, 7), 1280)
    half = Image.new("RGB", (224, 224), "white")
    for i in range(0, 224, 8):
        half.paste((20 * (i % 9), 90, 10), (i // 2, 0, i // 2 + 3, 224))
    one, other = (
        encoder([each])[0].reshape(7, 7, 1280) for each in (half, half.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    assert np.linalg.norm(one - other) > 1.5 * np.linalg.norm(one - other[:, ::-1])
