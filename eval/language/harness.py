"""lm-eval on a model in memory: tasks found offline, batches by tokens, results without what varies by time or place.

lm-eval brings tasks, prompts and metrics; nothing of them is rewritten here. Its data sets are asked for by their hub
id: while tasks are loaded, a local mirror answers first.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.batching import Load, plan
from eval.stats.margins import Interval
from presight.console import Track
from presight.errors import PresightError, nearest

OWN = Path(__file__).with_name("tasks")  # tasks that come with the package


def lm_eval_version() -> str:
    """The version of lm-eval here: tasks and prompts change with it.

    Raises:
        PresightError: there is none.
    """
    try:
        return version("lm-eval")
    except PackageNotFoundError as error:
        raise PresightError(
            "tasks", "are lm-eval's, which is not installed", "pip install 'presight[eval]'"
        ) from error


def start_token(tokenizer: Any) -> int:
    """The token that a text is read after: a start token, or the end of the text before; as in lm-eval."""
    return int(tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id)


def encode(tokenizer: Any, text: str) -> NDArray[np.int64]:
    """A text's tokens; none is added, and one that the text spells out is text."""
    given = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    return np.array(tokenizer(text, **given)["input_ids"], dtype=np.int64)


def longest(model: Any) -> int:
    """Tokens that a model's positions allow; 2,048 where it states none."""
    return int(getattr(model.config, "max_position_embeddings", None) or 2048)


def record(interval: Interval) -> dict[str, Any]:
    """An interval for JSON, which has no infinity: null, as of a limit that one document cannot give."""
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in asdict(interval).items()
    }


def wrap(model: Any, tokenizer: Any, batch_tokens: int = 8192) -> Any:
    """A causal LM in memory as lm-eval's ``HFLM``, which counts its batches in rows; this one in tokens.

    Args:
        model: a transformers causal LM.
        tokenizer: its tokenizer.
        batch_tokens: read at once, padding included; changes last digits only.
    """
    from lm_eval.models.huggingface import HFLM

    class Budgeted(HFLM):
        batch_size_per_gpu: Any

        def _loglikelihood_tokens(
            self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
        ) -> Any:
            rows, self.batch_size_per_gpu = self.batch_size_per_gpu, override_bs or "auto"
            try:
                return super()._loglikelihood_tokens(requests, True, override_bs)
            finally:
                self.batch_size_per_gpu = rows

        def _batch_scheduler(self, pos: int, n_reordered_requests: Any) -> int:
            """Rows of the batch that a request stands in; asked for each in turn."""
            if pos == 0:
                lengths = [
                    min(len(context) + len(goal) - 1, self.max_length) for _, context, goal in n_reordered_requests
                ]
                self._rows = [len(rows) for rows in plan([Load(each) for each in lengths], batch_tokens) for _ in rows]
            return self._rows[pos]

        def _model_call(self, inps: Any, **given: Any) -> Any:
            track.advance(len(inps))
            return super()._model_call(inps, **given)

    track = Track(None, "scoring")
    with _quiet():
        return Budgeted(pretrained=model, tokenizer=tokenizer, batch_size=max(1, batch_tokens // longest(model)))


def load_tasks(
    names: Sequence[str],
    include: Path | None = None,
    mirror: Path | None = None,
    work: Path | None = None,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Tasks and groups by name, as lm-eval's ``TaskManager.load`` gives them.

    Args:
        names: of tasks, groups or tags: of ``include``, of this package, or of lm-eval.
        include: folder of the user's own YAML tasks; files that they name (``data_files``) are found in it.
        mirror: folder of data sets by hub id, ``MIRROR/Rowan/hellaswag/…``, that the hub is not asked for.
        work: where local files are converted to; None: the cache of ``datasets``.
        seed: for tasks that shuffle while they are loaded.

    Raises:
        PresightError: an unknown name, a data set that cannot be had, or a task that lm-eval cannot make.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - tasks draw from the global generators
    roots = [OWN, *([include] if include else [])]
    manager = _manager(names, roots)
    found: dict[str, dict[str, Any]] = {"tasks": {}, "groups": {}}
    with _datasets(roots, mirror, work):
        for name in names:
            try:
                loaded = manager.load([name])
            except _Missing as missing:
                problem = f"its data set {missing} cannot be had here"
                where = f"{mirror or 'MIRROR'}/{missing}"
                mend = f"hf download --repo-type dataset {missing} --local-dir {where}, and give the mirror"
                raise PresightError(f"tasks.{name}", problem, mend) from missing
            except Exception as error:  # a user's YAML can go wrong anywhere
                said = str(error).partition("\n")[0]
                problem = f"lm-eval cannot make it: {type(error).__name__}: {said}"
                raise PresightError(f"tasks.{name}", problem, "mend its YAML or its data") from error
            for kind, members in found.items():
                members.update(loaded.get(kind, {}))
    return found


def evaluate(
    lm: Any, tasks: Mapping[str, Mapping[str, Any]], shots: int | None = None, limit: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """lm-eval's results, in its own schema, with ``samples`` and ``task_hashes``; the same, wherever and whenever.

    Args:
        lm: as `wrap` gives it.
        tasks: as `load_tasks` gives them.
        shots: examples before each item, where a task does not rule them out; None: what the task says, else none.
        limit: items of each task, the first so many; None: all.
        seed: of the examples drawn.
    """
    from lm_eval.evaluator import evaluate as measure

    for task in tasks["tasks"].values():
        stated = task.get_config("num_fewshot")
        if stated is None or (shots is not None and stated != 0):
            task.set_config("num_fewshot", shots or 0)
        task.set_fewshot_seed(seed)
    with _quiet():
        # without its own standard errors: they come from a pool of processes, intervals of ours from the items
        found: dict[str, Any] = dict(measure(lm=lm, task_dict=tasks, limit=limit, bootstrap_iters=0) or {})
    hashes = ("doc_hash", "prompt_hash", "target_hash")
    found["task_hashes"] = {
        name: hashlib.sha256("".join(each[key] for each in samples for key in hashes).encode()).hexdigest()
        for name, samples in found["samples"].items()
    }
    found["lm_eval_version"] = lm_eval_version()
    for config in found["configs"].values():
        (config.get("metadata") or {}).pop("config_source", None)  # a path
    return found


class _Missing(Exception):
    """A data set that is neither in the mirror, nor in the cache, nor to be fetched; its hub id."""


@contextmanager
def _datasets(roots: Sequence[Path], mirror: Path | None, work: Path | None) -> Iterator[None]:
    """Answer tasks that ask for data sets: from the mirror, from files in a root, or as ``datasets`` would."""
    import datasets

    asked = datasets.load_dataset

    def answer(path: str, name: str | None = None, **given: Any) -> Any:
        place = mirror / path if mirror else None
        if place is not None and place.is_dir():
            given = {key: value for key, value in given.items() if key not in ("revision", "token")}
            if name and not (place / "README.md").exists() and (place / name).is_dir():
                place, name = place / name, None  # no description says which files are which part's
            elif not (place / "README.md").exists():
                name = None
            return asked(str(place), name, cache_dir=work and str(work), **given)
        if files := given.get("data_files"):
            given |= {"data_files": _placed(files, roots), "cache_dir": work and str(work)}
            return asked(path, name, **given)
        try:
            return asked(path, name, **given)
        except Exception as error:  # of `datasets`, of the hub or of the network
            raise _Missing(path) from error

    datasets.load_dataset = answer
    try:
        with _quiet():
            yield
    finally:
        datasets.load_dataset = asked


def _placed(files: Any, roots: Sequence[Path]) -> Any:
    """Names of files, by themselves or by split, those that are in a root as paths."""
    if isinstance(files, Mapping):
        return {split: _placed(each, roots) for split, each in files.items()}
    if isinstance(files, (list, tuple)):
        return [_placed(each, roots) for each in files]
    there = [root / files for root in reversed(roots) if (root / files).exists()]
    return str(there[0]) if there else files


def _manager(names: Sequence[str], roots: Sequence[Path]) -> Any:
    """A ``TaskManager`` that knows the names; it reads all of lm-eval's 14,000 files only if it must."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    with _quiet():
        known = TaskManager(include_path=list(roots), include_defaults=False)
        strange = set(names) - set(known.all_tasks)
        if strange:  # most tasks stand in a file or a folder of their name
            folders = {
                path if path.is_dir() else path.parent
                for path in (Path(lm_eval.__file__).parent / "tasks").rglob("*")
                if path.name in strange or (path.suffix == ".yaml" and path.stem in strange)
            }
            # of two tasks of one name lm-eval takes the first by path, but of two roots the last
            known = TaskManager(include_path=[*sorted(folders, reverse=True), *roots], include_defaults=False)
        if set(names) - set(known.all_tasks):
            known = TaskManager(include_path=list(roots))
    for name in names:
        if name not in known.all_tasks:
            raise PresightError(f"tasks.{name}", "is no task of lm-eval's or of yours", nearest(name, known.all_tasks))
    return known


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that every model in memory and every task of a folder would bring."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
