"""What is said of a sample world in training: captions, and questions with their answers, as stages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from presight.console import progress
from presight.stage import Cost, Needs, Stage

if TYPE_CHECKING:
    from adapt.vlm.conversations import Conversation
    from eval.world.subject import Subject
    from eval.world.truth import Scene, Thing
    from eval.world.vocabulary import Vocabulary

PERCEPTION = ("General", "OCR & Chart", "Hearing")  # groups whose questions train to perceive; others train to reason
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")
SPLITS = ("train", "validation")
DOMAIN = 0xCA9  # of random draws


class Captions(Stage):
    """A caption of every scene of the train and the validation split: what is there, and where it matters, how."""

    kind = "conversations"
    version = "1"

    world: Annotated[Stage, Needs("pictures")]
    seed: int = Field(0, ge=0, description="of the wording")

    def estimate(self) -> Cost:
        """Captions to train on: one a scene, or clip."""
        return Cost(items=int(getattr(self.world, "train", 0)))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``conversations.jsonl``.

        Raises:
            PresightError: the world has no such scenes.
        """
        from adapt.vlm import conversations

        conversations.write(out, self._said(inputs["world"]))

    def _said(self, world: Path) -> Iterator[Conversation]:
        from adapt.vlm.conversations import Conversation
        from eval.world import subject

        for place, split in enumerate(SPLITS):
            if split not in splits_of(world):
                continue
            about = subject.read(world, split)
            for record in progress(about.records, f"captions, {split}"):
                order = np.random.default_rng([DOMAIN, self.seed, place, record.number])
                said, name = about.caption(record, about.words, order), f"caption-{split}-{record.number:06d}"
                yield Conversation(name, ("", said), record.key, "other", split)


class Instructions(Stage):
    """Questions about the train and the validation split with their answers, worded in several ways.

    They are those that tests ask, about other scenes: so many with options, of which the letter is the answer, and the
    others without, answered by a word or two. Some ask to tell what is there. What is held out is in none of them.
    """

    kind = "conversations"
    version = "1"

    world: Annotated[Stage, Needs("pictures")]
    items: int = Field(2000, ge=1, description="questions of a task at most, in training; a tenth of it in validation")
    letters: float = Field(0.5, ge=0, le=1, description="share that is asked with options and answered by a letter")
    told: float = Field(0.1, ge=0, le=1, description="requests to tell what is there, for every scene")
    seed: int = Field(0, ge=0, description="of the draws")

    def estimate(self) -> Cost:
        """Conversations at most, were every task served."""
        return Cost(items=13 * self.items)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``conversations.jsonl``, in random order.

        Raises:
            PresightError: the world has no such scenes.
        """
        from adapt.vlm import conversations

        conversations.write(out, self._shuffled(inputs["world"]))

    def _shuffled(self, world: Path) -> Iterator[Conversation]:
        from eval.world import subject

        for place, split in enumerate(SPLITS):
            if split in splits_of(world):
                order = np.random.default_rng([DOMAIN, self.seed, place])
                about = subject.read(world, split)
                said = [*self._answered(about, split, order), *self._told(about, split, order)]
                yield from (said[each] for each in order.permutation(len(said)))

    def _answered(self, about: Subject, split: str, order: np.random.Generator) -> Iterator[Conversation]:
        from adapt.vlm.conversations import Conversation
        from eval.answers.questions import letters
        from eval.vision.conditions import NOTHING
        from eval.vision.seeing import Pictured

        limit = self.items if split == "train" else -(-self.items // 10)
        for name, task in progress(about.tasks.items(), f"instructions, {split}", len(about.tasks)):
            tag = "perception" if task.group in PERCEPTION else "reasoning"
            for number, ask in enumerate(about.asks(name, order, limit)):
                wording = task.wordings[int(order.integers(len(task.wordings)))]
                item = ask.item(f"{name}-{split}-{number:06d}", task.group, wording)
                lettered = order.random() < self.letters or not task.free
                answer = letters(len(item.options))[ask.options.index(ask.answer)] if lettered else ask.answer
                said = Pictured.of(item, NOTHING).text("letters" if lettered else "cloze")
                yield Conversation(item.item, (said, answer), ask.picture, tag, split)

    def _told(self, about: Subject, split: str, order: np.random.Generator) -> Iterator[Conversation]:
        from adapt.vlm.conversations import Conversation

        for record in about.records:
            if order.random() < self.told:
                said = about.requests[int(order.integers(len(about.requests)))]
                answer, name = about.caption(record, about.words, order), f"told-{split}-{record.number:06d}"
                yield Conversation(name, (said, answer), record.key, "other", split)


def splits_of(world: Path) -> frozenset[str]:
    """The splits that a world has something of."""
    counts: Mapping[str, int] = json.loads((world / "counts.json").read_text())
    return frozenset(
        name.removeprefix("split ") for name, count in counts.items() if count and name.startswith("split ")
    )


def caption(scene: Scene, vocabulary: Vocabulary, order: np.random.Generator) -> str:
    """What is in a scene, in a phrase, its objects in random order."""
    if scene.word:
        return f"the word {scene.word}"
    if scene.bars:
        return f"a bar chart of {listed([f'{label} ({value})' for label, value in scene.bars])}"
    mixed = [scene.objects[place] for place in order.permutation(len(scene.objects))]
    if scene.purpose == "overlap":
        front, behind = sorted(mixed, key=lambda thing: thing.depth)
        if order.random() < 0.5:
            return f"{_named(front)} in front of {_named(behind)}"
        return f"{_named(behind)} behind {_named(front)}"
    counts = Counter(thing.name for thing in mixed)
    several = {name: f"{NUMBERS[count]} {vocabulary[name].plural}" for name, count in counts.items() if count > 1}
    singles = {thing.name: _named(thing) for thing in mixed}
    return listed([several.get(name, singles[name]) for name in counts])


def _named(thing: Thing) -> str:
    """A thing with its article, and the colour that was given to it."""
    from eval.world.vocabulary import article

    return article(f"{thing.colour} {thing.name}" if thing.tinted and thing.colour else thing.name)


def listed(names: Sequence[str]) -> str:
    """``a cat``, ``a cat and a car``, ``a cat, a car and a tree``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
