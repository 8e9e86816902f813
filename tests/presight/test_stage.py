import json
import math
import string
from pathlib import Path
from typing import Annotated, Any

import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from presight.assembly import build, dump, load, stage_class, topological
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Needs, Stage, collect

finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: value + 0.0)  # no -0.0: it equals 0.0
words = st.text(string.printable + "äß→$", max_size=8)
numbers = st.builds(toys.Number, value=finite)
sums = st.builds(toys.Add, left=numbers, right=finite | numbers, steps=st.integers(0, 9))
labels = st.dictionaries(words, words, max_size=2).map(FrozenMap)
bags = st.builds(
    toys.Bag,
    flag=st.booleans(),
    whole=st.integers(),
    ratio=finite,
    word=words,
    maybe=st.none() | finite,
    either=st.integers() | words,
    words=st.lists(words, max_size=3).map(tuple),
    shares=st.dictionaries(words.filter(lambda word: not word.startswith("$")), finite, max_size=3),
    deep=st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), max_size=2).map(tuple), max_size=2),
    anything=st.none() | words | st.tuples(st.integers(), words),
    start=st.none() | numbers | sums,
    gathered=st.lists(st.builds(Labelled, labels, numbers | sums), max_size=2).map(tuple),
)


def one_sentence(error: PresightError) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    return text


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


@given(bags, bags)
@settings(max_examples=100, deadline=None)
def test_equal_fingerprints_mean_equal_values(one, other):
    assert (one.fingerprint == other.fingerprint) == (one == other)


def test_identity_leaves_out_resources_paths_and_defaults():
    plain = toys.Bag(word="x")
    moved = toys.Bag(word="x", where="/elsewhere", resources={"threads": 2, "gpus": 1}, whole=0, shares={})
    assert plain.identity() == moved.identity() == {"word": "x"}
    assert plain.fingerprint == moved.fingerprint
    assert plain != moved
    # … also where they are an input's.
    low = toys.Add(left=toys.Number(value=2, resources={"threads": 4}))
    assert low.fingerprint == toys.Add(left=toys.Number(value=2)).fingerprint
    assert load(dump(moved)).where == Path("/elsewhere")
    assert load(dump(low)).left.resources.threads == 4


def make(name: str = "Made", version: str = "1", base: type[Stage] = Stage, **fields: Any) -> type[Stage]:
    """A stage class of this module, so that two of one name have one tag."""
    annotations = {key: type(value.default if hasattr(value, "default") else value) for key, value in fields.items()}
    space = {"__annotations__": annotations, "__module__": __name__, "kind": "number", "version": version}
    return type(name, (base,), {**space, **fields})


def test_a_new_field_at_its_default_changes_nothing():
    before, after = make(a=1), make(a=1, b=2.5)
    assert before.tag() == after.tag()
    assert before(a=3).fingerprint == after(a=3).fingerprint == after(a=3, b=2.5).fingerprint
    assert after(a=3, b=2).fingerprint != before(a=3).fingerprint


def test_a_version_or_a_class_of_its_own_changes_the_fingerprint():
    stages = [make()(), make(version="2")(), make("Other")(), make("Child", base=make())()]
    assert len({stage.fingerprint for stage in stages}) == 4
    over = [toys.Add(left=stage).fingerprint for stage in stages]
    assert len(set(over)) == 4


def test_the_order_of_a_mapping_is_irrelevant():
    one, other = toys.Number(shares={"a": 1, "b": 2}), toys.Number(shares={"b": 2, "a": 1})
    assert one == other
    assert hash(one) == hash(other)
    assert one.fingerprint == other.fingerprint
    assert toys.Bag(words=("a", "b")).fingerprint != toys.Bag(words=("b", "a")).fingerprint


def test_the_place_of_an_input_and_its_labels_count():
    one, two = toys.Number(value=1), toys.Number(value=2)
    assert toys.Add(left=one, right=two).fingerprint != toys.Add(left=two, right=one).fingerprint
    totals = [toys.Total(numbers=(Labelled(FrozenMap({"a": label}), one),)) for label in "xy"]
    assert totals[0].fingerprint != totals[1].fingerprint


def test_a_stage_is_a_value():
    stage = toys.Add(left=toys.Number(value=1, shares={"a": 1.0}))
    assert stage in {toys.Add(left=toys.Number(value=1, shares={"a": 1.0}))}
    with pytest.raises(ValidationError):
        stage.right = 2.0
    with pytest.raises(TypeError):
        stage.left.shares["a"] = 2.0
    given_mapping = {"a": 1.0}
    kept = toys.Number(shares=given_mapping)
    given_mapping["a"] = 9.0
    assert kept.shares == {"a": 1.0}


class Loose(BaseModel):
    rate: float = 1.0


class HoldsLoose(Stage):
    kind = "number"
    inner: Loose = Loose()


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, object(), bytearray(b"x"), FrozenMap({"a": [1]})])
def test_mutable_values_have_no_fingerprint(value):
    with pytest.raises(TypeError, match="must stay a value"):
        _ = toys.Bag(anything=value).fingerprint


def test_a_mutable_model_has_no_fingerprint():
    with pytest.raises(TypeError, match="must stay a value"):
        _ = HoldsLoose(inner=Loose(rate=2)).fingerprint


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(value):
    for fields in ({"ratio": value}, {"maybe": value}, {"shares": {"a": value}}):
        with pytest.raises(ValidationError, match="finite"):
            toys.Bag(**fields)
    with pytest.raises(ValueError, match="JSON"):
        _ = toys.Bag(anything=value).fingerprint


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


def test_inputs_are_found_wherever_they_stand():
    one, two = toys.Number(value=1), toys.Number(value=2)
    bag = toys.Bag(start=one, anything=FrozenMap({"k": (two, 3)}), gathered=(Labelled(FrozenMap(), two),))
    assert bag.inputs() == {"start": one, "anything[k][0]": two, "gathered[0]": two}
    found: dict[str, Stage] = {}
    collect("x", "no stage", found)
    assert found == {}


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


class Own(BaseModel, frozen=True):
    shares: FrozenMap[str, float] = FrozenMap()
    rate: float = 1.0


class HoldsOwn(Stage):
    kind = "number"
    inner: Own = Own()
    source: Annotated[Stage, Needs("number", "total")] | None = None
    note: str = Field("", exclude=True)


def test_a_frozen_model_is_a_value():
    assert HoldsOwn(inner=Own(rate=1.0)).identity() == {}
    assert HoldsOwn(inner={"shares": {"a": 1}}).identity() == {"inner": {"shares": {"a": 1.0}}}
    assert HoldsOwn(source=toys.Total(numbers=())).inputs()
    assert HoldsOwn(note="x").fingerprint == HoldsOwn().fingerprint
