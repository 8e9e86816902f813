"""Gopher's rules on repetition as datatrove has them, their n-grams counted with numpy: several times as fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.filters import GopherRepetitionFilter
from datatrove.utils.text import split_into_words

from corpus.clean.runs import Hasher, runs
from corpus.clean.words import WORDS


class Repetition(GopherRepetitionFilter):
    """Gives the verdicts of ``GopherRepetitionFilter`` with the same reasons; its arguments, its thresholds.

    Two n-grams are equal here if their words are. datatrove glues the words of the longer ones together, so that
    ``1 23`` and ``12 3`` are a repetition to it.
    """

    name = "Repetition"

    def __init__(self, **thresholds: Any) -> None:
        super().__init__(language=WORDS, **thresholds)
        self.lines = GopherRepetitionFilter(
            language=WORDS, **{**thresholds, "top_n_grams": (), "dup_n_grams": ()}
        )  # lines and paragraphs are cheap
        self.hasher = Hasher()

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether to keep the document, or why not."""
        verdict: bool | tuple[bool, str] = self.lines.filter(doc)
        if verdict is not True:
            return verdict
        words = split_into_words(doc.text, self.language)
        ends = np.cumsum([0, *map(len, words)])  # characters up to each word
        top, repeated = dict(self.top_n_grams), dict(self.dup_n_grams)
        found = dict(runs(self.hasher.words(words), max([0, *top, *repeated])))
        for n, limit in top.items():
            if n in found and commonest(found[n], n, ends) > limit * len(doc.text):
                return False, f"top_{n}_gram"
        for n, limit in repeated.items():
            if n in found and again(found[n], n, ends) > limit * len(doc.text):
                return False, f"duplicated_{n}_n_grams"
        return True


def commonest(grams: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters, spaces included, of all occurrences of the commonest n-gram; of equally common ones the first."""
    _, first, counts = np.unique(grams, return_index=True, return_counts=True)
    start = first[counts == counts.max()].min()
    return int(ends[start + n] - ends[start] + n - 1) * int(counts.max())


def again(grams: np.ndarray, n: int, ends: np.ndarray) -> int:
    """Characters of n-grams that have come before, read from left to right without overlap."""
    order = np.argsort(grams, kind="stable")
    same = grams[order][1:] == grams[order][:-1]
    several = np.zeros(len(grams), bool)
    several[order[1:][same]] = several[order[:-1][same]] = True
    seen: set[int] = set()
    total = clear = 0
    for start in np.flatnonzero(several).tolist():  # what comes once changes nothing
        if start < clear:
            continue
        if (gram := int(grams[start])) in seen:
            total += int(ends[start + n] - ends[start])
            clear = start + n
        seen.add(gram)
    return total
