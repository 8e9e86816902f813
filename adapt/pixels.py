"""PNG files of small images, packed and unpacked without the price of a general decoder.

A general decoder takes ten times as long to set up as a small image takes to unpack. Rows are written unfiltered here,
so that they can be read as they lie; PNG files of others go to Pillow.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2  # PNG's colour types without palette and alpha
HEADER = struct.Struct(">II5B")
BODY = len(SIGNATURE) + 12 + HEADER.size  # where the chunk after the header begins


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of uint8 [H, W] or [H, W, 3]."""
    height, width = pixels.shape[:2]
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or not height * width:
        raise ValueError(f"{pixels.dtype} {list(pixels.shape)} is no image of bytes, [H, W] or [H, W, 3]")
    rows = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # each begins with the filter's number, 0
    rows[:, 1:] = pixels.reshape(height, -1)
    header = HEADER.pack(width, height, 8, COLOUR if pixels.ndim == 3 else GREY, 0, 0, 0)
    # a tar pads every file to 512 bytes: packing harder gains little
    return (
        SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + _chunk(b"IEND", b"")
    )


def decode(content: bytes) -> npt.NDArray[np.uint8]:
    """The pixels of a PNG file: uint8 [H, W] or [H, W, 3] of what ``encode`` wrote.

    Raises:
        ValueError or OSError: it is damaged.
    """
    if content[: len(SIGNATURE)] == SIGNATURE and len(content) > BODY + 8:
        width, height, *kind = HEADER.unpack_from(content, 16)
        size, tag = struct.unpack_from(">I4s", content, BODY)
        end = BODY + 12 + size
        if kind in ([8, GREY, 0, 0, 0], [8, COLOUR, 0, 0, 0]) and tag == b"IDAT" and content[end + 4 :][:4] == b"IEND":
            shape = (height, width, 3) if kind[1] == COLOUR else (height, width)
            if (rows := _rows(content[BODY + 8 : BODY + 8 + size], shape)) is not None:
                return rows
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))


def _rows(packed: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    """The unfiltered rows of one packed stream; None where rows are filtered."""
    try:
        rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape[0], -1)
    except zlib.error as error:
        raise ValueError(f"its pixels are damaged ({error})") from error
    if rows[:, 0].any() or rows.size != shape[0] + np.prod(shape):
        return None
    return rows[:, 1:].reshape(shape)


def _chunk(tag: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + tag + content + struct.pack(">I", zlib.crc32(tag + content))
