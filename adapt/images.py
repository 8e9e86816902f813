"""Images of the sample data: Fashion-MNIST out of its IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError
from presight.packages import Fetched

FASHION_MNIST = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
UNSIGNED_BYTE = 8  # the IDX code of the only element type that is used here


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images in the splits their authors made.

    Args:
        train_images: uint8 ``[N, H, W]``.
        train_labels: int64 ``[N]``, indices into ``classes``.
        test_images: uint8 ``[M, H, W]``.
        test_labels: int64 ``[M]``.
        classes: names, by label.
    """

    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


def fashion_mnist(fetched: Fetched) -> ImageSet:
    """Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 grey images of 28 × 28, ten balanced classes.

    Args:
        fetched: the role ``images.fashion-mnist``.

    Raises:
        PresightError: a file is missing or is not what its name says.
    """
    (package,) = fetched.archives
    files = {name.rpartition("/")[2]: content for name, content in fetched.members(package)}
    return image_set(files, "images.fashion-mnist")


def image_set(files: Mapping[str, bytes], field: str) -> ImageSet:
    """Fashion-MNIST out of the content of its four files by name, packed (``.gz``) or not.

    Args:
        files: name without folder → content.
        field: what errors name.

    Raises:
        PresightError: a file is missing or is not what its name says.
    """
    train_images, train_labels = _split(files, field, "train")
    test_images, test_labels = _split(files, field, "t10k")
    return ImageSet(train_images, train_labels, test_images, test_labels, FASHION_MNIST)


def _split(files: Mapping[str, bytes], field: str, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    images, labels = (_idx(files, field, f"{name}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        problem = f"images {list(images.shape)} and labels {list(labels.shape)} do not belong together"
        raise _wrong(field, name, problem)
    if labels.max(initial=0) >= len(FASHION_MNIST):
        raise _wrong(field, name, f"label {labels.max()} is beyond the {len(FASHION_MNIST)} classes")
    return images, labels.astype(np.int64)


def _idx(files: Mapping[str, bytes], field: str, name: str) -> npt.NDArray[np.uint8]:
    """An IDX file: two zero bytes, element type, rank, the sizes as big-endian uint32, the elements."""
    try:
        content = files[name] if name in files else gzip.decompress(files[f"{name}.gz"])
    except KeyError:
        raise _wrong(field, f"{name}.gz", "is missing") from None
    except (OSError, EOFError, zlib.error) as error:
        raise _wrong(field, f"{name}.gz", f"cannot be unpacked ({error})") from error
    rank = content[3] if len(content) >= 4 else 0
    start = 4 + 4 * rank
    if content[:3] != bytes([0, 0, UNSIGNED_BYTE]) or not rank or len(content) < start:
        raise _wrong(field, name, "has no IDX header")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", rank, 4))
    if len(content) - start != math.prod(shape):
        raise _wrong(field, name, f"announces {list(shape)} bytes and holds {len(content) - start}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _wrong(field: str, name: str, problem: str) -> PresightError:
    return PresightError(f"{field}: {name}", problem, "delete it (in the cache, its folder) and fetch it again")
