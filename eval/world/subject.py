"""What questions and captions are about: the scenes or clips of a split, what their names mean, what may be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.world import captions, clips, hearing, tasks, truth
from eval.world.asking import Ask, settled
from eval.world.vocabulary import Vocabulary
from presight.errors import PresightError


@dataclass(frozen=True)
class Subject:
    """A split of a sample world.

    Attributes:
        records: scenes, or clips.
        words: what their names mean.
        tasks: what may be asked.
        caption: says what is in a record.
        requests: for a caption.
    """

    records: Sequence[Any]
    words: Vocabulary
    tasks: Mapping[str, tasks.Task]
    caption: Callable[[Any, Vocabulary, np.random.Generator], str]
    requests: tuple[str, ...]

    def asks(self, task: str, order: np.random.Generator, limit: int | None = None, novel: bool = False) -> list[Ask]:
        """The questions of a task, ``limit`` at most, with options; how they are worded is still open.

        Args:
            task: its name.
            order: of the draws.
            limit: questions at most; None: all that can be had.
            novel: about what was held out, instead of the rest.
        """
        chosen = self.tasks[task]
        records = [record for record in self.records if record.novel == novel]
        return settled(list(chosen.asks(records, self.words, order)), order, limit, chosen.size, chosen.deny)


def read(folder: Path, split: str) -> Subject:
    """A split of a sample world.

    Raises:
        PresightError: the artifact is no sample world, or has nothing of that split.
    """
    described = truth.described(folder)
    words = Vocabulary.from_json(described)
    sound = described["modality"] == "sound"
    records: Sequence[Any] = clips.read(folder, split) if sound else truth.read(folder, split)
    if not records:
        raise PresightError("world", f"it has nothing of the {split} split", "give one that has")
    if sound:
        return Subject(records, words, hearing.TASKS, hearing.caption, HEARD)
    served = {name: task for name, task in tasks.TASKS.items() if task.group in described["groups"]}
    return Subject(records, words, served, captions.caption, SEEN)


SEEN = ("Describe the picture.", "What is in the picture?", "Tell what you see.")
HEARD = ("Describe the sounds.", "What is to be heard?", "Tell what you hear.")
