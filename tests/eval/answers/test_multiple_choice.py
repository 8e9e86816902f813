import json

import numpy as np
import pyarrow.parquet
import pytest
from toy_models import tiny_lm
from toy_tokenizer import byte_tokenizer

from eval import Choices
from eval.answers.choices import ask
from eval.answers.questions import read_questions
from eval.answers.scoring import Scorer
from eval.checkpoint import load_model
from eval.records import results
from presight.errors import PresightError
from presight.packages import cache_root
from pretrain import Checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_lm("llama").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def questions(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "colours.jsonl"
    options = ["u", "no", "g"]
    lines = [
        {"prompt": f"{n}?", "options": options[: 2 + n % 2], "answer": "AB"[n % 2], "cluster": f"c{n // 2}"}
        for n in range(6)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def made(checkpoint, questions, out, **fields):
    stage = Choices(model=Checkpoint(path=checkpoint), questions=questions, tokens=4, **fields).settle(fetch=False)
    out.mkdir()
    stage.run(out, {"model": checkpoint})
    return json.loads((out / "scores.json").read_text()), pyarrow.parquet.read_table(out / "items.parquet").to_pylist()


@pytest.mark.parametrize("by", ["sum", "byte", "pmi", "reply"])
def test_items_are_what_asking_gives(checkpoint, questions, tmp_path, by):
    found, items = made(checkpoint, questions, tmp_path / "out", by=by)
    model, tokenizer = load_model(checkpoint)
    expected = ask(Scorer(model, tokenizer), read_questions(questions), tokens=4)
    assert [row["accuracy"] for row in items] == [float(each.correct(by)) for each in expected]
    assert (found["task"], found["metric"], found["items"], found["by"]) == ("colours", "accuracy", 6, by)
    assert found["chance"] == pytest.approx((3 / 2 + 3 / 3) / 6)
    assert found["summary"]["accuracy"][by]["estimate"] == pytest.approx(np.mean([row["accuracy"] for row in items]))
    assert set(found["position"]) <= {"sum", "token", "byte", "pmi", "reply"}
    (result,) = results(tmp_path / "out")
    assert result.scores.mean() == pytest.approx(found["summary"]["accuracy"][by]["estimate"])
    assert sorted(set(result.clusters.tolist())) == ["c0", "c1", "c2"]


def test_rotations_are_averaged_to_an_item(checkpoint, questions, tmp_path):
    found, items = made(checkpoint, questions, tmp_path / "out", rotate=True, replies=False)
    answers = pyarrow.parquet.read_table(tmp_path / "out" / "answers.parquet").to_pylist()
    assert len(answers) == 3 * 2 + 3 * 3
    for row in items:
        own = [each["correct"] for each in answers if each["item"] == row["item"]]
        assert row["accuracy"] == pytest.approx(sum(own) / len(own))
        assert row["asked"] == len(own)
    assert found["summary"]["parsed"] is None
    assert found["summary"]["items"] == 6


def test_the_same_questions_are_asked_once(checkpoint, questions, tmp_path):
    made(checkpoint, questions, tmp_path / "first")
    made(checkpoint, questions, tmp_path / "second", by="token", level=0.9)
    counts = json.loads((tmp_path / "second" / "log" / "cache.json").read_text())
    assert counts == {"hits": 12, "misses": 0}
    (folder,) = (cache_root() / "answers").iterdir()
    assert len(list(folder.iterdir())) == 2  # scores and replies of the first


def test_what_cannot_be_asked_is_one_sentence(checkpoint, questions, tmp_path):
    with pytest.raises(PresightError, match="by: reply, but no replies are asked for; ask for replies"):
        made(checkpoint, questions, tmp_path / "a", by="reply", replies=False)
    stage = Choices(model=Checkpoint(path=checkpoint), questions=questions).settle(fetch=False)
    questions.write_text(questions.read_text() + "\n")
    with pytest.raises(PresightError, match="questions: changed since they were planned; run again"):
        stage.run(tmp_path, {"model": checkpoint})


def test_the_content_of_the_questions_is_the_identity(checkpoint, questions, tmp_path):
    first = Choices(model=Checkpoint(repository="a/b"), questions=questions).settle(fetch=False)
    moved = tmp_path / "moved" / "colours.jsonl"
    moved.parent.mkdir()
    moved.write_text(questions.read_text())
    assert Choices(model=first.model, questions=moved).settle(fetch=False).fingerprint == first.fingerprint
    moved.write_text(questions.read_text().replace("no", "o"))
    assert Choices(model=first.model, questions=moved).settle(fetch=False).fingerprint != first.fingerprint
    assert first.changed(level=0.9).fingerprint != first.fingerprint
