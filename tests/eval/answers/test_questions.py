import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answers.questions import Question, read_questions, rotations
from presight.errors import PresightError

WALL = Question("1", "What hangs there?", ("curtain", "television", "cabinet"), 1, "room")


def test_a_question_is_written_with_letters_or_without_its_options():
    assert WALL.text() == "What hangs there?\nA. curtain\nB. television\nC. cabinet\nAnswer:"
    assert WALL.text("cloze") == "What hangs there?\nAnswer:"
    assert WALL.request().options == (" A", " B", " C")
    assert WALL.request("cloze").options == (" curtain", " television", " cabinet")
    assert WALL.request("cloze", "").options == WALL.options
    assert WALL.request().prompt == WALL.text()
    with pytest.raises(PresightError, match="27 are more than there are letters"):
        Question("1", "?", tuple(map(str, range(27))), 0).text()


@given(st.integers(2, 8), st.data())
def test_rotations_put_every_option_in_every_place_and_keep_the_answer(count, data):
    options = tuple(f"option {place}" for place in range(count))
    question = Question("1", "?", options, data.draw(st.integers(0, count - 1)))
    turned = rotations(question)
    assert turned[0] == question
    for place in range(count):
        assert {each.options[place] for each in turned} == set(options)
    for each in turned:
        assert each.options[each.answer] == options[question.answer]
        assert [options[each.original(place)] for place in range(count)] == list(each.options)
    first, second = (data.draw(st.integers(0, 20)) for _ in range(2))
    assert question.rotated(first).rotated(second) == question.rotated(first + second)


def write(tmp_path, *records):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in records))
    return path


def test_questions_are_read_whatever_way_their_answer_is_given(tmp_path):
    options = ["curtain", "television", "B", "7"]
    path = write(
        tmp_path,
        {"prompt": "a?", "options": options, "answer": 1},
        "",
        {"question": "b?", "choices": options, "answer": "a", "item": 17, "cluster": 3},
        {"question": "c?", "choices": options, "answer": "television"},
        {"question": "d?", "choices": options, "answer": "B"},
        {"question": "e?", "choices": [1, 7, 2.5], "answer": "7"},
    )
    first, second, third, fourth, fifth = read_questions(path)
    assert first == Question("1", "a?", tuple(options), 1)
    assert second == Question("17", "b?", tuple(options), 0, "3")
    assert (third.item, third.answer) == ("4", 1)
    assert fourth.answer == 2  # an option's text, before the letter
    assert (fifth.options, fifth.answer) == (("1", "7", "2.5"), 1)


GOOD = {"prompt": "?", "options": ["x", "y"], "answer": 0}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{", "line 2: no JSON"),
        ("[1]", "line 2: a list, no object"),
        ({"options": ["x", "y"], "answer": 0}, "line 2: no 'prompt' or 'question'; give 'prompt'"),
        (GOOD | {"question": "?"}, "line 2: both 'prompt' and 'question'"),
        (GOOD | {"prompt": " "}, "line 2: the prompt is ' '"),
        (GOOD | {"options": "x"}, "line 2: the options are 'x'; give a list"),
        (GOOD | {"options": ["x"]}, "line 2: .* at least two"),
        (GOOD | {"options": ["x", ""]}, "line 2: .* none of them empty"),
        (GOOD | {"options": ["x", "x"]}, "line 2: options are the same"),
        ({"prompt": "?", "options": ["x", "y"]}, "line 2: no 'answer'"),
        (GOOD | {"answer": 2}, "line 2: the answer is 2, which is no option; give 0 to 1, A to B"),
        (GOOD | {"answer": -1}, "line 2: the answer is -1"),
        (GOOD | {"answer": True}, "line 2: the answer is True"),
        (GOOD | {"answer": "C"}, "line 2: the answer is 'C'"),
        (GOOD | {"answer": None}, "line 2: the answer is None"),
        (GOOD | {"item": 1}, "question 2: item '1' is that of question 1, too"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, wrong, said):
    with pytest.raises(PresightError, match=said):
        read_questions(write(tmp_path, GOOD, wrong))


def test_a_file_without_questions_is_refused(tmp_path):
    with pytest.raises(PresightError, match="no question in it"):
        read_questions(write(tmp_path, "", ""))
    with pytest.raises(PresightError, match="cannot be read"):
        read_questions(tmp_path / "nowhere.jsonl")
    (tmp_path / "latin.jsonl").write_bytes("é".encode("latin-1"))
    with pytest.raises(PresightError, match="cannot be read"):
        read_questions(tmp_path / "latin.jsonl")
