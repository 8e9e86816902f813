"""Mixtures straight from a file: one lock, or a lock for each point of a grid."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.mixing.compiler import lock_of
from corpus.mixing.spec import Spec
from corpus.mixture import FILE, Mixture, overlap
from presight import axes, document
from presight.assembly import build
from presight.console import number, table
from presight.errors import PresightError, nearest

PLACES = ("tokens", "cells", "grid")


@dataclass(frozen=True, slots=True)
class Point:
    """One mixture of a file: its place on the grid, and its lock or why there is none."""

    place: str
    mixture: Mixture | None
    refused: str = ""

    def row(self) -> dict[str, Any]:
        """For machines."""
        lock = self.mixture.lock if self.mixture else {}
        pools = {pool["name"]: pool["realised"] for pool in lock.get("pools", [])}
        return {"place": self.place, "plan": lock.get("plan"), "items": lock.get("items"), "pools": pools} | (
            {"refused": self.refused} if self.refused else {}
        )


def compile_spec(path: Path, out: Path) -> list[Point]:
    """Compile a file's mixtures into ``out``: ``mixture.lock``, or ``<place>/mixture.lock`` for each grid point.

    A point of a grid that cannot be met is reported; the others are written.

    Raises:
        PresightError: the file is not well formed; or its only mixture cannot be met.
    """
    fields = document.read(path)
    if not isinstance(fields, dict):
        raise PresightError(str(path), "is no mapping of fields", "write tokens:, sources:, budget:, …")
    if unknown := [key for key in fields if key not in (*PLACES, *Spec.model_fields)]:
        known = [*PLACES, *Spec.model_fields]
        raise PresightError(f"{path}: {unknown[0]}", "is no field of a mixture", nearest(str(unknown[0]), known))
    if not fields.get("tokens"):
        raise PresightError(f"{path}: tokens", "is missing", "name the folder of a tokens artifact")
    folders = {key: (path.parent / str(fields[key])).expanduser() for key in ("tokens", "cells") if fields.get(key)}
    rest = {key: value for key, value in fields.items() if key not in PLACES}
    grid = _grid(fields.get("grid") or {}, set(_named(rest)), str(path))
    points = []
    for chosen in itertools.product(*(values.items() for values in grid.values())):
        place = ",".join(f"{name}={label}" for name, (label, _) in zip(grid, chosen, strict=True))
        given = {name: value for name, (_, value) in zip(grid, chosen, strict=True)}
        home = out / place
        try:
            spec = build(Spec, _filled(rest, given), str(path))
            mixture = Mixture.of(lock_of(spec, folders["tokens"], folders.get("cells"), home))
        except PresightError as error:
            if not grid:
                raise
            points.append(Point(place, None, str(error)))
            continue
        home.mkdir(parents=True, exist_ok=True)
        mixture.write(home / FILE)
        points.append(Point(place, mixture))
    return points


def show(points: list[Point]) -> None:
    """Print a mixture, or a grid as a table with what neighbouring points read in common."""
    if len(points) == 1 and points[0].mixture:
        points[0].mixture.describe()
        return
    rows, before = [], None
    for point in points:
        if point.mixture is None:
            rows.append([point.place, "–", "–", "–", point.refused])
            continue
        mixture = point.mixture
        quotas = {pool.name: pool.quota for pool in mixture.pools}
        common = f"{_common(before, mixture):.0%}" if before else ""
        most = max(mixture.pools, key=lambda pool: pool.epochs)
        tokens = number(sum(quotas.values()) * mixture.item)
        rows.append(
            [point.place, mixture.plan[:8], tokens, common, f"{most.epochs:.2f} epochs of {most.name} at most"]
        )
        before = mixture
    table("", ["point", "plan", "tokens", "in common", ""], rows)
    met = sum(point.mixture is not None for point in points)
    print(f"{met} of {len(points)} mixtures; in common: of the items of the point above")


def _common(one: Mixture, two: Mixture) -> float:
    """Part of a mixture's items that another reads too."""
    shared = overlap(one, two)
    quotas = [{pool.name: pool.quota for pool in each.pools} for each in (one, two)]
    both = sum(share * max(each.get(name, 0) for each in quotas) for name, share in shared.items())
    return both / max(one.items, two.items)


def _grid(given: Any, named: set[str], where: str) -> dict[str, dict[str, Any]]:
    """Labels and values of each axis.

    Raises:
        PresightError: there is no such axis, or one that nothing names, or a label that no folder could have.
    """
    if not isinstance(given, dict):
        raise PresightError(f"{where}: grid", f"{given!r} is no mapping of axes", "write grid: {x: 50..85 step 5}")
    grid = {str(name): axes.values(str(name), each, f"{where}: grid") for name, each in given.items()}
    if unknown := sorted(named - set(grid)):
        raise PresightError(where, f"${unknown[0]} is on no axis of the grid", nearest(unknown[0], grid))
    if idle := sorted(set(grid) - named):
        raise PresightError(f"{where}: grid.{idle[0]}", "changes nothing", f"write ${idle[0]} where its values go")
    for name, values in grid.items():
        for label in [name, *values]:
            if {"/", "\\", "\0"} & set(label):
                raise PresightError(f"{where}: grid.{name}", f"{label!r} cannot name a folder", "call it otherwise")
    return grid


def _named(value: Any) -> Iterator[str]:
    """The axes that the fields name as ``$x``."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _named(each)
    elif isinstance(value, str) and value.startswith("$"):
        yield value[1:]


def _filled(value: Any, given: Mapping[str, Any]) -> Any:
    """The fields with ``$x`` replaced by the grid's value of x."""
    if isinstance(value, dict):
        return {key: _filled(each, given) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, given) for each in value]
    return given[value[1:]] if isinstance(value, str) and value.startswith("$") else value
