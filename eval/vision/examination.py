"""What every stage shares that asks a model about pictures: the model, the questions, and what is shown with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from presight.errors import PresightError, nearest
from presight.stage import Cost, Labelled, Needs, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from eval.answers.cache import Cache
    from eval.vision.conditions import Shown
    from eval.vision.items import Item
    from eval.vision.seeing import Sighted

CHUNK = 64  # items answered between two writes of the cache: prompts with pictures are large
Asked = tuple["Item", "Shown"]


def _several(value: Any) -> Any:
    """One stage as a list of it; none as no list."""
    return () if value is None else (value,) if isinstance(value, Stage | Labelled) else value


Questions = Annotated[tuple[Annotated[Stage | Labelled, Needs("questions")], ...], BeforeValidator(_several)]
Encoded = Annotated[tuple[Annotated[Stage | Labelled, Needs("features")], ...], BeforeValidator(_several)]
Images = Annotated[tuple[Annotated[Stage | Labelled, Needs("pictures", "questions")], ...], BeforeValidator(_several)]


class Examination(Stage):
    """A model that is asked about pictures.

    It is an LM with a projector (``vlm``), which reads `features`; any of transformers' models for images and text
    (``llava``), which reads `pictures`; or a plain ``checkpoint``, which reads neither and can only be asked under the
    condition ``none``.

    What this very model was asked before, with the same prompt, the same features and the same code, is taken from
    the cache of answers: a stage that was killed goes on from there.
    """

    SHOWN: ClassVar[Mapping[str, str]] = {"vlm": "features", "llava": "pictures"}

    model: Annotated[Stage, Needs("vlm", "llava", "checkpoint")]
    questions: Questions = Field(min_length=1, description="one artifact, or several of differing items")
    features: Encoded = Field((), description="of the model's encoder; for a vlm")
    pictures: Images = Field((), description="for a model that has its own encoder")
    condition: Literal["right", "blank", "wrong", "scrambled", "none"] = Field(
        "right", description="what is shown: the picture, a grey one, another item's, its phases at random, nothing"
    )
    tasks: tuple[str, ...] = Field((), description="of the questions; none named: all")
    limit: int | None = Field(None, ge=2, description="questions of a task, drawn by a hash of their names; None: all")
    pairing: int = Field(0, ge=0, description="seed of the wrong pictures")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")
    batch_tokens: int = Field(8192, ge=1, exclude=True, description="tokens read at once")

    @model_validator(mode="after")
    def _askable(self) -> Examination:
        wanted = self.SHOWN.get(self.model.kind)
        if self.condition != "none" and wanted is None:
            raise ValueError("a checkpoint sees no pictures: ask it under condition: none")
        if self.condition != "none" and not getattr(self, str(wanted)):
            raise ValueError(f"a model of kind {self.model.kind} is shown {wanted}: give them")
        return self

    def estimate(self) -> Cost:
        """Questions asked, where their stages know."""
        stages = [each.stage if isinstance(each, Labelled) else each for each in self.questions]
        return Cost(items=sum(each.estimate().items for each in stages))

    def asked(self, inputs: Mapping[str, Path]) -> list[Asked]:
        """The items, each with what is shown, in the order of the artifacts.

        Raises:
            PresightError: two of one name, an unknown task, or a task of a single cluster, which gives no interval.
        """
        from eval.vision.conditions import shown
        from eval.vision.items import read
        from eval.vision.sheet import cluster

        items = [item for folder in folders(inputs, "questions") for item in read(folder)]
        if len({each.item for each in items}) < len(items):
            raise PresightError("questions", "two items have one name", "ask the artifacts in stages of their own")
        every = tasks(items)
        if unknown := set(self.tasks) - set(every):
            raise PresightError("tasks", f"no questions are of {min(unknown)!r}", nearest(min(unknown), every))
        pairs = list(zip(items, shown(items, self.condition, self.pairing), strict=True))
        kept = drawn([each for each in items if each.task in (self.tasks or every)], self.limit)
        found = [(item, sight) for item, sight in pairs if item.item in kept]
        for task in tasks([item for item, _ in found]):
            if len({cluster(item) for item, _ in found if item.task == task}) < 2:
                problem = f"those of {task} are all of one picture or cluster, so that no interval can be given"
                raise PresightError("questions", problem, "add some, or leave it out by naming tasks")
        return found

    def examined(self, inputs: Mapping[str, Path]) -> Sighted:
        """The model, loaded, with what it may be shown.

        Raises:
            PresightError: it cannot be loaded, or what is to be shown is not for it.
        """
        from eval.vision import seeing

        gpus, folder = self.resources.gpus, inputs["model"]
        if self.model.kind == "vlm":
            return seeing.with_projector(folder, folders(inputs, "features"), gpus, self.batch_tokens)
        if self.model.kind == "checkpoint":
            return seeing.without_eyes(folder, gpus, self.batch_tokens)
        from eval.vision.foreign import foreign

        return foreign(folder, folders(inputs, "pictures"), gpus, self.batch_tokens)

    def answered(
        self,
        model: Sighted,
        asked: Sequence[Asked],
        answer: Callable[[Sequence[Asked], Cache], Sequence[Any]],
        doing: str,
    ) -> list[Any]:
        """What `answer` gives to items, chunk by chunk through the cache; several things of an item stand together.

        Args:
            model: as `examined` gives it.
            asked: items and what is shown.
            answer: to a chunk of them, things with an ``item``.
            doing: for the progress.
        """
        from eval.answers.cache import Cache
        from presight.console import Track
        from presight.packages import cache_root

        cache = Cache(cache_root() / "answers" / model.digest)
        track = Track(len(asked), doing)
        found: dict[str, list[Any]] = {}
        order = sorted(asked, key=lambda pair: not pair[0].options)  # those of one kind share batches
        for start in range(0, len(order), CHUNK):
            chunk = order[start : start + CHUNK]
            for each in answer(chunk, cache):
                found.setdefault(each.item.item, []).append(each)
            track.advance(len(chunk))
        return [each for item, _ in asked for each in found[item.item]]


def folders(inputs: Mapping[str, Path], name: str) -> list[Path]:
    """The inputs of a field that holds several stages."""
    return [path for key, path in inputs.items() if key.startswith(f"{name}[")]


def tasks(items: Sequence[Item]) -> list[str]:
    """The tasks of items, in order."""
    return list(dict.fromkeys(each.task for each in items))


def drawn(items: Sequence[Item], limit: int | None) -> set[str]:
    """Names of the items to ask, so many of a task or a few more: those that are scored together stay together.

    A hash of their names draws them, so that every model is asked the same, and fewer are part of more.
    """
    from eval.vision.metrics import CIRCLE, PAIR

    if limit is None:
        return {each.item for each in items}
    bound: dict[str, dict[str, list[str]]] = {}
    for each in items:
        name = str(each.facts.get(CIRCLE) or each.facts.get(PAIR) or each.item)
        bound.setdefault(each.task, {}).setdefault(name, []).append(each.item)
    kept: set[str] = set()
    for own in bound.values():
        count = 0
        for name in sorted(own, key=lambda name: hashlib.blake2b(name.encode(), digest_size=16).digest()):
            if count >= limit:
                break
            kept |= set(own[name])
            count += len(own[name])
    return kept
