import json

import numpy as np
import pyarrow.parquet
import pytest
from pydantic import ValidationError
from toy_endpoint import Say, Server
from toy_seeing import KEYS, Encoded, Questions, Vlm, questions, write_features, write_questions, write_vlm

from eval.answers.choices import reply
from eval.records import results
from eval.vision.conditions import Shown
from eval.vision.items import Item
from eval.vision.judge import Piece, Rubric
from eval.vision.lengths import at_length
from eval.vision.seeing import EXPLAIN, TURN, Pictured, with_projector
from eval.vision.traces import Trace, Traces, settled
from presight.errors import PresightError
from presight.stage import Resources

ITEMS = [each for each in questions() if each.picture]
YES, NO = '{"reason": "it follows", "sound": true}', '{"reason": "it does not", "sound": false}'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return {
        "model": write_vlm(folder),
        "features[0]": write_features(folder / "features"),
        "questions[0]": write_questions(folder / "questions", ITEMS),
    }


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    for name in ("PRESIGHT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def stage(**fields):
    given = {"model": Vlm(), "questions": Questions(), "features": Encoded(), "tokens": 24, "pause": 0.01, **fields}
    return Traces(**{"retries": 0, "words": 3, **given}).settle(fetch=False)


def run(made, out, **fields):
    out.mkdir(exist_ok=True)
    stage(**fields).run(out, made)
    rows = pyarrow.parquet.read_table(out / "items.parquet").to_pylist()
    return json.loads((out / "scores.json").read_text()), rows


def script(asked):
    """Sound is what has an even number of characters; about some pieces nothing valid is ever said."""
    if "Read 3." in asked.piece:
        return Say("well")
    return Say(YES if len(asked.piece) % 2 == 0 else NO)


def sound(item, text):
    piece = Piece.of(Pictured.of(item, Shown(item.picture), EXPLAIN).text(), text).text
    return float("Read 3." not in piece and len(piece) % 2 == 0) if text else 0.0


def test_explanations_are_judged_and_measured(made, tmp_path):
    with Server(script) as server:
        found, rows = run(made, tmp_path / "out", judge="m", endpoint=server.url, nudges=1)
    sighted = with_projector(made["model"], [made["features[0]"]], 0, 8192)
    asked = [Pictured.of(each, Shown(each.picture), EXPLAIN) for each in ITEMS]
    written = [each.strip() for each in reply(sighted.scorer, asked, tokens=24, stop=TURN, look=sighted.look)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "traces.jsonl").read_text("utf-8").splitlines()]
    assert [line["trace"] for line in lines] == written
    assert [line["item"] for line in lines] == [row["item"] for row in rows] == [each.item for each in ITEMS]
    assert [row["words"] for row in rows] == [len(each.split()) for each in written]
    assert [row["sound"] for row in rows] == [sound(*pair) for pair in zip(ITEMS, written, strict=True)]
    assert 0 < sum(row["sound"] for row in rows) < len(rows)
    (unjudged,) = (row for row in rows if row["verdict"] is None)
    assert (unjudged["item"], unjudged["sound"]) == ("r3", 0.0)
    assert json.loads((tmp_path / "out" / "counts.json").read_text()) == {"items": 32, "tasks": 3, "unjudged": 1}
    assert found["judge"]["judges"] == {"m@toy": len({each.text for each in map(piece_of, lines)}) + 1}
    assert found["judge"]["faults"] == {"no object": 2}
    assert found["by"] == f"m {Rubric.read().digest}"


def piece_of(line):
    return Piece.of(line["question"], line["trace"])


def test_every_task_has_four_results(made, tmp_path):
    with Server(script) as server:
        found, rows = run(made, tmp_path / "out", judge="m", endpoint=server.url)
    held = {(each.task, each.metric): each for each in results(tmp_path / "out")}
    assert len(held) == 12
    for task in ("colour", "where", "read"):
        own = [row for row in rows if row["task"] == task]
        for metric, column in (("accuracy", "score"), ("words", "words"), ("soundness", "sound")):
            assert held[task, metric].scores.mean() == pytest.approx(np.mean([row[column] for row in own]))
        styled = at_length([row["sound"] for row in own], [row["words"] for row in own], 3)
        assert held[task, "soundness_at_3_words"].scores.mean() == pytest.approx(styled.values.mean())
        assert found["tasks"][task]["slope"] == pytest.approx(styled.slope)
        assert sum(each["items"] for each in found["tasks"][task]["bins"]) == len(own)
    assert held["colour", "soundness"].facts["by"].startswith("m ")
    assert held["colour", "accuracy"].facts["chance"] == pytest.approx(1 / 3)
    assert held["colour", "words"].facts["chance"] is None


def test_a_run_that_stopped_goes_on(made, tmp_path):
    with Server(script) as server:
        how = {"judge": "m", "endpoint": server.url, "concurrency": 1}
        with pytest.raises(PresightError, match="budget: has only"):
            run(made, tmp_path / "out", **how, max_tokens=4000)
        first = len(server.asked)
        assert first
        assert not (tmp_path / "out" / "scores.json").exists()
        run(made, tmp_path / "out", **how)
        assert len({asked.piece for asked in server.asked}) == len(server.asked) - 2  # but for what is invalid
        run(made, tmp_path / "whole", **how)
    for name in ("scores.json", "traces.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_without_a_judge_there_is_depth(made, tmp_path):
    found, rows = run(made, tmp_path / "out")
    assert found["judge"] is None
    assert {each.metric for each in results(tmp_path / "out")} == {"accuracy", "words"}
    assert "sound" not in rows[0]


def test_an_explanation_ends_in_an_answer():
    chosen = Item("a", "t", "g", "?", KEYS[0], ("red", "blue"), 1)
    read = Item("b", "t", "g", "?", KEYS[0], (), ("12",), metric="exact")
    for item, text, score, said in (
        (chosen, "It is like the sky. So the answer is B.", 1.0, "answer"),
        (chosen, "It is like blood. The answer is red.", 0.0, "answer"),
        (chosen, "I cannot see the picture.", 0.0, "abstained"),
        (chosen, "", 0.0, "nothing"),
        (read, "The sign has two digits. The answer is: 12.", 1.0, "answer"),
        (read, "One, then two.\n12", 1.0, "answer"),
        (read, "The answer is 12 or so", 0.0, "answer"),
    ):
        row = Trace(item, "?", text).row(None)
        assert (row["score"], row[said]) == (score, 1.0), text
    assert settled("Antwort: ja. The answer: no") == "no"


def test_who_judges_and_by_what_is_identity_and_where_is_not(tmp_path):
    first = stage(judge="m", endpoint="http://a/v1")
    assert first.rubric_digest == Rubric.read().digest
    again = stage(judge="m", endpoint="http://b/v1", concurrency=1, max_tokens=9, resources=Resources(gpus=1))
    assert again.fingerprint == first.fingerprint
    own = tmp_path / "rubric.yaml"
    own.write_text("name: own\nversion: 1\ntask: Judge it.\ncriteria: [it follows]\n")
    others = [stage(judge="n", endpoint="http://a/v1"), stage(judge="m", endpoint="http://a/v1", rubric=own), stage()]
    assert len({each.fingerprint for each in [first, *others]}) == 4
    with pytest.raises(ValidationError, match="a judge is named, but no endpoint"):
        stage(judge="m")
    planned = stage(judge="m", endpoint="http://127.0.0.1:9/v1", rubric=own)
    own.write_text(own.read_text().replace("follows", "goes on"))
    with pytest.raises(PresightError, match="rubric: changed since it was planned"):
        planned._verdicts([], tmp_path)
