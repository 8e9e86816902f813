"""Tokens back into text, fast: a byte-level token spells fixed bytes, so a table does what decoding would."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 2**15  # tokens


class Spelling:
    """Text of token ranges.

    Args:
        path: a ``tokenizer.json``. With a byte-level decoder the table is used; any other tokenizer decodes.
    """

    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_text(encoding="utf-8"))
        self._path = path
        self._spelled: npt.NDArray[np.uint8] | None = None
        if _byte_level(document):
            table = _table(document)
            self._spelled = np.frombuffer(b"".join(table), dtype=np.uint8)
            self._size = np.array([len(each) for each in table], dtype=np.int64)
            self._start = np.cumsum(self._size) - self._size

    def texts(self, tokens: npt.NDArray[Any], bounds: npt.NDArray[np.int64]) -> list[str]:
        """The text of each range bounds[k] … bounds[k + 1] − 1 of ``tokens``; special tokens spell nothing.

        A character that a bound cuts in two becomes the replacement character on both sides.
        """
        if self._spelled is None:
            rows = [tokens[start:stop].tolist() for start, stop in itertools.pairwise(bounds)]
            return list(self._tokenizer().decode_batch(rows, skip_special_tokens=True))
        found: list[str] = []
        at = 0
        while at < len(bounds) - 1:  # by blocks: the arrays below stay in the cache
            stop = max(at + 1, int(np.searchsorted(bounds, bounds[at] + BLOCK, side="right")) - 1)
            found += self._block(self._spelled, tokens, bounds[at : stop + 1])
            at = stop
        return found

    def _block(
        self, spelled: npt.NDArray[np.uint8], tokens: npt.NDArray[Any], bounds: npt.NDArray[np.int64]
    ) -> list[str]:
        """One gather for all bytes: each lies as far from its token's start in the table as from it in the text."""
        numbers = tokens[bounds[0] : bounds[-1]].astype(np.intp)
        sizes = self._size.take(numbers)
        ends = np.concatenate([[0], sizes.cumsum()])
        place = (self._start.take(numbers) - ends[:-1]).repeat(sizes)
        place += np.arange(len(place))
        raw = spelled.take(place).tobytes()
        cuts = ends[bounds - bounds[0]].tolist()
        return [raw[start:stop].decode("utf-8", "replace") for start, stop in itertools.pairwise(cuts)]

    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._path))


def _byte_level(document: dict[str, Any]) -> bool:
    return (document.get("decoder") or {}).get("type") == "ByteLevel"


def _table(document: dict[str, Any]) -> list[bytes]:
    """What each token spells, by id."""
    added = {each["id"]: b"" if each["special"] else each["content"].encode() for each in document["added_tokens"]}
    alphabet = dict(_alphabet())
    vocabulary: dict[str, int] = document["model"]["vocab"]
    table = [b""] * (max([*vocabulary.values(), *added], default=-1) + 1)
    for token, number in vocabulary.items():
        # a token outside the alphabet is one that was added: it is spelled below
        table[number] = bytes(alphabet[each] for each in token) if all(each in alphabet for each in token) else b""
    for number, content in added.items():
        table[number] = content
    return table


def _alphabet() -> Iterator[tuple[str, int]]:
    """Printable bytes stand for themselves, the others for the characters from 256 on (Radford et al. 2019)."""
    shifted = 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
            yield chr(byte), byte
        else:
            yield chr(shifted), byte
            shifted += 1
