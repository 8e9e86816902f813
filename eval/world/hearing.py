"""What may be asked, and said, of a clip: what sounds, how often, in which order, and which is louder or higher."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from eval.world.asking import Ask
from eval.world.clips import MOST, Clip
from eval.world.tasks import Task
from eval.world.vocabulary import Vocabulary

SAME = ("the same", "different")
WHICH = ("the first", "the second")


def _of(clips: Sequence[Clip], *purposes: str) -> Iterator[Clip]:
    return (clip for clip in clips if clip.purpose in purposes)


def heard(clips: Sequence[Clip], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which of some sounds is there."""
    for clip in _of(clips, "row"):
        barred = frozenset[str]().union(*(words.alike(name, words.entries) for name in clip.names))
        for name in sorted(clip.names):
            yield Ask("heard", clip.key, {}, name, barred=barred)


def order_of(clips: Sequence[Clip], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which of the sounds comes first, or last."""
    for clip in _of(clips, "row"):
        names = tuple(event.name for event in clip.events)
        if len(names) > 1:
            end = ("first", "last")[int(order.integers(2))]
            yield Ask("order", clip.key, {"end": end}, names[0 if end == "first" else -1], names)


def number(clips: Sequence[Clip], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """How many sounds there are."""
    options = tuple(str(count) for count in range(1, MOST + 1))
    for clip in _of(clips, "row"):
        yield Ask("number", clip.key, {}, str(len(clip.events)), options)


def same(clips: Sequence[Clip], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Whether a sound comes twice, or two different ones do."""
    for clip in _of(clips, "pair"):
        yield Ask("same", clip.key, {}, SAME[len(clip.names) - 1], SAME)


def louder(clips: Sequence[Clip], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which of two is louder: one recording at two levels."""
    for clip in _of(clips, "loud"):
        first, second = clip.events
        yield Ask("louder", clip.key, {}, WHICH[first.softer > second.softer], WHICH)


def higher(clips: Sequence[Clip], words: Vocabulary, order: np.random.Generator) -> Iterator[Ask]:
    """Which of two is higher: one recording at two speeds."""
    for clip in _of(clips, "pitch"):
        first, second = clip.events
        yield Ask("higher", clip.key, {}, WHICH[first.higher < second.higher], WHICH)


TASKS: Mapping[str, Task] = {
    "heard": Task("Hearing", heard, ("Which of these can be heard?", "Which of these sounds?"), free=False),
    "order": Task("Hearing", order_of, ("Which sound comes {end}?", "Which of the sounds is the {end} one?")),
    "number": Task("Hearing", number, ("How many sounds are there?", "How many sounds can be heard?")),
    "same": Task(
        "Hearing", same, ("Are the two sounds the same or different?", "Do both sound the same, or different?")
    ),
    "louder": Task(
        "Hearing", louder, ("Which sound is louder, the first or the second?", "Which of the two is louder?")
    ),
    "higher": Task(
        "Hearing", higher, ("Which sound is higher, the first or the second?", "Which of the two is higher?")
    ),
}


def caption(clip: Clip, words: Vocabulary, order: np.random.Generator) -> str:
    """What sounds in a clip, in order of time; families of instruments have no article."""
    first, *rest = clip.events
    if clip.purpose == "row" or len(clip.names) > 1:
        return ", then ".join(event.name for event in clip.events)
    (second,) = rest
    if clip.purpose == "pair":
        return f"{first.name} twice"
    if clip.purpose == "loud":
        return f"{first.name} twice, {'softer' if first.softer < second.softer else 'louder'} the second time"
    return f"{first.name} twice, {'higher' if first.higher < second.higher else 'lower'} the second time"
