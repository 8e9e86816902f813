"""What may be asked of a scene, task by task; each question follows from what was measured in the picture.

Where a question names two objects, whether it can be asked, and its answer, depend on them in such a way that the
scene with the two exchanged gives the same question with the other answer: their names tell nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from eval.world.asking import OPTIONS, Ask
from eval.world.colours import TINTS
from eval.world.scenes import COUNTS
from eval.world.truth import Scene, Thing
from eval.world.vocabulary import OTHER, Vocabulary, article

RATIO = 1.5  # of areas, from which one thing is larger
LONGER = 1.25  # and of lengths
ASKEW = 1 / 3  # how far from straight a direction may be
DIRECTIONS = ("to the left of it", "to the right of it", "above it", "below it")


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of question.

    Attributes:
        group: the ability it is of.
        asks: all such questions of scenes, or of clips.
        wordings: the first is that of tests, all of them are trained with.
        size: options to a question, where they are answers of other questions.
        free: whether it can be answered without options.
        deny: the word of the wording that names what is asked for, if the answers are yes and no.
    """

    group: str
    asks: Callable[[Sequence[Any], Vocabulary, np.random.Generator], Iterator[Ask]]
    wordings: tuple[str, ...]
    size: int = OPTIONS
    free: bool = True
    deny: str = ""


def _of(scenes: Sequence[Scene], *purposes: str) -> Iterator[Scene]:
    return (scene for scene in scenes if scene.purpose in purposes)


def existence(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which of some objects is there."""
    for scene in _of(scenes, "close", "scatter", "overlap"):
        for thing in scene.objects:
            facts = {"fraction": round(thing.fraction, 6)}
            yield Ask("existence", scene.key, {}, thing.name, barred=scene.names, novel=scene.novel, facts=facts)


def presence(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Whether an object is there."""
    for scene in _of(scenes, "close", "scatter", "overlap"):
        named = frozenset(map(article, scene.names))
        for name in sorted(scene.names):
            yield Ask("presence", scene.key, {}, article(name), barred=named, novel=scene.novel)


def attribute(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """The colour of an object that has not its own; the others' are among the options."""
    for scene in _of(scenes, "tint"):
        shown = [thing.colour for thing in scene.objects if thing.colour in TINTS]
        if len(set(shown)) < len(scene.objects):
            continue
        absent = [tint for tint in TINTS if tint not in shown]
        for thing in scene.objects:
            options = (*map(str, shown), absent[int(order.integers(len(absent)))])
            yield Ask("attribute", scene.key, {"a": thing.name}, str(thing.colour), options, novel=scene.novel)


def category(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which kind of thing is there."""
    known = {entry.kind for entry in words.entries.values()}
    for scene in _of(scenes, "close", "known", "scatter"):
        kinds = sorted({thing.category for thing in scene.objects})
        if OTHER in kinds:
            continue
        barred = frozenset[str]().union(*(words.alike(kind, known) for kind in kinds))
        for kind in kinds:
            yield Ask("category", scene.key, {}, kind, (), barred, words.family(kind), scene.novel)


def use(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """What the one thing in the picture is for."""
    known = {entry.use for entry in words.entries.values()} - {""}
    for scene in _of(scenes, "close", "known"):
        purpose = words[scene.objects[0].name].use
        if purpose:
            barred = words.alike(purpose, known)
            yield Ask("use", scene.key, {}, purpose, (), barred, words.family(purpose), scene.novel)


def tag(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which word goes with the one thing in the picture, by Unicode's keywords."""
    for scene in _of(scenes, "close", "known"):
        name = scene.objects[0].name
        for each in words[name].tags:
            yield Ask("tag", scene.key, {}, each, (), words.fitting(name), words.spheres[each], scene.novel)


def word(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which word is written there."""
    for scene in _of(scenes, "word"):
        yield Ask("word", scene.key, {}, scene.word, barred=frozenset({scene.word}), novel=scene.novel)


def bar(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which bar of a chart is the tallest, or the shortest."""
    for scene in _of(scenes, "chart"):
        labels = tuple(label for label, _ in scene.bars)
        values = dict(scene.bars)
        for end, find in (("tallest", max), ("shortest", min)):
            answer = find(labels, key=values.__getitem__)
            yield Ask("bar", scene.key, {"end": end}, answer, labels, novel=scene.novel)


def value(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """The value of one bar of a chart, among those of the others."""
    for scene in _of(scenes, "chart"):
        options = tuple(str(number) for _, number in scene.bars)
        for label, number in scene.bars:
            yield Ask("value", scene.key, {"a": label}, str(number), options, novel=scene.novel)


def count(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """How many of one object there are."""
    options = tuple(str(number) for number in range(1, COUNTS + 1))
    for scene in _of(scenes, "repeat"):
        counts = Counter(thing.name for thing in scene.objects)
        most = max(counts.values())
        names = sorted(name for name, number in counts.items() if number == most)
        name = names[int(order.integers(len(names)))]
        plural = words[name].plural
        yield Ask("count", scene.key, {"several": plural}, str(most), options, novel=scene.novel)


def position(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """On which side of another an object is."""
    for scene in _of(scenes, "scatter"):
        for pair in combinations(scene.objects, 2):
            one, other = pair if order.random() < 0.5 else pair[::-1]
            if side := direction(one, other):
                named = {"a": one.name, "b": other.name}
                yield Ask("position", scene.key, named, side, DIRECTIONS, novel=scene.novel)


def direction(one: Thing, other: Thing) -> str:
    """Where one thing is seen from another: straight there, and clear of it; empty: one cannot say."""
    across, down = (mine - its for mine, its in zip(one.centre, other.centre, strict=True))
    apart = (one.length + other.length) / 2
    if abs(across) >= apart and abs(down) <= ASKEW * abs(across):
        return DIRECTIONS[0] if across < 0 else DIRECTIONS[1]
    if abs(down) >= apart and abs(across) <= ASKEW * abs(down):
        return DIRECTIONS[2] if down < 0 else DIRECTIONS[3]
    return ""


def size(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which of two objects is the larger one in the picture."""
    for scene in _of(scenes, "scatter"):
        for pair in combinations(scene.objects, 2):
            one, other = pair if order.random() < 0.5 else pair[::-1]
            if answer := larger(one, other):
                named = {"a": one.name, "b": other.name}
                yield Ask("size", scene.key, named, answer.name, (one.name, other.name), novel=scene.novel)


def larger(one: Thing, other: Thing) -> Thing | None:
    """The larger of two things by length and by area, if it would be even with the other's shape."""
    small, large = sorted((one, other), key=lambda thing: thing.length)
    longer = large.length / small.length
    shapes = (large.fraction / large.length**2) / (small.fraction / small.length**2)
    clear = longer >= LONGER and longer**2 * min(shapes, 1 / shapes) >= RATIO
    return large if clear else None


def depth(scenes: Sequence[Scene], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which of two objects hides part of the other."""
    for scene in _of(scenes, "overlap"):
        names = [thing.name for thing in scene.objects]
        one, other = names if order.random() < 0.5 else names[::-1]
        front = min(scene.objects, key=lambda thing: thing.depth)
        yield Ask("depth", scene.key, {"a": one, "b": other}, front.name, (one, other), novel=scene.novel)


TASKS: Mapping[str, Task] = {
    "existence": Task(
        "General", existence, ("Which of these is in the picture?", "Which of these can you see?"), free=False
    ),
    "presence": Task("General", presence, ("Is there {it} in the picture?", "Can you see {it}?"), deny="it"),
    "attribute": Task("General", attribute, ("What colour is the {a}?", "Which colour does the {a} have?")),
    "category": Task(
        "Knowledge", category, ("Which kind of thing is in the picture?", "What kind of thing is shown?")
    ),
    "use": Task("Knowledge", use, ("What is the thing in the picture used for?", "What would one use this for?")),
    "tag": Task(
        "Knowledge", tag, ("Which word goes with the thing in the picture?", "Which word fits what is shown?")
    ),
    "word": Task("OCR & Chart", word, ("Which word is written in the picture?", "What does it say?")),
    "bar": Task("OCR & Chart", bar, ("Which bar is the {end}?", "Which of the bars is the {end} one?")),
    "value": Task("OCR & Chart", value, ("What is the value of {a}?", "How high is the bar of {a}?")),
    "count": Task(
        "Vision-centric", count, ("How many {several} are in the picture?", "How many {several} are there?")
    ),
    "position": Task(
        "Vision-centric", position, ("Where is the {a}, seen from the {b}?", "Looking from the {b}, where is the {a}?")
    ),
    "size": Task(
        "Vision-centric",
        size,
        ("Which is larger in the picture, the {a} or the {b}?", "Is the {a} or the {b} larger in the picture?"),
    ),
    "depth": Task(
        "Vision-centric", depth, ("Which is in front, the {a} or the {b}?", "Is the {a} or the {b} nearer?")
    ),
}
