"""What a checkpoint scores on language tasks: lm-eval's results, with an interval each and a record of every item."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from eval.checkpoint import load_model
from eval.language import harness
from eval.language.bits import ratio_interval
from eval.stats.intervals import mean_interval
from eval.stats.margins import Interval
from presight import index
from presight.errors import PresightError, nearest
from presight.stage import FrozenMap, Needs, Stage, scratch


class Entry(NamedTuple):
    """A task of a suite: the metric it counts with, the benchmark it is part of, and what its items share."""

    task: str
    metric: str
    benchmark: str
    cluster: str | None = None


# *Learning to See Before Seeing* names benchmarks; tasks and metrics are our choice: accuracy by length where answers
# are whole clauses (as usual for these three), a word's perplexity for WikiText, the last word's for LAMBADA.
SUITES: Mapping[str, tuple[Entry, ...]] = {
    "see_before_seeing": (
        Entry("piqa", "acc", "PIQA"),
        Entry("hellaswag", "acc_norm", "HellaSwag"),
        Entry("winogrande", "acc", "WinoGrande"),
        Entry("arc_easy", "acc", "ARC"),
        Entry("arc_challenge", "acc_norm", "ARC"),
        Entry("copa", "acc", "COPA"),
        Entry("sciq", "acc", "SciQ"),
        Entry("openbookqa", "acc_norm", "OpenBookQA"),
        Entry("boolq", "acc", "BoolQ", "passage"),
        Entry("wikitext", "word_perplexity", "WikiText"),
        Entry("lambada_openai", "perplexity", "LAMBADA"),
    )
}


class Language(Stage):
    """Scores of a checkpoint on lm-eval's tasks and on the user's own.

    The version of lm-eval and the content of own tasks and of the mirror enter the identity, their place does not.
    Data sets from the hub are taken as they come: ``task_hashes`` tells whether two results are of the same items.
    """

    kind = "language"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    suite: str | None = Field(None, description="see_before_seeing: nine accuracies and two perplexities")
    tasks: tuple[str, ...] = Field((), description="names of tasks, groups or tags")
    include: Path | None = Field(None, exclude=True, description="folder of YAML tasks of your own, with their files")
    mirror: Path | None = Field(
        None, exclude=True, description="folder of data sets by hub id: MIRROR/Rowan/hellaswag/…"
    )
    shots: int | None = Field(None, ge=0, description="examples before each item; None: what the task says, else none")
    limit: int | None = Field(None, ge=2, description="items of each task, the first so many; None: all")
    seed: int = Field(0, ge=0, description="of the examples")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")
    batch_tokens: int = Field(8192, ge=1, exclude=True, description="tokens read at once")
    content: FrozenMap[str, str] = Field(
        FrozenMap(), description="version of lm-eval, digests of own tasks and of the mirror; filled in"
    )

    def settle(self, fetch: bool) -> Stage:
        """Index own tasks and the mirror."""
        if self.content:
            return self
        if self.suite is not None and self.suite not in SUITES:
            raise PresightError("suite", f"{self.suite!r} is unknown", nearest(self.suite, SUITES))
        if not self._names():
            raise PresightError("tasks", "names no task", "give tasks, or a suite")
        digests = {name: index.content(path) for name, path in self._places().items()}
        return self.changed(content=FrozenMap({"lm_eval": harness.lm_eval_version(), **digests}))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``language.json``, and ``items.parquet`` with a row for each task, metric and item.

        Raises:
            PresightError: files changed since they were planned, or as `harness.load_tasks` and `load_model`.
        """
        import pyarrow
        import pyarrow.parquet

        known = {"lm_eval": harness.lm_eval_version()}
        known |= {name: index.content(path) for name, path in self._places().items()}
        for name, digest in known.items():
            if digest != self.content.get(name):
                raise PresightError(name, "changed since it was planned", "run again")
        places = self._places()
        tasks = harness.load_tasks(
            self._names(), places.get("include"), places.get("mirror"), scratch(out) / "datasets", self.seed
        )
        lm = harness.wrap(*load_model(inputs["model"], self.resources.gpus), self.batch_tokens)
        found = harness.evaluate(lm, tasks, self.shots, self.limit, self.seed)
        entries = SUITES[self.suite] if self.suite is not None else ()
        clusters = {entry.task: entry.cluster for entry in entries}
        rows: list[dict[str, Any]] = []
        found["intervals"] = {}
        for name, samples in found.pop("samples").items():
            task = tasks["tasks"][name]
            kinds = {metric: function.__name__ for metric, function in task.aggregation().items()}
            shared = (found["configs"][name].get("metadata") or {}).get("cluster", clusters.get(name))
            own = item_rows(name, samples, kinds, shared)
            found["intervals"][name] = {
                metric: harness.record(interval) for metric, interval in intervals(own, kinds, self.level).items()
            }
            rows += own
        if entries:
            found["suite"] = {"name": self.suite, **summary(entries, found["intervals"], self.level)}
        (out / "language.json").write_text(json.dumps(plain(found), indent=1, allow_nan=False))
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out / "items.parquet")
        counts = {name: each["effective"] for name, each in found["n-samples"].items()}
        (out / "counts.json").write_text(json.dumps(counts))

    def _names(self) -> tuple[str, ...]:
        suite = [entry.task for entry in SUITES.get(self.suite or "", ())]
        return tuple(dict.fromkeys([*suite, *self.tasks]))

    def _places(self) -> dict[str, Path]:
        places = {"include": self.include, "mirror": self.mirror}
        return {name: path.expanduser() for name, path in places.items() if path is not None}


def item_rows(
    task: str, samples: Sequence[Mapping[str, Any]], kinds: Mapping[str, str], cluster: str | None = None
) -> list[dict[str, Any]]:
    """A row for each item and metric: what it scored, and hashes of what was asked.

    Args:
        task: its name.
        samples: lm-eval's.
        kinds: by metric, the name of its aggregation; metrics of other kinds than `intervals` knows have no rows.
        cluster: the field of a document that items of one cluster share.
    """
    rows = []
    for sample in samples:
        item = f"{sample['doc_id']}:{sample['doc_hash'][:16]}"
        shared = item
        if cluster is not None:
            if cluster not in sample["doc"]:
                raise PresightError(f"tasks.{task}", f"its items have no {cluster!r}", "name a field as cluster")
            shared = hashlib.sha256(str(sample["doc"][cluster]).encode()).hexdigest()[:16]
        for metric in sample["metrics"]:
            if kinds.get(metric) not in _KINDS:
                continue
            score, weight = sample[metric] if kinds[metric] in _WEIGHTED else (sample[metric], 1.0)
            rows.append(
                {
                    "task": task,
                    "metric": f"{metric},{sample['filter']}",
                    "item": item,
                    "cluster": shared,
                    "score": float(score),
                    "weight": float(weight),
                    "prompt_hash": sample["prompt_hash"],
                    "target_hash": sample["target_hash"],
                }
            )
    return rows


_WEIGHTED = ("weighted_perplexity", "bits_per_byte")  # a score is a log-likelihood in nats, its weight words or bytes
_KINDS = ("mean", "perplexity", *_WEIGHTED)


def intervals(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str], level: float = 0.95) -> dict[str, Interval]:
    """By metric and filter (``acc,none``) lm-eval's own figure with an interval over items.

    A perplexity is ``exp`` of a mean negative log-likelihood; so are its limits, for a monotone function keeps their
    coverage.

    Args:
        rows: of one task, as `item_rows` gives them.
        kinds: by metric, the name of its aggregation.
        level: nominal coverage.
    """
    found = {}
    for name in dict.fromkeys(row["metric"] for row in rows):
        own = [row for row in rows if row["metric"] == name]
        scores, weights = (np.array([row[key] for row in own]) for key in ("score", "weight"))
        clusters = np.array([row["cluster"] for row in own])
        kind = kinds[name.partition(",")[0]]
        if kind != "mean":
            nats = ratio_interval(-scores, weights, clusters, level)
            found[name] = _map(nats, _bits if kind == "bits_per_byte" else _exp)
        elif (count := len(set(clusters.tolist()))) > 1:
            found[name] = mean_interval(scores[None], clusters if count < len(scores) else None, level)
        else:
            found[name] = Interval(float(scores.mean()), -math.inf, math.inf, level, "one item")
    return found


def _bits(nats: float) -> float:
    return nats / math.log(2)


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf


def _map(interval: Interval, function: Callable[[float], float]) -> Interval:
    estimate, low, high = map(function, (interval.estimate, interval.low, interval.high))
    return replace(interval, estimate=estimate, low=low, high=high)


def summary(
    entries: Sequence[Entry], found: Mapping[str, Mapping[str, Mapping[str, Any]]], level: float = 0.95
) -> dict[str, Any]:
    """A suite's mean accuracy and mean perplexity, benchmarks weighing alike, with intervals.

    The benchmarks are taken as they are, only their items as samples, independent of each other's: half widths add
    as squares.

    Args:
        entries: of the suite.
        found: intervals by task and metric, as in ``language.json``.
        level: theirs.
    """
    said: dict[str, Any] = {"entries": [entry._asdict() for entry in entries]}
    for name, perplexities in (("accuracy", False), ("perplexity", True)):
        part = [entry for entry in entries if ("perplexity" in entry.metric) == perplexities]
        benchmarks = [entry.benchmark for entry in part]
        weights = [1 / len(set(benchmarks)) / benchmarks.count(each) for each in benchmarks]
        rows = [found[entry.task][f"{entry.metric},none"] for entry in part]
        if any(row[key] is None for row in rows for key in ("estimate", "low", "high")):
            said[name] = None
            continue
        estimate = sum(weight * row["estimate"] for weight, row in zip(weights, rows, strict=True))
        halves = [weight * (row["high"] - row["low"]) / 2 for weight, row in zip(weights, rows, strict=True)]
        reach = math.hypot(*halves)
        interval = Interval(estimate, estimate - reach, estimate + reach, level, "items; benchmarks as they are")
        said[name] = harness.record(interval)
    return said


def plain(value: Any) -> Any:
    """Results as JSON: functions by their name, and null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return getattr(value, "__qualname__", None) or str(value)
