import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presight import document
from presight.errors import PresightError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("3e-3", 3e-3),
        ("1E6", 1e6),
        ("-1.5e+3", -1500.0),
        ("0.1", 0.1),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("1.e3", 1000.0),
        ("1_000", 1000),
        ("30_000_000_000", 30_000_000_000),
        ("1_000.5", 1000.5),
        ("+7", 7),
        ("-0", 0),
        ("010", 10),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        # words, in YAML 1.2
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("1m", "1m"),
        ("1e", "1e"),
        ("1.2.3", "1.2.3"),
        (".", "."),
        ("-", [None]),
        ("--1", "--1"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("e5", "e5"),
        ("'1e6'", "1e6"),
        ("nULL", "nULL"),
        ("infinity", "infinity"),
        ("nan", "nan"),
        ("$lm[init=0]", "$lm[init=0]"),
        ("[no, 1, ~]", ["no", 1, None]),
        ("{a: 1e1, 2: b}", {"a": 10.0, 2: "b"}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),  # no merge keys in YAML 1.2
    ],
)
def test_scalars(text, value):
    found = document.parse(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number():
    assert math.isnan(document.parse(".nan"))


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value_and_type(value):
    found = document.parse(repr(value))
    assert found == value
    assert type(found) is type(value)


@given(st.text("0123456789_+-.eExX ", max_size=8))
def test_what_reads_as_a_number_is_one(text):
    try:
        found = document.parse(f"[{text}]")
    except PresightError:  # a block's dash within a list, say; never a Python fault
        return
    if isinstance(found[0] if found else None, (int, float)):
        assert float(text.strip().replace("_", "")) == found[0]


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_one_sentence(text):
    said = "here"
    try:
        document.parse(text, "here")
    except PresightError as error:
        said = str(error)
    assert said.startswith("here")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3", ["here, line 3", "'a' is given twice", "keep one of them"]),
        ("x:\n  {k: 1, k: 1}", ["here, line 2", "'k' is given twice"]),
        ("1: a\n1: b", ["1 is given twice"]),
        ("a: [1", ["here, line 1", "is not YAML", "check quotes and indentation"]),
        ("a: 1\n\tb: 2", ["here, line 2", "is not YAML"]),
        ("{{a}}: 1", ["here, line 1", "is not YAML (a key must be a word)"]),
        ("? [a]\n: 1", ["a key must be a word"]),
        ("a: &x {b: *x}", ["is not YAML"]),
        ("a: *nowhere", ["is not YAML"]),
        ("a: 1\n---\nb: 2", ["is not YAML"]),
        ("a: !!python/object:os.system 1", ["is not YAML"]),
        ("a\0b", ["here: is not YAML"]),
    ],
)
def test_faults_are_one_sentence_with_their_line(text, parts):
    with pytest.raises(PresightError) as caught:
        document.parse(text, "here")
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_files(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: ä", encoding="utf-8")
    assert document.read(path) == {"a": "ä"}
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert document.read(path) == {"a": 1}
    for broken in (b"a: \xff\xfe", None):
        path.unlink(missing_ok=True)
        if broken:
            path.write_bytes(broken)
        with pytest.raises(PresightError, match="cannot be read") as caught:
            document.read(path)
        assert str(path) in str(caught.value)
    with pytest.raises(PresightError, match="cannot be read"):
        document.read(tmp_path)
