"""Where a reply names options, by letter or by text, and where it denies them."""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from eval.answers import wording
from eval.answers.wording import WORD, cleaned, folded

_SCOPE = 5  # words that a "not" before an option may be away
_LABEL = re.compile(
    rf"[(\[{{] ?(?P<bracketed>[A-Za-z]) ?[)\]}}]|[\"'](?P<quoted>[A-Z])[\"']"
    rf"|(?<![{WORD}'.\\-])(?P<upper>[A-Z])(?![{WORD}'+#°%]|-[{WORD}]|\.[A-Z](?![{WORD}]))"
    rf"|(?<![{WORD}'.\\-])(?P<lower>[a-z])(?=[).:]? ?$)|^(?P<first>[a-z])(?=[).:] )",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options in the forms that a reply may name them by.

    Attributes:
        raw: as given.
        plain: cleaned, without case.
        cores: and without an article or punctuation around, where that leaves them different.
        letters: which option a letter stands for.
    """

    raw: tuple[str, ...]
    plain: tuple[str, ...]
    cores: tuple[str, ...]
    letters: Mapping[str, int]

    @classmethod
    def of(cls, options: Sequence[str]) -> Options:
        """Options that are single letters themselves are meant by those letters."""
        plain = [folded(cleaned(option)) for option in options]
        cores = [core_of(each) for each in plain]
        cores = [core if cores.count(core) == 1 else whole for core, whole in zip(cores, plain, strict=True)]
        own = {each.upper(): place for place, each in enumerate(cores) if is_letter(each)}
        letters = dict(zip(string.ascii_uppercase, range(len(options)), strict=False))
        return cls(tuple(each.strip() for each in options), tuple(plain), tuple(cores), letters | own)


@dataclass(frozen=True, slots=True)
class Mention:
    """An option's letter or text in a reply: where, of which option, and whether it is denied there."""

    start: int
    end: int
    choice: int
    denied: bool


class Mentions(list[Mention]):
    """Mentions in the order of the reply."""

    @cached_property
    def _starts(self) -> list[int]:
        return [each.start for each in self]

    def within(self, start: int, stop: int) -> list[Mention]:
        """Those that begin from `start` to before `stop`."""
        return self[bisect_left(self._starts, start) : bisect_left(self._starts, stop)]


@dataclass(frozen=True)
class Reply:
    """A cleaned reply, and the options that it may name."""

    text: str
    known: Options

    @cached_property
    def texts(self) -> Mentions:
        """Options' texts, those within a longer one left out; texts that are single letters count as letters."""
        plain, found = folded(self.text), []
        for choice, core in enumerate(self.known.cores):
            start = -1 if not core or is_letter(core) else plain.find(core)
            while start >= 0:
                end = start + len(core)
                if _bounded(plain, start, end):
                    found.append((start, -end, choice))
                start = plain.find(core, start + 1)
        kept = Mentions()
        for start, end, choice in sorted(found):
            if not kept or -end > kept[-1].end or (start, -end) == (kept[-1].start, kept[-1].end):
                after = wording.DENIED_AFTER.match(self.text, -end)
                kept.append(Mention(start, -end, choice, bool(after) or self._negated(start)))
        return kept

    @cached_property
    def letters(self) -> Mentions:
        """Letters that stand for options, not those within an option's text, and no articles or pronouns."""
        taken, kept = iter([*self.texts, Mention(len(self.text) + 1, len(self.text) + 1, 0, False)]), Mentions()
        text = next(taken)
        for found in _LABEL.finditer(self.text):
            while text.end <= found.start():
                text = next(taken)
            letter = found[found.lastgroup or 0]
            choice = self.known.letters.get(letter.upper())
            if choice is None or text.start <= found.start() or self._is_word(found, letter):
                continue
            denied = bool(wording.REFUSED.match(self.text, found.end())) or self._negated(found.start())
            kept.append(Mention(found.start(), found.end(), choice, denied))
        return kept

    def _is_word(self, found: re.Match[str], letter: str) -> bool:
        """Whether a letter is an article or a pronoun: "A cabinet", or the last word of a reply that was cut."""
        if found.lastgroup in ("bracketed", "quoted", "first") or letter.upper() not in wording.WORD_LETTERS:
            return False
        if found.lastgroup == "lower":
            before = self.text[max(0, found.start() - 2) : found.start()]
            return bool(before) and not before.rstrip(" ").endswith((":", "\n"))
        following = self.text[found.end() : found.end() + 2]
        if following[:1] != " " or not following[1:].isalnum():
            return False
        return letter == "I" or not wording.AFTER_LETTER.match(self.text, found.end())

    def _negated(self, start: int) -> bool:
        """Whether a "not" stands up to five words before, in the same clause."""
        window = self.text[max(0, start - 60) : start]
        _, *after = wording.NEGATOR.split(wording.CLAUSE.split(window)[-1])
        return bool(after) and len(after[-1].split()) <= _SCOPE


def core_of(text: str) -> str:
    """Case-folded text without an article, punctuation or a pair of brackets around it; unless nothing is left."""
    bare = text.strip().strip("\"'`").rstrip(" .,;:!?").strip("\"'`")
    if len(bare) > 2 and bare[0] + bare[-1] in ("()", "[]", "{}"):
        bare = bare[1:-1].strip()
    found = wording.ARTICLE.match(bare)
    return (bare[found.end() :] if found else bare) or bare or text


def is_letter(text: str) -> bool:
    """Whether a text is one letter of A to Z."""
    return len(text) == 1 and text.upper() in string.ascii_uppercase


def _bounded(text: str, start: int, end: int) -> bool:
    """Whether a word or number of case-folded text neither goes on before `start` nor after `end`."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before and _in_word(before[-1]) and _in_word(text[start]):
        return False
    if after and _in_word(text[end - 1]) and _in_word(after[0]):
        return False
    if text[start].isdigit() and before:
        if before[-1] in ".,/:" and before[0].isdigit() and len(before) == 2:
            return False
        if before[-1] in ".-" and not _in_word(before[:-1] or " "):
            return False
    return not (text[end - 1].isdigit() and len(after) == 2 and after[0] in ".,/:" and after[1].isdigit())


def _in_word(each: str) -> bool:
    """Whether a character is of a word; scripts written without spaces have no boundaries to be seen."""
    if "\u0e00" <= each <= "\u0eff" or "\u1000" <= each <= "\u109f" or "\u1780" <= each <= "\u17ff":
        return False
    if "\u3040" <= each <= "\u30ff" or "\u3400" <= each <= "\u9fff" or "\uac00" <= each <= "\ud7af":
        return False
    return each.isalnum() or each == "_" or unicodedata.category(each)[0] == "M"
