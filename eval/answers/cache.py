"""What a model was asked before: keyed by weights, tokenizer, prompt, options and code, so that nothing is stale."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

from eval.answers.scoring import Scores

T = TypeVar("T")
_MODEL = (".safetensors", ".json", ".model", ".jinja")  # weights, configuration, tokenizer, chat template
_LANGUAGE = "language/"  # where the LM of an artifact of kind vlm is
_NOT = ("card.json", "counts.json", "ledger.json")  # what a store or a run adds beside them
_CODE = (
    "batching",
    "checkpoint",
    "answers/cache",
    "answers/generation",
    "answers/prefixes",
    "answers/scoring",
)  # of it


class Cache:
    """Answers in a folder of lines of JSON, one folder a model and code; every process appends to a file of its own.

    A line that a kill cut short is left out, and asked again.

    Args:
        folder: to hold them; None: nothing is kept beyond this object.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._known: dict[str, Any] = {}
        self.hits = self.misses = 0
        for path in sorted(folder.glob("*.jsonl")) if folder else ():
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    key, value = json.loads(line)
                    self._known[key] = value

    def through(
        self,
        asked: Sequence[Any],
        work: Callable[[list[int]], Sequence[T]],
        write: Callable[[T], Any],
        read: Callable[[Any], T],
    ) -> list[T]:
        """Answers to everything asked, in order: kept ones as they were, the others worked out and kept.

        Args:
            asked: as JSON: all that an answer depends on beside model and code.
            work: answers those of some indices, in that order.
            write, read: an answer as JSON, and back.
        """
        keys = [hashlib.sha256(json.dumps(each, ensure_ascii=True).encode()).hexdigest() for each in asked]
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        wanted = [index for index, key in enumerate(keys) if key not in self._known and first[key] == index]
        self.misses += len(wanted)
        self.hits += len(keys) - len(wanted)
        if wanted:
            fresh = {keys[index]: write(each) for index, each in zip(wanted, work(wanted), strict=True)}
            if self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
                with (self._folder / f"{os.getpid()}-{os.urandom(4).hex()}.jsonl").open("w") as file:
                    file.writelines(json.dumps([key, value]) + "\n" for key, value in fresh.items())
            self._known |= fresh
        return [read(self._known[key]) for key in keys]


def model_digest(folder: Path) -> str:
    """Digest of a checkpoint's weights, configuration and tokenizer, names and bytes; a card's word is taken.

    Of an LM with an encoder attached the LM, in a folder of its own, counts as well.
    """
    card = folder / "card.json"
    if card.exists():
        listed = {each["name"]: each["sha256"] for each in json.loads(card.read_text())["files"]}
        found = {name: digest for name, digest in listed.items() if _counts(name)}
    else:
        files = [path for path in (*folder.glob("*"), *folder.glob(f"{_LANGUAGE}*")) if path.is_file()]
        names = {path.relative_to(folder).as_posix(): path for path in files}
        found = {name: _digest(path) for name, path in names.items() if _counts(name)}
    return hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()


def code_digest(*more: Path) -> str:
    """Digest of the code that answers, of further modules that take part, and of the libraries' versions."""
    import torch
    import transformers

    here = Path(__file__).parents[1]
    parts = [_digest(here / f"{name}.py") for name in _CODE] + [_digest(path) for path in more]
    parts += [torch.__version__, transformers.__version__]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def scores_to_json(scores: Scores) -> Any:
    """As `Cache` keeps it; floats come back to the last bit."""
    return astuple(scores)


def scores_from_json(kept: Iterable[Any]) -> Scores:
    """What `scores_to_json` gave."""
    return Scores(*(None if each is None else tuple(each) for each in kept))  # type: ignore[arg-type]


def _counts(name: str) -> bool:
    name = name.removeprefix(_LANGUAGE)
    return "/" not in name and name.endswith(_MODEL) and name not in _NOT


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
