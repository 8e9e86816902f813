"""What a recipe would do before it does it: tree, tokens, minutes, and what its comparisons could detect."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from presight.console import number, size
from presight.executor import needed
from presight.expansion import Graph, Instance
from presight.stage import Cost, Stage
from presight.store import Store

# One core of a laptop, for what this store has no measurement of.
FLOPS_PER_SECOND = 3e10
BYTES_PER_SECOND = 2e6
SECONDS_EACH = 3.0

Speeds = dict[tuple[str, bool], float]  # by a stage's tag, and whether on GPUs


@dataclass(frozen=True, slots=True)
class Line:
    """A stage of the recipe over all its places on the axes.

    ``untimed`` of those to run ask for GPUs, on which this store has not run such a stage; ``seconds`` leave them out.
    ``disk`` are the bytes that those to run will fill, ``working`` those that one of them holds until it is done.
    """

    name: str
    stage: str
    inputs: list[str]
    instances: list[str]
    done: int
    to_run: int
    tokens: int
    seconds: float
    untimed: int
    disk: int
    working: int
    design: list[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe's plan; ``minutes`` by this store's earlier runs, or for this machine's cores, without the untimed."""

    recipe: str
    lines: list[Line]
    minutes: float
    jobs: int
    left_out: list[str]
    hypothesis: str = ""


def plan(graph: Graph, store: Store) -> Plan:
    """Plan a graph against what the store holds."""
    todo, _ = needed(graph.targets(), store)
    waiting = {stage.fingerprint for stage in todo}
    speeds = _speeds(store)
    lines = []
    for name in graph.recipe.stages:
        members = [each for each in graph.instances if each.name == name]
        running = [each for each in members if each.stage.fingerprint in waiting]
        designs = dict.fromkeys(line for each in members if (line := each.stage.design()))
        lines.append(
            Line(
                name,
                members[0].stage.tag() if members else graph.recipe.stages[name]["stage"],
                _inputs(members, graph),
                [each.title for each in members],
                sum(store.find(each.stage) is not None for each in members),
                len(running),
                sum(each.stage.estimate().tokens for each in running if each.stage.estimate().flops),
                sum(_seconds(each.stage, speeds) or 0.0 for each in running),
                sum(_seconds(each.stage, speeds) is None for each in running),
                sum(each.stage.estimate().disk for each in _once(running)),
                max((each.stage.estimate().working for each in running), default=0),
                list(designs),
            )
        )
    threads = max((each.stage.resources.threads for each in graph.instances), default=1)
    jobs = max(1, len(os.sched_getaffinity(0)) // threads)
    chain: dict[str, float] = {}  # the longest chain to each stage bounds what more workers could save
    for stage in todo:
        before = max((chain.get(parent.fingerprint, 0.0) for parent in stage.inputs().values()), default=0.0)
        chain[stage.fingerprint] = before + (_seconds(stage, speeds) or 0.0)
    total = sum(line.seconds for line in lines)
    return Plan(
        graph.recipe.name,
        lines,
        max(total / jobs, max(chain.values(), default=0.0)) / 60,
        jobs,
        graph.left_out,
        graph.recipe.hypothesis,
    )


def _once(running: list[Instance]) -> list[Instance]:
    """Each artifact once, whatever places on the axes share it."""
    return list({each.stage.fingerprint: each for each in running}.values())


def _inputs(members: list[Instance], graph: Graph) -> list[str]:
    parents = {parent.fingerprint for each in members for parent in each.stage.inputs().values()}
    return list(dict.fromkeys(each.name for each in graph.instances if each.stage.fingerprint in parents))


def _amount(cost: Cost) -> float:
    """Seconds by the laptop's figures."""
    return SECONDS_EACH + cost.flops / FLOPS_PER_SECOND + cost.bytes / BYTES_PER_SECOND


def _seconds(stage: Stage, speeds: Speeds) -> float | None:
    """Of a stage; None for GPUs that it has not been seen on: what a laptop's core takes says nothing of them."""
    ratio = speeds.get((stage.tag(), stage.resources.gpus > 0), None if stage.resources.gpus else 1.0)
    return None if ratio is None else _amount(stage.estimate()) * ratio


def _speeds(store: Store) -> Speeds:
    """Measured over assumed seconds for each kind of stage that this store has seen, on GPUs or not; the median."""
    seen: dict[tuple[str, bool], list[float]] = {}
    for artifact in store.artifacts():
        card = artifact.card
        if "disk" not in card["estimate"]:  # of an earlier release, which counted otherwise
            continue
        kind = card["stage"], "cuda" in card.get("numerics", "").split("/")
        seen.setdefault(kind, []).append(card["seconds"] / _amount(Cost(**card["estimate"])))
    return {kind: statistics.median(ratios) for kind, ratios in seen.items()}


class Addition(Protocol):
    """What the stages of one folder add to a plan."""

    @property
    def hours(self) -> Collection[str]:
        """Names of the stages whose GPU-hours it tells."""

    def record(self) -> dict[str, Any]:
        """For machines: more keys of the plan."""

    def show(self) -> None:
        """Print it."""


def show(found: Plan, as_json: bool, addition: Addition | None = None) -> None:
    """Print a plan, and what is added to it."""
    more = addition.record() if addition else {}
    if as_json:
        print(
            json.dumps(
                {
                    "recipe": found.recipe,
                    **({"hypothesis": found.hypothesis} if found.hypothesis else {}),
                    "minutes": found.minutes,
                    "jobs": found.jobs,
                    "left_out": found.left_out,
                    "stages": [_record(line) for line in found.lines],
                    **more,
                },
                indent=1,
            )
        )
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.tree import Tree

    tree = Tree(f"[bold]{escape(found.recipe)}[/]")
    for line in found.lines:
        count = len(line.instances)
        state = (
            "left out"
            if not count
            else "[green]done[/]"
            if line.done == count
            else f"{line.to_run} of {count} to run"
            if line.to_run
            else "not needed"
        )
        details = [state]
        if line.tokens:
            details.append(f"{number(line.tokens)} tokens")
        if line.to_run > line.untimed:
            details.append(f"~{_duration(line.seconds)}")
        if line.untimed:
            told = addition is not None and line.name in addition.hours
            details.append("GPU-hours below" if told else "on GPUs, not timed here yet")
        below = f" [dim]← {', '.join(line.inputs)}[/]" if line.inputs else ""
        branch = tree.add(f"[bold]{escape(line.name)}[/] {escape(line.stage)}{below}  {', '.join(details)}")
        for title in line.instances if 1 < count <= 8 else []:
            branch.add(f"[dim]{escape(title)}")
        for design in line.design:
            branch.add(f"[yellow]{escape(design)}")
    console = Console()
    if found.hypothesis:
        console.print(f"hypothesis: {' '.join(found.hypothesis.split())}\n", markup=False)
    console.print(tree)
    for reason in found.left_out:
        console.print(f"left out: {reason}", markup=False)
    tokens = sum(line.tokens for line in found.lines)
    runs = sum(line.to_run for line in found.lines)
    if runs:
        untimed = sum(line.untimed for line in found.lines)
        about = f"about {_duration(60 * found.minutes)} with {found.jobs} workers"
        if untimed == runs:
            about = "all on GPUs"
        elif untimed:
            about += f", and {untimed} on GPUs"
        if untimed and addition and addition.hours:
            about += " (GPU-hours below; --gpu for another card)"
        print(f"{runs} stages to run, {number(tokens)} tokens, {about}")
        if disk := sum(line.disk for line in found.lines):
            most = max(found.lines, key=lambda line: line.working)
            beside = f"; {most.name} holds {size(most.working)} a run beside it until it is done" * bool(most.working)
            print(f"disk: at least {size(disk)}{beside}")
    else:
        print("everything is made")
    if addition:
        addition.show()


def _duration(seconds: float) -> str:
    """``0.4 minutes``, ``12 minutes``, ``3.2 hours``, ``12 days``: no finer than a plan can know."""
    units = (("minutes", 60, 90), ("hours", 3600, 48), ("days", 86_400, math.inf))
    unit, size = next((unit, size) for unit, size, most in units if seconds < most * size)
    count = seconds / size
    return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"


def _record(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in Line.__slots__}
