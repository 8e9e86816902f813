"""Questions about pictures as a stage: a model, questions, and what is shown; every answer scored two ways."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from eval.vision.examination import Asked, Examination, tasks

if TYPE_CHECKING:
    from eval.answers.cache import Cache
    from eval.vision.seeing import Sighted
    from eval.vision.sheet import Entry


class Ask(Examination):
    """What a model answers to questions about pictures, each scored by log-probability and by its reply.

    Free answers are scored by the item's own metric. All tasks of the questions are results of the one artifact, each
    with its group. See `Examination` for what may be asked, and what is remembered.
    """

    kind = "scores"
    version = "1"

    by: Literal["sum", "token", "byte", "pmi", "reply"] = Field(
        "sum", description="what counts of a choice: log-probability in all, a token, a byte, beyond chance; or reply"
    )
    style: Literal["letters", "cloze"] = Field("letters", description="score the letters, or the options' own texts")
    rotate: bool = Field(False, description="ask with the options in every cyclic order, and average")
    replies: bool = Field(True, description="also let it reply to multiple choice, and read the choice from that")
    tokens: int = Field(32, ge=1, description="most tokens of a reply")

    @model_validator(mode="after")
    def _counted(self) -> Ask:
        if self.by == "reply" and not self.replies:
            raise ValueError("by: reply, but no replies are asked for")
        return self

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``scores.json``, ``items.parquet`` (a row for what counts once) and ``answers.parquet``.

        Raises:
            PresightError: no questions or too few, features or pictures that the questions are not about, or as `ask`.
        """
        import pyarrow
        import pyarrow.parquet

        from eval.answers.reading import PARSER
        from eval.vision import sheet
        from eval.vision.seeing import WORDING

        asked = self.asked(inputs)
        model = self.examined(inputs)
        entries = self.answered(model, asked, lambda chunk, cache: self._chunk(model, chunk, cache), "asking")
        rows = sheet.rows(entries, self.by)
        compared = "sum" if self.by == "reply" else self.by
        items = [item for item, _ in asked]
        results, figures = [], {}
        for task in tasks(items):
            own = [row for row in rows if row["task"] == task]
            results.append(sheet.result([each for each in items if each.task == task], own, self.level))
            figures[task] = sheet.summary([each for each in entries if each.item.task == task], compared, self.level)
        found: dict[str, Any] = {
            **model.facts,
            "trained": "",
            "condition": self.condition,
            "prompt": WORDING,
            "parser": PARSER,
            "by": self.by,
            "style": self.style,
            "items": len(rows),
            "results": results,
            "tasks": figures,
        }
        answers = [each.record(self.by) for each in entries]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out / "items.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(answers), out / "answers.parquet")
        (out / "scores.json").write_text(json.dumps(found, indent=1))
        counts = {"items": len(rows), "asked": len(entries), "tasks": len(results)}
        (out / "counts.json").write_text(json.dumps(counts))

    def _chunk(self, model: Sighted, asked: Sequence[Asked], cache: Cache) -> list[Entry]:
        from eval.answers import choices
        from eval.vision.seeing import STOP, Pictured
        from eval.vision.sheet import Entry

        how: dict[str, Any] = {"tokens": self.tokens, "stop": STOP, "cache": cache, "look": model.look}
        known = {item.item: (item, sight) for item, sight in asked}
        closed = [Pictured.of(item, sight) for item, sight in asked if item.options]
        free = [Pictured.of(item, sight) for item, sight in asked if not item.options]
        chosen = choices.ask(model.scorer, closed, self.style, replies=self.replies, rotate=self.rotate, **how)
        written = choices.reply(model.scorer, free, **how)
        return [
            *(Entry(*known[each.question.item], each, each.reply) for each in chosen),
            *(Entry(*known[each.item], None, said) for each, said in zip(free, written, strict=True)),
        ]
