"""Stages put together: found by name, built from fields, put in order, written down and read back."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from presight.errors import PresightError, nearest
from presight.stage import FrozenMap, Labelled, Resources, Stage, encode

M = TypeVar("M", bound=BaseModel)


def dump(root: Stage) -> dict[str, Any]:
    """A stage and all it stands on, as one JSON document: each stage once, references by fingerprint."""
    stages: dict[str, Any] = {}

    def visit(stage: Stage) -> None:
        if stage.fingerprint in stages:
            return
        for parent in stage.inputs().values():
            visit(parent)
        fields = {
            name: encode(getattr(stage, name))
            for name, info in type(stage).model_fields.items()
            if not stage._at_default(name, info)
        }
        stages[stage.fingerprint] = {"stage": stage.tag(), "version": stage.version, "fields": fields}

    visit(root)
    return {"root": root.fingerprint, "stages": stages}


def load(document: Mapping[str, Any]) -> Stage:
    """The stage that ``dump`` wrote.

    Raises:
        PresightError: a stage of another version, or one whose fingerprint this code does not reproduce.
    """
    built: dict[str, Stage] = {}

    def decode(value: Any) -> Any:
        if isinstance(value, dict) and "$artifact" in value:
            stage = built[value["$artifact"]]
            return Labelled(labels=FrozenMap(value["$labels"]), stage=stage) if "$labels" in value else stage
        if isinstance(value, dict):
            return {key: decode(item) for key, item in value.items()}
        if isinstance(value, list):
            return tuple(decode(item) for item in value)
        return value

    for fingerprint, entry in document["stages"].items():
        cls = stage_class(entry["stage"])
        stage = build(cls, {name: decode(value) for name, value in entry["fields"].items()}, where=entry["stage"])
        if stage.fingerprint != fingerprint:
            raise PresightError(
                entry["stage"],
                f"written as {fingerprint} (version {entry['version']}) but reads as {stage.fingerprint} "
                f"(version {stage.version})",
                "the code has changed since: plan the recipe again",
            )
        built[fingerprint] = stage
    return built[document["root"]]


def stage_class(tag: str) -> type[Stage]:
    """The class that a tag names: ``corpus.Mix``, or ``mylab.Filter`` of any importable package.

    Raises:
        PresightError: no such package or stage, with the nearest known name.
    """
    package, _, name = tag.rpartition(".")
    try:
        module = importlib.import_module(package)
    except (ImportError, TypeError, ValueError) as error:
        raise PresightError("stage", f"{tag!r} is in no importable package ({error})", "write package.Name") from error
    cls = getattr(module, name, None)
    if not (isinstance(cls, type) and issubclass(cls, Stage) and cls.kind):
        raise PresightError("stage", f"{package} has no stage {name!r}", nearest(name, stage_names(package)))
    return cls


def stage_names(package: str) -> list[str]:
    """Names of the stages that a package exports."""
    module = importlib.import_module(package)
    exported = {name: getattr(module, name) for name in getattr(module, "__all__", dir(module))}
    return [name for name, cls in exported.items() if isinstance(cls, type) and issubclass(cls, Stage) and cls.kind]


def build(cls: type[M], fields: Mapping[str, Any], where: str) -> M:
    """Make a stage or another model, turning a validation fault into one sentence that names field, value and mend."""
    try:
        return cls(**fields)
    except ValidationError as error:
        raise fault(error, cls, where) from error


def fault(error: ValidationError, cls: type[BaseModel], where: str) -> PresightError:
    """A validation fault of a model as one sentence: field, value, mend."""
    name = cls.tag() if issubclass(cls, Stage) else cls.__name__
    faults = error.errors(include_url=False)
    ranks = ("extra_forbidden", "value_error")  # of a union's branches, the one that says why
    first = min(faults, key=lambda fault: (*ranks, fault["type"]).index(fault["type"]))
    branch = re.compile(r"float|int|str|.*\[.*")
    location = [str(part) for part in first["loc"] if not branch.fullmatch(str(part))]
    field = ".".join([where, *location])
    if first["type"] == "extra_forbidden":
        known = Resources.model_fields if location[0] == "resources" else set(cls.model_fields) - {"resources"}
        return PresightError(field, f"{name} has no such field", nearest(location[-1], known))
    if first["type"] == "missing":
        return PresightError(field, f"{name} needs it and it is not given", "add it")
    value = first["input"]
    shown = value.tag() if isinstance(value, Stage) else repr(value)
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    mend = f"see `presight schema {name}`" if issubclass(cls, Stage) else "mend it"
    return PresightError(field, f"{shown[:80]} {_verdict(message)}", mend)


def _verdict(message: str) -> str:
    return message if message.startswith(("should", "must", "is ")) else f"is refused: {message}"


def topological(roots: list[Stage]) -> list[Stage]:
    """All stages that the roots stand on, inputs first, each fingerprint once."""
    order: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.fingerprint not in order:
            for parent in stage.inputs().values():
                visit(parent)
            order.setdefault(stage.fingerprint, stage)

    for root in roots:
        visit(root)
    return list(order.values())
