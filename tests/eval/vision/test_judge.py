import json

import pytest
from toy_endpoint import Say, Server

from corpus.labels.endpoint import Endpoint
from corpus.labels.prompt import Invalid
from eval.vision.judge import SHIPPED, SOUND, Piece, Rubric, judged
from presight.errors import EXIT_CONTINUE, PresightError

RUBRIC = Rubric.read()
PIECES = [Piece.of(f"Which? {n}", f"It is {n}, so {n}.") for n in range(6)]
YES, NO = '{"reason": "it follows", "sound": true}', '{"reason": "it does not", "sound": false}'


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("PRESIGHT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def run(server, out, pieces=PIECES, rubric=RUBRIC, model="m", **how):
    chat = Endpoint(server.url, model, pause=0.01, retries=1, timeout=10.0)
    return judged(pieces, out, rubric, chat, **{"concurrency": 2, **how})


def odd(asked):
    return Say(YES if int(asked.piece.rstrip(".").split()[-1]) % 2 else NO)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (YES, (SOUND,)),
        (NO, ()),
        ('{"sound": "Yes"}', (SOUND,)),
        ('{"sound": "no", "reason": 3}', ()),
        ('I think {it} does: ```json\n{"reason": "a } b", "sound": true}\n```', (SOUND,)),
        ('<think>{"sound": true}</think>{"sound": false}', ()),
        ('{"note": 1} {"sound": true} {"sound": "true"}', (SOUND,)),
    ],
)
def test_a_verdict_is_read_wherever_it_stands(raw, expected):
    assert RUBRIC.parse(raw).labels == expected


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("", "no object"),
        ("sound", "no object"),
        ('{"reason": "x"}', "no object"),
        ('{"sound": true', "broken object"),
        ('{"sound": 7}', "no verdict"),
        ('{"sound": null}', "no verdict"),
        ('{"sound": "maybe"}', "no verdict"),
        ('{"reason": "...", "sound": true or false}', "broken object"),  # the form itself, copied
        (f"{YES} {NO}", "several answers"),
    ],
)
def test_what_is_no_verdict_says_why(raw, kind):
    with pytest.raises(Invalid) as caught:
        RUBRIC.parse(raw)
    assert caught.value.kind == kind
    first, second, third = RUBRIC.messages("piece", raw)
    assert first == RUBRIC.messages("piece")[0]
    assert second["role"] == "assistant"
    assert caught.value.fault in third["content"]


def test_the_rubric_is_what_the_judge_reads():
    text = RUBRIC.messages("the piece")[0]["content"]
    assert all(line in text for line in (RUBRIC.task, *RUBRIC.criteria, *RUBRIC.rules))
    assert "<piece>\nthe piece\n</piece>" in text
    assert RUBRIC.model_copy(update={"rules": RUBRIC.rules[1:]}).digest != RUBRIC.digest


def test_pieces_are_judged_once_and_what_was_said_is_kept(tmp_path):
    with Server(odd) as server:
        found = run(server, tmp_path, [*PIECES, *PIECES])
        assert len(server.asked) == len(PIECES)
        assert server.asked[0].body["temperature"] == 0
    assert list(found.sound.values()) == [False, True] * 3
    assert found.reasons[PIECES[1].id] == "it follows"
    assert (found.about["rubric_digest"], found.about["judges"]) == (RUBRIC.digest, {"m@toy": 6})
    assert found.about["tokens"] == {"prompt": 600, "answer": 60}
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert lines[0]["rubric"] == RUBRIC.digest
    assert {line["raw"] for line in lines[1:]} == {YES, NO}
    with Server(odd) as server:
        assert run(server, tmp_path).sound == found.sound
        assert not server.asked


def test_invalid_answers_are_sent_back_and_then_counted(tmp_path):
    def script(asked):
        return Say("hm") if "Which? 3" in asked.piece or asked.time == 0 else Say(YES)

    with Server(script) as server:
        found = run(server, tmp_path, nudges=1)
    assert [found.sound[each.id] for each in PIECES] == [True, True, True, None, True, True]
    assert found.about["faults"] == {"no object": 7}


def test_a_run_that_stops_is_gone_on_with(tmp_path):
    with Server(odd) as server:
        worst = Endpoint(server.url, "m").most(RUBRIC.messages(PIECES[0].text)).tokens
        with pytest.raises(PresightError, match=r"budget: has only .* left") as caught:
            run(server, tmp_path, max_tokens=worst + 250)  # an answer takes 110
        assert caught.value.code == EXIT_CONTINUE
        before = len(server.asked)
        assert 0 < before < len(PIECES)
        found = run(server, tmp_path)
        assert len(server.asked) == len(PIECES)
    assert list(found.sound.values()) == [False, True] * 3
    with Server(odd) as server:
        for other in ({"model": "n"}, {"rubric": RUBRIC.model_copy(update={"version": 2, "task": "Judge."})}):
            with pytest.raises(PresightError, match="holds answers to another"):
                run(server, tmp_path, **other)
    with pytest.raises(PresightError, match="gave no answer in 2 tries"):
        run(server, tmp_path, pieces=[Piece.of("?", "new")])


def test_a_rubric_of_ones_own_is_checked(tmp_path):
    path = tmp_path / "rubric.yaml"
    path.write_text(SHIPPED.read_text())
    assert Rubric.read(path) == RUBRIC
    for text, said in (
        ("- a", "is no rubric"),
        ("{", "is no rubric"),
        ("name: x\nversion: 1\ntask: t\ncriteria: []", "criteria: tuple should have at least 1 item"),
        ("name: x\nversion: 1\ntask: t\ncriteria: [a]\nrule: [b]", "rule: extra inputs are not permitted"),
    ):
        path.write_text(text)
        with pytest.raises(PresightError, match=said):
            Rubric.read(path)
    with pytest.raises(PresightError, match="is no rubric"):
        Rubric.read(tmp_path / "none.yaml")


def test_half_a_character_is_judged_as_what_it_looks_like(tmp_path):
    with Server(lambda _: Say(YES)) as server:
        found = run(server, tmp_path, [Piece.of("?", "a \ud83d b")])
    assert list(found.sound.values()) == [True]
