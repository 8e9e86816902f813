import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.vlm.conversations import FILE, TAGS, Conversation, read, write
from presight.errors import EXIT_DATA, PresightError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SAID = st.builds(
    Conversation,
    item=st.uuids().map(str),
    turns=st.lists(st.tuples(TEXT, TEXT.filter(str.strip)), min_size=1, max_size=3).map(lambda said: sum(said, ())),
    picture=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
    tag=st.sampled_from(TAGS),
    split=st.sampled_from(["train", "validation", "test"]),
)


@given(st.lists(SAID, max_size=8, unique_by=lambda each: each.item))
def test_what_is_written_is_read_split_by_split(tmp_path_factory, said):
    folder = tmp_path_factory.mktemp("said")
    write(folder, iter(said))
    for split in ("train", "validation", "test"):
        assert read(folder, split) == [each for each in said if each.split == split]
    counts = json.loads((folder / "counts.json").read_text())
    assert counts.get("conversations", 0) == len(said)
    assert counts.get("pictured", 0) == sum(each.picture is not None for each in said)


def test_lines_stay_lines_whatever_is_said(tmp_path):
    write(tmp_path, [Conversation("a", ("", "one\u2028two\n\x85three"))])
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 1
    assert read(tmp_path)[0].turns[1] == "one\u2028two\n\x85three"


@pytest.mark.parametrize("turns", [(), ("a",), ("a", "b", "c"), ("a", " "), ("a", "b", "c", "")])
def test_turns_alternate_and_every_answer_says_something(turns):
    with pytest.raises(PresightError, match="must alternate"):
        Conversation("x", turns)


def test_a_tag_is_one_of_those_known_and_a_name_is_given_once(tmp_path):
    with pytest.raises(PresightError, match="the tag is 'seeing'; give one of perception, reasoning, other, or none"):
        Conversation("x", ("a", "b"), tag="seeing")
    with pytest.raises(PresightError, match="x: names two conversations"):
        write(tmp_path, [Conversation("x", ("a", "b"))] * 2)


@pytest.mark.parametrize(
    "line", ["{", "3", "[]", '{"item": "a"}', '{"item": "a", "turns": ["", "b"], "colour": 1}', '{"turns": 3}']
)
def test_a_line_that_is_no_conversation_is_named(tmp_path, line):
    write(tmp_path, [Conversation("x", ("a", "b"))])
    with (tmp_path / FILE).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(PresightError, match="line 2: is no conversation") as error:
        read(tmp_path)
    assert error.value.code == EXIT_DATA


def test_a_folder_without_any_is_one_sentence(tmp_path):
    with pytest.raises(PresightError, match="holds no conversations; give an artifact of kind conversations"):
        read(tmp_path)
