"""Scores of many texts at once, without a Python object for any of their words.

A fastText model of unigrams is a table: the logits of a text are the mean of the rows of what is in it. Here the bytes
of many texts are one array; words are where its classes change, their hashes differences of one running sum, and their
rows found by those hashes. ``corpus.labels.model`` says the same slowly, word by word; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.labels import model
from presight.errors import PresightError

END = "</s>"  # fastText reads it at the end of every line
AT_ONCE = 48  # texts: the arrays below stay in the cache
KINDS = bytes(1 if w != 32 else 2 if s != 32 else 0 for w, s in zip(model.WORDS, model.SIGNS, strict=True))
ROW_BITS = 20
MIX = np.uint64(0xD1B54A32D192ED03)
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


class Scorer:
    """The table of a fastText model, by hash of word.

    Args:
        trained: of unigrams, one against all, as ``corpus.labels.model`` saves them.
        labels: names of the columns.
    """

    def __init__(self, trained: Any, labels: Sequence[str]) -> None:
        column = {name: place for place, name in enumerate(trained.get_labels())}
        words = trained.get_words()
        table = trained.get_input_matrix().astype(np.float64) @ trained.get_output_matrix().astype(np.float64).T
        table = table[: len(words), [column[model.PREFIX + label] for label in labels]]
        self._end = words.index(END) + 1
        self._table = np.vstack([np.zeros((1, len(labels))), table])  # row 0: unknown words
        self._powers = _powers(BASE, 2**16)
        self._inverse = _powers(pow(BASE, -1, 2**64), 2**16)
        self._index(words)

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Probabilities ``[n, labels]``."""
        return (1 / (1 + np.exp(-self.logits(texts)))).astype(np.float32)

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """``[n, labels]``: of each text the mean over the known things in it, each once, and the end of the line."""
        parts = [self._block(texts[start : start + AT_ONCE]) for start in range(0, len(texts), AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, self._table.shape[1]))

    def _block(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        raws = [model.separated(text).encode("utf-8", "replace") for text in texts]
        joined = b"\n%b\n" % b"\n".join(raws)
        sizes = np.array([len(raw) + 1 for raw in raws])
        sizes[0] += 1
        owner = np.arange(len(texts)).repeat(sizes)  # the text of each byte
        seen = np.zeros((len(texts), 256), dtype=bool)
        seen.ravel()[owner * 256 + np.frombuffer(joined, dtype=np.uint8)] = True
        marked, mark = seen[:, self._marks].nonzero()
        first, hashes = self._runs(joined)
        # text and row in one number: sorted, what a text has several times stands together
        key = np.concatenate(
            [
                np.arange(len(texts)) << ROW_BITS | self._end,
                marked << ROW_BITS | self._mark_rows[mark],
                owner[first] << ROW_BITS | self._find(hashes),
            ]
        )
        key.sort()
        key = key[np.concatenate([[True], key[1:] != key[:-1]])]
        row = key & (1 << ROW_BITS) - 1
        begins = np.searchsorted(key, np.arange(len(texts)) << ROW_BITS)
        sums = np.add.reduceat(self._table[row], begins, axis=0)
        return np.asarray(sums / np.add.reduceat(row != 0, begins, dtype=np.int64)[:, None])

    def _runs(self, joined: bytes) -> tuple[Rows, Hashes]:
        """Where each word and each run of signs begins, and its hash; the first and the last byte are spaces."""
        kinds = np.frombuffer(joined.translate(KINDS), dtype=np.uint8)
        letters = np.frombuffer(joined.translate(model.LOWER), dtype=np.uint8)
        if len(letters) > len(self._powers):
            size = 2 * len(letters)
            self._powers, self._inverse = _powers(BASE, size), _powers(pow(BASE, -1, 2**64), size)
        edges = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
        runs = np.flatnonzero(kinds[edges[:-1]])  # the others are spaces
        first, last = edges[runs], edges[runs + 1] - 1
        sums = np.cumsum(letters * self._powers[: len(letters)], dtype=np.uint64)
        return first, (sums[last] - sums[first - 1]) * self._inverse[first]

    def _find(self, hashes: Hashes) -> Rows:
        """The row of each hash, 0 for unknown words: linear probing, all at once."""
        mixed = hashes * MIX
        slot = (mixed >> np.uint64(64 - self._bits)).astype(np.int64)
        found = self._slots[slot]
        missed = np.flatnonzero((found != 0) & ((found ^ mixed) >> np.uint64(ROW_BITS) != 0))
        while missed.size:
            slot[missed] = (slot[missed] + 1) % len(self._slots)
            found[missed] = again = self._slots[slot[missed]]
            missed = missed[(again != 0) & ((again ^ mixed[missed]) >> np.uint64(ROW_BITS) != 0)]
        return (found & np.uint64((1 << ROW_BITS) - 1)).astype(np.int64)

    def _index(self, words: Sequence[str]) -> None:
        """Make the table of hashes, a row in the low bits of each, and list the marks; row 0 is no word's."""
        if len(words) >= 1 << ROW_BITS:
            raise PresightError("classifier", f"has {len(words)} words", f"train it with fewer than {1 << ROW_BITS}")
        self._bits = (6 * len(words)).bit_length()  # so sparse that an unknown word meets no other
        self._slots = np.zeros(2**self._bits, dtype=np.uint64)
        mixed = np.array([_hash(word.encode()) for word in words], dtype=np.uint64) * MIX
        tags = mixed >> np.uint64(ROW_BITS) << np.uint64(ROW_BITS)
        first = (mixed >> np.uint64(64 - self._bits)).tolist()
        for row, (slot, tag) in enumerate(zip(first, tags.tolist(), strict=True), 1):
            while self._slots[slot]:
                slot = (slot + 1) % len(self._slots)
            self._slots[slot] = tag | row
        marks = [(ord(word), row) for row, word in enumerate(words, 1) if word in model.MARKS]
        self._marks, self._mark_rows = np.array(marks, dtype=np.int64).reshape(-1, 2).T


def _hash(word: bytes) -> int:
    return sum(letter * pow(BASE, place, 2**64) for place, letter in enumerate(word)) % 2**64


def _powers(base: int, count: int) -> Hashes:
    """1, base, base², … modulo 2**64."""
    powers = np.full(count, base % 2**64, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
