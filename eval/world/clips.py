"""Clips composed of short sounds with silence between them, and what is true of each: the file ``clips.jsonl``."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eval.world import layout
from eval.world.recordings import RATE, Audio, Recordings
from eval.world.truth import SPLITS
from presight.errors import EXIT_DATA, PresightError

CLIPS = "clips.jsonl"
SECONDS = 3.0
GAP = 0.1  # seconds of silence between sounds, at least
MOST = 4  # sounds of a clip
SOFTER = (8.0, 16.0)  # decibels between the two sounds of which one is louder
HIGHER = (5, 12)  # semitones between the two sounds of which one is higher
DOMAIN = 0x50D  # of random draws
# several of different names; one twice, or two; one twice, once softer; one twice, once higher
PURPOSES = ("row", "row", "pair", "loud", "pitch")


@dataclass(frozen=True, slots=True)
class Event:
    """A sound of a clip.

    Attributes:
        name: of what sounds.
        onset: second at which it begins.
        seconds: that it lasts.
        softer: decibels below the recording's own level.
        higher: semitones above the recording's own pitch.
        recording: which one of its name in its split.
    """

    name: str
    onset: float
    seconds: float
    softer: float = 0.0
    higher: int = 0
    recording: int = 0


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip, and all that is true of it.

    Attributes:
        key: of the sound in its ``pictures`` artifact.
        split: train, validation or test; every recording is of one split.
        number: in its split.
        purpose: what it was composed for.
        layout: digest of what sounds, in order.
        events: in order of time.
        novel: always: no recording of the test is in another split.
    """

    key: str
    split: str
    number: int
    purpose: str
    layout: str
    events: tuple[Event, ...]
    novel: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Names of all that sounds in it."""
        return frozenset(event.name for event in self.events)


class _Part(NamedTuple):
    name: str
    recording: int
    softer: float = 0.0
    higher: int = 0


def compose(recordings: Recordings, split: str, number: int, seed: int) -> tuple[Audio, Clip]:
    """Samples [T] of a clip, and what is true of it; the same arguments give the same clip."""
    order = np.random.default_rng([DOMAIN, seed, SPLITS.index(split), number])
    turn, place = divmod(number, len(PURPOSES))
    purpose = PURPOSES[place]
    known = recordings.by_split[split]
    parts = _parts(order, purpose, 2 * turn + place, known, recordings)
    sounds = [varied(known[each.name][each.recording], each.softer, each.higher) for each in parts]
    gaps = np.full(len(sounds), round(GAP * RATE))
    gaps[0] = 0
    free = round(SECONDS * RATE) - sum(map(len, sounds)) - int(gaps.sum())
    rests = np.diff(np.sort(order.integers(0, free + 1, len(sounds))), prepend=0) + gaps
    clip, at, events = np.zeros(round(SECONDS * RATE), np.float32), 0, []
    for part, sound, rest in zip(parts, sounds, rests.tolist(), strict=True):
        at += rest
        clip[at : at + len(sound)] = sound
        events.append(Event(part.name, at / RATE, len(sound) / RATE, part.softer, part.higher, part.recording))
        at += len(sound)
    known_by = layout.digest(*((split, *part) for part in parts))
    return clip, Clip("", split, number, purpose, known_by, tuple(events))


def _parts(
    order: np.random.Generator, purpose: str, turn: int, known: Mapping[str, Sequence[Audio]], recordings: Recordings
) -> list[_Part]:
    """What sounds, in order."""

    def some(count: int) -> list[_Part]:
        """That many names of which no two may be true of one sound, each with one of its recordings."""
        found: list[_Part] = []
        for place in order.permutation(len(known)):
            name = sorted(known)[place]
            if len(found) < count and not any(name in recordings.like(other.name) for other in found):
                found.append(_Part(name, int(order.integers(len(known[name])))))
        return [found[place] for place in order.permutation(len(found))]  # what has many likes tends to come first

    if purpose == "row":
        return some(1 + turn % MOST)
    if purpose == "pair":
        return some(2) if order.random() < 0.5 else some(1) * 2
    (one,) = some(1)
    if purpose == "loud":
        other = one._replace(softer=round(float(order.uniform(*SOFTER)), 2))
    else:
        other = one._replace(higher=int(order.integers(HIGHER[0], HIGHER[1] + 1)))
    return [one, other] if order.random() < 0.5 else [other, one]


def varied(sound: Audio, softer: float, higher: int) -> Audio:
    """A sound softer by decibels, higher by semitones (it is played faster, and lasts less long)."""
    if higher:
        length = max(1, round(len(sound) / 2 ** (higher / 12)))
        sound = np.interp(np.linspace(0, len(sound) - 1, length), np.arange(len(sound)), sound).astype(np.float32)
    return (sound * np.float32(10 ** (-softer / 20))).astype(np.float32)


def encoded(clip: Audio) -> bytes:
    """A clip as a WAV file of 16 bits."""
    import soundfile

    written = io.BytesIO()
    soundfile.write(written, clip, RATE, format="WAV", subtype="PCM_16")
    return written.getvalue()


def write(out: Path, clips: Iterable[Clip]) -> None:
    """Write what is true of clips, a line each."""
    with (out / CLIPS).open("w", encoding="utf-8") as file:
        for clip in clips:
            file.write(json.dumps(asdict(clip), ensure_ascii=False) + "\n")


def read(folder: Path, *splits: str) -> list[Clip]:
    """The clips of these splits, or of all, in order.

    Raises:
        PresightError: the artifact is no sample world of sounds, or a line is no clip (exit code 87).
    """
    if not (folder / CLIPS).exists():
        raise PresightError(str(folder), "holds no clips with their truth", "give an artifact of eval.SoundWorld")
    found = []
    with (folder / CLIPS).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
                events = tuple(Event(**event) for event in record.pop("events"))
                clip = Clip(**record, events=events)
            except (ValueError, KeyError, TypeError) as error:
                where, problem = f"{folder / CLIPS}, line {number}", f"is no clip ({error})"
                raise PresightError(where, problem, "make it again", EXIT_DATA) from error
            if not splits or clip.split in splits:
                found.append(clip)
    return found
