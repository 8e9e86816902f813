"""A recipe as read: axes, stages that refer to each other, scales; overrides applied."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from presight import axes, document
from presight.errors import PresightError, nearest

KEYS = ("recipe", "extends", "description", "hypothesis", "axes", "stages", "scales", "threads")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe; ``presight.expansion.expand`` makes its stages."""

    name: str
    path: Path
    description: str
    hypothesis: str
    axes: dict[str, dict[str, Any]]
    stages: dict[str, dict[str, Any]]
    threads: int = 1


def locate(name: str) -> Path:
    """The file of a recipe: by path, then by name among ``./recipes`` and the recipes that ship with Presight.

    Raises:
        PresightError: neither is there.
    """
    if (path := Path(name)).is_file():
        return path
    here = Path(__file__).resolve().parent
    shelves = [Path("recipes"), here / "recipes", here.parent / "recipes"]
    for shelf in shelves:
        if (path := shelf / f"{name}.yaml").is_file():
            return path
    known = {
        str(path.relative_to(shelf).with_suffix(""))
        for shelf in shelves
        if shelf.is_dir()
        for path in shelf.rglob("*.yaml")
    }
    raise PresightError(f"recipe {name!r}", "there is no such file or recipe", nearest(name, known))


def read(name: str, scale: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; apply a scale, then ``stage.field=value`` overrides.

    Raises:
        PresightError: an unknown key, axis, stage or scale, or a value of the wrong shape.
    """
    path = locate(name)
    content = _content(path)
    if scale is not None:
        if scale not in content["scales"]:
            raise PresightError(f"--scale {scale}", f"{path} has no such scale", nearest(scale, content["scales"]))
        for target, changes in _mapping(content["scales"][scale], f"scales.{scale}").items():
            if target in content["stages"]:
                content["stages"][target] = _merge(content["stages"][target], changes)
            else:
                _assign(content, [target], changes, f"scales.{scale}.{target}")
    for override in overrides:
        where, sign, text = override.partition("=")
        if not sign:
            raise PresightError(f"--set {override}", "has no value", "write --set stage.field=value")
        _assign(content, where.split("."), document.parse(text, f"--set {where}"), f"--set {where}")
    stages = {stage: _mapping(fields, f"stages.{stage}") for stage, fields in content["stages"].items()}
    if not stages:
        raise PresightError(str(path), "has no stages", "add `stages:`")
    if both := sorted(set(stages) & set(content["axes"])):
        raise PresightError(f"axes.{both[0]}", "is also the name of a stage", "rename one of them")
    title = str(content.get("recipe", path.stem))
    if not title or title.startswith(".") or "/" in title:
        raise PresightError("recipe", f"{title!r} cannot name a folder of runs/", "write letters and digits")
    threads = content.get("threads", 1)
    if not isinstance(threads, int) or threads < 1:
        raise PresightError("threads", f"{threads!r} is not a number of threads", "give 1 or more")
    return Recipe(
        name=title,
        path=path,
        description=str(content.get("description", "")),
        hypothesis=str(content.get("hypothesis", "")),
        axes={axis: axes.values(axis, given) for axis, given in content["axes"].items()},
        stages=stages,
        threads=threads,
    )


def _content(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a file says, laid over the recipe that it extends.

    A stage's fields replace those of the same name, an axis the whole axis; a scale is merged into the other's. What
    is null is taken out. The name is not inherited.
    """
    given = document.read(path)
    if not isinstance(given, dict):
        raise PresightError(str(path), "is not a mapping", "begin with `recipe: NAME`")
    _known(given, KEYS, str(path))
    content: dict[str, Any] = copy.deepcopy(given)
    for key in ("axes", "stages", "scales"):
        content[key] = _mapping(content.get(key), f"{path}: {key}")
    base = content.pop("extends", None)
    if base is None:
        return content
    if path.resolve() in above:
        raise PresightError(f"{path}: extends", "leads back to itself", "break the circle")
    if not isinstance(base, str) or not (beneath := path.parent / base).is_file():
        raise PresightError(f"{path}: extends", f"{base!r} is no file beside it", "name a recipe's file from there")
    found = _content(beneath, (*above, path.resolve()))
    for key, merge in (("stages", _laid_over), ("scales", _merge)):
        merged = {name: merge(found[key].get(name), new) for name, new in content[key].items()}
        content[key] = {**found[key], **merged}
    content["axes"] = {**found["axes"], **content["axes"]}
    for key in ("axes", "stages", "scales"):
        content[key] = {name: value for name, value in content[key].items() if value is not None}
    scales = {name: _mapping(changes, f"{path}: scales.{name}") for name, changes in content["scales"].items()}
    there = {*content["stages"], *content["axes"]}
    taken_out = {*found["stages"], *found["axes"]} - there  # a scale of the base may speak of what is no longer there
    content["scales"] = {
        name: {target: change for target, change in changes.items() if target not in taken_out}
        for name, changes in scales.items()
    }
    found.pop("recipe", None)  # a name is its own, or two recipes would share a folder of runs/ and a root of gc
    return {**found, **content}


def _laid_over(old: Any, new: Any) -> Any:
    """A stage with some of its fields replaced; of ``resources``, which decide no result, some entries."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    both = (
        {"resources": _merge(old["resources"], new["resources"])} if "resources" in old and "resources" in new else {}
    )
    return {**old, **new, **both}


def _known(content: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in content:
        if key not in known:
            raise PresightError(f"{where}: {key}", "is no key of a recipe", nearest(str(key), known))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise PresightError(where, f"{value!r} is not a mapping of names", "write name: value")
    return value


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return new


def _assign(content: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    """Set one value by its dotted path within a stage or an axis (or ``threads``)."""
    if path == ["threads"]:
        content["threads"] = value
        return
    group = "stages" if path[0] in content["stages"] else "axes"
    if path[0] not in content[group]:
        raise PresightError(
            where, f"{path[0]!r} is no stage or axis", nearest(path[0], [*content["stages"], *content["axes"]])
        )
    place = content[group]
    for key in path[:-1]:
        if not isinstance(place.get(key), dict):
            raise PresightError(where, f"{key!r} holds no fields", "set it whole: --set name.field='{a: 1}'")
        place[key] = dict(place[key])  # a YAML alias may share it
        place = place[key]
    place[path[-1]] = value
