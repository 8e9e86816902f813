"""The sample world as a stage: scenes composed of cut-outs, with their masks and all that is true of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from presight.console import Track
from presight.errors import PresightError, Unavailable
from presight.stage import Cost, FrozenMap, Stage, scratch

if TYPE_CHECKING:
    from eval.world.cutouts import Collection
    from eval.world.scenes import Composer, Rendered

ROLE = "images.emoji"
CHUNK = 250  # scenes that a kill may cost
LEAST = 5  # objects, and words, without which there are too few different scenes
PIXEL = 0.6  # bytes of a picture's pixel on disk, for estimates
COMPOSED = "composed of cut-out pictures by chance, not photographed; what is true of them holds by construction"

Group = Literal["General", "Knowledge", "OCR & Chart", "Vision-centric"]


class World(Stage):
    """Pictures of scenes that were composed of cut-out objects, of words and of charts, and the truth about each.

    The scenes are no photographs and are not meant to look like any. Train, validation and test never share an
    arrangement: which objects stand together, or where one stands alone, which word is written where, what a chart
    compares. A share of all objects and words, ``novel``, is in no picture and no text but those of a quarter of the
    test scenes, which show nothing else.
    """

    kind = "pictures"
    version = "1"

    sample: Literal["emoji", "shapes"] = Field("emoji", description="objects: out of packages, or made up")
    train: int = Field(2000, ge=0, description="scenes of this split")
    validation: int = Field(200, ge=0, description="scenes of this split")
    test: int = Field(1000, ge=0, description="scenes of this split")
    groups: tuple[Group, ...] = Field(
        ("General", "Knowledge", "OCR & Chart", "Vision-centric"), min_length=1, description="of questions to serve"
    )
    novel: float = Field(0.2, ge=0, lt=1, description="share of objects and words that only test scenes show")
    side: int = Field(224, ge=64, description="of a picture, in pixels")
    seed: int = Field(0, ge=0, description="of all draws")
    content: str = Field("", description="digest of the objects' pictures and names; filled in")

    @property
    def scenes(self) -> FrozenMap[str, int]:
        """Scenes of each split."""
        return FrozenMap({"train": self.train, "validation": self.validation, "test": self.test})

    def settle(self, fetch: bool) -> Stage:
        """Learn the content of the packages.

        Raises:
            Unavailable: they can neither be found nor fetched.
        """
        from presight import packages

        if self.content or self.sample == "shapes":
            return self
        digests, missing = packages.digests([ROLE], fetch)
        for error in missing.values():
            raise Unavailable(error.field, error.problem, error.mend)
        return self.changed(content=_content(digests[ROLE]))

    def estimate(self) -> Cost:
        """Scenes drawn."""
        scenes = sum(self.scenes.values())
        return Cost(items=scenes, disk=int(scenes * self.side**2 * PIXEL))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the pictures, ``scenes.jsonl``, ``masks.npy`` and ``world.json``.

        Raises:
            PresightError: the packages changed since they were planned, too little is held out, or no scenes are asked
                for.
        """
        from adapt.vlm.pictures import Writer
        from eval.world import truth
        from eval.world.scenes import Composer

        if not sum(self.scenes.values()):
            raise PresightError("test", "no scenes are asked for", "ask for some in one of the splits")
        collection = self._collection()
        composer = Composer(collection, self.seed, self.side, self.groups, self.novel)
        for what, pool in composer.pools.items():
            fewest = min(len(pool[0]), len(pool[1]))
            if (what == "seen" or self.novel) and fewest < LEAST:
                problem = f"{fewest} objects or words are {what}, and {LEAST} are needed"
                raise PresightError("novel", problem, "hold out another share, or none")
        chunks = list(self._chunks(composer, scratch(out)))
        counts: Counter[str] = Counter()
        with Writer(out) as writer:

            def scenes() -> Iterator[tuple[truth.Scene, list[truth.Runs]]]:
                for folder in chunks:
                    for scene, content, masks in truth.contents(folder):
                        writer.add(content, "png")
                        counts.update([f"split {scene.split}", f"purpose {scene.purpose}", "composed scenes"])
                        counts["objects"] += len(scene.objects)
                        counts["novel"] += scene.novel
                        yield scene, masks

            truth.write(out, scenes(), self._described(composer))
        (out / "counts.json").write_text(json.dumps(dict(sorted(counts.items()))))
        if collection.licences:
            (out / "licences.json").write_text(json.dumps(collection.licences))

    def _collection(self) -> Collection:
        from eval.world.cutouts import emoji
        from eval.world.invented import shapes
        from presight import packages

        if self.sample == "shapes":
            return shapes()
        fetched = packages.fetch(ROLE)
        if _content(fetched.digest) != self.content:
            problem = "its packages, or the table of what they show, changed since it was planned"
            raise PresightError("sample", problem, "run again")
        return emoji(fetched)

    def _described(self, composer: Composer) -> dict[str, Any]:
        collection = composer.collection
        return {
            "modality": "image",
            "pictures": COMPOSED,
            "sample": self.sample,
            "side": self.side,
            "seed": self.seed,
            "groups": list(self.groups),
            "held_out": sorted(composer.novel_names),
            **collection.vocabulary(composer.novel_names).to_json(),
            "dropped": dict(collection.dropped),
            "licences": list(collection.licences),
        }

    def _chunks(self, composer: Composer, work: Path) -> Iterator[Path]:
        """Folders that hold the scenes, in order; those of a run that was stopped are there already."""
        track = Track(sum(self.scenes.values()), "composing scenes")
        for split, count in self.scenes.items():
            for start in range(0, count, CHUNK):
                folder, size = work / f"{self.fingerprint}-{split}-{start}", min(CHUNK, count - start)
                if not folder.exists():
                    part = folder.with_name(f".{folder.name}")
                    shutil.rmtree(part, ignore_errors=True)
                    part.mkdir()
                    self._compose(composer, split, range(start, start + size), part, track)
                    part.rename(folder)
                else:
                    track.advance(size)
                yield folder

    def _compose(self, composer: Composer, split: str, numbers: range, out: Path, track: Track) -> None:
        from adapt.vlm.pictures import Writer
        from eval.world import truth

        with Writer(out) as writer:

            def drawn() -> Iterator[tuple[truth.Scene, list[truth.Runs]]]:
                for number in numbers:
                    rendered: Rendered = composer.scene(split, number)
                    key = writer.add(rendered.content, "png")
                    yield replace(rendered.scene, key=key), rendered.masks
                    track.advance()

            truth.write(out, drawn(), {"side": self.side})


def _content(packages: str) -> str:
    """Digest of the objects' pictures and names, and of the table that says what they are."""
    from eval.world import vocabulary

    return hashlib.sha256(packages.encode() + vocabulary.TABLE.read_bytes()).hexdigest()
