import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.vlm import dialogues
from adapt.vlm.conversations import Conversation
from adapt.vlm.dialogues import IMAGE, Unusable, alternate, parse, records, without_placeholder
from presight.errors import PresightError

PICTURED = {
    "id": "7",
    "image": "coco/a.jpg",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is this?"},
        {"from": "gpt", "value": "A boat."},
        {"from": "human", "value": "Where?"},
        {"from": "gpt", "value": "On a lake."},
    ],
}


def turns(*said, **more):
    """A record of turns: ``h:`` a human's, ``g:`` the model's, ``s:`` the system's."""
    names = {"h": "human", "g": "gpt", "s": "system"}
    talk = [{"from": names[each[0]], "value": each[2:]} for each in said]
    return {"id": "a", "conversations": talk, **more}


# --- records --------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.lists(VALUES, max_size=6),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
    st.sampled_from(["", "\n", "  \n\t"]),
    st.booleans(),
)
def test_an_array_is_read_as_json_reads_it(tmp_path_factory, found, chunk, indent, around, bom):
    path = tmp_path_factory.mktemp("array") / "x.json"
    text = around + json.dumps(found, indent=indent, ensure_ascii=chunk % 2 == 0) + around
    path.write_text(text.encode("utf-8", "replace").decode(), encoding="utf-8-sig" if bom else "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialogues, "CHUNK", chunk)
        assert list(records(path)) == json.loads(path.read_text("utf-8-sig"))


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), min_size=1, max_size=6), st.booleans())
def test_lines_are_read_as_json_reads_them(tmp_path_factory, found, gaps):
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.write_text(("\n \n" if gaps else "\n").join(json.dumps(each) for each in found))
    assert list(records(path)) == found


def test_only_one_record_is_held_at_a_time(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"value": "x" * 1000}] * 200))
    monkeypatch.setattr(dialogues, "CHUNK", 300)
    with path.open() as file:
        array = dialogues._Array(file, path)
        assert sum(1 for _ in array if len(array.text) < 3000) == 200
        assert array.number == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is neither a JSON array nor a JSON object a line"),
        ("hello", "is neither a JSON array nor a JSON object a line"),
        ('{\n "id": 1\n}', "is neither a JSON array nor a JSON object a line"),
        ('[{"id": 1}, {"id"', "is no JSON from record 2 on"),
        ('[{"id": 1} {"id": 2}]', "lacks ',' behind record 1"),
        ('[{"id": 1}', "lacks ',' behind record 1"),
        ('[{"id": 1},]', "is no JSON from record 2 on"),
        ('[{"id": 1}] {"id": 2}', "goes on behind its array"),
        ("[" * 100_000, "nests too deep in record 1"),
    ],
)
def test_what_is_no_list_of_records_is_refused(tmp_path, text, said):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(PresightError) as error:
        list(records(path))
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_record_without_end_is_not_read_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(dialogues, "CHUNK", 10)
    monkeypatch.setattr(dialogues, "LONGEST", 100)
    array = dialogues._Array(io.StringIO('[{"id": "' + "x" * 10_000), tmp_path)
    with pytest.raises(PresightError, match="is no JSON from record 1 on"):
        list(array)
    assert array.file.tell() < 200


def test_other_encodings_and_torn_lines(tmp_path):
    (tmp_path / "latin.json").write_bytes('[{"id": "é"}]'.encode("latin-1"))
    with pytest.raises(PresightError, match="is not UTF-8"):
        list(records(tmp_path / "latin.json"))
    (tmp_path / "torn.jsonl").write_text('{"id": 1}\n{"id": \n{"id": 3}\n')
    first, second, third = records(tmp_path / "torn.jsonl")
    assert (first["id"], third["id"]) == (1, 3)
    assert isinstance(second, Unusable)
    with pytest.raises(Unusable, match="is no JSON"):
        parse(second, 2)


# --- turns --------------------


def test_a_record_of_llava_is_read():
    found = parse(PICTURED, 1)
    assert (found.item, found.image, found.mended) == ("7", "coco/a.jpg", False)
    assert found.turns == ("What is this?", "A boat.", "Where?", "On a lake.")
    text = parse({"id": 3, "conversations": PICTURED["conversations"][2:]}, 1)
    assert (text.item, text.image) == ("3", None)
    roles = [{"role": "user", "content": "Hi <image>"}, {"role": "assistant", "content": "Ho"}]
    assert parse({"image": ["a.png"], "conversations": roles}, 5).item == "record 5"
    assert parse({"image": ["a.png"], "conversations": roles}, 5).turns == ("Hi", "Ho")


@pytest.mark.parametrize(
    ("said", "kept", "mended"),
    [
        (("h:a", "g:b"), ("a", "b"), False),
        (("g:a caption",), ("", "a caption"), False),
        (("h:", "g:a caption"), ("", "a caption"), False),
        (("g:cut off", "h:a", "g:b"), ("a", "b"), True),
        (("h:a", "g:b", "h:and"), ("a", "b"), True),
        (("h:a", "h:b", "g:c", "g:d"), ("a\n\nb", "c\n\nd"), True),
        (("h:a", "g: \n", "h:b", "g:c"), ("b", "c"), True),
        (("s:Be brief.", "h:a", "g:b"), ("Be brief.\n\na", "b"), True),
        (("s:Be brief.", "h:a", "g:", "h:b", "g:c"), ("Be brief.\n\nb", "c"), True),
        (("s:Be brief.", "g:a"), ("Be brief.", "a"), False),
    ],
)
def test_turns_are_mended_to_alternate(said, kept, mended):
    found = parse(turns(*said, image="a.png"), 1)
    assert (found.turns, found.mended) == (kept, mended)


@pytest.mark.parametrize(
    ("record", "why", "expected"),
    [
        (turns("h:a", "g:b", image=["a.png", "b.png"]), "has several images", True),
        (turns("h:a", "g:b", video="a.mp4"), "has a video", True),
        (turns("h:a", "g:b", image=7), "names no file as its image", False),
        (turns("h:a", "g:b", image=[7]), "names no file as its image", False),
        (turns("h:<image> a", "g:b"), "speaks of an image that it lacks", False),
        (turns("h:a", "g: "), "has no answer", False),
        (turns("h:a"), "has no answer", False),
        (turns("s:a"), "has no answer", False),
        (turns(), "has no conversations", False),
        ({"id": "a"}, "has no conversations", False),
        ({"conversations": "abc"}, "has no conversations", False),
        ({"conversations": ["abc"]}, "has a turn that is none", False),
        ({"conversations": [{"from": "dog", "value": "wow"}]}, "has a turn that is none", False),
        ({"conversations": [{"from": "gpt", "value": None}]}, "has a turn that is none", False),
        ({"conversations": [{"from": ["gpt"], "value": "a"}]}, "has a turn that is none", False),
        ([1], "is no record", False),
        (None, "is no record", False),
    ],
)
def test_what_cannot_be_used_says_why(record, why, expected):
    with pytest.raises(Unusable) as error:
        parse(record, 1)
    assert (error.value.kind, error.value.expected) == (why, expected)


def test_half_a_surrogate_pair_can_be_written():
    found = parse(json.loads('{"id": "\\ud83d", "conversations": [{"from": "gpt", "value": "a \\ud83d b"}]}'), 1)
    assert found.turns == ("", "a ? b")
    "".join((found.item, *found.turns)).encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<image>\nWhat?", "What?"),
        ("What?\n<image>", "What?"),
        ("Look at <image> and say.", "Look at and say."),
        ("One:\n<image>\nand more", "One:\nand more"),
        ("<image>", ""),
        ("<image><image> What?", "What?"),
        ("no picture  here", "no picture  here"),
    ],
)
def test_placeholders_go(before, after):
    assert without_placeholder(before) == after


WORDS = st.sampled_from(["", " ", "a", "b c", "<image>", "x <image>\n", "<im<image>age>", "\ud83d"])
SAID = st.lists(st.tuples(st.sampled_from(["h", "g", "s"]), WORDS), max_size=7)


@given(SAID, st.booleans())
def test_whatever_is_kept_can_be_trained_on(said, pictured):
    record = turns(*(f"{role}:{text}" for role, text in said), **({"image": "a.png"} if pictured else {}))
    try:
        found = parse(record, 1)
    except Unusable:
        answers = [dialogues.clean(text) for role, text in said if role == "g"]
        lacking = not pictured and any(IMAGE in text for role, text in said if role == "h")
        spoken = [role for role, _ in said if role != "s"]
        asked = spoken.index("h") if "h" in spoken else 0
        heard = [text for role, text in [each for each in said if each[0] != "s"][asked:] if role == "g"]
        assert lacking or not answers or not any(without_placeholder(text) for text in heard)
        return
    Conversation("a", found.turns, "key" if pictured else None)
    assert not pictured or not any(IMAGE in turn for turn in found.turns)
    again = turns(*(f"{'hg'[place % 2]}:{turn}" for place, turn in enumerate(found.turns)), image="a.png")
    if pictured:
        assert parse(again, 1).turns == found.turns
        assert not parse(again, 1).mended


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), st.sampled_from(["", "a", "b"]))))
def test_no_answer_is_lost_behind_the_first_question(said):
    kept, mended = alternate(said)
    spoken = [each for each in said if each[0] != "system"]
    roles = [role for role, _ in spoken]
    first = roles.index("user") if "user" in roles else 0
    expected = [text for role, text in spoken[first:] if role == "assistant" and text]
    assert [part for answer in kept[1::2] for part in answer.split("\n\n")] == expected
    assert mended or kept in (tuple(text for _, text in said), ("", *(text for _, text in said)))
