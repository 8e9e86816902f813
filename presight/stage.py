"""A stage is a value: what it computes follows from its fields, and its fingerprint names the result."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from presight.errors import PresightError, nearest

K = TypeVar("K")
V = TypeVar("V")

FINGERPRINT_LENGTH = 24  # hex digits: 96 bits


class FrozenMap(Mapping[K, V]):
    """A mapping that cannot change, so that a stage holding one stays a value: ``FrozenMap[str, float]``."""

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        self._items: dict[K, V] = dict(items or {})

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        key, value = getattr(source, "__args__", (str, Any))
        return core_schema.chain_schema(
            [
                core_schema.no_info_plain_validator_function(lambda v: dict(v) if isinstance(v, Mapping) else v),
                core_schema.dict_schema(handler(key), handler(value)),
                core_schema.no_info_plain_validator_function(cls),
            ],
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Callable[[Any], Any]) -> Any:
        return {"type": "object"}


class Resources(BaseModel, frozen=True, extra="forbid"):
    """What a stage may use. Never part of its identity."""

    threads: int = Field(1, ge=1, description="threads of its process; 1 keeps the last digits the same everywhere")
    gpus: int = Field(0, ge=0, description="accelerators of its process")
    nodes: int = Field(1, ge=1, description="machines")
    memory_gb: float = Field(4.0, gt=0, description="memory of a node, in GB")
    minutes: float | None = Field(None, gt=0, description="time limit; None: the executor's own")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stage is expected to take, for ``plan``: tokens seen, floating-point operations, bytes read, items."""

    tokens: int = 0
    flops: float = 0.0
    bytes: int = 0
    items: int = 0


class Stage(BaseModel):
    """One step of an experiment. Its fields are its whole configuration; a field may be another stage.

    Subclasses set ``kind`` (the format they publish, see ``docs/formats.md``) and ``version`` (bumped when the meaning
    of the output, or a default, changes) and write ``run``. Fields declared with ``exclude=True`` say how or where,
    and do not enter the fingerprint; fields at their default are left out of it, so a new option invalidates nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ClassVar[str] = ""
    version: ClassVar[str] = "1"
    own_process: ClassVar[bool] = False  # state that outlives `run` (a process group): no second stage in this process

    resources: Resources = Field(Resources(), exclude=True, description="what it may use; never part of its identity")

    __iter__: ClassVar[None] = None  # type: ignore[assignment]  # or a tuple field would take one stage for its fields

    @classmethod
    def tag(cls) -> str:
        """``package.Class``: how recipes and files name it; the package exports the class."""
        return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what determines the result: class, version, fields that differ from their default, inputs."""
        text = json.dumps(
            {"stage": self.tag(), "version": self.version, "fields": self.identity()},
            sort_keys=True,
            ensure_ascii=True,
            allow_nan=False,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]

    def identity(self) -> dict[str, Any]:
        """Fields in the fingerprint: not excluded, not at their default; stages by their fingerprint."""
        return {
            name: encode(getattr(self, name))
            for name, info in type(self).model_fields.items()
            if not info.exclude and not self._at_default(name, info)
        }

    def _at_default(self, name: str, info: FieldInfo) -> bool:
        return not info.is_required() and bool(getattr(self, name) == info.get_default(call_default_factory=True))

    def inputs(self) -> dict[str, Stage]:
        """The stages among its fields: ``{"lm": …}``, ``{"scores[3]": …}``."""
        found: dict[str, Stage] = {}
        for name in type(self).model_fields:
            collect(name, getattr(self, name), found)
        return found

    def settle(self, fetch: bool) -> Stage:
        """A copy whose identity is known: leaves that stand for outside data learn its content here.

        With ``fetch`` data may be downloaded; without, what is cached or declared is used.
        """
        return self

    def estimate(self) -> Cost:
        """Expected cost; zero when it is not worth planning."""
        return Cost()

    def design(self) -> str | None:
        """A line for ``plan``: what the design can resolve (comparisons say their smallest detectable effect)."""
        return None

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Fill ``out``, continuing from what is there; the same fields and inputs give the same bytes.

        Files under ``out/log`` are kept but are no payload (times, rates); ``scratch(out)`` is thrown away.
        """
        raise NotImplementedError


class ShardedStage(Stage):
    """A stage whose work is cut into independent shards: local workers or a job array run them, one finishes.

    ``run_shard`` writes files named by its shard and may be repeated after a kill; ``finish`` sees all of them.
    """

    def shards(self) -> int:
        """How many shards; known from the fields alone."""
        raise NotImplementedError

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the files of one shard into ``out``."""
        raise NotImplementedError

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write what describes all shards."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A gathered stage with its place on the axes, as ``$scores[*]`` gives it."""

    labels: FrozenMap[str, str]
    stage: Stage


class Needs:
    """Types a field by the format it reads: ``Annotated[Stage, Needs("checkpoint")]`` takes any stage of that kind."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        def check(value: Stage | Labelled) -> Stage | Labelled:
            stage = value.stage if isinstance(value, Labelled) else value
            if stage.kind not in self.kinds:
                raise ValueError(f"{stage.tag()} publishes {stage.kind!r}, but {' or '.join(self.kinds)} is needed")
            return value

        return core_schema.no_info_after_validator_function(check, core_schema.is_instance_schema(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        described = f"a stage that publishes {' or '.join(self.kinds)}"
        return {"type": "string", "pattern": r"^\$", "description": described}


def collect(name: str, value: Any, found: dict[str, Stage]) -> None:
    """Add the stages within a field's value to ``found``, keyed by where they stand."""
    if isinstance(value, Stage):
        found[name] = value
    elif isinstance(value, Labelled):
        found[name] = value.stage
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            collect(f"{name}[{index}]", item, found)
    elif isinstance(value, FrozenMap):
        for key, item in value.items():
            collect(f"{name}[{key}]", item, found)


def encode(value: Any) -> Any:
    """A field's value as JSON, stages replaced by a reference to their fingerprint."""
    if isinstance(value, Stage):
        return {"$artifact": value.fingerprint}
    if isinstance(value, Labelled):
        return {"$labels": encode(value.labels), **encode(value.stage)}
    if isinstance(value, FrozenMap):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, BaseModel) and value.model_config.get("frozen"):
        return value.model_dump(mode="json", exclude_defaults=True)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a stage cannot hold a {type(value).__name__}: it must stay a value")


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


def build(cls: type[Stage], fields: Mapping[str, Any], where: str) -> Stage:
    """Make a stage, turning a validation fault into one sentence that names field, value and mend."""
    try:
        return cls(**fields)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        ranks = ("extra_forbidden", "value_error")  # of a union's branches, the one that says why
        first = min(faults, key=lambda fault: (*ranks, fault["type"]).index(fault["type"]))
        branch = re.compile(r"float|int|str|.*\[.*")
        location = [str(part) for part in first["loc"] if not branch.fullmatch(str(part))]
        field = ".".join([where, *location])
        if first["type"] == "extra_forbidden":
            known = Resources.model_fields if location[0] == "resources" else set(cls.model_fields) - {"resources"}
            raise PresightError(field, f"{cls.tag()} has no such field", nearest(location[-1], known)) from error
        if first["type"] == "missing":
            raise PresightError(field, f"{cls.tag()} needs it and it is not given", "add it") from error
        value = first["input"]
        shown = value.tag() if isinstance(value, Stage) else repr(value)
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        mend = f"see `presight schema {cls.tag()}`"
        raise PresightError(field, f"{shown[:80]} {_verdict(message)}", mend) from error


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


def scratch(out: Path) -> Path:
    """A folder beside ``out`` for what only the work needs (rolling checkpoints): survives kills, not publication."""
    folder = out.parent / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
