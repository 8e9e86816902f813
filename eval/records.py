"""Results item by item, whatever measured them: one typed record, compared, kept and handed on alike."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from presight.errors import PresightError

KINDS = ("scores", "language", "bits")  # the artifacts that hold results
MODELS = ("checkpoint", "vlm", "llava")  # and those that were measured
LOSSES = ("bits_per_byte", "log_perplexity", "word_log_perplexity", "byte_log_perplexity")  # the less the better
ASKED = ("version", "prompt", "parser", "by", "style")  # facts without which equal names are not equal items
VERSION = "1"

# What a record is, column by column: a type of JSON schema, and what it says.
COLUMNS: Mapping[str, tuple[str, str]] = {
    "result": ("string", "artifact that holds it: kind/fingerprint"),
    "stage": ("string", "stage that made it, with its version, as eval.Choices 1"),
    "model": ("string", "checkpoint that was measured: its fingerprint"),
    "code": ("string", "digest of the modules that made it"),
    "task": ("string", "what was asked"),
    "task_version": ("string", "of the task, its wording or its items"),
    "prompt": ("string", "version or digest of the prompt; empty where none is given"),
    "parser": ("string", "version of what reads replies; empty where none is read"),
    "metric": ("string", "what a score is"),
    "item": ("string", "what was scored; the same name is the same item in every model"),
    "cluster": ("string", "what it shares with others, as an image or a passage; else its own name"),
    "score": ("number", "of the item; the mean over items is the result's figure"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One task of one artifact under one metric.

    Attributes:
        task, metric: what was asked, and what a score is.
        items: names, in order.
        clusters: ids [items].
        scores: [items]; their mean is the figure. A ratio (bits a byte) is made such a mean by dividing each item's
            total by the mean size: the items' sizes are the same for every model, so pairs stay pairs.
        facts: what else is known: modality, trained, chance, learning_rate, edge, group, condition, version, prompt,
            parser.
    """

    task: str
    metric: str
    items: tuple[str, ...]
    clusters: NDArray[Any]
    scores: NDArray[np.float64]
    facts: Mapping[str, Any] = field(default_factory=dict)


def results(folder: Path) -> list[Result]:
    """The results of an artifact, items in order of their names.

    Raises:
        PresightError: it holds none.
    """
    import pyarrow.parquet

    for name, read in (("scores.json", _scores), ("language.json", _language), ("bits.json", _bits)):
        if (folder / name).exists():
            described = json.loads((folder / name).read_text())
            found = list(read(described, pyarrow.parquet.read_table(folder / "items.parquet")))
            if len({(each.task, each.metric) for each in found}) < len(found):
                raise PresightError(str(folder), "has one task and metric twice", "measure it again")
            return found
    raise PresightError(str(folder), "holds no results", f"give an artifact of kind {', '.join(KINDS)}")


def require_same_items(first: Result, second: Result, between: str) -> None:
    """Refuse to pair what only bears the same names.

    Raises:
        PresightError: other items, or the same names under another version of task, prompt, parser or scorer.
    """
    if first.items != second.items:
        raise PresightError("scores", f"{between} scored different items of {first.task}", "use one dataset")
    for name in ASKED:
        if name in first.facts and name in second.facts and first.facts[name] != second.facts[name]:
            problem = f"{between} differ in {name} of {first.task}: {first.facts[name]!r} and {second.facts[name]!r}"
            raise PresightError("scores", problem, "measure both in the same way")


def _scores(described: Mapping[str, Any], table: Any) -> Iterator[Result]:
    """The one task that is described, or all that ``results`` lists, each with its metric and its column."""
    names = ("modality", "trained", "chance", "learning_rate", "edge", "group", "condition", *ASKED)
    tasks = np.array(table["task"].to_pylist()) if "results" in described else None
    for each in described.get("results", ({},)):
        known = {**described, **each}
        facts = {name: known[name] for name in names if name in known}
        own = table if tasks is None else table.filter(tasks == known["task"])
        column = known.get("column", known["metric"])
        values = own[column if column in own.column_names else "correct"].to_numpy(zero_copy_only=False)
        yield _result(known["task"], known["metric"], own, values.astype(np.float64), facts)


def _language(described: Mapping[str, Any], table: Any) -> Iterator[Result]:
    """Of a suite the metric that it counts with; of other tasks every metric that is a mean over items."""
    counted = {entry["task"]: f"{entry['metric']},none" for entry in described.get("suite", {}).get("entries", ())}
    pairs = zip(table["task"].to_pylist(), table["metric"].to_pylist(), strict=True)
    names = np.array([f"{task}\t{metric}" for task, metric in pairs])
    known = set(names.tolist())
    for name in dict.fromkeys(names.tolist()):
        task, metric = name.split("\t")
        if counted.get(task, metric) != metric:
            continue
        own = table.filter(names == name)
        scores, weights = (own[column].to_numpy() for column in ("score", "weight"))
        plain, _, taken = metric.partition(",")
        if "perplexity" in plain or plain == "bits_per_byte":  # a score is a log-likelihood in nats
            scores = -scores / weights.mean() / (math.log(2) if plain == "bits_per_byte" else 1.0)
            plain = plain.replace("perplexity", "log_perplexity")
        facts = {
            "modality": "text",
            "version": str(described.get("versions", {}).get(task, "")),
            "prompt": described.get("task_hashes", {}).get(task, ""),
        }
        both = task not in counted and {f"{task}\tacc,{taken}", f"{task}\tacc_norm,{taken}"} <= known
        called = "accuracy" if plain in ("acc", "acc_norm") and not both else plain
        yield _result(task, called if taken in ("", "none") else f"{called},{taken}", own, scores, facts)


def _bits(described: Mapping[str, Any], table: Any) -> Iterator[Result]:
    sources = np.array(table["source"].to_pylist())
    for source in described["sources"]:
        own = table.filter(sources == source)
        bits, size = own["bits"].to_numpy(), own["bytes"].to_numpy()
        facts = {"modality": "text", "version": described.get("version", "")}
        yield _result(f"text: {source}", "bits_per_byte", own, bits / size.mean(), facts)


def _result(task: str, metric: str, table: Any, scores: NDArray[np.float64], facts: Mapping[str, Any]) -> Result:
    items = table["item"].to_pylist()
    order = sorted(range(len(items)), key=items.__getitem__)
    if len(set(items)) < len(items):
        raise PresightError(f"items of {task}", "some are scored twice", "score every item once")
    clusters = np.array(table["cluster"].to_pylist(), dtype=object)[order].astype(str)
    return Result(task, metric, tuple(items[row] for row in order), clusters, scores[order], dict(facts))


def rows(folder: Path, card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An artifact's results as records, a row for each item, in the order of `COLUMNS`.

    Args:
        folder: of the artifact.
        card: its card.

    Raises:
        PresightError: it holds no results.
    """
    models = [each["artifact"] for each in card["parents"] if each["kind"] in MODELS]
    found = []
    for each in results(folder):
        shared = {
            "result": f"{card['kind']}/{card['artifact']}",
            "stage": f"{card['stage']} {card['version']}",
            "model": models[0] if models else "",
            "code": str(card["code"]),
            "task": each.task,
            "task_version": str(each.facts.get("version", "")),
            "prompt": str(each.facts.get("prompt", "")),
            "parser": str(each.facts.get("parser", "")),
            "metric": each.metric,
        }
        for item, cluster, score in zip(each.items, each.clusters.tolist(), each.scores.tolist(), strict=True):
            found.append({**shared, "item": item, "cluster": cluster, "score": score})
    return found


def keep(target: Path, folder: Path, card: Mapping[str, Any]) -> bool:
    """Add an artifact's records to a folder of them: a parquet file an artifact, written once; whether it is new.

    The folder is a parquet dataset that only grows; ``schema.json`` beside the files says what a column is.

    Raises:
        PresightError: the artifact holds no results.
    """
    import pyarrow
    import pyarrow.parquet

    path = target / f"{card['kind']}-{card['artifact']}.parquet"
    if path.exists():
        return False
    types = {"string": pyarrow.string(), "number": pyarrow.float64()}
    columns = pyarrow.schema([(name, types[kind]) for name, (kind, _) in COLUMNS.items()])
    table = pyarrow.Table.from_pylist(rows(folder, card), columns.with_metadata({"records": VERSION}))
    target.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pyarrow.parquet.write_table(table, partial)
    partial.replace(path)
    (target / "schema.json").write_text(json.dumps(schema(), indent=1))
    return True


def schema() -> dict[str, Any]:
    """The JSON schema of a record."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "presight result record",
        "version": VERSION,
        "type": "object",
        "properties": {name: {"type": kind, "description": said} for name, (kind, said) in COLUMNS.items()},
        "required": list(COLUMNS),
        "additionalProperties": False,
    }
