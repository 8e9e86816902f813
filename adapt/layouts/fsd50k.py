"""FSD50K: 51,197 clips of Freesound with any of 200 classes (Fonseca et al., arXiv 2010.00475)."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

from adapt.layouts.entries import Collection, Entry, sound, wrong

PARTS = {"dev": "dev_audio", "eval": "eval_audio"}
LICENCES = ("CC-BY-4.0 (collection)", "CC0-1.0, CC-BY, CC-BY-NC and CC-Sampling+ (clips)")
SPLITS = {"train": "train", "val": "validation"}


def official(path: Path) -> Collection:
    """FSD50K as it is published: ``FSD50K.{dev_audio,eval_audio,ground_truth,metadata}`` in one folder.

    The development set's column ``split`` says what trains and what validates, the evaluation set is tested. A clip
    has all the labels of ``ground_truth``, ancestors included. Items are Freesound's numbers; the uploader is the
    cluster where the metadata are there, else each clip its own.

    Raises:
        PresightError: a file is missing, or names what the vocabulary lacks.
    """
    truth = _folder(path, "ground_truth")
    vocabulary = [row[1] for row in _rows(truth / "vocabulary.csv", path) if len(row) > 1 and row[0].isdigit()]
    labels = {name: label for label, name in enumerate(vocabulary)}
    entries = []
    for part, audio in PARTS.items():
        header, *rows = _rows(truth / f"{part}.csv", path) or [[]]
        uploaders = _uploaders(path, part)
        for cells in rows:
            row = dict(zip(header, cells, strict=False))
            clip, split = row.get("fname", ""), SPLITS.get(row.get("split", "")) if part == "dev" else "test"
            names = [name for name in row.get("labels", "").split(",") if name]
            if not clip.isalnum() or split is None or (unknown := [name for name in names if name not in labels]):
                said = f"{part}.csv has a line {','.join(cells)[:80]!r}" + (
                    f" with the label {unknown[0]!r}, which the vocabulary lacks" if clip.isalnum() and split else ""
                )
                raise wrong(path, said, "FSD50K")
            load = partial(sound, _folder(path, audio) / f"{clip}.wav")
            cluster = uploaders.get(clip, clip)
            entries.append(Entry(clip, tuple(sorted(labels[name] for name in names)), load, cluster, split))
    return Collection("sound", tuple(vocabulary), entries, multilabel=True, licences=LICENCES)


def _folder(path: Path, name: str) -> Path:
    for each in (path / f"FSD50K.{name}", path / name):
        if each.is_dir():
            return each
    raise wrong(path, f"lacks FSD50K.{name}", "FSD50K")


def _rows(file: Path, path: Path) -> list[list[str]]:
    if not file.is_file():
        raise wrong(path, f"lacks {file.name}", "FSD50K")
    with file.open(encoding="utf8", errors="replace", newline="") as opened:
        return [row for row in csv.reader(opened) if row]


def _uploaders(path: Path, part: str) -> dict[str, str]:
    file = path / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json"
    if not file.is_file():
        return {}
    try:
        known: dict[str, dict[str, Any]] = json.loads(file.read_text("utf8"))
        return {clip: f"uploader {each['uploader']}" for clip, each in known.items() if each.get("uploader")}
    except (ValueError, AttributeError, TypeError) as error:
        raise wrong(path, f"{file.name} is no table of clips ({error})", "FSD50K") from error
