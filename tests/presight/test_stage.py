import math
from pathlib import Path
from typing import Annotated, Any

import pytest
import toys
from hypothesis import given, settings
from pydantic import BaseModel, Field, ValidationError
from toy_values import bags

from presight.assembly import dump, load
from presight.stage import FrozenMap, Labelled, Needs, Stage, collect


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


def test_inputs_are_found_wherever_they_stand():
    one, two = toys.Number(value=1), toys.Number(value=2)
    bag = toys.Bag(start=one, anything=FrozenMap({"k": (two, 3)}), gathered=(Labelled(FrozenMap(), two),))
    assert bag.inputs() == {"start": one, "anything[k][0]": two, "gathered[0]": two}
    found: dict[str, Stage] = {}
    collect("x", "no stage", found)
    assert found == {}


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
