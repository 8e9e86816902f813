"""Choices of what is in a picture, at levels of size: how they are drawn, and what the levels' scores come to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.stats.margins import Floats, Margins
from eval.vision.strata import Stratum, combined
from eval.vision.vocabulary import Vocabulary
from presight.errors import PresightError

BUCKETS = {"0-30": 0.3, "30-60": 0.6, "60-100": 1.0}  # of the pixels, up to and without; the last with
OPTIONS = 4
Draw = Literal["alike", "uniform"]


def bucket(share: float) -> str:
    """The level of a thing that covers this share of a picture."""
    return next((name for name, end in BUCKETS.items() if share < end), "60-100")


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture to ask about.

    Attributes:
        name: of it.
        shares: of its pixels, by class.
        cluster: what it shares with others; empty: nothing.
    """

    name: str
    shares: Mapping[str, float]
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A question: the thing that is there among others that are not."""

    sight: Sight
    level: str
    options: tuple[str, ...]
    answer: int

    @property
    def thing(self) -> str:
        """What is there."""
        return self.options[self.answer]


def choices(
    sights: Sequence[Sight],
    vocabulary: Vocabulary,
    count: int,
    least: float = 0.01,
    draw: Draw = "alike",
    seed: int = 0,
    readable: Callable[[Sight], bool] = lambda _: True,
) -> list[Choice]:
    """Questions, at most one about a picture and so many of a level.

    Classes take turns, so that a few frequent ones do not make up a level, and the level with the fewest pictures
    chooses first. Each place is right equally often. Wrong options are classes that are not in the picture, nor alike
    to one that is, nor to each other.

    Args:
        sights: the pictures.
        vocabulary: the classes.
        count: questions of a level.
        least: share of a picture below which a thing is not asked about; it is never a wrong option either.
        draw: wrong options as often as they are right ones of the level, so that no class is suspicious in itself, or
            every class equally often.
        seed: of all draws.
        readable: asked before a picture is taken.
    """
    levels: dict[str, list[tuple[Sight, str]]] = {name: [] for name in BUCKETS}
    for sight in sights:
        for name, share in sight.shares.items():
            if share >= least and name in vocabulary.words:
                levels[bucket(share)].append((sight, name))
    taken: set[str] = set()
    found: list[Choice] = []
    for level in sorted(levels, key=lambda each: len({sight.name for sight, _ in levels[each]})):
        right: list[tuple[Sight, str]] = []
        for sight, name in _in_turn(levels[level], seed):
            if len(right) == count:
                break
            if sight.name not in taken and readable(sight):
                taken.add(sight.name)
                right.append((sight, name))
        rng = np.random.default_rng([seed, list(BUCKETS).index(level)])
        often = Counter(name for _, name in right)
        places = np.concatenate([rng.permutation(OPTIONS) for _ in range(-(-len(right) // OPTIONS) or 1)])
        placed = iter(places.tolist())
        for sight, name in right:
            wrong = _wrong(
                vocabulary, sight, name, often if draw == "alike" else {}, rng.random(len(vocabulary.words)).tolist()
            )
            if len(wrong) == OPTIONS - 1:
                place = next(placed)
                found.append(Choice(sight, level, (*wrong[:place], name, *wrong[place:]), place))
    order = list(BUCKETS)
    return sorted(found, key=lambda each: order.index(each.level))


def _in_turn(candidates: Iterable[tuple[Sight, str]], seed: int) -> list[tuple[Sight, str]]:
    """The candidates so that every class comes once before one comes again, and else by a hash."""

    def rank(pair: tuple[Sight, str]) -> bytes:
        return hashlib.blake2b(f"{seed}/{pair[1]}/{pair[0].name}".encode(), digest_size=16).digest()

    turns: Counter[str] = Counter()
    ranked = []
    for pair in sorted(candidates, key=rank):
        ranked.append((turns[pair[1]], rank(pair), pair))
        turns[pair[1]] += 1
    return [pair for _, _, pair in sorted(ranked, key=lambda each: each[:2])]


def _wrong(
    vocabulary: Vocabulary, sight: Sight, name: str, often: Mapping[str, int], luck: Sequence[float]
) -> list[str]:
    """Classes that are not there, by lot; ``often`` weighs it (a class with no weight comes after all others)."""
    lots = dict(zip(vocabulary.words, luck, strict=True))
    chances = {each: lots[each] ** (1 / often[each]) if often.get(each) else lots[each] - 1 for each in lots}
    found: list[str] = []
    present = [each for each, share in sight.shares.items() if share > 0]
    for each in sorted(vocabulary.absent(present), key=lambda each: -chances[each]):
        if not any(vocabulary.alike(each, other) for other in found):
            found.append(each)
        if len(found) == OPTIONS - 1:
            break
    return found


def overall(scores: Mapping[str, float], sizes: Mapping[str, int]) -> tuple[float, float]:
    """What levels come to, weighted by their questions (as the paper has it), and each level alike.

    Args:
        scores: of each level.
        sizes: questions of each level.

    Raises:
        PresightError: a level has no score, or no questions.
    """
    if set(scores) != set(sizes) or not scores or min(sizes.values()) < 1:
        raise PresightError("levels", f"scores of {sorted(scores)}, sizes of {sorted(sizes)}", "give both of each")
    items = sum(scores[level] * size for level, size in sizes.items()) / sum(sizes.values())
    return items, sum(scores.values()) / len(scores)


def margins(levels: Mapping[str, Stratum]) -> tuple[Margins, Margins]:
    """`overall` with what an interval needs: weighted by questions, and each level alike.

    Args:
        levels: scores [seeds, questions] of each; their own weights are not looked at.
    """

    def weighted(weight: Callable[[Floats], float]) -> Margins:
        return combined([Stratum(s.scores, s.clusters, weight(s.scores), s.control) for s in levels.values()])

    return weighted(lambda scores: float(scores.shape[1])), weighted(lambda _: 1.0)
