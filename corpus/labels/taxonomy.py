"""Which labels there are, what makes a text have them, and the families they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError, field_validator

from presight.errors import PresightError, nearest

SHIPPED = Path(__file__).parent
DEFAULT = "priors"
NAME = r"^[a-z][a-z0-9_]*$"  # safe as a key of a report, a word of a prompt and a word of a fastText file


class Label(BaseModel, frozen=True, extra="forbid"):
    """One label.

    Args:
        name: lower case, digits and underscores.
        family: the family it belongs to.
        definition: what makes a segment have it.
        includes: what also counts, for the annotator.
        excludes: what does not count, for the annotator.
    """

    name: str = Field(pattern=NAME)
    family: str = Field(pattern=NAME)
    definition: str = Field(min_length=1)
    includes: str = ""
    excludes: str = ""


class Taxonomy(BaseModel, frozen=True, extra="forbid"):
    """Labels in order, family by family. A text may have any number of them; none is a legal answer."""

    name: str = Field(pattern=NAME)
    entries: tuple[Label, ...] = Field(min_length=1)

    @field_validator("entries")
    @classmethod
    def _distinct(cls, entries: tuple[Label, ...]) -> tuple[Label, ...]:
        names = [entry.name for entry in entries] + list(dict.fromkeys(entry.family for entry in entries))
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} names two things")
        families = [entry.family for entry in entries]
        if families != sorted(families, key=families.index):
            raise ValueError("labels of one family must stand together")
        return entries

    @classmethod
    def read(cls, place: str | Path = DEFAULT) -> Taxonomy:
        """The taxonomy of a YAML file, or a shipped one by its name.

        Raises:
            PresightError: there is none, or it is not well formed.
        """
        import yaml

        path = Path(place).expanduser()
        if not path.exists() and not path.suffix:
            path = SHIPPED / f"{place}.yaml"
        if not path.is_file():
            known = [each.stem for each in SHIPPED.glob("*.yaml")]
            raise PresightError("taxonomy", f"{str(place)!r} is no file and no known name", nearest(str(place), known))
        try:
            return cls.of(yaml.safe_load(path.read_text("utf8")))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise PresightError(str(path), f"is no YAML ({' '.join(str(error).split())})", "mend it") from error
        except PresightError as error:
            raise PresightError(f"{path}: {error.field}", error.problem, error.mend) from error

    @classmethod
    def of(cls, tree: Any) -> Taxonomy:
        """From ``{"name", "families": {family: {label: {"definition", …} or definition}}}``, the form of the files.

        Raises:
            PresightError: it has another form.
        """
        form = "write name: and families: {family: {label: {definition: …}}}"
        if not isinstance(tree, Mapping) or set(tree) != {"name", "families"}:
            raise PresightError("taxonomy", "has other keys than name and families", form)
        entries = []
        for family, labels in _mapping("families", tree["families"], form).items():
            for label, about in _mapping(f"families.{family}", labels, form).items():
                about = {"definition": about} if isinstance(about, str) else about
                where = f"families.{family}.{label}"
                entries.append({"name": label, "family": family, **_mapping(where, about, form)})
        try:
            return cls.model_validate({"name": tree["name"], "entries": entries})
        except ValidationError as error:
            first = error.errors()[0]
            where = _place(first["loc"], entries)
            raise PresightError(where, str(first["msg"]).removeprefix("Value error, "), "mend it") from error

    @property
    def tree(self) -> dict[str, Any]:
        """The form of the files; ``Taxonomy.of(taxonomy.tree) == taxonomy``."""
        families: dict[str, dict[str, dict[str, str]]] = {}
        for entry in self.entries:
            families.setdefault(entry.family, {})[entry.name] = entry.model_dump(
                exclude={"name", "family"}, exclude_defaults=True
            )
        return {"name": self.name, "families": families}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels, in the order of every array of scores."""
        return tuple(entry.name for entry in self.entries)

    @cached_property
    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Family → its labels, in order."""
        found: dict[str, tuple[str, ...]] = {}
        for entry in self.entries:
            found[entry.family] = (*found.get(entry.family, ()), entry.name)
        return MappingProxyType(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the taxonomy, definitions and all: another wording is another taxonomy."""
        return hashlib.sha256(json.dumps(self.tree, ensure_ascii=True).encode()).hexdigest()

    def label(self, name: str) -> Label:
        """The label of that name.

        Raises:
            PresightError: there is none.
        """
        if name not in self.labels:
            raise PresightError("labels", f"{name!r} is not in the taxonomy {self.name!r}", nearest(name, self.labels))
        return self.entries[self.labels.index(name)]

    def indicators(self, labels: Sequence[Sequence[str]]) -> np.ndarray:
        """Lists of label names as ``bool [n, labels]``."""
        return np.array([[name in each for name in self.labels] for each in labels], dtype=bool).reshape(
            len(labels), len(self.labels)
        )

    def combine(self, scores: np.ndarray) -> np.ndarray:
        """Family scores from label scores: the probability that any of the family's labels applies.

        Args:
            scores: ``[..., labels]`` probabilities, or truth as 0 and 1.

        Returns:
            ``[..., families]``: 1 − Π(1 − score). On the published annotations this ranks and calibrates a little
            better than the largest score does. Of truth (booleans) it is the plain *any*.
        """
        scores = np.asarray(scores)
        starts = np.cumsum([0, *(len(labels) for labels in self.families.values())])[:-1]
        if scores.dtype == bool:
            return np.logical_or.reduceat(scores, starts, axis=-1)
        return 1 - np.multiply.reduceat(1 - scores, starts, axis=-1)


def _mapping(where: str, value: Any, form: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        raise PresightError(where, "is no mapping of names", form)
    return value


def _place(place: tuple[Any, ...], entries: list[dict[str, Any]]) -> str:
    """Where a fault lies, as the file names it."""
    if len(place) >= 2 and place[0] == "entries":
        entry = entries[place[1]]
        return ".".join(("families", str(entry["family"]), str(entry["name"]), *map(str, place[2:])))
    return "families" if place[:1] == ("entries",) else ".".join(map(str, place))
