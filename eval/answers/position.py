"""Where a model's choices fall, whatever stands there: the bias of positions, and scores that rotations free of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.answers.choices import Answered, By, shares
from presight.errors import PresightError


@dataclass(frozen=True, slots=True)
class PositionBias:
    """Choices by position (A first), against where the right options stand.

    Attributes:
        accuracy: of the questions whose right option stands there; None where there is no such question.
        chosen: share of the choices, replies without one left out.
        answers: share of the right options, of the same questions.
        distance: total variation between the two, from 0 to 1: the share of choices that would have to move.
        statistic: chi-square of marginal homogeneity (Stuart, 1955, doi 10.1093/biomet/42.3-4.412), with
            `freedom` degrees of freedom: choice and answer of a question are a pair, so being right on many
            questions is not taken for noise. 0 where the two always agree.
        p: of no bias. It takes the rows as independent: of rotated questions, give one rotation of each.
    """

    accuracy: tuple[float | None, ...]
    chosen: tuple[float, ...]
    answers: tuple[float, ...]
    distance: float
    statistic: float
    freedom: int
    p: float


def position_bias(answered: Sequence[Answered], by: By) -> PositionBias:
    """The bias of one scorer's choices.

    Raises:
        PresightError: no question has a choice.
    """
    pairs = [(choice, each.question.answer) for each in answered if (choice := each.choice(by)) is not None]
    if not pairs:
        raise PresightError(by, "chooses nothing", "ask more questions, or look at the replies")
    places = max(len(each.question.options) for each in answered)
    right: list[list[bool]] = [[] for _ in range(places)]
    for each in answered:
        right[each.question.answer].append(each.correct(by))
    chosen, answers = shares([a for a, _ in pairs], places), shares([b for _, b in pairs], places)
    statistic, freedom = marginal_homogeneity(pairs, places)
    from scipy.special import chdtrc

    return PositionBias(
        tuple(float(np.mean(each)) if each else None for each in right),
        chosen,
        answers,
        sum(abs(a - b) for a, b in zip(chosen, answers, strict=True)) / 2,
        statistic,
        freedom,
        float(chdtrc(freedom, statistic)) if freedom else 1.0,
    )


def marginal_homogeneity(pairs: Sequence[tuple[int, int]], places: int) -> tuple[float, int]:
    """Stuart's chi-square that two paired variables have the same distribution, and its degrees of freedom.

    With the table n[i, j] of pairs: d = row sums − column sums, S = diag(row + column sums) − n − nᵀ, statistic
    d S⁺ d. The degrees of freedom are the rank of S: one fewer than the places that are ever confused.
    """
    table = np.zeros((places, places))
    for pair in pairs:
        table[pair] += 1
    difference = table.sum(1) - table.sum(0)
    spread = np.diag(table.sum(1) + table.sum(0)) - table - table.T
    freedom = int(np.linalg.matrix_rank(spread))
    return float(difference @ np.linalg.pinv(spread, hermitian=True) @ difference), freedom


@dataclass(frozen=True, slots=True)
class Averaged:
    """One question over all rotations of its options; options are numbered as given.

    Attributes:
        item, answer: of the question.
        prediction: the option with the largest mean score; of replies the one chosen most often, None in a tie.
        always: whether every rotation is answered rightly (the circular evaluation of MMBench, arXiv 2307.06281).
    """

    item: str
    answer: int
    prediction: int | None
    always: bool

    @property
    def correct(self) -> bool:
        """Whether the prediction is right."""
        return self.prediction == self.answer


def averaged(answered: Sequence[Answered], by: By) -> list[Averaged]:
    """What is chosen after averaging over rotations, question by question: no position is favoured any more.

    Raises:
        PresightError: a question was not asked in all its rotations, each once.
    """
    groups: dict[str, list[Answered]] = {}
    for each in answered:
        groups.setdefault(each.question.item, []).append(each)
    return [_averaged(group, by) for group in groups.values()]


def _averaged(group: Sequence[Answered], by: By) -> Averaged:
    first = group[0].question
    n = len(first.options)
    if sorted(each.question.rotation for each in group) != list(range(n)):
        raise PresightError(f"item {first.item}", "not asked in every rotation, once", "ask with rotate=True")
    prediction: int | None
    if by == "reply":
        votes = Counter(each.question.original(c) for each in group if (c := each.choice("reply")) is not None)
        ranked = votes.most_common(2)
        tie = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
        prediction = None if tie or not ranked else ranked[0][0]
    else:
        total = np.zeros(n)
        for each in group:
            for place, score in enumerate(each.scores.by(by)):
                total[each.question.original(place)] += score
        prediction = int(total.argmax())
    return Averaged(first.item, first.original(first.answer), prediction, all(each.correct(by) for each in group))
