"""JSON schemas for editors: of a recipe, and of each stage within it."""

from __future__ import annotations

from typing import Any

from presight.assembly import stage_class, stage_names
from presight.stage import Stage

PACKAGES = ("corpus", "pretrain", "adapt", "eval")
REFERENCE = {"type": "string", "pattern": r"^\$", "description": "$name, $name[axis=label] or $name[*]"}


def of_stage(tag: str) -> dict[str, Any]:
    """The schema of one stage's fields, any of which may be a reference."""
    return _stage(stage_class(tag))


def _stage(cls: type[Stage]) -> dict[str, Any]:
    schema = cls.model_json_schema()
    fields = {name: _referable(field) for name, field in schema["properties"].items()}
    fields = {"stage": {"const": cls.tag(), "description": f"publishes {cls.kind}"}, **fields}
    schema["properties"] = fields
    schema["required"] = ["stage", *schema.get("required", [])]
    return schema


def _referable(field: dict[str, Any]) -> dict[str, Any]:
    if field.get("type") == "string" and field.get("pattern") == REFERENCE["pattern"]:
        return field
    kept: dict[str, Any] = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
    return {**kept, "anyOf": [field, REFERENCE]}


def of_recipe() -> dict[str, Any]:
    """The schema of a recipe file; stages of other packages are allowed, unchecked."""
    definitions: dict[str, Any] = {}
    stages: list[dict[str, Any]] = []
    for package in PACKAGES:
        for name in stage_names(package):
            schema = of_stage(f"{package}.{name}")
            definitions.update(schema.pop("$defs", {}))
            definitions[f"{package}.{name}"] = schema
            stages.append(
                {
                    "if": {
                        "type": "object",
                        "required": ["stage"],
                        "properties": {"stage": {"const": f"{package}.{name}"}},
                    },
                    "then": {"$ref": f"#/$defs/{package}.{name}"},
                }
            )
    kinds = ({"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}, {"type": "string"})
    axis = {"anyOf": list(kinds), "description": "values: a list, a mapping of names, or 50..85 step 5"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Presight recipe",
        "type": "object",
        "additionalProperties": False,
        "anyOf": [
            {
                "required": ["stages"],
                "properties": {"stages": {"additionalProperties": {"type": "object", "required": ["stage"]}}},
            },
            {"required": ["extends"]},  # a stage of it may be changed in a field, or taken out by null
        ],
        "properties": {
            "recipe": {"type": "string"},
            "extends": {"type": "string", "description": "a recipe's file, from here, that this one is laid over"},
            "description": {"type": "string"},
            "hypothesis": {"type": "string", "description": "what is expected, before it is seen; plan prints it"},
            "threads": {"type": "integer", "minimum": 1},
            "axes": {"type": "object", "additionalProperties": {"anyOf": [axis, {"type": "null"}]}},
            "stages": {
                "type": "object",
                "additionalProperties": {
                    "anyOf": [
                        {"type": "object", "properties": {"stage": {"type": "string"}}, "allOf": stages},
                        {"type": "null"},
                    ]
                },
            },
            "scales": {"type": "object", "additionalProperties": {"type": "object"}},
        },
        "$defs": definitions,
    }
