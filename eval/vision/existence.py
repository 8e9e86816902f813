"""Which of four things is in the picture, for small, middling and large ones: questions out of outlined pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from presight import index
from presight.console import say
from presight.errors import PresightError
from presight.stage import Cost, FrozenMap, Needs, Stage

if TYPE_CHECKING:
    from eval.vision.items import Item
    from eval.vision.levels import Choice, Sight
    from eval.vision.vocabulary import Nouns, Vocabulary

TASK, GROUP = "existence by size", "Existence"
PROMPT = "Which of these can be seen in the picture?"
SKIPPED = "skipped.json"


class Existence(Stage):
    """Four-choice questions which thing is in a picture, at three levels of size, as the multi-level existence bench.

    The pictures are those of a sample world, or of a folder in one of the layouts of `eval.vision.masks`, which are
    kept beside the questions. A level is a task of its own, ``existence by size: 0-30``.
    """

    kind = "questions"
    version = "1"

    world: Annotated[Stage, Needs("pictures")] | None = Field(None, description="a sample world")
    splits: tuple[str, ...] = Field(("test",), description="of the world")
    path: str | None = Field(None, exclude=True, description="or a folder of pictures and their outlines")
    layout: Literal["coco", "ade20k", "sa-1b"] | None = Field(None, description="of the folder")
    annotations: str | None = Field(None, description="COCO: the file below path, where there are several")
    declared: str | None = Field(None, description="name@version of path, taken at your word instead of hashing it")
    novel: bool = Field(False, description="of a world: what was held out of training, in place of all the rest")
    items: int = Field(200, ge=4, description="questions of a level, at most")
    least: float = Field(0.01, gt=0, lt=0.3, description="share of a picture below which a thing is not asked about")
    distractors: Literal["alike", "uniform"] = Field(
        "alike", description="wrong options as often as right ones, or every class equally often"
    )
    synonyms: str | None = Field(None, exclude=True, description="file of words that must not meet, a set a line")
    wordnet: bool = Field(True, description="of a folder: nor kinds of a thing, its parts or its whole, by WordNet")
    seed: int = Field(0, ge=0, description="of all draws")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digests of path, synonyms and WordNet; filled in")

    @model_validator(mode="after")
    def _one_source(self) -> Existence:
        if (self.world is None) == (self.path is None):
            raise ValueError("give either a world, or the path of a folder and its layout")
        if (self.world is None) != (self.layout is not None):
            raise ValueError("a folder needs a layout, a world has none")
        if self.declared is not None and "@" not in self.declared:
            raise ValueError(f"declared: {self.declared!r} has no version, write name@version")
        return self

    def settle(self, fetch: bool) -> Stage:
        """Index the folder and the synonyms, and learn the content of WordNet."""
        if self.content:
            return self
        found = self._digests()
        if self.world is None and self.wordnet:
            from adapt.datasets import package
            from eval.vision.vocabulary import ROLE

            found["wordnet"] = package(ROLE, fetch)
        return self.changed(content=FrozenMap(found)) if found else self

    def _digests(self) -> dict[str, str]:
        found = {}
        for name, place in (("path", self.path), ("synonyms", self.synonyms)):
            if place:
                declared = self.declared if name == "path" else None
                found[name] = declared or index.content(Path(place).expanduser())
        if self.path and self.annotations:
            folder = Path(self.path).expanduser().resolve()
            if not (file := (folder / self.annotations).resolve()).is_relative_to(folder):  # not in path's digest
                found["annotations"] = index.content(file)
        return found

    def estimate(self) -> Cost:
        """Questions, at most."""
        return Cost(items=self.items * 3)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the questions, and the pictures of a folder.

        Raises:
            PresightError: the files changed since they were planned, the folder has another layout, or there is
                nothing to ask.
        """
        from eval.vision import items
        from eval.vision.vocabulary import Nouns, Vocabulary, groups

        if self._digests() != {name: digest for name, digest in self.content.items() if name != "wordnet"}:
            raise PresightError("path", "its files changed since it was planned", "run again")
        apart = groups(Path(self.synonyms).expanduser()) if self.synonyms else ()
        if self.world is not None:
            sights, words = _of_world(inputs["world"], self.splits, self.novel)
            made = self._choices(sights, Vocabulary(words, apart))
            items.write(out, _items(made, {each.sight.name: each.sight.name for each in made}))
            self._report(out, made, {})
        else:
            if self.wordnet:
                from adapt.datasets import package
                from eval.vision.vocabulary import ROLE

                if package(ROLE, False) != self.content["wordnet"]:
                    raise PresightError("wordnet", "its package changed since it was planned", "run again")
            self._from_folder(out, apart, Nouns.of_package() if self.wordnet else None)

    def _choices(
        self, sights: Sequence[Sight], vocabulary: Vocabulary, readable: Callable[[Sight], bool] = lambda _: True
    ) -> list[Choice]:
        from eval.vision.levels import choices

        return choices(sights, vocabulary, self.items, self.least, self.distractors, self.seed, readable)

    def _from_folder(self, out: Path, apart: tuple[frozenset[str], ...], nouns: Nouns | None) -> None:
        from adapt.vlm.pictures import Writer, picture
        from eval.vision import items
        from eval.vision.levels import Sight
        from eval.vision.masks import collection
        from eval.vision.vocabulary import Vocabulary

        assert self.path
        assert self.layout
        folder = Path(self.path).expanduser()
        found = collection(self.layout, folder, self.annotations)
        skipped = {each.name: each.fault for each in found.pictures if each.fault}

        def readable(sight: Sight) -> bool:
            try:
                picture(sight.name, (folder / sight.name).read_bytes())
            except (OSError, PresightError) as error:
                skipped[sight.name] = str(error)
            return sight.name not in skipped

        sights = [Sight(each.name, each.shares) for each in found.pictures if not each.fault]
        made = self._choices(sights, Vocabulary(found.words, apart, nouns), readable)
        with Writer(out) as writer:
            keys = {}
            for each in made:
                path = folder / each.sight.name
                keys[each.sight.name] = writer.add(path.read_bytes(), path.suffix.lower().removeprefix("."))
        items.write(out, _items(made, keys))
        self._report(out, made, skipped)

    def _report(self, out: Path, made: Sequence[Choice], skipped: Mapping[str, str]) -> None:
        """Say which levels fell short and what was left out, and count it."""
        from eval.vision.levels import BUCKETS

        sizes = Counter(each.level for each in made)
        for level in BUCKETS:
            if sizes[level] < self.items:
                say(f"{TASK}: {level} has {sizes[level]} questions of {self.items}, for want of pictures")
        if skipped:
            name, why = next(iter(skipped.items()))
            say(f"left out {len(skipped)} pictures that cannot be read, first {name} ({why})")
        counts = json.loads((out / "counts.json").read_text())
        (out / "counts.json").write_text(json.dumps(counts | {"skipped": len(skipped)}))
        (out / SKIPPED).write_text(json.dumps(skipped, indent=1, ensure_ascii=False))


def _of_world(folder: Path, splits: Sequence[str], novel: bool) -> tuple[list[Sight], dict[str, frozenset[str]]]:
    """The pictures of a sample world, and its vocabulary, of which no two words are true of one thing.

    What was held out of training and what was not do not meet: a name never read would be told by elimination.
    """
    from eval.vision.levels import Sight
    from eval.world import truth

    sights = []
    for scene in truth.read(folder, *splits):
        if scene.novel != novel:
            continue
        shares: dict[str, float] = {}
        for thing in scene.objects:  # what is seen of one is seen of no other, so that shares add up
            shares[thing.name] = shares.get(thing.name, 0.0) + thing.fraction
        sights.append(Sight(scene.key, shares, scene.layout))
    words = sorted({name for sight in sights for name in sight.shares})
    return sights, dict.fromkeys(words, frozenset())


def _items(made: Sequence[Choice], keys: Mapping[str, str]) -> Iterator[Item]:
    """The questions as items; two files of one content are one picture."""
    from eval.vision.items import Item

    for number, each in enumerate(made):
        key = keys[each.sight.name]
        yield Item(
            item=f"{TASK}/{number:05d}",
            task=f"{TASK}: {each.level}",
            group=GROUP,
            prompt=PROMPT,
            picture=key,
            options=each.options,
            answer=each.answer,
            cluster=each.sight.cluster or key,
            facts={"bucket": each.level, "share": round(each.sight.shares[each.thing], 6), "source": each.sight.name},
        )
