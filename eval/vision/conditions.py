"""What is shown in a picture's place: the right one, a blank, another item's, its parts in disorder, or nothing.

The same items under these conditions tell what a model answers by language alone from what it sees (`eval.Blindness`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from eval.vision.items import Item
from presight.errors import PresightError

Condition = Literal["right", "blank", "wrong", "scrambled", "none"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
View = Literal["plain", "scrambled", "blank"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands in a picture's place while a model reads a question.

    Attributes:
        key: of a picture; None: no picture stands in the prompt.
        view: the picture as it is, with its phases at random, or as a blank of its size.
    """

    key: str | None = None
    view: View = "plain"


NOTHING = Shown()


def shown(items: Sequence[Item], condition: Condition, seed: int = 0) -> list[Shown]:
    """What is looked at, item by item. An item without a picture is asked without one under every condition.

    Args:
        items: all of the questions, before any of them are left out: the wrong pictures depend on which there are.
        condition: of all items.
        seed: of the wrong pictures.

    Raises:
        PresightError: no such condition; or, of the wrong pictures, as `strangers`.
    """
    if condition not in CONDITIONS:
        raise PresightError("condition", f"{condition!r} is none", f"known: {', '.join(CONDITIONS)}")
    if condition == "none":
        return [NOTHING] * len(items)
    if condition == "wrong":
        other = strangers(items, seed)
        return [Shown(other[each.task, each.picture]) if each.picture else NOTHING for each in items]
    view: View = "plain" if condition == "right" else condition
    return [Shown(each.picture, view) if each.picture else NOTHING for each in items]


def strangers(items: Sequence[Item], seed: int = 0) -> dict[tuple[str, str], str]:
    """For every picture of a task another one of that task, never itself; each is taken once.

    A keyed hash puts a task's pictures in a circle, and each is replaced by the next: it depends on the items and the
    seed alone, so that every model sees the same wrong pictures, and all questions about a picture see the same one.
    A task with a single picture takes one of another task.

    Raises:
        PresightError: all items are about one picture.
    """
    pictures: dict[str, set[str]] = {}
    for each in items:
        if each.picture:
            pictures.setdefault(each.task, set()).add(each.picture)
    every = set().union(*pictures.values())
    found: dict[tuple[str, str], str] = {}
    for task, own in pictures.items():
        if len(own) == 1 and len(every) == 1:
            raise PresightError("condition", "no wrong picture: all questions are about one", "add questions")
        circle = _shuffled(own if len(own) > 1 else every, f"{seed}/{task}")
        after = dict(zip(circle, [*circle[1:], circle[0]], strict=True))
        found |= {(task, key): after[key] for key in own}
    return found


def _shuffled(keys: Iterable[str], salt: str) -> list[str]:
    return sorted(keys, key=lambda key: hashlib.blake2b(f"{salt}/{key}".encode(), digest_size=16).digest())
