"""The sample world of sounds as a stage: clips composed of recorded sounds, and all that is true of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from presight.console import progress
from presight.errors import PresightError, Unavailable
from presight.stage import Cost, FrozenMap, Stage

if TYPE_CHECKING:
    from eval.world.clips import Clip
    from eval.world.recordings import Recordings

COMPOSED = "composed of single recordings by chance; what is true of them holds by construction"
LEAST = 4  # names without which there are no wrong options


class SoundWorld(Stage):
    """Clips of one to four short sounds with silence between them, and the truth about each.

    ``instruments`` are notes by family out of a sound font, ``drums`` hits by drum out of Hydrogen's kits (149 MB),
    ``tones`` made up. Train, validation and test share no recording, no instrument and no kit. Of two sounds of which
    one is louder, or higher, both are one recording.
    """

    kind = "pictures"
    version = "1"

    sample: Literal["instruments", "drums", "tones"] = Field(
        "instruments", description="sounds: of packages, or made up"
    )
    train: int = Field(1000, ge=0, description="clips of this split")
    validation: int = Field(100, ge=0, description="clips of this split")
    test: int = Field(500, ge=0, description="clips of this split")
    seed: int = Field(0, ge=0, description="of the split and of all draws")
    content: str = Field("", description="digest of the recordings; filled in")

    @property
    def clips(self) -> FrozenMap[str, int]:
        """Clips of each split."""
        return FrozenMap({"train": self.train, "validation": self.validation, "test": self.test})

    def settle(self, fetch: bool) -> Stage:
        """Learn the content of the package.

        Raises:
            Unavailable: it can neither be found nor fetched.
        """
        from presight import packages

        if self.content or self.sample == "tones":
            return self
        role = f"audio.{self.sample}"
        digests, missing = packages.digests([role], fetch)
        for error in missing.values():
            raise Unavailable(error.field, error.problem, error.mend)
        return self.changed(content=digests[role])

    def estimate(self) -> Cost:
        """Clips composed."""
        return Cost(items=sum(self.clips.values()))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the sounds, ``clips.jsonl`` and ``world.json``.

        Raises:
            PresightError: the package changed since it was planned, no clips are asked for, or a split has too few
                names.
        """
        from adapt.vlm.pictures import Writer
        from eval.world import clips, truth

        if not sum(self.clips.values()):
            raise PresightError("test", "no clips are asked for", "ask for some in one of the splits")
        recordings, licences = self._recordings()
        for split, count in self.clips.items():
            names = recordings.by_split[split]
            if count and len(names) < LEAST:
                raise PresightError(
                    "seed", f"{split} has sounds of {len(names)} names, of {LEAST} or more", "try another"
                )
        counts: Counter[str] = Counter()
        with Writer(out, "sound") as writer:

            def made() -> Iterator[Clip]:
                numbers = [(split, number) for split, count in self.clips.items() for number in range(count)]
                for split, number in progress(numbers, "composing clips"):
                    samples, clip = clips.compose(recordings, split, number, self.seed)
                    counts.update([f"split {split}", f"purpose {clip.purpose}", "composed clips"])
                    yield replace(clip, key=writer.add(clips.encoded(samples), "wav"))

            clips.write(out, made())
        (out / truth.WORLD).write_text(json.dumps(self._described(recordings, licences), indent=1))
        (out / "counts.json").write_text(json.dumps(dict(sorted(counts.items()))))
        if licences:
            (out / "licences.json").write_text(json.dumps(licences))

    def _recordings(self) -> tuple[Recordings, list[str]]:
        from eval.world.recordings import ALIKE, Recordings, of_notes, tones

        if self.sample == "tones":
            return Recordings(tones(self.seed), ALIKE["tones"]), []
        from adapt import drums, sounds
        from presight import packages

        fetched = packages.fetch(f"audio.{self.sample}")
        if fetched.digest != self.content:
            raise PresightError("sample", "its package changed since it was planned", "run again")
        if self.sample == "drums":
            found = of_notes(drums.hits(fetched), drums.split_kits, self.seed)
        else:
            found = of_notes(sounds.instruments(fetched), sounds.split_by_series, self.seed)
        return Recordings(found, ALIKE[self.sample]), sorted(set(fetched.licences.values()))

    def _described(self, recordings: Recordings, licences: list[str]) -> dict[str, Any]:
        from eval.world.clips import SECONDS
        from eval.world.recordings import RATE
        from eval.world.vocabulary import Entry, Vocabulary

        names = sorted({name for known in recordings.by_split.values() for name in known})
        vocabulary = Vocabulary({name: Entry(name) for name in names}, recordings.alike)
        return {
            "modality": "sound",
            "pictures": COMPOSED,
            "sample": self.sample,
            "rate": RATE,
            "seconds": SECONDS,
            "seed": self.seed,
            "groups": ["Hearing"],
            **vocabulary.to_json(),
            "licences": licences,
        }
