"""Sounds of the sample data: recorded notes out of a SoundFont, and splits that keep an instrument on one side."""

from __future__ import annotations

import io
import math
import random
import re
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError
from presight.packages import Fetched

# General MIDI: program // 8; percussion lives in a bank of its own
FAMILIES = (
    *("piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass"),
    *("reed", "pipe", "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects"),
)
DRUMS = "drums"
MELODIC_BANK, DRUM_BANK = 0, 128
INSTRUMENT, SAMPLE = 41, 53  # SoundFont 2.04 §8.1.2: generators that name a zone's instrument and sample
VORBIS = 16  # the flag by which an SF3 says that a sample is an Ogg Vorbis stream

Audio = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Note:
    """One recorded sample.

    Args:
        name: as the font has it.
        family: the General MIDI family that plays it; the label.
        series: the instrument it was recorded from; notes of one series sound alike.
        samples: float32 ``[T]``, mono, about −1 to 1.
        rate: samples a second.
    """

    name: str
    family: str
    series: str
    samples: Audio
    rate: int


def instruments(fetched: Fetched, at_least: int = 50) -> list[Note]:
    """The notes that one family alone uses, of the families that have ``at_least`` of them, in the font's order.

    Args:
        fetched: the role ``audio.instruments``.
        at_least: notes a family must have to be a class.

    Raises:
        PresightError: the font is damaged.
    """
    (package,) = fetched.archives
    ((name, content),) = fetched.members(package)
    try:
        font = Font(content)
        families = {i: users.pop() for i, users in font.families().items() if len(users) == 1}
        sizes = Counter(families.values())
        chosen = {i: family for i, family in sorted(families.items()) if sizes[family] >= at_least}
        series = font.series(chosen)
        return [Note(font.name(i), family, series[i], *font.audio(i)) for i, family in chosen.items()]
    except (KeyError, IndexError, ValueError, struct.error, RuntimeError) as error:
        mend = "delete its folder in the cache and fetch it again"
        raise PresightError(f"audio.instruments: {name}", f"is no sound font ({error!r})", mend) from error


class Font:
    """A SoundFont 2 file, or its Vorbis-compressed kin (SF3), in memory."""

    def __init__(self, content: bytes) -> None:
        if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
            raise ValueError("no RIFF sfbk header")
        self._content = content
        self._chunks = dict(self._walk(12, len(content)))
        self._samples = self._records(b"shdr", "<20sIIIIIBbHH")[:-1]  # each table ends in a sentinel

    def _walk(self, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
        while at + 8 <= end:
            tag, size = struct.unpack_from("<4sI", self._content, at)
            if at + 8 + size > end:
                raise ValueError(f"chunk {tag!r} is cut short")
            if tag == b"LIST":
                yield from self._walk(at + 12, at + 8 + size)
            else:
                yield tag, (at + 8, size)
            at += 8 + size
            if size % 2 and self._content[at : at + 1] == b"\0":  # RIFF pads odd chunks; some writers of SF3 do not
                at += 1

    def _records(self, tag: bytes, layout: str) -> list[tuple]:
        start, size = self._chunks[tag]
        return list(struct.iter_unpack(layout, self._content[start : start + size]))

    def name(self, i: int) -> str:
        """Name of sample ``i``; at most 20 characters, so that long ones are cut."""
        raw: bytes = self._samples[i][0]
        return raw.partition(b"\0")[0].decode("latin1").strip()

    def _zones(self, heads: list[int], bags: bytes, generators: bytes, wanted: int) -> list[set[int]]:
        """For each preset or instrument the amounts of the generator ``wanted`` in all its zones."""
        zones = [bag[0] for bag in self._records(bags, "<HH")]
        amounts = self._records(generators, "<HH")
        bounds = [zones[head] for head in heads]
        return [
            {amount for operator, amount in amounts[first:last] if operator == wanted}
            for first, last in pairwise(bounds)
        ]

    def players(self) -> list[set[int]]:
        """For each instrument of the font the samples it plays."""
        return self._zones([head[1] for head in self._records(b"inst", "<20sH")], b"ibag", b"igen", SAMPLE)

    def families(self) -> dict[int, set[str]]:
        """For each sample the General MIDI families whose presets play it."""
        presets, players = self._records(b"phdr", "<20sHHHIII"), self.players()
        played = self._zones([preset[3] for preset in presets], b"pbag", b"pgen", INSTRUMENT)
        users: dict[int, set[str]] = defaultdict(set)
        for (_, program, bank, *_), named in zip(presets, played, strict=False):
            if bank in (MELODIC_BANK, DRUM_BANK):
                for sample in (sample for instrument in named for sample in players[instrument]):
                    users[sample].add(DRUMS if bank == DRUM_BANK else FAMILIES[program // 8])
        return dict(users)

    def series(self, families: dict[int, str]) -> dict[int, str]:
        """The series of each sample: its stem, joined with the stems that share a melodic instrument with it.

        A drum instrument is a kit of many drums and joins nothing.
        """
        root = {stem(self.name(i)): stem(self.name(i)) for i in families}

        def find(name: str) -> str:
            while root[name] != name:
                name = root[name]
            return name

        for played in self.players():
            stems = sorted({find(stem(self.name(i))) for i in played if families.get(i, DRUMS) != DRUMS})
            for other in stems[1:]:
                root[find(other)] = find(stems[0])
        return {i: find(stem(self.name(i))) for i in families}

    def audio(self, i: int) -> tuple[Audio, int]:
        """Samples ``[T]`` and rate of sample ``i``."""
        base = self._chunks[b"smpl"][0]
        _, start, end, _, _, rate, *_, kind = self._samples[i]
        if kind & VORBIS:
            import soundfile

            samples, rate = soundfile.read(io.BytesIO(self._content[base + start : base + end]), dtype="float32")
            return samples, rate
        pcm = np.frombuffer(self._content, "<i2", end - start, base + 2 * start)
        return pcm.astype(np.float32) / np.float32(32768), rate


def stem(name: str) -> str:
    """A sample's name without stereo side, note, number or manner of playing: ``Viola A#2(L)`` → ``viola``.

    It errs on the side of joining: two instruments under one stem cost a little data, one instrument under two
    stems would let a test hear what was trained on.
    """
    name = re.sub(r"\s*\([LR]\)?$", "", name)  # the closing bracket falls off at 20 characters
    if kit := re.match(r"(\d\d)_", name):
        return f"kit {kit[1]}"
    note = r"((?<=[a-z])[A-G]|[\s_]+[A-Ga-g])[#b]?\s?[\dO]*$"  # the letter O stands in for a zero in some
    short = re.sub(note, "", name) if re.search(r".+" + note, name) else re.sub(r"[\s_-]*\d+(-\d+)?$", "", name)
    manner = r"\b(hi|high|low|md|mdhi|mid|med|flr|floor|long|short|up|down|pull|push|(half-)?open|closed|foot|hit)\b"
    kept = re.sub(rf"(?<!-){manner}(?!-)", "", short.lower())  # a hi-hat stays one
    return " ".join(kept.split()) or short.lower() or name.lower()


def split_by_series(notes: Sequence[Note], fractions: Sequence[float], seed: int) -> tuple[list[int], ...]:
    """Split indices of ``notes`` so that no series lies on two sides and every family is shared out as asked.

    Within a family the series come in random order and each goes to the side that is furthest below its share;
    no side stays empty where there are series enough. A series of several families counts with its largest.

    Args:
        notes: what to split; only ``family`` and ``series`` are read.
        fractions: the sides' shares, positive; they are normalised.
        seed: of the order; the same seed gives the same split.

    Returns:
        For each side the sorted indices.

    Raises:
        PresightError: a fraction is not positive.
    """
    if not fractions or min(fractions) <= 0:
        raise PresightError("fractions", f"{list(fractions)} must all be positive", "leave the empty side out")
    shares = np.asarray(fractions, dtype=float) / sum(fractions)
    members: dict[str, list[int]] = defaultdict(list)
    for i, note in enumerate(notes):
        members[note.series].append(i)
    by_family: dict[str, list[str]] = defaultdict(list)
    for series, indices in sorted(members.items()):
        counts = Counter(notes[i].family for i in indices)
        by_family[min(counts, key=lambda family: (-counts[family], family))].append(series)

    sides: tuple[list[int], ...] = tuple([] for _ in shares)
    for family, names in sorted(by_family.items()):
        random.Random(f"{seed}/{family}").shuffle(names)
        target = shares * sum(len(members[name]) for name in names)
        have = np.zeros(len(shares))
        for k, name in enumerate(names):
            empty = have == 0
            due = np.where(empty, target, -np.inf) if 0 < empty.sum() >= len(names) - k else target - have
            side = int(due.argmax())
            have[side] += len(members[name])
            sides[side].extend(members[name])
    for side_indices in sides:
        side_indices.sort()
    return sides


def resample(samples: Audio, rate: int, target: int = 16_000) -> Audio:
    """``samples`` ``[…, T]`` at ``target`` samples a second, by a polyphase filter."""
    if rate == target:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, target)
    resampled: Audio = resample_poly(samples, target // common, rate // common, axis=-1).astype(np.float32)
    return resampled
