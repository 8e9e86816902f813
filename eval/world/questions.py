"""Questions about a sample world as a stage: multiple choice, by task, with answers that are exactly true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from presight.console import progress, say
from presight.errors import PresightError
from presight.stage import Cost, Needs, Stage

if TYPE_CHECKING:
    from eval.vision.items import Item

LEAST = 10  # questions of a task, or its score would mean nothing
DOMAIN = 0xA5C  # of random draws

Group = Literal["General", "Knowledge", "OCR & Chart", "Vision-centric", "Hearing"]


class SceneQuestions(Stage):
    """Questions about the scenes, or the clips, of a sample world, in groups like those of the public benchmarks.

    Who sees nothing is at chance: of every set of options each was as likely to be the right one when the picture was
    drawn, every place of the right option is equally common, and of two objects either might be where the other is.
    What was held out has tasks of its own, whose names end in ``-novel``.
    """

    kind = "questions"
    version = "1"

    world: Annotated[Stage, Needs("pictures")]
    split: Literal["validation", "test"] = Field("test", description="of the world")
    groups: tuple[Group, ...] = Field((), description="of tasks; none: all that the world serves")
    items: int = Field(200, ge=2, description="questions of a task at most")
    novel: bool = Field(True, description="ask of what was held out, too")
    seed: int = Field(0, ge=0, description="of the draws")

    def estimate(self) -> Cost:
        """Questions at most, were every task served."""
        return Cost(items=13 * self.items)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``questions.jsonl``.

        Raises:
            PresightError: the world serves none of the groups, or too few of its scenes do.
        """
        from eval.vision import items
        from eval.world import subject
        from eval.world.asking import NOVEL

        about = subject.read(inputs["world"], self.split)
        chosen = {name: task for name, task in about.tasks.items() if not self.groups or task.group in self.groups}
        if not chosen:
            served = ", ".join(sorted({task.group for task in about.tasks.values()}))
            raise PresightError("groups", f"the world serves none of {', '.join(self.groups)}", f"ask for {served}")
        held_out = self.novel and any(record.novel for record in about.records)

        def made() -> Iterator[Item]:
            for name, task in progress(chosen.items(), "asking", len(chosen)):
                for novel in (False, True) if held_out else (False,):
                    order = np.random.default_rng([DOMAIN, self.seed, *name.encode(), novel])
                    asks, whole = about.asks(name, order, self.items, novel), name + NOVEL * novel
                    if len(asks) < min(LEAST, self.items):
                        say(f"{whole}: left out, since the scenes give {len(asks)} questions; more would give more")
                        continue
                    if len(asks) < self.items:
                        say(f"{whole}: {len(asks)} questions of {self.items}; more scenes would give more")
                    for number, each in enumerate(asks[: self.items]):
                        yield each.item(f"{whole}-{number:05d}", task.group, task.wordings[0])

        items.write(out, made())
