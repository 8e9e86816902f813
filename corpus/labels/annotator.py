"""An LLM labels text: asks an endpoint about each piece, keeps every answer it paid for, stops within its budget."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from corpus.labels.annotations import FILE
from corpus.labels.budget import Amount, Budget, Price
from corpus.labels.endpoint import Endpoint
from corpus.labels.excerpts import Excerpt
from corpus.labels.inquiry import Entry, Inquiry
from corpus.labels.journal import Journal
from corpus.labels.prompt import Prompt
from corpus.labels.taxonomy import Taxonomy
from presight import owner
from presight.console import clock, say
from presight.errors import PresightError

ANSWERS, ABOUT, OWNER = "answers.jsonl", "annotator.json", ".owner"


@dataclass(frozen=True)
class Summary:
    """What a folder holds after a run; totals are those of all runs in it.

    Args:
        segments: pieces asked for.
        labelled: pieces with a valid answer; they are in ``annotations.jsonl``.
        failed: pieces with none that counts; ``annotator.json`` names them.
        left: pieces not yet settled.
        asked: answers that this run received.
        requests: answers ever received, valid or not.
        tokens: that they took.
        cost: of the tokens; None without a price.
        faults: kind of invalid answer → how many there were.
        seconds: that this run took.
    """

    segments: int
    labelled: int
    failed: int
    left: int
    asked: int
    requests: int
    tokens: Amount
    cost: float | None
    faults: Mapping[str, int]
    seconds: float

    @property
    def sentence(self) -> str:
        """For people."""
        words = [f"{self.labelled:,} of {self.segments:,} segments labelled", f"{self.failed:,} failed"]
        words += [f"{self.left:,} left"] if self.left else []
        words += [f"{self.requests:,} answers, {self.tokens.tokens:,} tokens"]
        words += [f"{sum(self.faults.values()):,} answers invalid ({_listed(self.faults)})"] if self.faults else []
        words += [f"cost {self.cost:.4g}"] if self.cost is not None else []
        return "; ".join(words) + f"; {clock(self.seconds)}, {self.asked / max(self.seconds, 1e-9):.3g} answers/s"


def annotate(
    segments: Sequence[Excerpt],
    out: str | Path,
    *,
    taxonomy: Taxonomy,
    endpoint: str,
    model: str,
    concurrency: int = 8,
    max_tokens: int | None = None,
    max_cost: float | None = None,
    price: Price | None = None,
    temperature: float = 0.0,
    answer_tokens: int = 256,
    timeout: float = 120.0,
    retries: int = 6,
    pause: float = 1.0,
    nudges: int = 2,
    again: bool = False,
    json_mode: bool = False,
    body: Mapping[str, Any] | None = None,
) -> Summary:
    """Label segments, going on from what ``out`` holds; a key is read from PRESIGHT_API_KEY or OPENAI_API_KEY.

    Args:
        segments: what to label, asked in this order; ``windows`` draws them.
        out: folder of ``answers.jsonl`` (every answer as it came), ``annotations.jsonl`` and ``annotator.json``.
        taxonomy: the labels.
        endpoint: base address of the server, with or without ``/v1``.
        model: as the server knows it.
        concurrency: requests in flight, at most.
        max_tokens: tokens of prompts and answers that the folder may take, over all its runs.
        max_cost: the same in money.
        price: of prompt tokens and of answer tokens.
        temperature: 0: the likeliest answer.
        answer_tokens: length of an answer, at most.
        timeout: seconds until an answer must be there.
        retries: tries after the first if the endpoint is busy, broken or silent.
        pause: seconds before the first of them; each further wait is twice as long, up to a minute.
        nudges: how often an invalid answer is sent back before the segment counts as failed.
        again: ask once more about the segments that failed in earlier runs.
        json_mode: ask for ``response_format: json_object``.
        body: further fields of a request, such as ``{"chat_template_kwargs": {"enable_thinking": False}}``.

    Raises:
        PresightError: the endpoint refuses or is down (exit code 2); the budget is used up or some segments got no
            answer (exit code 85: what there is has been written, run again to go on); somebody else writes to
            ``out``, or it holds answers to another question.
    """
    out = Path(out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    if concurrency < 1:
        raise PresightError("concurrency", f"{concurrency} is too few", "give 1 or more")
    segments = list({each.id: each for each in segments}.values())
    prompt = Prompt(taxonomy)
    budget = Budget(max_tokens, max_cost, price)
    chat = Endpoint(
        endpoint,
        model,
        temperature=temperature,
        answer_tokens=answer_tokens,
        timeout=timeout,
        retries=retries,
        pause=pause,
        json_mode=json_mode,
        body=body,
    )
    question = {
        "format": "presight answers",
        "version": 1,
        "prompt": prompt.digest,
        "taxonomy": taxonomy.digest,
        "model": model,
        "temperature": temperature,
        "body": dict(body or {}),
    }
    start = time.monotonic()
    with owner.hold(out / OWNER, waiting=_refuse), Journal(out / ANSWERS, question) as journal:
        before = sum(map(len, journal.entries.values()))
        inquiry = Inquiry(prompt, chat, budget, journal, nudges, again)
        unsettled = [segment for segment in segments if not inquiry.settled(segment.id)]
        if before:
            say(f"{out}: {len(segments) - len(unsettled):,} of {len(segments):,} segments are settled already")
        if unsettled:
            asyncio.run(inquiry.settle(unsettled, concurrency))
        summary = _summary(inquiry, segments, before, time.monotonic() - start, price)
        write(out / FILE, (json.dumps(row) for row in _rows(segments, journal, prompt.digest)))
        about = {
            **question,
            "prompt_text": prompt.messages("…")[0]["content"],
            "endpoint": chat.host,
            "json_mode": chat.json_mode,
            "answer_tokens": answer_tokens,
            "nudges": nudges,
            "price": price,
            **_totals(summary, segments, journal),
        }
        write(out / ABOUT, [json.dumps(about, indent=1)])
    say(f"{out}: {summary.sentence}")
    if inquiry.stopped:
        raise inquiry.stopped
    return summary


def _summary(
    inquiry: Inquiry, segments: Sequence[Excerpt], before: int, seconds: float, price: Price | None
) -> Summary:
    entries = [entry for entries in inquiry.journal.entries.values() for entry in entries]
    settled = [segment.id for segment in segments if inquiry.settled(segment.id)]
    labelled = sum(inquiry.answers(name)[-1]["labels"] is not None for name in settled)
    return Summary(
        segments=len(segments),
        labelled=labelled,
        failed=len(settled) - labelled,
        left=len(segments) - len(settled),
        asked=len(entries) - before,
        requests=len(entries),
        tokens=inquiry.budget.spent,
        cost=inquiry.budget.spent.cost(price) if price else None,
        faults=dict(Counter(entry["fault"] for entry in entries if entry["fault"]).most_common()),
        seconds=seconds,
    )


def _last(segments: Sequence[Excerpt], journal: Journal) -> Iterator[tuple[Excerpt, Entry]]:
    """The segments that were asked about, in order, each with its last answer."""
    for segment in segments:
        if entries := journal.entries.get(segment.id):
            yield segment, entries[-1]


def _rows(segments: Sequence[Excerpt], journal: Journal, prompt: str) -> Iterator[dict[str, Any]]:
    for segment, entry in _last(segments, journal):
        if entry["labels"] is not None:
            by = {"labels": entry["labels"], "annotators": 1, "model": entry["model"], "prompt": prompt}
            yield {**asdict(segment), **by}


def _totals(summary: Summary, segments: Sequence[Excerpt], journal: Journal) -> dict[str, Any]:
    entries = [entry for entries in journal.entries.values() for entry in entries]
    last = [(segment, entry) for segment, entry in _last(segments, journal)]
    totals = asdict(summary)
    del totals["asked"], totals["seconds"]  # what this run did: the same answers give the same file
    return {
        **totals,
        "complete": not summary.left,
        "tries": sum(entry["tries"] for entry in entries),
        "estimated": sum(entry["usage"]["estimated"] for entry in entries),
        "answer_seconds": round(sum(entry["seconds"] for entry in entries), 3),
        "models": dict(Counter(entry["model"] for entry in entries).most_common()),
        "labels": dict(Counter(label for _, entry in last for label in entry["labels"] or ()).most_common()),
        "invalid": [
            {"id": segment.id, "source": segment.source, "fault": entry["fault"]}
            for segment, entry in last
            if entry["labels"] is None
        ],
    }


def write(path: Path, lines: Iterable[str]) -> None:
    """Write a file, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _refuse(held: Mapping[str, Any]) -> None:
    who = f"process {held.get('pid', '?')} on {held.get('host', '?')}"
    raise PresightError("out", f"{who} is annotating into it", "wait for it, or write to another folder")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in counts.items())
