import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.vision.items import FILE, Item, read, write
from presight.errors import EXIT_DATA, PresightError

ONE = Item("a", "colour", "General", "Which?", "k" * 32, ("red", "blue"), 1, cluster="scene", facts={"bucket": "0-30"})
FREE = Item("b", "read", "", "What?", None, (), ("x", "an x"), metric="vqa")
texts = st.text(max_size=12)


@given(texts, texts, st.lists(texts, min_size=2, max_size=4, unique=True), st.data())
def test_what_is_written_is_read(tmp_path_factory, prompt, cluster, options, data):
    out = tmp_path_factory.mktemp("questions")
    answer = data.draw(st.integers(0, len(options) - 1))
    items = [Item("one", "t", "g", prompt, None, tuple(options), answer, cluster=cluster), FREE, ONE]
    write(out, items)
    assert read(out) == items
    assert json.loads((out / "counts.json").read_text())["questions"] == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"answer": 2}, "a: the answer is 2, which is no option"),
        ({"answer": ("red",)}, "which is no option"),
        ({"options": ("red", "red"), "answer": 0}, "give two or more, all different"),
        ({"options": ("red",), "answer": 0}, "give two or more, all different"),
        ({"options": ()}, "has neither options nor texts"),
        ({"options": (), "answer": ()}, "has neither options nor texts"),
    ],
)
def test_what_cannot_be_answered_is_no_item(fields, said):
    given = {"item": "a", "task": "t", "group": "", "prompt": "?", "picture": None, "options": ("u", "v"), "answer": 1}
    with pytest.raises(PresightError, match=said):
        Item(**{**given, **fields})


def test_names_are_single_and_there_is_at_least_one(tmp_path):
    with pytest.raises(PresightError, match="a: names two questions"):
        write(tmp_path, [ONE, ONE])
    with pytest.raises(PresightError, match="questions: none were made"):
        write(tmp_path, [])


def test_a_damaged_line_is_named(tmp_path):
    with pytest.raises(PresightError, match="holds no questions about pictures"):
        read(tmp_path)
    write(tmp_path, [ONE, FREE])
    path = tmp_path / FILE
    for line in ("{", '{"item": "c"}', '{"item": 1, "options": 3, "answer": 0}', "[]"):
        path.write_text(path.read_text().splitlines()[0] + f"\n{line}\n")
        with pytest.raises(PresightError, match=r"line 2: is no question") as caught:
            read(tmp_path)
        assert caught.value.code == EXIT_DATA
