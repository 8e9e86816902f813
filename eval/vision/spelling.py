"""One form for texts that mean the same: case, marks, articles, number words, apostrophes."""

from __future__ import annotations

import re
import unicodedata

AROUND = " \t\n\r\"'`.,:;!?()[]{}*"
ARTICLES = frozenset(("a", "an", "the"))
NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
# marks that VQA's form takes out where they touch a space, or a comma stands between digits, and else makes a space
MARKS = ';/[]"{}()=+\\_-><@`,?!'
DENIED = "ai are ca could did do does had has have is might must need ought sha should was were wo would"
OWNERS = {
    "d": "he how i it she someone somebody that there they we what where who why you",
    "ll": "he how i it she somebody someone that there they we what where who why you",
    "ve": "could i might must should they we what where who would you",
    "re": "there they we what where who why you",
    "m": "i",
    "s": "he how it let she somebody someone something that there what when where who why",
}
WORDS_OF_THEIR_OWN = frozenset("hell hes id ill its lets shed shell were wed well whore".split())  # and no contraction
CONTRACTIONS = {f"{stem}nt": f"{stem}n't" for stem in DENIED.split()}
CONTRACTIONS |= {
    stem + end: f"{stem}'{end}"
    for end, stems in OWNERS.items()
    for stem in stems.split()
    if stem + end not in WORDS_OF_THEIR_OWN
}
CONTRACTIONS |= {"maam": "ma'am", "oclock": "o'clock", "yall": "y'all"}
PERIOD = re.compile(r"(?!<=\d)\.(?!\d)")
BETWEEN_DIGITS = re.compile(r"(?<=\d),(?=\d)")


def folded(text: str) -> str:
    """A text without case, with single spaces, and without marks around it; marks alone stay."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.strip(AROUND) or plain


def vqa_form(text: str) -> str:
    """The form in which VQA compares answers: no marks, articles or number words, contractions with an apostrophe."""
    plain = " ".join(text.replace("\n", " ").replace("\t", " ").split()).lower()
    plain = PERIOD.sub("", _unmarked(plain))
    words = (NUMBER_WORDS.get(word, word) for word in plain.split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _unmarked(text: str) -> str:
    """A text without marks: taken out where they stand at a word's edge or a comma parts digits; else spaces."""
    parted = BETWEEN_DIGITS.search(text) is not None
    for mark in MARKS:
        if mark in text:
            touching = f"{mark} " in text or f" {mark}" in text
            text = text.replace(mark, "" if touching or parted else " ")
    return text
