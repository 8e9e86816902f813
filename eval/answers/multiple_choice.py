"""Multiple choice as a stage: a checkpoint, a file of questions; every answer scored two ways, item by item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from presight import index
from presight.errors import PresightError
from presight.packages import cache_root
from presight.stage import Cost, Needs, Stage


class Choices(Stage):
    """What a checkpoint answers to multiple-choice questions, by log-probability and by its reply.

    Questions are known by their content. What this very model was asked before, with the same prompt and the same
    code, is taken from the cache of answers.
    """

    kind = "scores"
    version = "1"

    model: Annotated[Stage, Needs("checkpoint")]
    questions: Path = Field(exclude=True, description="lines of JSON: prompt, options, answer (, item, cluster)")
    task: str = Field("", description="what to call it; default: the name of the file")
    by: Literal["sum", "token", "byte", "pmi", "reply"] = Field(
        "sum", description="the scorer that counts: log-probability in all, a token, a byte, beyond chance; or reply"
    )
    style: Literal["letters", "cloze"] = Field("letters", description="score the letters, or the options' own texts")
    rotate: bool = Field(False, description="ask with the options in every cyclic order, and average")
    replies: bool = Field(True, description="also let it write a reply, and read the choice from that")
    chat: bool = Field(False, description="put the prompt in the tokenizer's chat template")
    tokens: int = Field(32, ge=1, description="most tokens of a reply")
    limit: int | None = Field(None, ge=2, description="questions, the first so many; None: all")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")
    batch_tokens: int = Field(8192, ge=1, exclude=True, description="tokens read at once")
    content: str = Field("", description="digest of the questions; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Index the questions, and take their name."""
        if self.content:
            return self
        path = self.questions.expanduser()
        return self.changed(content=index.content(path), task=self.task or path.stem)

    def estimate(self) -> Cost:
        """Questions asked."""
        path = self.questions.expanduser()
        lines = sum(bool(line.strip()) for line in path.open("rb")) if path.is_file() else 0
        return Cost(items=min(lines, self.limit or lines))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``scores.json``, ``items.parquet`` (a row a question) and ``answers.parquet`` (a row a time asked).

        Raises:
            PresightError: questions changed since they were planned or cannot be read, a scorer that was not asked
                for, or as `ask`.
        """
        import pyarrow
        import pyarrow.parquet

        from eval.answers.cache import Cache, code_digest, model_digest
        from eval.answers.choices import BY, Summary, ask
        from eval.answers.position import position_bias
        from eval.answers.questions import PROMPT, read_questions
        from eval.answers.reading import PARSER
        from eval.answers.scoring import Scorer
        from eval.checkpoint import load_model

        path = self.questions.expanduser()
        if index.content(path) != self.content:
            raise PresightError("questions", "changed since they were planned", "run again")
        if self.by == "reply" and not self.replies:
            raise PresightError("by", "reply, but no replies are asked for", "ask for replies, or count another")
        asked = read_questions(path)[: self.limit]
        model, tokenizer = load_model(inputs["model"], self.resources.gpus)
        cache = Cache(cache_root() / "answers" / f"{model_digest(inputs['model'])[:24]}-{code_digest()[:16]}")
        scorer = Scorer(model, tokenizer, chat=self.chat, budget=self.batch_tokens)
        answered = ask(
            scorer, asked, self.style, replies=self.replies, rotate=self.rotate, tokens=self.tokens, cache=cache
        )
        rows = [each.record(self.by) for each in answered]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out / "answers.parquet")
        items = self._items(rows)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(items), out / "items.parquet")
        summary = Summary.of(answered, "sum" if self.by == "reply" else self.by, self.level)
        first = [each for each in answered if not each.question.rotation]
        scorers = [name for name in BY if name in summary.accuracy]
        chosen = [name for name in scorers if any(each.choice(name) is not None for each in first)]
        found: dict[str, Any] = {
            "task": self.task,
            "modality": "text",
            "metric": "accuracy",
            "trained": "",
            "version": self.content[:16],
            "prompt": PROMPT,
            "parser": PARSER,
            "by": self.by,
            "style": self.style,
            "items": len(items),
            "chance": summary.chance,
            "summary": summary.to_json(),
            "position": {name: asdict(position_bias(first, name)) for name in chosen},
        }
        (out / "scores.json").write_text(json.dumps(found, indent=1))
        (out / "counts.json").write_text(json.dumps({"items": len(items), "asked": len(answered)}))
        (out / "log").mkdir(exist_ok=True)
        (out / "log" / "cache.json").write_text(json.dumps({"hits": cache.hits, "misses": cache.misses}))

    def _items(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A row for each question: its share of right answers over rotations."""
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            each = found.setdefault(
                row["item"], {"item": row["item"], "cluster": row["cluster"], "asked": 0, "right": 0}
            )
            each["asked"] += 1
            each["right"] += bool(row["correct"])
        return [{**each, "accuracy": each["right"] / each["asked"]} for each in found.values()]
