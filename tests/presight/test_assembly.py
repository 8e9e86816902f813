import json

import pytest
import toys
from hypothesis import given, settings
from toy_values import bags, one_sentence

from presight.assembly import build, dump, load, stage_class, topological
from presight.errors import PresightError
from presight.stage import Stage


@given(bags)
@settings(max_examples=150, deadline=None)
def test_dump_and_load_give_the_same_stage(bag):
    document = json.loads(json.dumps(dump(bag)))
    again = load(document)
    assert again == bag
    assert hash(again) == hash(bag)
    assert again.fingerprint == bag.fingerprint
    assert again.inputs() == bag.inputs()
    assert dump(again) == document


def test_load_refuses_what_the_code_no_longer_makes(monkeypatch):
    document = dump(toys.Add(left=toys.Number(value=3), right=toys.Number(value=4)))
    assert len(document["stages"]) == 3
    assert load(document).fingerprint == document["root"]
    monkeypatch.setattr(toys.Number, "version", "2")
    with pytest.raises(PresightError) as caught:
        load(document)
    text = one_sentence(caught.value)
    assert text.startswith("toys.Number: written as ")
    assert "version 1" in text
    assert "version 2" in text
    assert text.endswith("plan the recipe again.")


@pytest.mark.parametrize(
    ("cls", "fields", "parts"),
    [
        (toys.Number, {"valeu": 1}, ["stages.x.valeu: toys.Number has no such field", "did you mean value?"]),
        (toys.Number, {"value": "many"}, ["stages.x.value: 'many' should be a valid number", "schema toys.Number"]),
        (toys.Number, {"value": [1]}, ["stages.x.value: [1] should be a valid number"]),
        (toys.Number, {"shares": [1]}, ["stages.x.shares: [1] should be a valid dictionary"]),
        (toys.Number, {"shares": {"a": "b"}}, ["stages.x.shares.a: 'b' should be a valid number"]),
        (toys.Add, {}, ["stages.x.left: toys.Add needs it", "add it"]),
        (toys.Add, {"left": 3}, ["stages.x.left: 3 should be an instance of Stage"]),
        (toys.Add, {"left": toys.Squares()}, ["stages.x.left: toys.Squares", "'squares', but number is needed"]),
        (toys.Add, {"left": toys.Number(), "right": toys.Squares()}, ["x.right: toys.Squares", "number is needed"]),
        (toys.Total, {"numbers": toys.Number()}, ["stages.x.numbers: toys.Number should be a valid tuple"]),
        (toys.Total, {"numbers": (toys.Number(),)}, ["stages.x.numbers.0: toys.Number should be an instance of Lab"]),
        (toys.Number, {"resources": {"gpu": 1}}, ["stages.x.resources.gpu", "did you mean gpus?"]),
        (toys.Number, {"resources": {"threads": 0}}, ["stages.x.resources.threads: 0 should be greater than"]),
        (toys.Number, {"kind": "other"}, ["stages.x.kind: toys.Number has no such field"]),
    ],
)
def test_a_fault_is_one_sentence_with_field_value_and_mend(cls, fields, parts):
    with pytest.raises(PresightError) as caught:
        build(cls, fields, "stages.x")
    text = one_sentence(caught.value)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("tag", "part"),
    [
        ("toys.Nubmer", "did you mean Number?"),
        ("toys.read", "has no stage 'read'"),
        ("toys.Stage", "has no stage 'Stage'"),  # the base class publishes nothing
        ("toyz.Number", "'toyz.Number' is in no importable package"),
        ("Number", "write package.Name"),
        ("", "write package.Name"),
        (".toys.Number", "write package.Name"),
        ("toys.", "has no stage ''"),
        ("toys..Number", "write package.Name"),
    ],
)
def test_unknown_stages(tag, part):
    with pytest.raises(PresightError) as caught:
        stage_class(tag)
    assert part in one_sentence(caught.value)


def test_topological_order_has_each_stage_once_and_inputs_first():
    one = toys.Number(value=1)
    middle = toys.Add(left=one, right=one)
    top = toys.Add(left=middle, right=one)
    assert topological([top, middle, one]) == [one, middle, top]


def test_a_long_diamond_chain_is_quick():
    stage: Stage = toys.Number(value=1)
    for _ in range(40):  # 2^40 paths
        stage = toys.Add(left=stage, right=stage)
    assert len(topological([stage])) == 41
    assert load(dump(stage)).fingerprint == stage.fingerprint
