"""Pickles from outside, read without running anything that they name.

A pickle is a program that may call whatever it can import. Here it can import nothing: the few names that numpy's
arrays need are answered by stand-ins that keep what they are given, and every other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError

LARGEST = 2**28  # bytes; CIFAR's batches have 31 MB
BYTES = ("u1", "|u1", b"u1", b"|u1")  # the one type of elements that is read


class _Array:
    """Stands in for a numpy array of bytes while it is unpickled."""

    value: npt.NDArray[np.uint8]

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _Kind) or not isinstance(content, bytes) or fortran not in (0, 1):
            raise pickle.UnpicklingError("it holds an array of something other than bytes")
        if not all(isinstance(size, int) and size >= 0 for size in shape) or math.prod(shape) != len(content):
            raise pickle.UnpicklingError("an array and its shape do not belong together")
        self.value = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


class _Kind:
    """Stands in for the type of an array's elements."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in BYTES:
            raise pickle.UnpicklingError(f"it holds an array of {name!r}, not of bytes")

    def __setstate__(self, state: Any) -> None:
        pass


class _ArrayClass:
    """Stands in for ``numpy.ndarray``, which is only ever handed on."""


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """What newer Pythons write for bytes in old protocols."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it encodes something other than bytes")
    return text.encode("latin1")


def _empty(*given: Any) -> bytes:
    """What newer Pythons write for no bytes in old protocols."""
    if given:
        raise pickle.UnpicklingError("it makes bytes out of something else")
    return b""


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}")
        return ALLOWED[module, name]


def load(content: bytes, name: str) -> Any:
    """What a pickle of dictionaries, lists, text, bytes, numbers and arrays of bytes holds.

    Text of Python 2 comes back as bytes.

    Args:
        content: the pickle.
        name: what errors call it.

    Raises:
        PresightError: it names anything else, which an honest one has no need of, or is damaged.
    """
    try:
        if len(content) > LARGEST:
            raise pickle.UnpicklingError(f"it has more than {LARGEST} bytes")
        for code, argument, _ in pickletools.genops(content):
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(content):
                raise pickle.UnpicklingError("it asks for more memory than it could need")  # a table of that length
        return _arrays(_Unpickler(io.BytesIO(content), encoding="bytes").load())
    except Exception as error:  # a damaged pickle can raise anything
        said = " ".join(str(error).split())[:200] or type(error).__name__
        mend = "do not trust it: fetch the file from its authors again"
        raise PresightError(name, f"is refused as a pickle ({said})", mend) from error


def _arrays(value: Any) -> Any:
    """Dictionaries and lists with the arrays put in the place of their stand-ins."""
    if isinstance(value, dict):
        return {key: _arrays(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_arrays(each) for each in value]
    return value.value if isinstance(value, _Array) else value
