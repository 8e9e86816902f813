"""The graph of a recipe: every stage at every place on exactly the axes it reaches."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from presight.assembly import build, fault, stage_class, topological
from presight.errors import PresightError, Unavailable, nearest
from presight.recipe import Recipe
from presight.stage import FrozenMap, Labelled, Stage

_REFERENCE = re.compile(r"^\$(\w+)(?:\[([^\]]*)\])?$")

Labels = dict[str, str]
Cases = list[tuple[Labels, Any]]


def expand(recipe: Recipe, fetch: bool = False) -> Graph:
    """Every stage of a recipe at every place on the axes it reaches.

    Args:
        recipe: as read, overrides applied.
        fetch: download outside data that the recipe names; without, what is cached or declared is used.

    Raises:
        PresightError: a fault in the recipe; or none of its stages can be made with the data to be had.
    """
    return _Expansion(recipe, fetch).graph()


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
            given["resources"] = {"threads": self.recipe.threads, **given.get("resources", {})}
            made = build(cls, given, f"stages.{name}")
            try:
                built.append((labels, made.settle(self.fetch)))
            except Unavailable as error:
                self.left_out.append(error)
            except ValidationError as error:  # what only the content of outside data shows
                raise fault(error, cls, f"stages.{name}") from error
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
