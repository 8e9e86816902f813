"""Drum hits of the sample data: the samples of Hydrogen's drum kits, labelled by the kits' own names."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from xml.etree import ElementTree

import numpy as np

from adapt.sounds import Note
from presight.errors import PresightError
from presight.packages import Fetched

# an instrument belongs to the first class whose pattern its name holds: a rim shot on a snare is a rim shot
PATTERNS = {
    "cowbell": r"cow ?bell",
    "clap": r"clap",
    "hi-hat": r"hi.?hat|\bhat\b|\bo?hh\b",
    "rim": r"stick|rim",
    "snare": r"snare(?!.*roll)",
    "kick": r"kick|bass ?drum",
    "tom": r"\btom",
    "ride": r"\bride(?!.crash)",
    "crash": r"crash|splash|china|cymbal",
}
AMBIGUOUS = r"crash.ride|ride.crash"
KIT = "drumkit.xml"
DRAWS = 300  # few enough that another seed holds out other kits


def hits(fetched: Fetched) -> list[Note]:
    """Single drum hits, in order of their files, each sound once; ``series`` names the kits that belong together.

    Kits that share an author or a sample may be recordings of the same drums (two of these hold the same files under
    other names): a split that parted them would let a test hear what was trained on.

    Args:
        fetched: the role ``audio.drums``.

    Raises:
        PresightError: a kit's description or a sample is damaged.
    """
    import soundfile

    files = {path: content for package in fetched.archives for path, content in fetched.members(package)}
    kits = [_kit(path, files) for path in sorted(files) if posixpath.basename(path) == KIT]
    found: dict[str, Note] = {}
    for kit, series in zip(kits, _series(kits), strict=True):
        for path, families in sorted(kit.families.items()):
            label = next(iter(families)) if len(families) == 1 else None
            if label is None or kit.digests[path] in found:
                continue
            try:
                samples, rate = soundfile.read(io.BytesIO(files[path]), dtype="float32", always_2d=True)
            except (RuntimeError, OSError) as error:
                raise _damaged(path, error) from error
            name = "/".join(path.split("/")[-2:])
            found[kit.digests[path]] = Note(name, label, series, samples.mean(axis=1), int(rate))
    return list(found.values())


def split_kits(notes: Sequence[Note], fractions: Sequence[float], seed: int) -> tuple[list[int], ...]:
    """Split indices of ``notes`` so that no series lies on two sides and every side hears every drum, if it can be.

    A kit has all its drums, so that sides cannot be filled one class at a time: of ``DRAWS`` random splits the one is
    taken whose sides' counts of each class come nearest to their shares, in relative squared deviation.

    Args:
        notes: what to split; only ``family`` and ``series`` are read.
        fractions: the sides' shares, positive; they are normalised.
        seed: of the draws.

    Returns:
        For each side the sorted indices.
    """
    names = sorted({note.series for note in notes})
    families = sorted({note.family for note in notes})
    counts = np.zeros((len(names), len(families)))
    for note in notes:
        counts[names.index(note.series), families.index(note.family)] += 1
    target = np.outer(np.asarray(fractions) / sum(fractions), counts.sum(axis=0))  # [sides, families]
    draws = np.random.default_rng(seed).integers(len(fractions), size=(DRAWS, len(names)))
    sides = np.arange(len(fractions))[:, None] == draws[:, None, :]  # [draws, sides, series]
    deviation = (((sides @ counts - target) / target) ** 2).sum(axis=(1, 2))
    best = draws[int(deviation.argmin())]
    place = dict(zip(names, best.tolist(), strict=True))
    return tuple([i for i, note in enumerate(notes) if place[note.series] == side] for side in range(len(fractions)))


def family(instrument: str) -> str | None:
    """The class of an instrument by its name: ``Snare Rimshot (Pearl 14x3.5)`` → ``rim``; None: none of them."""
    name = re.sub(r"\(.*?\)", "", instrument).lower()
    if re.search(AMBIGUOUS, name):
        return None
    return next((each for each, pattern in PATTERNS.items() if re.search(pattern, name)), None)


@dataclass(frozen=True)
class _Kit:
    """A kit's folder, the long words of its author's name, and by sample file its digest and classes."""

    folder: str
    author: frozenset[str]
    digests: dict[str, str]
    families: dict[str, set[str | None]]


def _kit(path: str, files: Mapping[str, bytes]) -> _Kit:
    if b"<!DOCTYPE" in files[path] or b"<!ENTITY" in files[path]:  # entities can blow up; escaped text has none
        raise _damaged(path, ValueError("it declares entities"))
    try:
        root = ElementTree.fromstring(files[path])
    except ElementTree.ParseError as error:
        raise _damaged(path, error) from error
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    folder = posixpath.dirname(path)
    families: dict[str, set[str | None]] = defaultdict(set)
    for instrument in root.iter("instrument"):
        for sample in instrument.iter("filename"):
            if (named := f"{folder}/{sample.text}") in files:  # some kits name a sample that they lack
                families[named].add(family(instrument.findtext("name") or ""))
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in families}
    author = frozenset(re.findall(r"[^\W\d_]{5,}", (root.findtext("author") or "").lower()))
    return _Kit(folder.rpartition("/")[2], author, digests, dict(families))


def _series(kits: list[_Kit]) -> list[str]:
    """For each kit the first one that it shares an author or a sample with, over any number of steps."""
    series = [kit.folder for kit in kits]
    for one, two in combinations(range(len(kits)), 2):
        if kits[one].author & kits[two].author or set(kits[one].digests.values()) & set(kits[two].digests.values()):
            old, new = series[two], series[one]
            series = [new if each == old else each for each in series]
    return series


def _damaged(path: str, error: Exception) -> PresightError:
    return PresightError(f"audio.drums: {path}", f"cannot be read ({error})", "delete its folder in the cache")
