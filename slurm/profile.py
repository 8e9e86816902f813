"""A site's way to ask for machines: one YAML file, checked; stages of a recipe may ask for more."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from presight import document
from presight.assembly import build
from presight.errors import PresightError, nearest
from presight.stage import FrozenMap, Resources, Stage

LEAD_SECONDS = 120
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")


class Request(BaseModel):
    """What one stage asks for; what is left out is the profile's, the recipe's or the site's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: str | None = Field(None, description="queue of the site")
    account: str | None = Field(None, description="who pays")
    qos: str | None = Field(None, description="quality of service")
    nodes: int | None = Field(None, ge=1, description="machines, for stages that run on many")
    gpus: int | None = Field(None, ge=0, description="of a node; a stage that runs on many has a rank for each")
    gpu_type: str | None = Field(None, description="as the site names it: a100, h100")
    cpus: int | None = Field(None, ge=1, description="of a rank; at least the stage's threads are asked for")
    memory: float | None = Field(None, ge=0, description="GB of a node, at least the stage's own; 0: none asked for")
    time: str | None = Field(None, description="limit, as sbatch takes it: 90, 24:00:00, 2-12")
    extra: tuple[str, ...] = Field((), description="more options of sbatch, as --constraint=nvlink")

    @field_validator("time", mode="before")
    @classmethod
    def _time(cls, given: object) -> object:
        text = str(given) if isinstance(given, int) else given
        if isinstance(text, str) and not _TIME.fullmatch(text):
            raise ValueError("is no time limit: write minutes, hours:minutes:seconds or days-hours")
        return text

    @field_validator("extra")
    @classmethod
    def _extra(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for each in given:
            if not each.startswith("-") or "\n" in each:
                raise ValueError(f"holds {each!r}, which is no option: write it as --name=value")
        return given


class Profile(Request):
    """A site: what every stage asks for, how Python starts there, and what the site allows."""

    name: str = Field("", description="its own; default: the name of its file")
    modules: tuple[str, ...] = Field((), description="environment modules to load")
    venv: Path | None = Field(None, description="virtual environment; default: the Python that submits")
    container: str | None = Field(None, description="image in which Python starts")
    runtime: Literal["apptainer", "singularity", "pyxis"] = Field("apptainer", description="what opens the image")
    environment: FrozenMap[str, str] = Field(FrozenMap(), description="variables of every job")
    array_limit: int | None = Field(None, ge=1, description="tasks of one array that run at once")
    max_submit: int | None = Field(None, ge=1, description="jobs a user may have; more wait for another submit")
    requeue: bool = Field(True, description="false where the site has no requeue: jobs are submitted anew instead")
    restarts: int = Field(100, ge=0, description="times that a job goes on before it counts as failed")
    lead: int = Field(LEAD_SECONDS, ge=1, description="seconds before the end at which a job is warned, at least")
    stages: FrozenMap[str, Request] = Field(FrozenMap(), description="what stages of the recipe ask for instead")

    @field_validator("modules", "extra", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        return given.split() if isinstance(given, str) else given

    def of(self, name: str) -> Request:
        """What the stage of a recipe asks for: its own entry over the profile's."""
        own = self.stages.get(name, Request())
        given = own.model_dump(exclude_unset=True)
        base = {field: getattr(self, field) for field in Request.model_fields}
        return Request(**{**base, **given, "extra": (*self.extra, *own.extra)})


def folder() -> Path:
    """Where a user's profiles are."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "presight" / "slurm"


def read(name: str | None, recipe: Path | None = None) -> Profile:
    """Read a profile, by path or name; without either, ``slurm.yaml`` beside the recipe, or the only one there is.

    Raises:
        PresightError: none or several to choose from, an unknown key, a value of the wrong shape.
    """
    path = _locate(name, recipe)
    content = document.read(path)
    if isinstance(content, dict) and set(content) == {"slurm"}:
        content = content["slurm"]
    if not isinstance(content, dict):
        raise PresightError(str(path), "is not a mapping", "write key: value, as partition: gpu")
    stages = content.get("stages") or {}
    if not isinstance(stages, dict):
        raise PresightError(f"{path}: stages", f"{stages!r} is not a mapping", "write a stage's name: {gpus: 8}")
    asked = {each: build(Request, given or {}, f"{path}: stages.{each}") for each, given in stages.items()}
    return build(Profile, {"name": path.stem, **content, "stages": asked}, str(path))


def _locate(name: str | None, recipe: Path | None) -> Path:
    known = {path.stem: path for path in sorted(folder().glob("*.yaml"))}
    if name is None:
        if recipe and (beside := recipe.parent / "slurm.yaml").is_file():
            return beside
        if len(known) != 1:
            found = ", ".join(known) or "none"
            raise PresightError("--profile", f"is not given and {folder()} holds {found}", "name one")
        return next(iter(known.values()))
    if (path := Path(name)).is_file():
        return path
    if name not in known:
        raise PresightError(f"--profile {name}", f"there is no such file, nor in {folder()}", nearest(name, known))
    return known[name]


def seconds(time: str) -> int:
    """Seconds of a time limit as sbatch reads it: minutes, minutes:seconds, hours:…, days-hours, days-hours:…"""
    match = _TIME.fullmatch(time)
    assert match, time
    parts = [int(part) for part in match["clock"].split(":")]
    if match["days"] is not None:
        hours, minutes, rest = (*parts, 0, 0)[:3]
        return ((int(match["days"]) * 24 + hours) * 60 + minutes) * 60 + rest
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def resources(stage: Stage, profile: Profile, name: str) -> Resources:
    """What a stage of a recipe may use on this site: by the profile's entry for it, its own, and the profile's."""
    own, asked = stage.resources, profile.of(name)
    entry = profile.stages.get(name, Request())
    minutes = own.minutes
    if asked.time and (entry.time or minutes is None):
        minutes = math.ceil(seconds(asked.time) / 60)
    return Resources(
        threads=own.threads,
        gpus=asked.gpus if asked.gpus is not None and (stage.parallel or own.gpus) else own.gpus,
        nodes=(asked.nodes or own.nodes) if stage.parallel else 1,
        memory_gb=max(own.memory_gb, asked.memory or 0.0),
        minutes=minutes,
    )
