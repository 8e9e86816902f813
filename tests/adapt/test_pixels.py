import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from PIL import Image

from adapt import pixels

sides = st.integers(1, 12)
shapes = st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.just(3)))
pictures = hn.arrays(np.uint8, shapes)


@given(pictures)
def test_pillow_reads_what_is_written_and_back(given):
    encoded = pixels.encode(given)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encoded))), given)
    found = pixels.decode(encoded)
    assert found.dtype == np.uint8
    assert np.array_equal(found, given)


@given(pictures, st.integers(0, 9))
def test_files_of_others_are_read_as_pillow_reads_them(given, level):
    buffer = io.BytesIO()
    Image.fromarray(given).save(buffer, "png", compress_level=level)
    assert np.array_equal(pixels.decode(buffer.getvalue()), given)


@given(pictures, st.data())
def test_damaged_pixels_are_noticed(given, data):
    encoded = bytearray(pixels.encode(given))
    start, end = pixels.BODY + 10, len(encoded) - 16  # the packed stream with its check sum, without its two flags
    encoded[data.draw(st.integers(start, end - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = pixels.decode(bytes(encoded))
    except (ValueError, OSError, SyntaxError):
        return
    assert np.array_equal(found, given)  # bits that are no part of the stream's meaning


@pytest.mark.parametrize(
    "given", [np.zeros((2, 2), np.float32), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_what_is_no_image_is_refused(given):
    with pytest.raises(ValueError, match="no image"):
        pixels.encode(given)


def test_a_stream_of_another_length_goes_to_pillow_which_refuses_it():
    encoded = pixels.encode(np.zeros((4, 4), np.uint8))
    short = zlib.compress(bytes(10))
    body = pixels._chunk(b"IDAT", short)
    with pytest.raises((ValueError, OSError, SyntaxError)):
        pixels.decode(encoded[: pixels.BODY] + body + encoded[-12:])
