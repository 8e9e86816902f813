"""Pieces of text on their way to an answer: asked side by side, sent back while invalid, written down as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from corpus.labels.budget import Amount, Budget, Exhausted
from corpus.labels.endpoint import Endpoint, Reply, Silent
from corpus.labels.excerpts import Excerpt
from corpus.labels.journal import Journal
from corpus.labels.prompt import Invalid, Prompt
from presight.console import Track
from presight.errors import EXIT_CONTINUE, PresightError

DOWN = 3  # pieces in a row that get no answer: the endpoint is down, not the piece odd

Entry = dict[str, Any]


class Inquiry:
    """Settles pieces: each is labelled, or has failed after ``nudges`` invalid answers more than one.

    Args:
        prompt: the question.
        chat: whom to ask.
        budget: what it may take; what the journal holds is counted as spent.
        journal: the answers so far, and where further ones go.
        nudges: how often an invalid answer is sent back.
        again: pieces that have failed are asked about once more.
    """

    def __init__(
        self, prompt: Prompt, chat: Endpoint, budget: Budget, journal: Journal, nudges: int, again: bool
    ) -> None:
        self.prompt, self.chat, self.budget, self.journal, self.nudges = prompt, chat, budget, journal, nudges
        self.stopped: PresightError | None = None
        self._answered = False
        self._silent = 0  # pieces in a row without an answer
        self._unanswered = 0
        self._past: dict[str, int] = {}  # answers of earlier rounds, which no longer count
        for name, entries in journal.entries.items():
            for entry in entries:
                budget.spend(Amount(entry["usage"]["prompt"], entry["usage"]["answer"]))
            if again and self.settled(name) and entries[-1]["labels"] is None:
                self._past[name] = len(entries)

    def answers(self, name: str) -> list[Entry]:
        """The answers about a piece that count for this round."""
        return self.journal.entries.get(name, [])[self._past.get(name, 0) :]

    def settled(self, name: str) -> bool:
        """Whether a piece is labelled, or has failed."""
        answers = self.answers(name)
        return bool(answers) and (answers[-1]["labels"] is not None or len(answers) > self.nudges)

    async def settle(self, segments: Sequence[Excerpt], concurrency: int) -> None:
        """Settle the segments, or stop: ``stopped`` says why.

        Raises:
            PresightError: the endpoint refuses.
        """
        track = Track(len(segments), "annotating")
        fault: BaseException | None = None
        async with self.chat:
            await self._work(iter(segments[:1]), track)  # alone: a wrong key or name is found out by one request
            queue = iter(segments[1:])
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(concurrency, len(segments))):
                        workers.create_task(self._work(queue, track))
            except* PresightError as group:
                fault = group.exceptions[0]
        if fault:
            raise fault
        if self._unanswered and not self.stopped:
            problem = f"gave no answer about {self._unanswered:,} of {len(segments):,} segments"
            mend = "run again to ask about them"
            self.stopped = PresightError(f"endpoint {self.chat.shown}", problem, mend, EXIT_CONTINUE)

    async def _work(self, queue: Iterator[Excerpt], track: Track) -> None:
        for segment in queue:
            try:
                while not self.settled(segment.id) and not self.stopped:
                    await self._ask(segment)
                self._silent = 0
            except Silent as error:
                self._missed(error)
            except Exhausted:
                problem = f"has only {self.budget.left} left, which the next request might exceed"
                mend = "run again with a higher max_tokens or max_cost to go on"
                self.stopped = self.stopped or PresightError("budget", problem, mend, EXIT_CONTINUE)
            if self.stopped:
                return
            track.advance()

    async def _ask(self, segment: Excerpt) -> None:
        """One request, and its answer in the journal."""
        earlier = self.answers(segment.id)
        messages = self.prompt.messages(segment.text, earlier[-1]["raw"] if earlier else None)
        async with self.budget.reserve(self.chat.most(messages)):
            if self.stopped:
                return
            reply = await self.chat.ask(messages)
            self._answered = True
            self.budget.spend(reply.usage)
            self.journal.append(self._entry(segment, len(earlier) + 1, reply))

    def _missed(self, error: Silent) -> None:
        self._unanswered += 1
        self._silent += 1
        if not self._answered or self._silent >= DOWN:
            problem = f"gave no answer in {self.chat.retries + 1} tries, at last: {error}"
            mend = "see that the server runs, then run again: the answers so far are kept"
            self.stopped = self.stopped or PresightError(f"endpoint {self.chat.shown}", problem, mend)

    def _entry(self, segment: Excerpt, attempt: int, reply: Reply) -> Entry:
        labels, reason, fault = None, "", None
        try:
            answer = self.prompt.parse(reply.text)
            labels, reason = list(answer.labels), answer.reason
        except Invalid as error:
            unfinished = reply.finish == "length" and error.kind in ("no object", "broken object")
            fault = "cut off" if unfinished else error.kind
        return {
            "id": segment.id,
            "attempt": attempt,
            "labels": labels,
            "reason": reason,
            "fault": fault,
            "raw": reply.text,
            "model": reply.model,
            "usage": {**asdict(reply.usage), "estimated": reply.estimated},
            "finish": reply.finish,
            "seconds": round(reply.seconds, 3),
            "tries": reply.tries,
            "at": round(time.time(), 3),
        }
