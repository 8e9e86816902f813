"""datatrove's MinHash signatures, the same numbers several times faster, and what they catch."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import NUMBERS_PATTERN, PUNCTUATION, TextNormConfig
from loguru import logger
from xxhash import xxh64_intdigest

from corpus.clean.words import WORDS

logger.disable("datatrove.pipeline.dedup")  # lines about every bucket; what goes wrong is raised
PRIME = np.uint64((1 << 61) - 1)  # Mersenne: a remainder by it needs no division
BLOCK = 256  # shingles hashed at a time, so that their 14 × 8 values stay in the cache
ASCII = "".join(filter(str.isascii, PUNCTUATION)).encode()
ASCII_GAPS = bytes.maketrans(ASCII, b" " * len(ASCII))
OTHER_GAPS = re.compile(f"[{re.escape(''.join(each for each in PUNCTUATION if not each.isascii()))}]")


def caught(similarity: float, buckets: int = 14, rows: int = 8) -> float:
    """Probability that a pair shares a bucket: 1 − (1 − sʳ)ᵇ for the Jaccard similarity s of its sets of n-grams.

    Locality-sensitive hashing (Leskovec, Rajaraman & Ullman, *Mining of Massive Datasets*, 3.4.2). A pair that is
    missed may still end in one cluster through a third document.
    """
    return float(1 - (1 - similarity**rows) ** buckets)


def threshold(buckets: int = 14, rows: int = 8) -> float:
    """The similarity around which ``caught`` rises: (1/b)^(1/r), 0.72 for 14 buckets of 8."""
    return float((1 / buckets) ** (1 / rows))


def settings(n_grams: int, buckets: int, rows: int, seed: int, fold_numbers: bool) -> MinhashConfig:
    """A configuration of datatrove's: 64-bit xxhash of lower-case words without punctuation or diacritics."""
    return MinhashConfig(
        n_grams=n_grams,
        num_buckets=buckets,
        hashes_per_bucket=rows,
        seed=seed,
        norm_config=TextNormConfig(norm_numbers=fold_numbers),
        hash_config=HashConfig(precision=64, hash_fc="xxhash"),
    )


class FastSignature(MinhashDedupSignature):
    """datatrove's step with its two inner loops written anew; both give exactly the numbers of the originals."""

    def __init__(self, folder: str, config: MinhashConfig) -> None:
        super().__init__(folder, config, WORDS)

    def get_shingles(self, text: str) -> np.ndarray:
        """Hashes of the text's n-grams of words, uint64 [n, 1]; none if it has fewer words."""
        text = text.lower()
        if self.config.norm_config.norm_numbers:
            text = NUMBERS_PATTERN.sub("0", text)
        text = text.encode().translate(ASCII_GAPS).decode()
        if text.isascii():
            words = text.split()  # nothing but letters and digits is left
        else:
            text = unicodedata.normalize("NFD", OTHER_GAPS.sub(" ", text))
            for mark in {each for each in set(text) if unicodedata.category(each) == "Mn"}:
                text = text.replace(mark, "")
            words = []
            for piece in text.split():
                if piece.isascii() and piece.isalnum():
                    words.append(piece)
                else:
                    words += WORDS.word_tokenize(piece)
        grams = zip(*(words[start:] for start in range(self.config.n_grams)), strict=False)
        return np.fromiter(map(xxh64_intdigest, map(" ".join, grams)), np.uint64).reshape(-1, 1)

    def get_signature(self, shingles: np.ndarray) -> list[list[int]]:
        """Smallest value of every hash function over the shingles, by bucket."""
        a, b = self.parameters
        smallest = np.full(a.shape[1], PRIME, np.uint64)
        shingles = np.unique(shingles).reshape(-1, 1)
        for start in range(0, len(shingles), BLOCK):
            values = shingles[start : start + BLOCK] * a
            values += b
            reduced = values >> np.uint64(61)
            values &= PRIME
            values += reduced
            np.subtract(values, PRIME, out=reduced)  # wraps round where nothing is left to subtract
            np.minimum(values, reduced, out=values)
            np.minimum(smallest, values.min(axis=0), out=smallest)
        return [bucket.tolist() for bucket in smallest.reshape(self.config.num_buckets, -1)]
