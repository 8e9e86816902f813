import string

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter
from hypothesis import given
from hypothesis import strategies as st

from corpus.clean.words import ASCII, WORD, WORDS

spaces = " \n\t"
printable = st.text(string.printable.replace("\x0b", "").replace("\x0c", ""), max_size=80)
anything = st.text(
    st.sampled_from("aB é9_'’.,:-=#*~…!?「」。 \n\t漢字かなカナ한국ไทยहिन्दी𝄞\u0301")
    | st.characters(exclude_categories=("C", "Z")),
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's well-known, isn't it?", ["It", "'s", "well", "-", "known", ",", "isn", "'t", "it", "?"]),
        ("o’clock, they’ll DON'T", ["o’clock", ",", "they", "’ll", "DON", "'T"]),
        ("At 12:30 pay $1,000.50 or 3.", ["At", "12:30", "pay", "$", "1,000.50", "or", "3", "."]),
        ("x_1 += f(a)  # ======", ["x_1", "+", "=", "f", "(", "a", ")", "#", "======"]),
        ("Wait... -- what?!", ["Wait", "...", "--", "what", "?", "!"]),
        ("它是猫, a cat", ["它", "是", "猫", ",", "a", "cat"]),
        ("हिन्दी में ภาษา", ["हिन्दी", "में", "ภ", "า", "ษ", "า"]),
        ("", []),
        (" \n\t", []),
    ],
)
def test_words(text, words):
    assert WORDS.word_tokenize(text) == words


@given(printable | anything)
def test_nothing_but_white_space_is_lost(text):
    found = WORDS.word_tokenize(text)
    assert "".join(found) == "".join(text.split())
    assert all(found)
    assert "".join("".join(WORDS.sent_tokenize(text)).split()) == "".join(text.split())


@given(printable)
def test_ascii_has_a_faster_way_to_the_same_words(text):
    assert ASCII.findall(text) == WORD.findall(text)


def test_sentences():
    text = 'He said "No." Then (why?) he left...\nA title\n\n它是猫。对！ Dr. who'
    assert WORDS.sent_tokenize(text) == [
        'He said "No."',
        "Then (why?)",
        "he left...",
        "A title",
        "它是猫。",
        "对！",
        "Dr.",
        "who",
    ]
    assert [text[a:b] for a, b in WORDS.span_tokenize(text)] == WORDS.sent_tokenize(text)


def test_datatroves_filters_take_it_and_need_no_spacy():
    document = Document(text="The cat sat on the mat and looked at the dog with its green eyes.\n" * 12, id="")
    assert GopherQualityFilter(language=WORDS).filter(document) is True
    assert FineWebQualityFilter(language=WORDS).filter(document) == (False, "char_dup_ratio")
    assert GopherQualityFilter(language=WORDS).filter(Document(text="Too short.", id=""))[1] == "gopher_short_doc"
