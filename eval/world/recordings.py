"""Short sounds by name, to compose clips of: recorded notes and drum hits out of packages, or made-up tones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapt.sounds import Note, resample
from eval.world.truth import SPLITS

Audio = npt.NDArray[np.float32]  # [T]

RATE = 16_000
LONGEST, SHORTEST = 0.45, 0.05  # seconds
ENOUGH = 2  # seconds of a recording that are looked at
FADE = 0.02  # seconds at the end
PEAK = 0.5
SILENT = 0.02  # of the peak: what is softer before a sound begins is cut off
PARTS = (0.6, 0.15, 0.25)  # of the recordings, by split
VARIANTS = 12  # of a made-up sound, in a split
DOMAIN = 0x70E  # of random draws

# names that may be true of one sound
ALIKE: Mapping[str, tuple[frozenset[str], ...]] = {
    "instruments": (frozenset({"bass", "guitar", "strings"}), frozenset({"organ", "reed"})),
    "drums": (frozenset({"ride", "crash", "hi-hat"}), frozenset({"rim", "snare"}), frozenset({"kick", "tom"})),
    "tones": (),
}


@dataclass(frozen=True, eq=False)
class Recordings:
    """Sounds at `RATE` by split and name; no recording, and no instrument or kit, is in two splits.

    Attributes:
        by_split: split → name → sounds, each at most `LONGEST`, of one peak.
        alike: sets of names that may be true of one sound.
    """

    by_split: Mapping[str, Mapping[str, Sequence[Audio]]]
    alike: tuple[frozenset[str], ...] = ()

    def like(self, name: str) -> frozenset[str]:
        """Names that may be true of a sound of this name."""
        return frozenset({name}.union(*(both for both in self.alike if name in both)))


def of_notes(
    notes: Sequence[Note], split: Callable[[Sequence[Note], Sequence[float], int], Sequence[list[int]]], seed: int
) -> dict[str, dict[str, list[Audio]]]:
    """Recorded notes by split and family.

    Args:
        notes: as they were recorded.
        split: deals them out so that what sounds alike stays together: `adapt.drums.split_kits` or
            `adapt.sounds.split_by_series`.
        seed: of the split.
    """
    found: dict[str, dict[str, list[Audio]]] = {name: {} for name in SPLITS}
    for name, rows in zip(SPLITS, split(notes, PARTS, seed), strict=True):
        for row in rows:
            note = notes[row]
            hit = trimmed(resample(note.samples[: ENOUGH * note.rate], note.rate, RATE))
            if len(hit):
                found[name].setdefault(notes[row].family, []).append(hit)
    return found


def trimmed(samples: Audio) -> Audio:
    """A sound from where it begins, cut off softly, at one peak; nothing, if it is silent or over at once."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < 1e-4:
        return samples[:0]
    begins = int(np.argmax(np.abs(samples) >= SILENT * peak))
    hit = samples[begins : begins + round(LONGEST * RATE)].astype(np.float32)
    if len(hit) < SHORTEST * RATE:
        return hit[:0]
    fade = min(len(hit), round(FADE * RATE))
    hit[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return (hit * (PEAK / np.abs(hit).max())).astype(np.float32)


def tones(seed: int) -> dict[str, dict[str, list[Audio]]]:
    """Made-up sounds of eight names, some of each in every split."""
    made: dict[str, dict[str, list[Audio]]] = {}
    for place, split in enumerate(SPLITS):
        order = np.random.default_rng([DOMAIN, seed, place])
        made[split] = {name: [trimmed(draw(order)) for _ in range(VARIANTS)] for name, draw in TONES.items()}
    return made


def _time(order: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.arange(round(float(order.uniform(0.25, LONGEST)) * RATE)) / RATE


def _wave(shape: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Callable[..., Audio]:
    """A tone of some shape over its phase, and some pitch."""

    def draw(order: np.random.Generator) -> Audio:
        time, pitch = _time(order), order.uniform(200, 800)
        return (shape(2 * np.pi * pitch * time) * np.exp(-3 * time)).astype(np.float32)

    return draw


def _noise(low: float, high: float) -> Callable[..., Audio]:
    """Noise between two frequencies."""

    def draw(order: np.random.Generator) -> Audio:
        count = len(_time(order))
        spectrum = np.fft.rfft(order.normal(size=count))
        frequencies = np.fft.rfftfreq(count, 1 / RATE)
        spectrum[(frequencies < low) | (frequencies > high)] = 0
        return np.fft.irfft(spectrum, count).astype(np.float32)

    return draw


def _sweep(factor: float) -> Callable[..., Audio]:
    """A tone whose pitch ends at so many times what it began at."""

    def draw(order: np.random.Generator) -> Audio:
        time, pitch = _time(order), order.uniform(300, 700)
        phase = 2 * np.pi * np.cumsum(pitch * factor ** (time / time[-1])) / RATE
        return np.sin(phase).astype(np.float32)

    return draw


TONES: Mapping[str, Callable[[np.random.Generator], Audio]] = {
    "flute": _wave(np.sin),
    "buzzer": _wave(lambda phase: np.sign(np.sin(phase))),
    "bell": _wave(lambda phase: np.sin(phase) + np.sin(2.76 * phase) + np.sin(5.4 * phase)),
    "hiss": _noise(3000, 8000),
    "rumble": _noise(40, 250),
    "chirp": _sweep(4.0),
    "swoop": _sweep(0.25),
    "flutter": _wave(lambda phase: np.sin(phase) * (0.6 + 0.4 * np.sin(phase / 25))),  # without a pause
}
