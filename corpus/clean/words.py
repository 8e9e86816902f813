"""Words by one regular expression: what datatrove's filters cut text into here, instead of with spaCy."""

from __future__ import annotations

import re

import regex
from datatrove.utils.word_tokenizers import WordTokenizer

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # no spaces between words: characters
MARK = r"\.\.+|--+|==+|\*\*+|##+|~~+|\S"  # a rule or an ellipsis is one mark
NUMBER = r"\d+(?:[.,:]\d+)+"  # 3.14, 1,000 and 12:30 are one word
SHORT = r"['’](?:[smdtSMDT]|re|ve|ll|RE|VE|LL)\b"  # it's is two words, o'clock is one
WORD = regex.compile(
    rf"[{UNSPACED}]\p{{M}}*|{NUMBER}|[^\W{UNSPACED}]+(?:(?!{SHORT})['’][^\W{UNSPACED}]+)*|{SHORT}|{MARK}"
)
ASCII = re.compile(rf"{NUMBER}|\w+(?:(?!{SHORT})'\w+)*|{SHORT}|{MARK}", re.ASCII)  # of ASCII the same, faster
SENTENCE = regex.compile(
    r"\S.*?(?:[.!?…]+[\"'”’»)\]]*(?=\s|\Z)|[。！？]+[」』”’]*|(?=\n\s*\n)|\Z)", flags=regex.DOTALL
)


class Words(WordTokenizer):
    """Words, numbers and marks of any script; give it to a datatrove step as ``language=WORDS``.

    Like spaCy it sets marks, the parts of hyphenated words and those of contractions apart, so that published
    thresholds keep their meaning. The words of a text, joined, are the text without its white space.
    """

    def word_tokenize(self, text: str) -> list[str]:
        """Words and marks in order."""
        found: list[str] = (ASCII if text.isascii() else WORD).findall(text)
        return found

    def sent_tokenize(self, text: str) -> list[str]:
        """Sentences without the space around them; an empty line ends one as well."""
        return [text[start:stop] for start, stop in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each sentence, in characters."""
        found = ((match.start(), match[0].rstrip()) for match in SENTENCE.finditer(text))
        return [(start, start + len(sentence)) for start, sentence in found]


WORDS = Words()  # one for all steps: they share datatrove's cache of the last texts' words
