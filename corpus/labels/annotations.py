"""Texts and the labels that annotators gave them: the user's file, or the published labels of the sample."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from corpus.labels.taxonomy import Taxonomy
from presight import index
from presight.console import Track, say
from presight.errors import PresightError, Unavailable
from presight.stage import FrozenMap, Stage

FILE = "annotations.jsonl"
PUBLISHED = Path(__file__).with_name("segments.jsonl")
OVERLAP = Path(__file__).with_name("overlap.jsonl")
WINDOW = 2000  # characters of a published segment
REQUIRED = 0.95


@dataclass(frozen=True)
class Annotation:
    """One labelled text.

    Args:
        id: first 16 hex digits of the SHA-256 of the text.
        source: where it is from: ``web``, ``code``, …
        document: the document it was cut from; its own id if that is not known.
        labels: in the taxonomy's order; none is an answer too.
        text: what the annotator read.
    """

    id: str
    source: str
    document: str
    labels: tuple[str, ...]
    text: str


def identify(text: str) -> str:
    """The id of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read(path: str | Path, taxonomy: Taxonomy) -> list[Annotation]:
    """The annotations of a jsonl file, in order; the same text with the same labels counts once.

    Raises:
        PresightError: the file or one of its lines is not as it should be; names the line.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise PresightError(str(path), "is no file", "give a jsonl file of annotations")
    found: dict[str, Annotation] = {}
    with path.open("rb") as lines:  # by bytes: U+2028 within a text ends no line
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            each = _annotation(f"{path} line {number}", line, taxonomy)
            if (before := found.get(each.id)) and before.labels != each.labels:
                raise PresightError(
                    f"{path} line {number}",
                    f"{each.id} was labelled otherwise before ({_named(before.labels)}, now {_named(each.labels)})",
                    "merge what annotators say of one text, as `corpus.labels.agreement.merge` does",
                )
            found.setdefault(each.id, each)
    if not found:
        raise PresightError(
            str(path), "holds no annotations", "write one JSON object a line: id, source, labels, text"
        )
    return list(found.values())


def _annotation(where: str, line: bytes, taxonomy: Taxonomy) -> Annotation:
    form = "write {id, source, labels, text} as JSON"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PresightError(where, f"is no JSON ({error})", form) from error
    if not isinstance(row, dict):
        raise PresightError(where, "is no JSON object", form)
    for key in ("id", "source", "text"):
        if not isinstance(row.get(key), str):
            raise PresightError(where, f"has no string {key!r}", form)
    labels = row.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise PresightError(where, "has no list of names 'labels'", form)
    for label in labels:
        try:
            taxonomy.label(label)
        except PresightError as error:
            raise PresightError(where, error.problem, error.mend) from error
    if row["id"] != identify(row["text"]):
        problem = f"id {row['id']!r} is not of its text, whose id is {identify(row['text'])!r}"
        raise PresightError(where, problem, "the first 16 hex digits of the text's SHA-256 are its id")
    document = str(row.get("document") or row.get("locator") or row["id"])
    ordered = tuple(label for label in taxonomy.labels if label in labels)
    return Annotation(row["id"], row["source"], document, ordered, row["text"])


def _named(labels: Sequence[str]) -> str:
    return " + ".join(labels) or "no label"


class Annotations(Stage):
    """The user's own annotations: jsonl with ``id``, ``source``, ``labels``, ``text`` and, better, ``document``."""

    kind = "annotations"
    version = "1"

    path: Path = Field(exclude=True, description="the file")
    content: str = Field("", description="digest of the file; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Hash the file."""
        return self if self.content else self.changed(content=index.content(self.path.expanduser()))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Copy the file; what it holds is checked by whoever knows the taxonomy."""
        path = self.path.expanduser()
        if index.content(path) != self.content:
            raise PresightError(str(path), "changed since it was planned", "run again")
        (out / FILE).write_bytes(path.read_bytes())


class SampleAnnotations(Stage):
    """The published labels of 1,206 segments of the sample, put back to the text of their packages."""

    kind = "annotations"
    version = "1"

    required: float = Field(REQUIRED, ge=0, le=1, description="share of the published labels whose text must be found")
    content: FrozenMap[str, str] = Field(FrozenMap(), description="digest of each role's package members; filled in")
    labels: str = Field("", description="digest of the published labels; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn which packages can be had, and the digests of their members."""
        from presight import packages

        if self.content:
            return self
        digests, missing = packages.digests(_roles(), fetch)
        for error in missing.values():
            say(f"left out of the annotations: {error}")
        if not digests:
            error = next(iter(missing.values()))
            raise Unavailable(error.field, error.problem, error.mend)
        labels = hashlib.sha256(PUBLISHED.read_bytes()).hexdigest()
        return self.changed(content=FrozenMap({role: digests[role] for role in sorted(digests)}), labels=labels)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Find the segments and write them with their text."""
        from presight import packages

        for role, digest in self.content.items():
            if packages.fetch(role).digest != digest:
                raise PresightError(role, "its package changed since it was planned", "run again")
        found = load_sample(self.required, self.content)
        with (out / FILE).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in found)
        (out / "counts.json").write_text(json.dumps(rates(each.id for each in found)))
        licences = {licence for role in self.content for licence in packages.fetch(role).licences.values()}
        (out / "licences.json").write_text(json.dumps(sorted(licences)))


def published() -> list[dict[str, Any]]:
    """The published labels: ``id``, ``source``, ``labels``, ``annotators``; no text."""
    return [json.loads(line) for line in PUBLISHED.read_text("utf8").splitlines()]


def load_sample(
    required: float = REQUIRED, roles: Iterable[str] | None = None, taxonomy: Taxonomy | None = None
) -> list[Annotation]:
    """The published labels with their text, in their order.

    Args:
        required: share of them that must be found.
        roles: where to look; default all that can be had.
        taxonomy: that must have their labels; default the shipped one.

    Raises:
        PresightError: the taxonomy has other labels; or too few were found; says how many of each source.
        Unavailable: no package can be had.
    """
    from presight import packages

    if taxonomy and (strange := {label for row in published() for label in row["labels"]} - set(taxonomy.labels)):
        problem = f"{taxonomy.name!r} has no label {min(strange)!r}, which the published annotations have"
        raise PresightError("taxonomy", problem, "give annotations of your own with --annotations")
    if roles is None:
        here, missing = packages.fetch_all(_roles())
        if not here:
            raise next(iter(missing.values()))
        roles = here
    wanted = {row["id"]: row for row in published()}
    own: dict[str, tuple[str, str]] = {}
    others: dict[str, tuple[str, str]] = {}
    for source, document, text in _windows(sorted(roles)):
        if row := wanted.get(identify(text)):  # the same text may stand in two sources
            (own if source == row["source"] else others).setdefault(row["id"], (document, text))
    texts = others | own
    if len(texts) < required * len(wanted):
        rate = ", ".join(f"{source} {each['share']:.0%}" for source, each in rates(texts).items())
        raise PresightError(
            "annotations",
            f"the text of only {len(texts) / len(wanted):.1%} of the published labels was found ({rate})",
            f"`presight data get` fetches what is missing, or set required below {len(texts) / len(wanted):.2f}",
        )
    return [
        Annotation(key, row["source"], texts[key][0], tuple(row["labels"]), texts[key][1])
        for key, row in wanted.items()
        if key in texts
    ]


def rates(found: Iterable[str]) -> dict[str, dict[str, float]]:
    """Per source, how many published labels there are and how many of them were found."""
    found = set(found)
    rows = published()
    every, here = Counter(row["source"] for row in rows), Counter(row["source"] for row in rows if row["id"] in found)
    return {
        source: {"published": every[source], "found": here[source], "share": here[source] / every[source]}
        for source in sorted(every)
    }


def _roles() -> list[str]:
    from presight import packages

    return [role for roles in packages.texts("labels").values() for role in roles]


def _windows(roles: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Every window of every document: its source, the document's id, the text."""
    from corpus.sources import sample
    from presight import packages

    track = Track(None, "finding the annotated text")
    for role in roles:
        for document in sample.documents(role, packages.fetch(role)):
            for start in range(0, len(document.text), WINDOW):
                yield role.split(".")[1], document.id, document.text[start : start + WINDOW]
            track.advance(len(document.text))
