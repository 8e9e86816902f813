import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_endpoint import Say, Server

from adapt.vlm import conversations
from adapt.vlm.conversations import Conversation
from adapt.vlm.tagging import SHOWN, Tag, prompt, shown
from corpus.labels.prompt import Invalid
from presight import card
from presight.errors import EXIT_CONTINUE, PresightError
from presight.stage import Stage


class Given(Stage):
    """Conversations that lie there already."""

    kind = "conversations"


def answer(label):
    return Say(json.dumps({"reason": "toy", "labels": [label]}))


def sort(asked):
    """Counting is perception, why is reasoning, all else is neither."""
    return answer("perception" if "How many" in asked.piece else "reasoning" if "Why" in asked.piece else "other")


@pytest.fixture
def given_folder(tmp_path):
    """Eighteen conversations of six kinds, two of them without a picture or with a tag already."""
    folder = tmp_path / "given"
    folder.mkdir()
    found = []
    for n in range(18):
        question = ("How many {}?", "Why {}?", "Hello {}!")[n % 3].format(n)
        split = "validation" if n == 4 else "train"
        found.append(Conversation(f"c{n}", (question, f"That {n}."), f"key{n}", split=split))
    found.append(Conversation("text", ("How many?", "None."), None))
    found.append(Conversation("known", ("Why?", "So."), "key", tag="perception"))
    found.append(Conversation("same", ("How many 0?", "That 0."), "other key"))
    conversations.write(folder, found)
    return folder


def run(server, folder, out, **fields):
    settings = {"model": "m", "pause": 0.01, "timeout": 5.0, "retries": 1, "concurrency": 4} | fields
    out.mkdir(exist_ok=True, parents=True)
    Tag(data=Given(), endpoint=server.url, **settings).run(out, {"data": folder})
    return {each.item: each for split in ("train", "validation") for each in conversations.read(out, split)}


def test_every_conversation_gets_the_tag_that_is_answered(given_folder, tmp_path, capsys):
    with Server(sort) as server:
        found = run(server, given_folder, tmp_path / "out")
        assert len(server.asked) == 18  # equal texts are asked about once, text and tagged ones not at all
        assert server.asked[0].piece == "User: How many 0?\nAssistant: That 0."
        assert "exactly one label" in server.asked[0].body["messages"][0]["content"]
    before = {each.item: each for split in ("train", "validation") for each in conversations.read(given_folder, split)}
    assert found.keys() == before.keys()
    for item, each in found.items():
        was = before[item]
        assert (each.turns, each.picture, each.split) == (was.turns, was.picture, was.split)
        number = int(item[1:]) if item[1:].isdecimal() else 0
        tags = {"text": "other", "known": "perception", "same": "perception"}
        assert each.tag == tags.get(item, ("perception", "reasoning", "other")[number % 3])
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert (counts["asked"], counts["failed"], counts["tokens"]) == (18, 0, 18 * 110)
    assert counts["tag perception"] == 8
    about = json.loads((tmp_path / "out" / "tags.json").read_text())
    assert (about["models"], about["faults"], about["cost"]) == ({"m@toy": 18}, {}, None)
    assert about["prompt"] == prompt().digest
    assert "19 of 21 conversations were asked about" in capsys.readouterr().err
    assert "answers.jsonl" not in {path.name for path in card.payload(tmp_path / "out")}  # times are no payload
    assert (tmp_path / "out" / "log" / "answers.jsonl").exists()


def test_tagged_ones_are_asked_again_if_asked_for(given_folder, tmp_path):
    with Server(sort) as server:
        assert run(server, given_folder, tmp_path / "out", again=True)["known"].tag == "reasoning"
        assert len(server.asked) == 19


def test_draws_are_nested_and_the_rest_stays_untagged(given_folder, tmp_path):
    drawn = []
    for limit in (3, 9, 100):
        with Server(sort) as server:
            found = run(server, given_folder, tmp_path / f"out{limit}", limit=limit)
        drawn.append({item for item, each in found.items() if each.tag and item not in ("text", "known")})
    assert [len(each) for each in drawn] == [3, 9, 19]
    assert drawn[0] < drawn[1] < drawn[2]


def test_a_budget_stops_and_more_of_it_goes_on(given_folder, tmp_path):
    out = tmp_path / "out"
    with Server(sort) as server:
        with pytest.raises(PresightError, match="budget: has only") as error:
            run(server, given_folder, out, max_tokens=3000, concurrency=1)
        assert error.value.code == EXIT_CONTINUE
        asked = len(server.asked)
        assert 0 < asked < 18
        assert not (out / conversations.FILE).exists()
        found = run(server, given_folder, out)
        assert len(server.asked) == 18
    assert all(each.tag for each in found.values())
    log = (out / "log" / "answers.jsonl").read_text().splitlines()
    assert len(log) == 1 + 18


def test_invalid_answers_are_sent_back_then_fail(given_folder, tmp_path):
    def script(asked):
        if "Why" not in asked.piece:
            return sort(asked)
        if asked.time:
            return answer("reasoning")
        return Say('{"labels": ["reasoning", "perception"]}') if "1" in asked.piece else Say('{"labels": []}')

    with Server(script) as server:
        found = run(server, given_folder, tmp_path / "out")
        assert {each.tag for item, each in found.items() if each.turns[0].startswith("Why") and item != "known"} == {
            "reasoning"
        }
        nudged = [asked.body["messages"] for asked in server.asked if asked.time == 1]
        assert len(nudged) == 6
        assert all("exactly one of: perception, reasoning, other" in messages[-1]["content"] for messages in nudged)
        assert any("it holds 2 labels" in messages[-1]["content"] for messages in nudged)
    stubborn = Server(lambda asked: Say('{"labels": []}') if "Why" in asked.piece else sort(asked))
    with stubborn as server:
        with pytest.raises(PresightError, match=r"6 of 19 conversations got no valid answer, as c1"):
            run(server, given_folder, tmp_path / "failed", nudges=0)
        found = run(server, given_folder, tmp_path / "failed", nudges=0, tolerance=0.5)
    assert [item for item, each in found.items() if not each.tag] == ["c1", "c7", "c10", "c13", "c16", "c4"]
    assert json.loads((tmp_path / "failed" / "tags.json").read_text())["faults"] == {"not one label": 6}


def test_who_and_what_is_asked_is_identity_and_where_is_not():
    first = Tag(data=Given(), endpoint="http://a/v1", model="m", max_tokens=5, concurrency=2)
    assert first.fingerprint == Tag(data=Given(), endpoint="http://b:8000", model="m").fingerprint
    assert first.fingerprint != Tag(data=Given(), endpoint="http://a/v1", model="n").fingerprint
    with pytest.raises(PresightError, match="endpoint: 'nowhere' is no address"):
        Tag(data=Given(), endpoint="nowhere", model="m")._inquire(None, [])
    with pytest.raises(PresightError, match="body: is no JSON"):
        Tag(data=Given(), endpoint="http://a", model="m", body="{")._inquire(None, [])


def test_nothing_to_ask_asks_nothing(tmp_path):
    (tmp_path / "given").mkdir()
    conversations.write(tmp_path / "given", [Conversation("a", ("", "b"))])
    with Server(sort) as server:
        assert run(server, tmp_path / "given", tmp_path / "out")["a"].tag == "other"
        assert server.asked == []


@given(st.lists(st.text(), min_size=2, max_size=6))
def test_what_is_shown_can_be_sent_and_is_not_long(turns):
    text = shown(turns)
    text.encode()
    assert len(text) <= SHOWN + 2
    longer = shown(["x" * SHOWN, "y"])
    assert longer.endswith(" …")
    assert "y" not in longer


def test_exactly_one_label_counts():
    asking = prompt()
    assert asking.parse('{"reason": "r", "labels": ["other"]}').labels == ("other",)
    for raw, kind in (
        ('{"labels": []}', "not one label"),
        ('{"labels": ["other", "reasoning"]}', "not one label"),
        ('{"labels": ["ocr"]}', "unknown label"),
        ('{"reason": "...", "labels": ["..."]}', "unknown label"),
        ("perception", "no object"),
    ):
        with pytest.raises(Invalid) as error:
            asking.parse(raw)
        assert error.value.kind == kind
