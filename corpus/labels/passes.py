"""The label pass straight from folders: what the stages do, with nothing but paths."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.documents import INDEX
from corpus.labels import documents
from corpus.labels import label as segments
from corpus.tokens import TOKENS
from presight.console import foreground
from presight.errors import PresightError


def label(place: Path, classifier: Path, out: Path, *, segment: int, jobs: int, text_key: str) -> Path:
    """Label a tokens artifact segment by segment, or documents one by one; ``out`` appears whole or not at all.

    Args:
        place: a tokens artifact, a documents artifact, or a file or folder of jsonl, parquet or plain text.
        classifier: its folder.
        out: folder to write. What a killed run has finished waits beside it for one that does the same.
        segment: tokens of a segment at most.
        jobs: processes.
        text_key: of records in files.

    Raises:
        PresightError: ``out`` is there; ``place`` holds no text; something is damaged.
    """
    if out.exists():
        raise PresightError("--out", f"{out} is there already", "name another folder, or delete it")
    if not place.exists():
        raise PresightError(str(place), "is not there", "give token shards or documents")
    work = out.with_name(f".{out.name}.partial")
    payload = _resumed(work, _request(place, classifier, segment, text_key))
    if (place / TOKENS).exists():
        _parallel(segments.label_part, (place, classifier, payload, segment), jobs, work)
        segments.describe(place, classifier, payload, segment)
    elif (place / INDEX).exists():
        _parallel(documents.label_part, (place, classifier, payload), jobs, work)
    else:
        with foreground("labelling"):
            name = place.absolute().name.partition(".")[0] or "documents"
            documents.label_files(place, classifier, payload / f"{name}.parquet", text_key)
    payload.replace(out)
    shutil.rmtree(work)
    return out


def _request(place: Path, classifier: Path, segment: int, text_key: str) -> str:
    """What the result follows from, as text: a run takes up only what one of the same request has left."""
    from corpus.labels.classifier import Classifier

    described = [place / name for name in (TOKENS, INDEX) if (place / name).exists()]
    content = [hashlib.sha256(path.read_bytes()).hexdigest() for path in described]
    return json.dumps([str(place.resolve()), content, Classifier.load(classifier).digest, segment, text_key])


def _resumed(work: Path, request: str) -> Path:
    """The folder to fill: as a killed run of the same request left it, or empty."""
    path = work / "request.json"
    if work.exists() and (not path.exists() or path.read_text() != request):
        shutil.rmtree(work)
    payload = work / "payload"
    payload.mkdir(parents=True, exist_ok=True)
    path.write_text(request)
    return payload


def _parallel(work_on: Callable[..., None], given: tuple[Any, ...], jobs: int, work: Path) -> None:
    """Call ``work_on(*given, part, parts, work)`` for as many parts as there are jobs."""
    if jobs == 1:
        with foreground("labelling"):
            work_on(*given, 0, 1, work)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for part in [pool.submit(work_on, *given, number, jobs, work) for number in range(jobs)]:
            part.result()
