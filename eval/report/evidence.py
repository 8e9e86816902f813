"""What a report shows, read from the artifacts it stands on: comparisons, arms, models, mixtures, layers, cards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eval.report import lineage
from eval.stats.deltas import Interval, PriorDelta
from presight.errors import PresightError
from presight.stage import Labelled

Verdict = Literal["established", "established alone", "these models", "not established"]
REPLICATE = "init"  # the axis of seeds where no comparison names it


@dataclass(frozen=True, slots=True)
class Comparison:
    """A delta, its p adjusted for the others compared with it, and the artifact that holds it."""

    delta: PriorDelta
    holm: float
    card: str

    @property
    def verdict(self) -> Verdict:
        """What may be said: "alone" does not survive Holm's correction, "these models" is of a single seed."""
        if not self.delta.established:
            return "not established"
        if self.delta.n_seeds < 2:
            return "these models"
        return "established" if self.holm < 1 - self.delta.interval.level else "established alone"

    @property
    def general(self) -> bool:
        """Whether the interval excludes 0 and speaks of more than the models at hand."""
        return self.verdict.startswith("established")

    @property
    def scale(self) -> float:
        """Accuracies are shown in per cent."""
        return 100.0 if self.delta.metric == "accuracy" else 1.0

    @property
    def unit(self) -> str:
        """What a difference counts."""
        return "points" if self.delta.metric == "accuracy" else self.delta.metric

    def signed(self, value: float) -> str:
        """A difference with its sign: ``+3.1``."""
        size = f"{100 * abs(value):.1f}" if self.delta.metric == "accuracy" else f"{abs(value):.3g}"
        return ("−" if value < 0 else "+") + size

    def between(self, interval: Interval) -> str:
        """The limits of an interval: ``[−0.4, +6.6]``."""
        return f"[{self.signed(interval.low)}, {self.signed(interval.high)}]"


@dataclass(frozen=True, slots=True)
class Arm:
    """The mean score of one arm on one task, as ``deltas.json`` gives it, and the artifact that holds it."""

    record: Mapping[str, Any]
    card: str

    @property
    def scale(self) -> float:
        """Accuracies are shown in per cent."""
        return 100.0 if self.record["metric"] == "accuracy" else 1.0

    def number(self, value: float) -> str:
        """A score: an accuracy in per cent, anything else to four digits."""
        return f"{100 * value:.1f}" if self.record["metric"] == "accuracy" else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class Family:
    """The comparisons of one artifact: tested together, so adjusted together."""

    card: str
    along: str
    treatment: str
    replicate: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    ladder: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path) -> Family:
        """The family in a deltas artifact, and its ladder of controls if it has one."""
        found, known = _json(folder / "deltas.json"), {field.name for field in fields(PriorDelta)}
        ladder = _json(folder / "ladder.json") if (folder / "ladder.json").exists() else None
        try:
            compared = tuple(
                Comparison(
                    PriorDelta.from_json({key: value for key, value in each.items() if key in known}),
                    each["p_holm"],
                    folder.name,
                )
                for each in found["deltas"]
            )
            arms = tuple(Arm(each, folder.name) for each in found["arms"])
            return cls(folder.name, found["along"], found["treatment"], found["replicate"], arms, compared, ladder)
        except (KeyError, TypeError) as error:
            raise PresightError(f"deltas/{folder.name}", f"lacks {error}", "compare the scores again") from error


@dataclass(frozen=True, slots=True)
class Model:
    """A pretrained model: where it stands on the axes, its held-out curve and what it read, where it kept them."""

    labels: Mapping[str, str]
    card: str
    curve: tuple[Mapping[str, Any], ...]
    ledger: Mapping[str, Any] | None
    config: Mapping[str, Any]

    @classmethod
    def read(cls, labelled: Labelled, folder: Path) -> Model:
        """The model in a checkpoint artifact; one that was not trained here has neither curve nor ledger."""
        curve, ledger = folder / "heldout.jsonl", folder / "ledger.json"
        lines = curve.read_text().splitlines() if curve.exists() else []
        return cls(
            dict(labelled.labels),
            folder.name,
            tuple(json.loads(line) for line in lines),
            _json(ledger) if ledger.exists() else None,
            _json(folder / "config.json"),
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """A mixture's lock and its place on the axes."""

    labels: Mapping[str, str]
    card: str
    lock: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe of every layer of a model, and its place on the axes."""

    labels: Mapping[str, str]
    card: str
    record: Mapping[str, Any]
    layers: tuple[int, ...]
    items: tuple[str, ...]
    clusters: NDArray[Any]  # [items]
    correct: NDArray[np.bool_]  # [layers, items]

    @classmethod
    def read(cls, labelled: Labelled, folder: Path) -> Probed:
        """The probe in an artifact."""
        from eval.probe.emerge import read_items

        layers, items, clusters, correct = read_items(folder)
        record = _json(folder / "probe.json")
        return cls(dict(labelled.labels), folder.name, record, tuple(layers), tuple(items), clusters, correct)


@dataclass(frozen=True, slots=True)
class Result:
    """What the one JSON file of an artifact says, and the artifact's place on the axes."""

    labels: Mapping[str, str]
    card: str
    record: Mapping[str, Any]

    @classmethod
    def read(cls, labels: Mapping[str, str], path: Path) -> Result:
        """Read it."""
        return cls(dict(labels), path.parent.name, _json(path))


@dataclass(frozen=True)
class Evidence:
    """What a report stands on."""

    title: str
    families: tuple[Family, ...]
    models: tuple[Model, ...]
    mixtures: tuple[Lock, ...]
    records: Mapping[str, lineage.Record]
    passport: Mapping[str, Any] | None = None
    probes: tuple[Probed, ...] = ()
    emergences: tuple[Result, ...] = ()
    alignments: tuple[Result, ...] = ()
    blindness: tuple[Result, ...] = ()
    landscapes: tuple[Result, ...] = ()
    structures: tuple[Result, ...] = ()
    published: tuple[str, ...] = ()

    @property
    def mixed_arithmetic(self) -> tuple[str, ...]:
        """The numerics classes that trained models are of, where they may not be compared to the last digit."""
        from pretrain import comparable

        cards = [record.card for each in self.models if (record := self.records.get(each.card)) and record.card]
        found = {str(card["numerics"]) for card in cards if "/ranks=" in str(card.get("numerics"))}
        return () if comparable(self.passport, found) else tuple(sorted(found))

    def shares_search(self, arm: Arm) -> bool:
        """Whether one learning-rate search serves several seeds of an arm, by the cards of its scores."""
        cards = [record.card for name in arm.record["scores"] if (record := self.records.get(name)) and record.card]
        searches = [parent["artifact"] for card in cards for parent in card["parents"] if parent["kind"] == "rate"]
        return len(searches) > len(set(searches))

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Each arm once, though several families may compare it."""
        found: dict[tuple[str, ...], Arm] = {}
        for family in self.families:
            for arm in family.arms:
                found.setdefault((arm.record["task"], arm.record["metric"], *arm.record["scores"]), arm)
        return tuple(found.values())

    @property
    def replicates(self) -> set[str]:
        """The axes of seeds."""
        named = {family.replicate for family in self.families} | {each.record["replicate"] for each in self.emergences}
        return named or {REPLICATE}

    @cached_property
    def names(self) -> dict[str, str]:
        """What an artifact is to the reader: its place on the axes."""
        found = {each.card: join(each.labels.values()) for each in self.mixtures}
        found |= {each.card: join(each.labels.values()) for each in self.models}
        tasks: dict[str, dict[str, None]] = {}
        for arm in self.arms:
            for artifact in arm.record["scores"]:
                tasks.setdefault(artifact, {})[arm.record["task"]] = None
        for arm in self.arms:
            for artifact, seed in zip(arm.record["scores"], arm.record["seeds"], strict=False):
                task = arm.record["task"] if len(tasks[artifact]) == 1 else f"{len(tasks[artifact])} tasks"
                found[artifact] = join([task, *arm.record["labels"].values(), f"seed {seed}"])
        for family in self.families:
            found[family.card] = f"comparisons along {family.along}"
        for every in (self.probes, self.alignments):
            found |= {
                each.card: join(filter(None, (self.place(each.labels), self.seed(each.labels)))) for each in every
            }
        found |= {each.card: f"response of {each.record['of']}" for each in self.landscapes}
        found |= {each.card: "structure" for each in self.structures}
        found |= {each.card: "looking" for each in self.blindness}
        return found | {each.card: f"emergence along {each.record['along']}" for each in self.emergences}

    def group(self, model: Model) -> str:
        """A model's place but for its seed."""
        return self.place(model.labels)

    def place(self, labels: Mapping[str, str]) -> str:
        """A place on the axes but for the seed; a bare number is said to be one of its axis."""
        return join(called(*each) for each in labels.items() if each[0] not in self.replicates) or "all models"

    def called(self, labels: Mapping[str, str]) -> str:
        """Place and seed."""
        return join(filter(None, (self.place(labels), self.seed(labels))))

    def seed(self, labels: Mapping[str, str]) -> str:
        """The seed of a place on the axes; empty where there is none."""
        return join(called(*each) for each in labels.items() if each[0] in self.replicates)


def places(labels: Sequence[Mapping[str, str]], axis: str = "") -> list[list[str]]:
    """Of each of several places what tells it from the others, and its label along `axis`."""
    shown = {key for each in labels for key in each if len({other.get(key) for other in labels}) > 1} | {axis}
    return [[value for key, value in each.items() if key in shown] for each in labels]


def called(axis: str, value: str) -> str:
    """A label as readers know it: ``text``, but ``milestone 3``."""
    return f"{axis} {value}" if value.replace(".", "", 1).isdecimal() else value


def join(parts: Iterable[str]) -> str:
    """Parts of a name: ``vision · images``."""
    return " · ".join(parts)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        where = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        raise PresightError(
            where, f"cannot be read ({type(error).__name__})", "run the recipe that makes it"
        ) from error
