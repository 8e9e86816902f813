"""GTZAN: a thousand excerpts of 30 seconds in ten genres (Tzanetakis & Cook 2002)."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from adapt.layouts.entries import Collection, Entry, fraction, sound, wrong
from presight.errors import PresightError, nearest

FOLDS = 10
KINDS = (".wav", ".au")
LISTS = {"train": "train", "valid": "validation", "val": "validation", "test": "test"}
ROOTS = (".", "genres", "genres_original", "Data/genres_original")


def official(
    path: Path, lists: Path | None = None, artists: Path | None = None, fold: int | None = None, seed: int = 0
) -> Collection:
    """GTZAN's ``<genre>/<genre>.00000.wav`` (or ``.au``); items are ``<genre>.00000``.

    Its faults (Sturm, arXiv 1306.1461: repeats, wrong labels, artists on both sides) make the protocol matter, and
    results of different protocols must not be compared. There are three:

    * ``lists``: a folder with ``train*.txt``, ``valid*.txt`` and ``test*.txt``, a clip a line (the fault-filtered
      split has 443, 197 and 290). Clips on no list are left out.
    * ``fold``: ten folds as in HEAR (Turian et al. 2022): fold k is tested, fold k + 1 validates, the others train.
      HEAR's own draw of the folds is not published as a list; here every genre is dealt out evenly by a hash.
    * neither: a split by hash that keeps every artist on one side, as far as ``artists`` knows them.

    Args:
        path: the folder of the genres, or the one above.
        lists: folder of the lists.
        artists: a csv with the columns ``clip`` and ``artist``; an artist is a cluster, an unknown one each its own.
        fold: which one is tested, 0 … 9.
        seed: of the folds.

    Raises:
        PresightError: no genres are there, or a list or csv cannot be understood.
    """
    if lists and fold is not None:
        raise PresightError("fold", f"{fold} is given beside lists", "give one of them: the protocols differ")
    root = next((path / each for each in ROOTS if (path / each).is_dir() and _genres(path / each)), None)
    if root is None:
        raise wrong(path, "holds no <genre>/<genre>.00000.wav", "GTZAN")
    genres = _genres(root)
    files = {file.stem: (label, file) for label, genre in enumerate(genres) for file in _clips(root / genre)}
    by = _artists(artists) if artists else {}
    if lists:
        splits = _listed(lists)
        for clip in splits.keys() - files.keys():  # reading will say that it is not there
            genre = clip.partition(".")[0]
            if genre not in genres:
                raise PresightError(str(lists), f"names {clip!r}, whose genre is not here", nearest(genre, genres))
            files[clip] = genres.index(genre), root / genre / f"{clip}.wav"
        files = {clip: files[clip] for clip in splits}
    elif fold is not None:
        splits = folds({clip: genres[label] for clip, (label, _) in files.items()}, fold, seed)
    else:
        splits = {}
    entries = [
        Entry(clip, label, partial(sound, file), by.get(clip, clip), splits.get(clip, ""))
        for clip, (label, file) in files.items()
    ]
    return Collection("sound", tuple(genres), entries, licences=("none stated by its authors",))


def folds(genres: dict[str, str], fold: int, seed: int) -> dict[str, str]:
    """Split of each clip when ``fold`` is tested; the folds have equally many clips of a genre, give or take one."""
    if not 0 <= fold < FOLDS:
        raise PresightError("fold", f"{fold} is none of the ten", "give 0 … 9")
    splits = {}
    for genre in set(genres.values()):
        clips = [each for each in genres if genres[each] == genre]
        for number, clip in enumerate(sorted(clips, key=lambda each: (fraction(seed, "fold", each), each))):
            splits[clip] = {fold: "test", (fold + 1) % FOLDS: "validation"}.get(number % FOLDS, "train")
    return splits


def _genres(root: Path) -> list[str]:
    return sorted(each.name for each in root.iterdir() if each.is_dir() and _clips(each))


def _clips(folder: Path) -> list[Path]:
    return sorted(each for each in folder.glob(f"{folder.name}.*") if each.suffix in KINDS)


def _listed(folder: Path) -> dict[str, str]:
    """Split of each clip on the lists."""
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.txt")):
        split = next((LISTS[prefix] for prefix in LISTS if file.name.lower().startswith(prefix)), None)
        for line in file.read_text("utf8", "replace").split() if split else ():
            clip = Path(line).name.removesuffix(".wav").removesuffix(".au")
            if split and found.setdefault(clip, split) != split:
                raise PresightError(
                    str(file), f"names {clip}, which is on the list of {found[clip]} too", "name it once"
                )
    if missing := {"train", "validation", "test"} - set(found.values()):
        mend = "put train*.txt, valid*.txt and test*.txt there, a clip a line"
        raise PresightError(str(folder), f"holds no list of {min(missing)}", mend)
    return found


def _artists(file: Path) -> dict[str, str]:
    with file.open(encoding="utf8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    if not rows or not {"clip", "artist"} <= rows[0].keys():
        raise PresightError(str(file), "has no columns clip and artist", "write them in its first line")
    named = {Path(row["clip"] or "").name: " ".join((row["artist"] or "").lower().split()) for row in rows}
    return {clip.removesuffix(".wav").removesuffix(".au"): artist for clip, artist in named.items() if artist}
