"""Reasoning traces as a stage: answers explained step by step, judged for soundness, measured for depth."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from eval.vision.examination import Asked, Examination, tasks

if TYPE_CHECKING:
    from eval.answers.cache import Cache
    from eval.vision.items import Item
    from eval.vision.judge import Piece, Verdicts
    from eval.vision.seeing import Sighted

UNJUDGED = 0.0  # what an explanation is worth that the judge gave no valid answer about


class Traces(Examination):
    """How a model explains what it answers: is the reasoning sound, how long is it, and does it end in the answer.

    Every question is put with a request to reason step by step. A judge, an LLM behind an endpoint of OpenAI's kind,
    reads question and reasoning, not the picture, by a written rubric and says whether it is logically sound; depth is
    length in words. As judges favour what is longer, soundness is also given at one length (`words`), read off its
    regression on log length. Without a judge only depth and answers are measured. All of them are results that
    `eval.Compare` reads, by task; what the judge wrote is kept in ``verdicts.jsonl``, and a run that stopped goes on.
    """

    kind = "scores"
    version = "1"

    judge: str = Field("", description="the judging model, as its server knows it; empty: nothing is judged")
    endpoint: str = Field("", exclude=True, description="the judge's server: http://host:port/v1")
    rubric: Path | None = Field(
        None, exclude=True, description="of soundness, YAML; default: the one that comes along"
    )
    rubric_digest: str = Field("", description="of the rubric; filled in")
    tokens: int = Field(256, ge=1, description="most tokens of an explanation")
    words: int = Field(32, ge=1, description="the length at which soundness is compared")
    nudges: int = Field(2, ge=0, description="how often an invalid answer of the judge is sent back")
    answer_tokens: int = Field(256, ge=1, exclude=True, description="most tokens of the judge's answer")
    concurrency: int = Field(8, ge=1, exclude=True, description="requests in flight")
    max_tokens: int | None = Field(None, ge=0, exclude=True, description="the judge's budget, prompts and answers")
    max_cost: float | None = Field(None, ge=0, exclude=True, description="the same in money; give a price")
    price: tuple[float, float] | None = Field(None, exclude=True, description="of a million tokens, in and out")
    timeout: float = Field(120.0, gt=0, exclude=True, description="seconds until the judge's answer must be there")
    retries: int = Field(6, ge=0, exclude=True, description="tries after the first, where the judge is busy or silent")
    pause: float = Field(
        1.0, gt=0, exclude=True, description="seconds before the first of them; each is twice as long"
    )

    @model_validator(mode="after")
    def _judged(self) -> Traces:
        if self.judge and not self.endpoint:
            raise ValueError("a judge is named, but no endpoint: give the address of its server")
        return self

    def settle(self, fetch: bool) -> Traces:
        """Learn what the rubric says.

        Raises:
            PresightError: it is none.
        """
        if not self.judge or self.rubric_digest:
            return self
        return self.changed(rubric_digest=self._rubric().digest)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``traces.jsonl``, ``items.parquet``, ``scores.json`` and, with a judge, ``verdicts.jsonl``.

        Raises:
            PresightError: the rubric changed since it was planned; as `Examination.asked` and `judged`.
        """
        import pyarrow
        import pyarrow.parquet

        from eval.answers.reading import PARSER
        from eval.vision.seeing import WORDING

        asked = self.asked(inputs)
        model = self.examined(inputs)
        traces: list[Trace] = self.answered(
            model, asked, lambda chunk, cache: self._explained(model, chunk, cache), "explaining"
        )
        lines = [json.dumps(each.line(), ensure_ascii=False) for each in traces]
        (out / "traces.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        verdicts = self._verdicts(traces, out) if self.judge else None
        rows = [each.row(verdicts) for each in traces]
        results, figures = [], {}
        for task in tasks([item for item, _ in asked]):
            own = [row for row in rows if row["task"] == task]
            found = self._results([each.item for each in traces if each.item.task == task], own)
            results += found.pop("results")
            figures[task] = found
        described: dict[str, Any] = {
            **model.facts,
            "trained": "",
            "condition": self.condition,
            "prompt": f"explain {WORDING}",
            "parser": PARSER,
            "by": f"{self.judge} {self.rubric_digest}".strip(),
            "style": "explained",
            "items": len(rows),
            "results": results,
            "tasks": figures,
            "judge": dict(verdicts.about) if verdicts else None,
        }
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out / "items.parquet")
        (out / "scores.json").write_text(json.dumps(described, indent=1))
        counts = {"items": len(rows), "tasks": len(figures)}
        if verdicts:
            counts["unjudged"] = sum(row["verdict"] is None for row in rows)
        (out / "counts.json").write_text(json.dumps(counts))

    def _explained(self, model: Sighted, asked: Sequence[Asked], cache: Cache) -> list[Trace]:
        from eval.answers import choices
        from eval.vision.seeing import EXPLAIN, TURN, Pictured

        questions = [Pictured.of(item, sight, EXPLAIN) for item, sight in asked]
        written = choices.reply(model.scorer, questions, tokens=self.tokens, stop=TURN, cache=cache, look=model.look)
        return [
            Trace(item, question.text(), reply.strip())
            for (item, _), question, reply in zip(asked, questions, written, strict=True)
        ]

    def _rubric(self) -> Any:
        from eval.vision.judge import SHIPPED, Rubric

        return Rubric.read(self.rubric or SHIPPED)

    def _verdicts(self, traces: Sequence[Trace], out: Path) -> Verdicts:
        from corpus.labels.endpoint import Endpoint
        from eval.vision.judge import judged
        from presight.errors import PresightError

        rubric = self._rubric()
        if rubric.digest != self.rubric_digest:
            raise PresightError("rubric", "changed since it was planned", "run again")
        chat = Endpoint(
            self.endpoint,
            self.judge,
            answer_tokens=self.answer_tokens,
            timeout=self.timeout,
            retries=self.retries,
            pause=self.pause,
        )
        return judged(
            [each.piece for each in traces if each.text],
            out,
            rubric,
            chat,
            concurrency=self.concurrency,
            nudges=self.nudges,
            max_tokens=self.max_tokens,
            max_cost=self.max_cost,
            price=self.price,
        )

    def _results(self, items: Sequence[Item], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A task's results, and how soundness goes with length; the column of soundness at one length is added."""
        from eval.stats.intervals import mean_interval
        from eval.vision.lengths import at_length, bins
        from eval.vision.sheet import result

        clusters = [row["cluster"] for row in rows]
        shared = result(items, rows, self.level) | {"items": len(rows)}
        named = {"accuracy": "score", "words": "words"}
        found: dict[str, Any] = {}
        if self.judge:
            sound, words = [row["sound"] for row in rows], [row["words"] for row in rows]
            styled = at_length(sound, words, self.words)
            for row, value in zip(rows, styled.values.tolist(), strict=True):
                row["at_length"] = value
            named |= {"soundness": "sound", f"soundness_at_{self.words}_words": "at_length"}
            found = {
                "unjudged": sum(row["verdict"] is None for row in rows),
                "slope": styled.slope,
                "extrapolated": styled.extrapolated,
                "bins": bins(sound, words),
            }
        results = []
        for metric, column in named.items():
            values = [[row[column] for row in rows]]
            score = asdict(mean_interval(values, clusters, self.level))
            chance = shared["chance"] if metric == "accuracy" else None
            results.append({**shared, "metric": metric, "column": column, "score": score, "chance": chance})
        return {"results": results, **found}


@dataclass(frozen=True, slots=True)
class Trace:
    """An explanation of an item's answer."""

    item: Item
    question: str
    text: str

    @property
    def piece(self) -> Piece:
        """As it is judged."""
        from eval.vision.judge import Piece

        return Piece.of(self.question, self.text)

    def line(self) -> dict[str, Any]:
        """Of ``traces.jsonl``."""
        return {"item": self.item.item, "task": self.item.task, "question": self.question, "trace": self.text}

    def row(self, verdicts: Verdicts | None) -> dict[str, Any]:
        """Of ``items.parquet``: whether it ends in the right answer, its length, and what the judge says of it."""
        from eval.answers.reading import read_choice
        from eval.vision import sheet
        from eval.vision.metrics import score

        item, reading = self.item, read_choice(self.text, self.item.options) if self.item.options else None
        right = reading.choice == item.answer if reading else None
        said = sheet.said(self.text, reading)
        found: dict[str, Any] = {
            "item": item.item,
            "task": item.task,
            "group": item.group,
            "cluster": sheet.cluster(item),
            "score": score(item.metric, settled(self.text), free(item)) if right is None else float(right),
            "chance": sheet.chance(item),
            **{name: float(said == name) for name in sheet.SAID},
            "words": float(len(self.text.split())),
        }
        if verdicts is None:
            return found
        verdict = verdicts.sound[self.piece.id] if self.text else False
        reason = verdicts.reasons[self.piece.id] if self.text else "no text"
        return found | {"verdict": verdict, "sound": UNJUDGED if verdict is None else float(verdict), "reason": reason}


def free(item: Item) -> tuple[str, ...]:
    """The answers that count of an item without options."""
    return item.answer if isinstance(item.answer, tuple) else ()


def settled(text: str) -> str:
    """What an explanation comes to: what follows its last "answer", or its last line."""
    from eval.answers.wording import ANSWER_CUE

    cues = list(ANSWER_CUE.finditer(text))
    end = text[cues[-1].end() :] if cues else text.rstrip().rpartition("\n")[2]
    return re.sub(r"^\s*(?:is\b)?[\s:]*", "", end).strip().rstrip(".")
