import json
import re
import warnings
from typing import Any

import pytest
import toys

from presight import document, recipe, schema
from presight.errors import PresightError


def faults(value: Any, rule: Any, root: Any, where: str = "") -> list[str]:
    """A small validator of the keywords that the schemas use; an unknown keyword is a fault of this test."""
    known = {"$defs", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "const", "default", "description"}
    known |= {"enum", "exclusiveMaximum", "exclusiveMinimum", "if", "items", "maxItems", "maximum", "minItems"}
    known |= {"minProperties", "minimum", "pattern", "prefixItems", "properties", "required", "then", "title", "type"}
    known |= {"format", "minLength", "maxLength"}
    if rule is True or rule is False:
        return [] if rule else [f"{where}: nothing is allowed"]
    assert set(rule) <= known, set(rule) - known
    found = []

    def below(part: Any, sub: Any, name: object = "") -> list[str]:
        return faults(part, sub, root, f"{where}/{name}" if name != "" else where)

    if "$ref" in rule:
        found += below(value, root["$defs"][rule["$ref"].removeprefix("#/$defs/")])
    types = {"string": str, "integer": int, "array": list, "object": dict, "boolean": bool, "null": type(None)}
    if "type" in rule:
        wanted = (int, float) if rule["type"] == "number" else types[rule["type"]]
        if not isinstance(value, wanted) or (isinstance(value, bool) and rule["type"] in ("integer", "number")):
            return [f"{where}: {value!r} is no {rule['type']}"]
    if "const" in rule and value != rule["const"]:
        found.append(f"{where}: {value!r} is not {rule['const']!r}")
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{where}: {value!r} is not in {rule['enum']}")
    if isinstance(value, str) and not re.search(rule.get("pattern", ""), value):
        found.append(f"{where}: {value!r} is not {rule['pattern']}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < rule.get("minimum", value) or value > rule.get("maximum", value):
            found.append(f"{where}: {value} out of range")
        if "exclusiveMinimum" in rule and value <= rule["exclusiveMinimum"]:
            found.append(f"{where}: {value} out of range")
    if isinstance(value, list):
        if len(value) < rule.get("minItems", 0) or len(value) > rule.get("maxItems", len(value)):
            found.append(f"{where}: {len(value)} items")
        for index, item in enumerate(value):
            found += below(item, rule.get("items", True), index)
    if isinstance(value, dict):
        found += [f"{where}: lacks {name}" for name in rule.get("required", []) if name not in value]
        for name, item in value.items():
            sub = rule.get("properties", {}).get(name, rule.get("additionalProperties", True))
            found += below(item, sub, name)
    if "anyOf" in rule and all(below(value, sub) for sub in rule["anyOf"]):
        found.append(f"{where}: {value!r} is none of {rule['anyOf']}")
    for sub in rule.get("allOf", []):
        found += below(value, sub)
    if "if" in rule and not below(value, rule["if"]):
        found += below(value, rule.get("then", True))
    return found


@pytest.fixture(scope="module")
def whole():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return json.loads(json.dumps(schema.of_recipe()))


@pytest.mark.parametrize("name", ["quickstart", "smoke"])
def test_the_shipped_recipes_are_valid(whole, name):
    assert faults(document.read(recipe.locate(name)), whole, whole) == []


def test_a_recipe_that_extends_another_may_change_fields_and_take_stages_out(whole):
    content = {"extends": "smoke.yaml", "axes": {"init": None}, "stages": {"lm": {"batch": 4}, "mix": None}}
    assert faults(content, whole, whole) == []
    assert faults({key: value for key, value in content.items() if key != "extends"}, whole, whole)
    assert faults(content | {"stages": {"lm": {"stage": "pretrain.Train", "batch": "four"}}}, whole, whole)


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("lm", {"learnin_rate": 1}),
        ("lm", {"learning_rate": "fast"}),
        ("lm", {"learning_rate": [1]}),
        ("lm", {"batch": 2.5}),
        ("mix", {"sources": 3}),
        ("report", {"deltas": "deltas"}),
        ("lm", {"mixture": "mix"}),
        ("lm", {"resources": {"thread": 1}}),
    ],
)
def test_faults_are_found(whole, stage, changes):
    content = document.read(recipe.locate("smoke"))
    content["stages"][stage].update(changes)
    assert faults(content, whole, whole)


def test_faults_of_the_recipe_itself(whole):
    content = document.read(recipe.locate("smoke"))
    for changes in ({"axis": {}}, {"threads": 0}, {"axes": {"a": []}}, {"axes": {"a": 3}}, {"stages": {"x": {}}}):
        assert faults({**content, **changes}, whole, whole), changes
    assert faults({"axes": {}}, whole, whole)
    other = {"stages": {"mine": {"stage": "mylab.Filter", "anything": 1}}}  # of another package: allowed, unchecked
    assert faults(other, whole, whole) == []


def test_every_reference_within_the_schema_leads_somewhere(whole):
    references = set(re.findall(r'"\$ref": "#/\$defs/([^"]*)"', json.dumps(whole)))
    assert references
    assert references <= set(whole["$defs"])


def test_what_a_stage_may_use_is_described(whole):
    assert all(field["description"] for field in whole["$defs"]["Resources"]["properties"].values())


def test_every_field_is_described(whole):
    lacking = [
        f"{tag}.{name}"
        for tag, definition in whole["$defs"].items()
        for name, field in definition.get("properties", {}).items()
        if not field.get("description")
    ]
    assert lacking == []


def test_one_stage():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = schema.of_stage("toys.Add")
        numbers = schema.of_stage("toys.Number")
    assert found["required"] == ["stage", "left"]
    assert found["properties"]["stage"] == {"const": "toys.Add", "description": "publishes number"}
    assert found["additionalProperties"] is False
    assert "a stage that publishes number" in json.dumps(found["properties"]["left"])
    assert numbers["properties"]["shares"]["default"] == {}
    assert set(found["properties"]) == {"stage", *toys.Add.model_fields}
    right = {"stage": "toys.Add", "left": "$n", "right": 1.5, "steps": "$axis"}
    assert faults(right, found, found) == []
    for wrong in ({**right, "left": "n"}, {**right, "right": "n"}, {**right, "steps": 1.5}, {"stage": "toys.Add"}):
        assert faults(wrong, found, found), wrong


def test_unknown_stage():
    with pytest.raises(PresightError, match=r"stage: toys has no stage 'Ad'; did you mean Add\?"):
        schema.of_stage("toys.Ad")
