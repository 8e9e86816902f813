"""A stage is a value: what it computes follows from its fields, and its fingerprint names the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from presight.frozen import FrozenMap as FrozenMap

FINGERPRINT_LENGTH = 24  # hex digits: 96 bits


class Resources(BaseModel, frozen=True, extra="forbid"):
    """What a stage may use. Never part of its identity."""

    threads: int = Field(1, ge=1, description="threads of its process; 1 keeps the last digits the same everywhere")
    gpus: int = Field(0, ge=0, description="accelerators of its process")
    nodes: int = Field(1, ge=1, description="machines")
    memory_gb: float = Field(4.0, gt=0, description="memory of a node, in GB")
    minutes: float | None = Field(None, gt=0, description="time limit; None: the executor's own")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stage is expected to take, for ``plan``: tokens seen, floating-point operations, bytes read, items.

    ``disk`` are the bytes of what it publishes, ``working`` those that it holds beside them until it is done; 0 where
    they are small, or nobody knows.
    """

    tokens: int = 0
    flops: float = 0.0
    bytes: int = 0
    items: int = 0
    disk: int = 0
    working: int = 0


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
    parallel: ClassVar[bool] = False  # many processes may run it together, under torchrun, deepspeed or srun

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

    def changed(self, **fields: Any) -> Self:
        """A copy with other fields, checked, and with a fingerprint of its own."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **fields})

    def estimate(self) -> Cost:
        """Expected cost; zero when it is not worth planning."""
        return Cost()

    def arithmetic(self) -> str:
        """How its arithmetic is cut up, where results differ in their last bits by it: on the card, no identity."""
        return ""

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


class PartedStage(ShardedStage):
    """A sharded stage whose files are dealt out into parts: every ``parts``-th file of each source is one."""

    parts: int = Field(4, ge=1, description="shards the work is cut into; more helps on a cluster")

    def shards(self) -> int:
        """One per part."""
        return self.parts


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


def scratch(out: Path) -> Path:
    """A folder beside ``out`` for what only the work needs (rolling checkpoints): survives kills, not publication."""
    folder = out.parent / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
