"""What the names of a sample world mean: the table ``vocabulary.yaml``, and what is asked of a world's objects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

OTHER = "other"  # the kind that is not asked

TABLE = Path(__file__).with_name("vocabulary.yaml")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of an object by its name.

    Attributes:
        kind: what it is one of; "other": not to be asked.
        use: what it is for; empty: not to be asked.
        tags: words that go with it, and are not in its name.
        plural: of the name.
        novel: only test pictures show it.
    """

    kind: str
    use: str = ""
    tags: tuple[str, ...] = ()
    plural: str = ""
    novel: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """All names of a world.

    Attributes:
        entries: by name.
        overlaps: sets of kinds, and of uses, of which something may be several.
        spheres: what each tag has to do with.
        domains: of kinds and names: those of one domain have to do with the same.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    overlaps: tuple[frozenset[str], ...] = ()
    spheres: Mapping[str, str] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Entry:
        return self.entries[name]

    def alike(self, one: str, among: Iterable[str]) -> frozenset[str]:
        """Those of some kinds, or uses, that something of this one may be of, too."""
        with_it = {one}.union(*(both for both in self.overlaps if one in both))
        return frozenset(with_it & set(among))

    def family(self, one: str) -> str:
        """What all kinds, or uses, share that overlap with this one over any number of steps; empty: it has none."""
        found = {one}
        while wider := set[str]().union(*(both for both in self.overlaps if both & found)) - found:
            found |= wider
        return min(found) if len(found) > 1 else ""

    def domain(self, name: str) -> str:
        """The domain that an object is of; its own name, if it is of none."""
        return self.domains.get(name) or self.domains.get(self[name].kind) or name

    def fitting(self, name: str) -> frozenset[str]:
        """Tags that may be true of an object: of the spheres that it, or its domain, has tags of, or in its name."""
        domain = self.domain(name)
        near = [other for other in self.entries if self.domain(other) == domain]
        spheres = {self.spheres[tag] for other in near for tag in self[other].tags}
        words = {word for other in near for word in other.split()}
        return frozenset(tag for tag, sphere in self.spheres.items() if sphere in spheres or tag in words)

    def to_json(self) -> dict[str, Any]:
        """As it is written in ``world.json``."""
        return {
            "vocabulary": {name: asdict(entry) for name, entry in self.entries.items()},
            "overlaps": [sorted(both) for both in self.overlaps],
            "spheres": dict(self.spheres),
            "domains": dict(self.domains),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Vocabulary:
        """What `to_json` gave."""
        entries = {
            name: Entry(**{**entry, "tags": tuple(entry["tags"])}) for name, entry in found["vocabulary"].items()
        }
        return cls(entries, tuple(map(frozenset, found["overlaps"])), found["spheres"], found["domains"])


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """``vocabulary.yaml`` as it stands."""
    loaded: dict[str, Any] = yaml.safe_load(TABLE.read_text("utf-8"))
    return loaded


def listed() -> dict[str, tuple[str, str]]:
    """The objects of the table: name → kind, and the name that Unicode gives it."""
    found = {}
    for kind, names in table()["kinds"].items():
        for each in names:
            ((name, label),) = each.items() if isinstance(each, dict) else ((each, each),)
            found[name] = (kind, label)
    return found


def turned(part: str) -> dict[str, str]:
    """A part of the table that lists what belongs to what: each thing that is listed, and what it belongs to."""
    return {each: owner for owner, listed_ in table()[part].items() for each in listed_}


def entry(name: str, kind: str, tags: Iterable[str]) -> Entry:
    """What the table says of an object with these keywords."""
    use = next((use for use, users in table()["uses"].items() if {name, kind} & set(users)), "")
    kept = {tag for tag in tags if tag in turned("spheres") and tag not in f"{name} {kind}"}
    return Entry(kind, use, tuple(sorted(kept)), plural(name))


def plural(name: str) -> str:
    """Of an object's name: of the table, or by the rules of spelling."""
    known: Mapping[str, str] = table()["plurals"]
    if name in known:
        return known[name]
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def article(name: str) -> str:
    """The name behind "a" or "an": of the names of the table a first vowel is spoken as one but in "unicorn"."""
    return f"{'an' if name[0] in 'aeiou' and not name.startswith('uni') else 'a'} {name}"


def rank(seed: int, name: str) -> int:
    """Where a name stands in the order that a seed gives to all names."""
    return int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:15], 16)
