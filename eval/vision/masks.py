"""Pictures of which every object is outlined, in the layouts of COCO, ADE20K and SA-1B: how much each covers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from eval.vision.runs import Runs, covered, runs_in
from presight.console import progress
from presight.errors import PresightError

Layout = Literal["coco", "ade20k", "sa-1b"]
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
NAMES = ("name", "label", "class_name", "category")  # where an annotation beside SA-1B's masks may say what it is of
SEGMENTED, ATTRIBUTES, CLASSES = "_seg.png", "_atr.txt", "objectInfo150.txt"


@dataclass(frozen=True, slots=True)
class Outlined:
    """A picture and what is to be seen in it.

    Attributes:
        name: of its file, below the folder.
        shares: of its pixels, by class; several of a kind count together.
        fault: why it cannot be used; empty: it can.
    """

    name: str
    shares: Mapping[str, float] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """Pictures with outlines.

    Attributes:
        pictures: in the order of their names.
        words: every class, with other words for it that the annotation gives.
    """

    pictures: tuple[Outlined, ...]
    words: Mapping[str, frozenset[str]]


def collection(layout: Layout, folder: Path, annotations: str | None = None) -> Collection:
    """The pictures of a folder, and the classes that its annotations know.

    Args:
        layout: ``coco``: an ``instances_*.json`` and its images; ``ade20k``: the full set with an ``_seg.png`` and an
            ``_atr.txt`` beside every image, parts left out, or the 150 classes with ``objectInfo150.txt`` above
            ``annotations`` and ``images``; ``sa-1b``: beside every image a file of masks, to which classes were given
            under ``name``, ``label``, ``class_name`` or ``category``.
        folder: of all of them.
        annotations: COCO: the file, below the folder, where there are several.

    Raises:
        PresightError: the folder has not this layout.
    """
    match layout:
        case "coco":
            found = _coco(folder, annotations)
        case "ade20k":
            found = _ade20k_150(folder) if (folder / CLASSES).exists() else _ade20k(folder)
        case "sa-1b":
            found = _sa_1b(folder)
    if not found.pictures:
        raise PresightError(str(folder), f"holds no pictures in the layout of {layout}", "name their folder")
    return found


def _coco(folder: Path, annotations: str | None) -> Collection:
    path = folder / annotations if annotations else _one(folder, "instances_*.json")
    described = _json(path)
    try:
        classes = {each["id"]: str(each["name"]) for each in described["categories"]}
        by_image: dict[Any, list[dict[str, Any]]] = {}
        for each in described["annotations"]:
            by_image.setdefault(each["image_id"], []).append(each)
        images = sorted(described["images"], key=lambda each: str(each["file_name"]))
        where, split, pictures = _places(folder), path.stem.removeprefix("instances_"), []
        for image in progress(images, f"outlines of {path.name}"):
            name = Path(str(image["file_name"])).name
            places = sorted(where.get(name, []), key=lambda place: place.parent.name != split)
            own = [(classes[each["category_id"]], each["segmentation"]) for each in by_image.get(image["id"], [])]
            if places:
                place = places[0].relative_to(folder).as_posix()
                pictures.append(_outlined(place, own, int(image["height"]), int(image["width"])))
            else:
                pictures.append(Outlined(name, fault="has no file"))
    except (KeyError, TypeError, ValueError) as error:
        raise PresightError(str(path), f"is no COCO annotation ({error!r})", "give an instances_*.json") from error
    return Collection(tuple(pictures), {name: frozenset() for name in classes.values()})


def _ade20k_150(folder: Path) -> Collection:
    """The scene-parsing set: a picture of class numbers for each image, their names in a table."""
    names = {}
    for line in (folder / CLASSES).read_text(encoding="utf-8", errors="replace").splitlines():
        number, _, rest = line.partition("\t")
        name = rest.rpartition("\t")[2]
        if number.strip().isdigit() and name:
            names[int(number)] = _words(name)
    where, pictures = _places(folder / "images"), []
    for path in progress(sorted((folder / "annotations").rglob("*.png")), "outlines"):
        image = next((where[path.stem + end][0] for end in IMAGES if path.stem + end in where), None)
        if image:
            pictures.append(_by_class(image.relative_to(folder).as_posix(), path, names))
    return Collection(tuple(pictures), _known(names.values()))


def _ade20k(folder: Path) -> Collection:
    """The full set: the blue channel's values in order are the objects' numbers, which the text gives names."""
    pictures: list[Outlined] = []
    seen: list[tuple[str, ...]] = []
    for path in progress(sorted(folder.rglob(f"*{SEGMENTED}")), "outlines"):
        stem = path.name.removesuffix(SEGMENTED)
        image = next((path.with_name(stem + end) for end in IMAGES if path.with_name(stem + end).exists()), None)
        text = path.with_name(stem + ATTRIBUTES)
        if not image or not text.exists():
            continue
        numbered = {}
        for line in text.read_text(encoding="utf-8", errors="replace").splitlines():
            number, level, _, name, *_ = [part.strip() for part in line.split("#")] + [""] * 4
            if level == "0" and number.isdigit():  # the others are parts
                numbered[int(number)] = _words(name)
        seen += numbered.values()
        pictures.append(_by_object(image.relative_to(folder).as_posix(), path, numbered))
    return Collection(tuple(pictures), _known(seen))


def _numbered(path: Path) -> tuple[Any, int]:
    """The numbers of a picture's pixels [height, width, channels], and how many pixels it has.

    Raises:
        ValueError: it is no picture.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path) as opened:
            pixels = np.asarray(opened)
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} cannot be read as an image") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels, pixels.shape[0] * pixels.shape[1]


def _by_class(name: str, path: Path, names: Mapping[int, tuple[str, ...]]) -> Outlined:
    """A picture whose pixels another numbers by class; 0: none of them."""
    import numpy as np

    try:
        pixels, size = _numbered(path)
    except ValueError as error:
        return Outlined(name, fault=str(error))
    numbers, counts = np.unique(pixels[..., 0], return_counts=True)
    found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    if unnamed := sorted(set(found) - set(names) - {0}):
        return Outlined(name, fault=f"{path.name} has the numbers {unnamed}, which {CLASSES} does not name")
    return Outlined(name, {names[number][0]: count / size for number, count in found.items() if number})


def _by_object(name: str, path: Path, objects: Mapping[int, tuple[str, ...]]) -> Outlined:
    """A picture whose objects another numbers: the blue channel's values, in order, stand for 1, 2, 3, …; 0: none."""
    import numpy as np

    try:
        pixels, size = _numbered(path)
        if pixels.shape[2] < 3:
            raise ValueError(f"{path.name} is not in colour")
    except ValueError as error:
        return Outlined(name, fault=str(error))
    numbers, counts = np.unique(pixels[..., 2], return_counts=True)
    seen = [count for number, count in zip(numbers.tolist(), counts.tolist(), strict=True) if number]
    if len(seen) != len(objects) or set(objects) != set(range(1, len(seen) + 1)):
        return Outlined(name, fault=f"{path.name} shows {len(seen)} objects, its text names {len(objects)}")
    shares: dict[str, float] = {}
    for number, count in enumerate(seen, 1):
        if words := objects[number]:
            shares[words[0]] = shares.get(words[0], 0.0) + count / size
    return Outlined(name, shares)


def _sa_1b(folder: Path) -> Collection:
    pictures, names = [], set[str]()
    for path in progress(sorted(folder.rglob("*.json")), "outlines"):
        described = _json(path)
        if not isinstance(described, dict) or not {"image", "annotations"} <= set(described):
            continue
        image = described["image"]
        try:
            place = path.with_name(Path(str(image["file_name"])).name).relative_to(folder).as_posix()
            named = [(_name(each), each["segmentation"]) for each in described["annotations"]]
            own = [(name, mask) for name, mask in named if name]
            pictures.append(_outlined(place, own, int(image["height"]), int(image["width"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            pictures.append(Outlined(path.relative_to(folder).as_posix(), fault=f"is no annotation ({error!r})"))
            continue
        names |= {name for name, _ in own}
    if pictures and not names:
        mend = f"give every annotation one of {', '.join(NAMES)}"
        raise PresightError(str(folder), "has masks, but no classes: SA-1B itself names nothing", mend)
    return Collection(tuple(pictures), {name: frozenset() for name in sorted(names)})


def _outlined(name: str, own: list[tuple[str, Any]], height: int, width: int) -> Outlined:
    by_class: dict[str, list[Runs]] = {}
    try:
        for label, segmentation in own:
            by_class.setdefault(label, []).append(runs_in(segmentation, height, width))
    except (ValueError, TypeError, OverflowError) as error:
        return Outlined(name, fault=f"a mask of {label} cannot be read ({error})")
    return Outlined(name, {label: covered(masks) / (height * width) for label, masks in by_class.items()})


def _name(annotation: Mapping[str, Any]) -> str:
    return next((str(annotation[key]).strip() for key in NAMES if annotation.get(key)), "")


def _words(name: str) -> tuple[str, ...]:
    """``building, edifice``: what a class is called, the first name first."""
    return tuple(dict.fromkeys(word.strip() for word in name.split(",") if word.strip()))


def _known(names: Iterable[tuple[str, ...]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for first, *others in filter(None, names):
        found[first] = found.get(first, frozenset()) | frozenset(others)
    return dict(sorted(found.items()))


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        said = ", ".join(path.relative_to(folder).as_posix() for path in found) or "none"
        raise PresightError(str(folder), f"of {pattern} it holds {said}", "name one of them as annotations")
    return found[0]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise PresightError(str(path), f"cannot be read as JSON ({error})", "mend it, or take it away") from error


def _places(folder: Path) -> dict[str, list[Path]]:
    """Where the images of a folder lie, by name; an annotation's own paths are not followed out of it."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGES:
            found.setdefault(path.name, []).append(path)
    return found
