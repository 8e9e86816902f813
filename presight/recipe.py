"""A recipe: axes, stages that refer to each other, scales. Its expansion is the graph of an experiment."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from presight import document
from presight.errors import PresightError, Unavailable, nearest
from presight.stage import FrozenMap, Labelled, Stage, build, stage_class, topological

KEYS = ("recipe", "description", "axes", "stages", "scales", "threads")
_REFERENCE = re.compile(r"^\$(\w+)(?:\[([^\]]*)\])?$")

Labels = dict[str, str]
Cases = list[tuple[Labels, Any]]


@dataclass(frozen=True, slots=True)
class Instance:
    """One stage of a recipe at one place on its axes."""

    name: str
    labels: Labels
    stage: Stage

    @property
    def title(self) -> str:
        """``lm[mixture=vision,init=0]``."""
        return f"{self.name}[{self.place}]" if self.labels else self.name

    @property
    def place(self) -> str:
        """``mixture=vision,init=0``."""
        return ",".join(f"{axis}={label}" for axis, label in self.labels.items())


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as written, overrides applied; ``expand`` makes its stages."""

    name: str
    path: Path
    description: str
    axes: dict[str, dict[str, Any]]
    stages: dict[str, dict[str, Any]]
    threads: int = 1

    def expand(self, fetch: bool = False) -> Graph:
        """Every stage at every place on the axes it reaches.

        Args:
            fetch: download outside data that the recipe names; without, what is cached or declared is used.

        Raises:
            PresightError: a fault in the recipe; or none of its stages can be made with the data to be had.
        """
        return _Expansion(self, fetch).graph()


@dataclass(frozen=True, slots=True)
class Graph:
    """A recipe's instances, inputs before what stands on them, and why some data are left out."""

    recipe: Recipe
    instances: list[Instance]
    left_out: list[str]

    def targets(self, until: str | None = None) -> list[Stage]:
        """The stages that nothing stands on, or those of one name.

        Raises:
            PresightError: no stage of that name.
        """
        if until is not None and until not in self.recipe.stages:
            raise PresightError(f"--until {until}", "is no stage of the recipe", nearest(until, self.recipe.stages))
        used = {parent.fingerprint for each in self.instances for parent in each.stage.inputs().values()}
        return [
            each.stage
            for each in self.instances
            if (each.name == until if until else each.stage.fingerprint not in used)
        ]

    def titles(self) -> dict[str, str]:
        """Fingerprint to the first name that the recipe gives it."""
        return {each.stage.fingerprint: each.title for each in reversed(self.instances)}


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
    content = document.read(path)
    if not isinstance(content, dict):
        raise PresightError(str(path), "is not a mapping", "begin with `recipe: NAME`")
    _known(content, KEYS, str(path))
    content = copy.deepcopy(content)
    for key in ("axes", "stages", "scales"):
        content[key] = _mapping(content.get(key), f"{path}: {key}")
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
        axes={axis: _axis(axis, values) for axis, values in content["axes"].items()},
        stages=stages,
        threads=threads,
    )


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


def _axis(name: str, values: Any) -> dict[str, Any]:
    """Labels and values of an axis: a mapping names its values, a list of scalars is named by them."""
    if isinstance(values, dict) and values:
        return {str(label): value for label, value in values.items()}
    if isinstance(values, list) and values and not any(isinstance(value, (dict, list)) for value in values):
        labels = {str(value): value for value in values}
        if len(labels) == len(values):
            return labels
    raise PresightError(f"axes.{name}", f"{values!r} is not an axis", "list distinct values, or give each a name")


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


@dataclass(slots=True)
class _Expansion:
    """One expansion; stages are expanded once each, on first use."""

    recipe: Recipe
    fetch: bool
    done: dict[str, Cases] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)
    left_out: list[Unavailable] = field(default_factory=list)

    def graph(self) -> Graph:
        found = [
            Instance(name, labels, stage)
            for name in self.recipe.stages
            for labels, stage in self.stage(name, "stages")
        ]
        if unused := sorted(set(self.recipe.axes) - self.reached):
            raise PresightError(
                f"axes.{unused[0]}", "is used by no stage", f"refer to it as ${unused[0]}, or delete it"
            )
        if not found and self.left_out:
            raise self.left_out[0]
        order = {stage.fingerprint: rank for rank, stage in enumerate(topological([each.stage for each in found]))}
        found.sort(key=lambda instance: order[instance.stage.fingerprint])
        return Graph(self.recipe, found, [str(error) for error in self.left_out])

    def stage(self, name: str, where: str) -> Cases:
        if name in self.done:
            return self.done[name]
        fields = dict(self.recipe.stages[name])
        tag = fields.pop("stage", None)
        if not isinstance(tag, str):
            raise PresightError(f"stages.{name}.stage", f"{tag!r} names no stage", "write stage: package.Name")
        try:
            cls = stage_class(tag)
        except PresightError as error:
            raise PresightError(f"stages.{name}.stage", error.problem, error.mend) from error
        cases: Cases = [({}, {})]
        with self.entered(name, where):
            for key, expression in fields.items():
                cases = list(_join(cases, key, self.value(expression, f"stages.{name}.{key}")))
        built: Cases = []
        for labels, given in cases:
            given["resources"] = _merge({"threads": self.recipe.threads}, given.get("resources", {}))
            try:
                built.append((labels, build(cls, given, f"stages.{name}").settle(self.fetch)))
            except Unavailable as error:
                self.left_out.append(error)
        self.done[name] = built
        return built

    @contextmanager
    def entered(self, name: str, where: str) -> Iterator[None]:
        """Within the stage or axis ``name``, where a reference to it would be a circle."""
        if name in self.open:
            circle = " → ".join([*self.open[self.open.index(name) :], name])
            raise PresightError(where, f"{circle} is a circle", "let one of them stand on something earlier")
        self.open.append(name)
        yield
        self.open.pop()

    def value(self, expression: Any, where: str) -> Cases:
        """The values of an expression, each with the labels of the axes it reaches."""
        if isinstance(expression, str) and expression.startswith("$"):
            return self.reference(expression, where)
        if isinstance(expression, dict):
            cases: Cases = [({}, {})]
            for key, item in expression.items():
                cases = list(_join(cases, key, self.value(item, f"{where}.{key}")))
            return cases
        if isinstance(expression, list):
            cases = [({}, {})]
            for index, item in enumerate(expression):
                cases = list(_join(cases, index, self.value(item, f"{where}[{index}]")))
            return [(labels, _flat(given.values())) for labels, given in cases]
        return [({}, expression)]

    def reference(self, text: str, where: str) -> Cases:
        match = _REFERENCE.match(text)
        if not match:
            raise PresightError(where, f"{text!r} is no reference", "write $name, $name[axis=label] or $name[*]")
        name, selection = match.groups()
        cases: Cases
        if name in self.recipe.axes:
            self.reached.add(name)
            with self.entered(name, where):
                cases = [
                    ({name: label, **labels}, value)
                    for label, expression in self.recipe.axes[name].items()
                    for labels, value in self.value(expression, f"axes.{name}.{label}")
                ]
        elif name in self.recipe.stages:
            cases = self.stage(name, where)
        else:
            known = [*self.recipe.stages, *self.recipe.axes]
            raise PresightError(where, f"${name} is no stage or axis", nearest(name, known))
        return self.select(cases, selection, where) if selection is not None else cases

    def select(self, cases: Cases, selection: str, where: str) -> Cases:
        """``[a=v]`` keeps one label (and what does not depend on the axis), ``[a=*]`` and ``[*]`` gather."""
        if not cases:  # its data are left out, and with them what stands on it
            return []
        gathered: set[str] = set()
        reached = {axis for labels, _ in cases for axis in labels}
        parts = [part.strip() for part in selection.split(",")]
        for part in parts:
            if part == "*":
                gathered |= reached
                continue
            axis, sign, label = (word.strip() for word in part.partition("="))
            if not sign or axis not in reached:
                raise PresightError(where, f"[{part}] selects along no axis it reaches", nearest(axis, reached))
            if label == "*":
                gathered.add(axis)
                continue
            if label not in (known := {labels[axis] for labels, _ in cases if axis in labels}):
                raise PresightError(where, f"axis {axis} has no {label!r} here", nearest(label, known))
            cases = [
                ({a: v for a, v in labels.items() if a != axis}, value)
                for labels, value in cases
                if labels.get(axis, label) == label
            ]
        return self.gather(cases, gathered, where) if gathered or "*" in parts else cases

    def gather(self, cases: Cases, gathered: set[str], where: str) -> Cases:
        """At each place on the other axes, the stages to be found there: also those that do not depend on it."""
        others: dict[str, dict[str, None]] = {}
        for labels, value in cases:
            if not isinstance(value, Stage):
                raise PresightError(where, "only stages are gathered", "refer to a stage")
            for axis in labels:
                if axis not in gathered:
                    others.setdefault(axis, {})[labels[axis]] = None
        groups: dict[frozenset[tuple[str, str]], tuple[Labels, tuple[Labelled, ...]]] = {}
        for place in itertools.product(*others.values()):
            at = dict(zip(others, place, strict=True))
            rest: Labels = {}
            members = []
            for labels, value in cases:
                if all(at.get(axis, label) == label for axis, label in labels.items()):
                    rest |= {axis: label for axis, label in labels.items() if axis not in gathered}
                    along = {axis: label for axis, label in labels.items() if axis in gathered}
                    members.append(Labelled(FrozenMap(along), value))
            if members:
                groups.setdefault(frozenset(rest.items()), (rest, tuple(members)))
        return list(groups.values())


def _join(cases: Cases, key: Any, values: Cases) -> Iterator[tuple[Labels, Any]]:
    """Natural join: a case meets the values whose labels agree with its own."""
    for labels, given in cases:
        for more, value in values:
            if all(labels.get(axis, label) == label for axis, label in more.items()):
                yield {**labels, **more}, {**given, key: value}


def _flat(values: Any) -> tuple[Any, ...]:
    """A list's items; gathered groups within it are spliced in."""
    return tuple(
        item for value in values for item in (value if isinstance(value, tuple) and _gathered(value) else (value,))
    )


def _gathered(value: tuple[Any, ...]) -> bool:
    return bool(value) and all(isinstance(item, Labelled) for item in value)
