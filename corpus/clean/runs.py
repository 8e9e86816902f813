"""Hashes of runs of words, all of a text's runs of one length at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xxhash

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a word's hash is lost
REMEMBERED = 1 << 20  # words whose hash is kept at hand


class Hasher(dict[str, int]):
    """64-bit hashes of words, and of runs of words from those: ``h(a b c) = (h(a) m + h(b)) m + h(c)`` mod 2⁶⁴.

    One pass gives the hashes of all runs of 1, 2, … words: a multiplication and a sum each, where hashing the joined
    words of every run would read each word n times.
    """

    def __missing__(self, word: str) -> int:
        if len(self) == REMEMBERED:
            self.clear()
        self[word] = found = xxhash.xxh64_intdigest(word.encode("utf-8", "replace"))
        return found

    def words(self, words: Sequence[str]) -> np.ndarray:
        """Hashes of words, uint64 [n]."""
        return np.fromiter(map(self.__getitem__, words), np.uint64, len(words))

    def run(self, words: Sequence[str]) -> int:
        """Hash of all the words as one run."""
        *_, (_, found) = runs(self.words(words), len(words))
        return int(found[0])


def runs(hashes: np.ndarray, longest: int) -> Iterator[tuple[int, np.ndarray]]:
    """``(k, hashes of the runs of k words, uint64 [n - k + 1])`` for k = 1 … ``longest``, as far as there are any.

    Args:
        hashes: of the words, uint64 [n].
        longest: words of the longest runs.
    """
    run = hashes
    for length in range(1, min(longest, len(hashes)) + 1):
        if length > 1:
            run = run[:-1] * MULTIPLIER + hashes[length - 1 :]
        yield length, run
