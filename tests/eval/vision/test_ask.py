import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
from pydantic import ValidationError
from toy_seeing import (
    KEYS,
    Encoded,
    Llava,
    Lm,
    Questions,
    Shots,
    Vlm,
    questions,
    write_features,
    write_llava,
    write_lm,
    write_questions,
    write_vlm,
)

from adapt.vlm.pictures import Writer
from eval.answers.choices import Summary, ask, reply
from eval.records import results
from eval.vision import metrics
from eval.vision.ask import Ask
from eval.vision.conditions import shown
from eval.vision.items import Item
from eval.vision.seeing import STOP, Pictured, with_projector
from presight.errors import PresightError
from presight.packages import cache_root
from presight.stage import Resources

ITEMS = list(questions())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    return {
        "model": write_vlm(folder),
        "features[0]": write_features(folder / "features"),
        "questions[0]": write_questions(folder / "questions"),
    }


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))


def stage(**fields):
    return Ask(**{"model": Vlm(), "questions": Questions(), "features": Encoded(), "tokens": 4, **fields})


def run(made, out, **fields):
    out.mkdir()
    stage(**fields).run(out, made)
    rows = {name: pyarrow.parquet.read_table(out / f"{name}.parquet").to_pylist() for name in ("items", "answers")}
    return json.loads((out / "scores.json").read_text()), rows["items"], rows["answers"]


@pytest.mark.parametrize("condition", ["right", "wrong", "none"])
@pytest.mark.parametrize("by", ["sum", "pmi", "reply"])
def test_items_are_what_asking_gives(made, tmp_path, condition, by):
    found, items, answers = run(made, tmp_path / "out", condition=condition, by=by)
    sighted = with_projector(made["model"], [made["features[0]"]], 0, 8192)
    seen = dict(zip([each.item for each in ITEMS], shown(ITEMS, condition), strict=True))
    expected = {}
    closed = [Pictured.of(each, seen[each.item]) for each in ITEMS if each.options]
    answered = ask(sighted.scorer, closed, tokens=4, stop=STOP, look=sighted.look)
    expected = {each.question.item: float(each.correct(by)) for each in answered}
    free = [each for each in ITEMS if not each.options]
    said = reply(sighted.scorer, [Pictured.of(e, seen[e.item]) for e in free], tokens=4, stop=STOP, look=sighted.look)
    expected |= {e.item: metrics.score(e.metric, text, e.answer) for e, text in zip(free, said, strict=True)}
    assert {row["item"]: row["score"] for row in items} == expected
    assert [row["item"] for row in answers] == [each.item for each in ITEMS]
    assert {row["item"]: row["picture"] for row in answers} == {name: each.key for name, each in seen.items()}
    assert (found["condition"], found["by"], found["modality"], found["items"]) == (condition, by, "image", len(ITEMS))
    own = [each for each in answered if each.question.item[0] in "cd"]
    summary = json.loads(json.dumps(Summary.of(own, "sum" if by == "reply" else by).to_json()))
    assert found["tasks"]["colour"]["summary"] == summary
    assert set(found["tasks"]["colour"]["position"]) <= {"sum", "token", "byte", "pmi", "reply"}
    assert found["tasks"]["read"]["free"]["items"] == len(KEYS)
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts == {"items": len(ITEMS), "asked": len(ITEMS), "tasks": 3}


def test_every_task_is_a_result(made, tmp_path):
    found, items, _ = run(made, tmp_path / "out")
    tasks = {each.task: each for each in results(tmp_path / "out")}
    assert list(tasks) == ["colour", "where", "read"]
    for each in found["results"]:
        own = [row for row in items if row["task"] == each["task"]]
        result = tasks[each["task"]]
        assert result.metric == "accuracy"
        assert result.scores.mean() == pytest.approx(np.mean([row["score"] for row in own]))
        assert result.scores.mean() == pytest.approx(each["score"]["estimate"])
        assert each["score"]["low"] <= each["score"]["estimate"] <= each["score"]["high"]
        assert (result.facts["group"], result.facts["condition"]) == (each["group"], "right")
        assert result.facts["prompt"] == "1"
    assert tasks["colour"].facts["chance"] == pytest.approx(1 / 3)
    assert tasks["read"].facts["chance"] == 0
    assert set(tasks["colour"].clusters.tolist()) == set(KEYS)  # two questions a picture are one cluster
    assert len(tasks["where"].items) == len(KEYS) + 1


def test_what_was_asked_is_remembered_and_told_apart(made, tmp_path):
    _, first, _ = run(made, tmp_path / "first")
    (folder,) = (cache_root() / "answers").iterdir()
    files = len(list(folder.iterdir()))
    _, again, _ = run(made, tmp_path / "again", by="token", level=0.9)
    assert len(list(folder.iterdir())) == files  # nothing was asked anew
    assert [row["item"] for row in again] == [row["item"] for row in first]
    differing = {}
    for condition in ("blank", "wrong", "scrambled", "none"):
        _, _, answers = run(made, tmp_path / condition, condition=condition)
        assert len(list(folder.iterdir())) > files, condition
        files = len(list(folder.iterdir()))
        differing[condition] = {row["item"]: row["logprob"] for row in answers}
    assert all(differing["blank"][f"c{n}"] != differing["none"][f"c{n}"] for n in range(8))
    assert all(differing["wrong"][f"c{n}"] != differing["scrambled"][f"c{n}"] for n in range(8))
    assert len({tuple(each["t"]) for each in differing.values()}) == 1  # what has no picture is asked without one


def test_other_features_of_the_same_pictures_are_asked_anew(made, tmp_path):
    _, _, first = run(made, tmp_path / "first", replies=False)
    moved = write_features(tmp_path / "features", keys=KEYS[1:] + KEYS[:1])
    described = json.loads((moved / "features.json").read_text())
    (moved / "features.json").write_text(json.dumps({**described, "keys": KEYS}))  # the same names, other content
    _, _, second = run({**made, "features[0]": moved}, tmp_path / "second", replies=False)
    assert all(
        a["logprob"] != b["logprob"] for a, b in zip(first, second, strict=True) if a["picture"] and a["logprob"]
    )


def test_rotations_are_averaged_and_tasks_and_limits_keep_what_belongs_together(made, tmp_path):
    found, items, answers = run(made, tmp_path / "out", rotate=True, tasks=("colour",), limit=5, replies=False)
    assert (len(items), len(answers)) == (5, 15)
    assert {row["task"] for row in items} == {"colour"}
    for row in items:
        own = [each["correct"] for each in answers if each["item"] == row["item"]]
        assert row["score"] == pytest.approx(sum(own) / 3)
        assert (row["asked"], row["answer"]) == (3, None)
    assert found["tasks"]["colour"]["summary"]["shown"] == 15
    _, more, _ = run(made, tmp_path / "more", tasks=("colour",), limit=9, replies=False)
    assert {row["item"] for row in items} < {row["item"] for row in more}
    every, _, _ = run(made, tmp_path / "every", tasks=("colour",), condition="wrong", replies=False)
    few, _, answers = run(made, tmp_path / "few", tasks=("colour",), condition="wrong", limit=5, replies=False)
    assert few["results"][0]["version"] != every["results"][0]["version"]
    wrong = dict(zip([each.item for each in ITEMS], shown(ITEMS, "wrong"), strict=True))
    assert all(row["picture"] == wrong[row["item"]].key for row in answers)  # whatever is left out


def test_questions_of_a_pair_or_a_circle_count_together(made, tmp_path):
    yes_no = [
        Item(f"m{n}", "MME", "General", f"Is {n}?", KEYS[n // 2], (), (("yes", "no")[n % 2],), "yes_no",
             facts={"pair": f"p{n // 2}"})
        for n in range(8)
    ]  # fmt: skip
    turned = [
        Item(
            f"b{n}", "MMBench", "General", "Which?", KEYS[n % 4], ("u", "v", "w"), n % 3, facts={"circle": f"q{n % 4}"}
        )
        for n in range(12)
    ]
    asked = write_questions(tmp_path / "questions", [*yes_no, *turned])
    found, items, answers = run({**made, "questions[0]": asked}, tmp_path / "out", limit=5)
    by_task = {each["task"]: each for each in found["results"]}
    assert (by_task["MME"]["items"], by_task["MME"]["questions"]) == (6, 6)  # pairs are whole
    assert by_task["MME"]["chance"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert (by_task["MMBench"]["items"], by_task["MMBench"]["questions"]) == (2, 6)
    assert by_task["MMBench"]["chance"] == pytest.approx(1 / 27)
    for row in items:
        if row["task"] == "MMBench":
            own = [each["score"] for each in answers if json.loads(each["facts"]).get("circle") == row["item"]]
            assert row["score"] == min(own)
            assert row["questions"] == 3


def test_several_artifacts_are_asked_together(made, tmp_path):
    more = [replace(each, item=f"more {each.item}", task="more") for each in ITEMS if each.task == "colour"]
    other = write_questions(tmp_path / "more", more)
    inputs = {"model": made["model"], "features[0]": made["features[0]"]}
    inputs |= {"questions[0]": made["questions[0]"], "questions[1]": other}
    found, _, _ = run(inputs, tmp_path / "out", questions=(Questions(), Questions(name="more")), replies=False)
    assert [each["task"] for each in found["results"]] == ["colour", "where", "read", "more"]
    inputs["questions[1]"] = made["questions[0]"]
    with pytest.raises(PresightError, match="questions: two items have one name"):
        run(inputs, tmp_path / "twice", questions=(Questions(), Questions(name="more")))


def test_a_checkpoint_is_asked_blindly(made, tmp_path):
    inputs = {"model": write_lm(tmp_path / "lm"), "questions[0]": made["questions[0]"]}
    found, _, answers = run(inputs, tmp_path / "out", model=Lm(), features=(), condition="none")
    assert found["modality"] == "text"
    assert {row["picture"] for row in answers} == {None}
    with pytest.raises(ValidationError, match="a checkpoint sees no pictures: ask it under condition: none"):
        stage(model=Lm(), features=())


@pytest.mark.parametrize("condition", ["right", "scrambled"])
def test_a_foreign_model_is_asked_alike(made, tmp_path, condition):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    keys = paint(pictures, 8)
    renamed = dict(zip(KEYS, keys, strict=True))
    asked = [replace(each, picture=renamed[each.picture] if each.picture else None) for each in ITEMS]
    inputs = {"model": write_llava(tmp_path / "llava"), "pictures[0]": pictures}
    inputs["questions[0]"] = write_questions(tmp_path / "questions", asked)
    fields = {"model": Llava(), "features": (), "pictures": Shots(), "condition": condition}
    found, items, answers = run(inputs, tmp_path / "out", **fields)
    assert (found["encoder"], found["template"], len(items)) == ("its own", "plain", len(ITEMS))
    assert len({tuple(row["logprob"]) for row in answers if row["item"][0] == "c"}) == 8
    again, _, others = run(inputs, tmp_path / "again", **fields)
    assert (again, others) == (found, answers)
    with pytest.raises(ValidationError, match="a model of kind llava is shown pictures: give them"):
        stage(model=Llava())


def paint(folder, count):
    import io

    from PIL import Image

    keys = []
    with Writer(folder) as writer:
        for n in range(count):
            pixels = np.random.default_rng(n).integers(0, 255, (20, 24, 3), dtype=np.uint8)
            held = io.BytesIO()
            Image.fromarray(pixels).save(held, "png")
            keys.append(writer.add(held.getvalue(), "png"))
    return keys


def test_what_cannot_be_asked_is_one_sentence(made, tmp_path):
    with pytest.raises(ValidationError, match="by: reply, but no replies are asked for"):
        stage(by="reply", replies=False)
    with pytest.raises(ValidationError, match="a model of kind vlm is shown features: give them"):
        stage(features=())
    with pytest.raises(PresightError, match=r"tasks: no questions are of 'color'; did you mean colour\?"):
        run(made, tmp_path / "a", tasks=("color",))
    one = write_questions(tmp_path / "one", [each for each in ITEMS if each.item in ("c0", "d0")])
    with pytest.raises(PresightError, match="questions: those of colour are all of one picture or cluster"):
        run({**made, "questions[0]": one}, tmp_path / "b")


def test_how_it_is_run_is_no_identity():
    first = stage()
    assert stage(batch_tokens=64, resources=Resources(gpus=1)).fingerprint == first.fingerprint
    fingerprints = {
        stage(**fields).fingerprint
        for fields in ({"condition": "wrong"}, {"pairing": 1}, {"by": "pmi"}, {"rotate": True}, {"limit": 9}, {})
    }
    assert len(fingerprints) == 6
    assert stage(questions=Questions(items=7)).estimate().items == 7
    assert set(stage(questions=(Questions(), Questions(name="b"))).inputs()) == {
        *("model", "questions[0]", "questions[1]", "features[0]")
    }
