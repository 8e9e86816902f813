import pytest

from eval.answers.choices import Answered
from eval.answers.questions import Question
from eval.answers.reading import Reading, read_choice
from eval.answers.scoring import Scores
from eval.vision.conditions import Shown
from eval.vision.items import Item
from eval.vision.sheet import COLUMNS, Entry, chance, declines, metric, result, rows, said, summary


def choice(name, right, chosen, reply="A", task="t", cluster="", rotation=0, **facts):
    options = ("u", "v", "w")
    item = Item(name, task, "g", "?", "k" * 32, options, right, cluster=cluster, facts=facts)
    scores = Scores(tuple(-1.0 - (place != chosen) for place in range(3)), (1,) * 3, (1,) * 3, (False,) * 3)
    question = Question(name, "?", options, right, cluster or name, rotation)
    reading = None if reply is None else read_choice(reply, options)
    return Entry(item, Shown("k" * 32), Answered(question, scores, reply, reading), reply)


def free(name, reply, answers=("12",), measure="exact", task="t", **facts):
    return Entry(Item(name, task, "g", "?", None, (), answers, measure, facts=facts), Shown(), None, reply)


def test_rows_are_means_over_rotations():
    entries = [choice("a", 0, 0), choice("a", 0, 1, rotation=1), choice("b", 2, 2, reply="I cannot tell")]
    first, second = rows(entries, "sum")
    assert (first["score"], first["asked"], first["questions"]) == (0.5, 2, 1)
    assert (second["score"], second["answer"], second["abstained"]) == (1.0, 0.0, 1.0)
    assert [row["score"] for row in rows(entries, "reply")] == [1.0, 0.0]
    assert rows([choice("a", 0, 0, reply=None)], "sum")[0]["abstained"] is None


def test_chance_of_what_counts_together_is_that_of_guessing_each():
    pair = [free(str(n), "yes", ("yes", "no")[n : n + 1], "yes_no", pair="p") for n in range(2)]
    assert [(row["chance"], row["score"]) for row in rows(pair, "sum")] == [(0.375, 0.5), (0.375, 0.0)]
    circle = [choice(str(n), n, n, circle="q") for n in range(3)]
    (row,) = rows(circle, "sum")
    assert row["chance"] == pytest.approx(1 / 27)
    assert (row["item"], row["questions"], row["score"]) == ("q", 3, 1.0)
    assert chance(free("a", "x").item) == 0


def test_a_row_has_the_same_columns_whatever_the_item_is():
    found = [choice("a", 0, 0).record("sum"), free("b", "12", bucket="0-30").record("sum")]
    assert set(found[0]) == set(found[1]) == set(COLUMNS)
    assert (found[1]["score"], found[1]["logprob"], found[1]["facts"]) == (1.0, None, '{"bucket": "0-30"}')
    assert (found[0]["by_reply"], found[0]["label"], found[0]["tier"]) == (0, 0, "letter")


@pytest.mark.parametrize(
    ("reply", "reading", "expected"),
    [
        ("12", None, "answer"),
        (" \n", None, "nothing"),
        ("I cannot see any image.", None, "abstained"),
        ("I don't know", None, "abstained"),
        ("There is no dog.", None, "answer"),
        ("A", Reading(0, "letter"), "answer"),
        ("hm", Reading(None, "none"), "nothing"),
        ("A or B", Reading(None, "ambiguous"), "nothing"),
        ("no idea", Reading(None, "abstained"), "abstained"),
    ],
)
def test_replies_answer_decline_or_do_neither(reply, reading, expected):
    assert said(reply, reading) == expected
    if reading is None:
        assert declines(reply) == (expected == "abstained")


def test_the_metric_of_a_task_is_what_its_scores_are():
    items = {name: free(name, "", measure=name).item for name in ("exact", "vqa", "anls", "number:2")}
    assert metric([items["exact"], items["vqa"], choice("a", 0, 0).item, items["number:2"]]) == "accuracy"
    assert metric([items["anls"]]) == "anls"
    assert metric([items["anls"], items["exact"]]) == "score"


def test_a_task_of_choices_and_free_answers_has_both_figures():
    entries = [choice(str(n), n % 3, n % 2, cluster=f"c{n}") for n in range(6)]
    entries += [free("x", "12"), free("y", "I don't know"), free("z", "13")]
    found = summary(entries, "sum", 0.95)
    assert found["summary"]["items"] == 6
    assert found["free"] == {"items": 3, "said": {"answer": 2, "abstained": 1}, "metrics": {"exact": 1 / 3}}
    alone = summary([entries[0], *entries[6:]], "sum", 0.95)
    assert alone["summary"] is None
    assert summary(entries[:6], "sum", 0.95)["free"] is None
    items = [each.item for each in entries]
    described = result(items, rows(entries, "sum"), 0.95)
    assert (described["items"], described["column"], described["group"]) == (9, "score", "g")
    assert described["chance"] == pytest.approx(6 / 3 / 9)
    assert result(items[1:], rows(entries[1:], "sum"), 0.95)["version"] != described["version"]
