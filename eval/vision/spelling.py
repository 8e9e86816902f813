"""One form for texts that mean the same: case, marks, articles, number words, apostrophes."""

from __future__ import annotations

import re
import unicodedata

AROUND = " \t\n\r\"'`.,:;!?()[]{}*"
ARTICLES = frozenset(("a", "an", "the"))
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBER_WORDS = {word: str(value) for value, word in enumerate(DIGITS)} | {"none": "0"}
MARKS = ';/[]"{}()=+\\_-><@`,?!'
DENIED = "ai are ca could did do does did had has have is might must need ought sha should was were wo would"
OWNERS = {
    "d": "he how i it she somebody someone that there they we what where who why you",
    "ll": "he how i it she somebody someone that there they we what where who why you",
    "ve": "could i might must should they we what where who would you",
    "re": "there they we what where who why you",
    "m": "i",
    "s": "he how it let she somebody someone something that there what when where who why",
}
OTHERWISE = frozenset(("hell", "id", "ill", "its", "shed", "shell", "were", "wed", "well", "whore"))  # words, too
CONTRACTIONS = {f"{stem}nt": f"{stem}n't" for stem in DENIED.split()} | {
    stem + end: f"{stem}'{end}"
    for end, stems in OWNERS.items()
    for stem in stems.split()
    if stem + end not in OTHERWISE
}
CONTRACTIONS |= {"maam": "ma'am", "oclock": "o'clock", "yall": "y'all"}
PERIOD = re.compile(r"\.(?!\d)")
BETWEEN_DIGITS = re.compile(r"\d,\d")


def folded(text: str) -> str:
    """A text without case, with single spaces, and without marks around it; marks alone stay."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip(AROUND) or plain


def vqa_form(text: str) -> str:
    """The form in which VQA compares answers: no marks, articles or number words, contractions with an apostrophe."""
    plain = PERIOD.sub("", _unmarked(" ".join(text.split()).lower()))
    words = (NUMBER_WORDS.get(word, word) for word in plain.split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _unmarked(text: str) -> str:
    """A text without marks: taken out where they touch a space or a comma parts digits, and else made spaces."""
    parted, plain = BETWEEN_DIGITS.search(text) is not None, text
    for mark in MARKS:
        touching = f"{mark} " in text or f" {mark}" in text
        plain = plain.replace(mark, "" if touching or parted else " ")
    return plain
