"""Pictures with captions: emoji out of packages, or a folder of one's own in the layouts that are common."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from adapt.vlm.pictures import picture
from presight import index
from presight.errors import PresightError
from presight.packages import Archive, Fetched

if TYPE_CHECKING:
    from PIL.Image import Image

LISTS = ("pairs.jsonl", "pairs.csv", "pairs.tsv", "metadata.jsonl", "metadata.csv")
FILES = ("file", "file_name", "image")  # what lists call an image; the second is that of Hub image folders
CAPTIONS = ("caption", "text", "caption_reference_description")  # the last is that of WIT

_PICTURES, _NAMES = "@lobehub/fluent-emoji-3d", "emojibase-data"


class Pair(NamedTuple):
    """A picture by its file's name, its caption, and what kind of thing it shows where that is known."""

    file: str
    caption: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs, each file once, and how the bytes of a file are had."""

    pairs: tuple[Pair, ...]
    read: Callable[[str], bytes]

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: Iterable[int]) -> Pairs:
        """Those pairs."""
        return Pairs(tuple(self.pairs[row] for row in rows), self.read)

    def pictures(self) -> list[Image]:
        """The pictures in RGB; what is transparent is white.

        Raises:
            PresightError: a file is no picture.
        """
        return [picture(pair.file, self.read(pair.file)) for pair in self.pairs]


def emoji(fetched: Fetched, tags: bool = False) -> Pairs:
    """The emoji that have both a picture (Fluent, 3D) and a name (Unicode's, in English), in the order of their code.

    Args:
        fetched: the role ``images.emoji``.
        tags: a caption is the name with its keywords, ``rainbow: rain, weather``, not the name alone.
    """
    archive, names = (Archive(fetched.archives[package]) for package in (_PICTURES, _NAMES))
    there = set(archive.names())
    groups = json.loads(names.read("package/meta/groups.json"))["groups"]
    found = []
    for entry in json.loads(names.read("package/en/data.json")):
        file = f"package/assets/{entry['hexcode'].lower()}.webp"
        if file in there and "group" in entry:  # single letters of flags have none
            listed = f": {', '.join(entry['tags'])}" if tags and entry.get("tags") else ""
            found.append(Pair(file, entry["label"] + listed, groups[str(entry["group"])]))
    return Pairs(tuple(sorted(found)), archive.read)


def local(folder: Path) -> Pairs:
    """The pairs of a folder; of an image with several captions, the first.

    Layouts, of which the folder holds one: ``pairs`` or ``metadata`` as ``.jsonl``, ``.csv`` or ``.tsv`` with a record
    a pair, whose file is called file, file_name or image and whose caption is called caption, text or
    caption_reference_description; or ``captions*.json`` as of COCO, there or in ``annotations/``, with the images
    anywhere below.

    An image that came twice would be its own nearest neighbour on one side only, and no permutation keeps such pairs
    together.

    Raises:
        PresightError: no list is there or several are, a record lacks a file or a caption, or an image is not there.
    """
    lists = [folder / name for name in LISTS if (folder / name).exists()]
    lists += sorted([*folder.glob("captions*.json"), *folder.glob("annotations/captions*.json")])
    if not lists:
        mend = f"list file and caption of every pair in {LISTS[0]}, or give captions*.json of COCO"
        raise PresightError(str(folder), f"has none of {', '.join(LISTS)}", mend)
    if len(lists) > 1:
        named = " and ".join(path.relative_to(folder).as_posix() for path in lists)
        raise PresightError(str(folder), f"holds several lists: {named}", "leave one of them there")
    there = {path.relative_to(folder).as_posix() for path in index.files(folder)}
    pairs = _coco(lists[0], there) if lists[0].suffix == ".json" else _records(lists[0], there)
    return Pairs(tuple(pairs), lambda file: (folder / file).read_bytes())


def _records(path: Path, there: set[str]) -> list[Pair]:
    with path.open(encoding="utf-8-sig", newline="") as opened:
        try:
            rows: Sequence[Any] = list(
                map(json.loads, filter(str.strip, opened))
                if path.suffix == ".jsonl"
                else csv.DictReader(opened, delimiter="\t" if path.suffix == ".tsv" else ",")
            )
        except (ValueError, csv.Error) as error:
            raise PresightError(str(path), f"cannot be read: {error}", "write one record a line") from error
    found: dict[str, Pair] = {}
    for number, row in enumerate(rows, 1):
        field = f"{path.name}, record {number}"
        file, caption = _first(row, FILES), _first(row, CAPTIONS)
        if not file or not caption:
            raise PresightError(field, "lacks file or caption", f"call them {FILES[0]} and {CAPTIONS[0]}, as text")
        if file not in there:
            raise PresightError(field, f"{file!r} is not in the folder", "put it there")
        found.setdefault(file, Pair(file, caption))
    return list(found.values())


def _first(row: Any, names: Iterable[str]) -> str:
    """The first text under one of these names; nothing where there is none."""
    values = [row.get(name) for name in names] if isinstance(row, Mapping) else []
    return next((value for value in values if isinstance(value, str) and value.strip()), "")


def _coco(path: Path, there: set[str]) -> list[Pair]:
    """Images in the order of the list with the caption of lowest id; COCO says their names, not in which folder."""
    try:
        listed = json.loads(path.read_bytes())
        names = {entry["id"]: str(entry["file_name"]) for entry in listed["images"]}
        notes = sorted((each["id"], each["image_id"], str(each["caption"])) for each in listed["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        mend = "give images (id, file_name) and annotations (id, image_id, caption)"
        raise PresightError(str(path), f"is no list of captions as of COCO ({error!r})", mend) from error
    captions: dict[Any, str] = {}
    for _, image, caption in notes:
        if caption.strip():
            captions.setdefault(image, caption.strip())
    places: dict[str, list[str]] = {}
    for file in sorted(there):
        places.setdefault(file.rpartition("/")[2], []).append(file)
    found: dict[str, Pair] = {}
    for number, name in names.items():
        if number not in captions:
            continue
        files = [name] if name in there else places.get(name.rpartition("/")[2], [])
        if len(files) != 1:
            problem = f"{name!r} is there {len(files)} times" if files else f"{name!r} is not in the folder"
            raise PresightError(path.name, problem, "put it there once")
        found.setdefault(files[0], Pair(files[0], captions[number]))
    return list(found.values())
