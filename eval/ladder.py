"""The ladder of controls: which is the highest rung that already explains what text weights gain?

From weights of the right scale to the text LM itself on shuffled inputs, each rung keeps more of the treatment than
the one below. A gain over the lowest rung is only a gain of *reading* if no higher rung has it, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from eval.compare import Arm, Compare
from eval.records import LOSSES, require_same_items
from eval.stats.equivalence import Equivalence, equivalence, seeds_needed
from eval.stats.intervals import crossed_margins
from eval.stats.margins import Floats, Margins
from eval.stats.multiplicity import holm
from presight.errors import PresightError, nearest

Standing = Literal["explains", "falls short", "unresolved"]


class Ladder(Compare):
    """Treatment − every rung, and the highest rung that explains the gain, by tests of equivalence.

    A rung *explains* the gain if the treatment is shown to be less than the margin better: one of the two one-sided
    tests of `equivalence`, for a control that does better than the treatment leaves nothing to explain. It *falls
    short* if the treatment is better and that is not shown. Both verdicts allow for the number of rungs (Holm), since
    the highest is sought among all of them. ``deltas.json`` is as `Compare` writes it.
    """

    kind = "deltas"
    version = "1"

    rungs: tuple[str, ...] = Field(min_length=1, description="labels of the axis `along`, the lowest control first")
    margin: float = Field(gt=0, description="largest difference taken for none, in units of the score")

    @model_validator(mode="after")
    def _distinct(self) -> Ladder:
        if len(set(self.rungs)) < len(self.rungs) or self.treatment in self.rungs:
            raise ValueError("rungs must be distinct controls, the treatment none of them")
        return self

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``deltas.json`` of all comparisons, and ``ladder.json``.

        Raises:
            PresightError: a rung without scores, or as `Compare` and `equivalence`.
        """
        super().run(out, inputs)
        arms = self._arms(inputs)
        known = {arm.labels[self.along] for arm in arms if self.along in arm.labels}
        if missing := [rung for rung in self.rungs if rung not in known]:
            problem = f"no scores are labelled {missing[0]!r} along {self.along}"
            raise PresightError("rungs", problem, nearest(missing[0], known))
        ladders = [
            self._ladder(arm, arms).record(self.along)
            for arm in arms
            if arm.labels.get(self.along) == self.treatment
            and any(self._is_rung(other) and self._meets(arm, other) for other in arms)
        ]
        found = {
            "along": self.along,
            "treatment": self.treatment,
            "replicate": self.replicate,
            "rungs": list(self.rungs),
            "margin": self.margin,
            "level": self.level,
            "ladders": ladders,
        }
        (out / "ladder.json").write_text(json.dumps(found, indent=1))
        counts = json.loads((out / "counts.json").read_text())
        (out / "counts.json").write_text(json.dumps({**counts, "ladders": len(ladders)}))

    def _is_rung(self, arm: Arm) -> bool:
        return arm.labels.get(self.along) in self.rungs

    def _ladder(self, treatment: Arm, arms: Sequence[Arm]) -> LadderOf:
        pairs: dict[str, tuple[Floats, Floats]] = {}
        for rung in self.rungs:
            for control in arms:
                if control.labels.get(self.along) == rung and self._meets(treatment, control):
                    seeds = [seed for seed in treatment.seeds if seed in control.seeds]
                    require_same_items(treatment.first, control.first, f"{treatment.labels} and {control.labels}")
                    sign = -1.0 if treatment.metric in LOSSES else 1.0  # a gain is what a loss goes down by
                    pairs[rung] = sign * treatment.rows(seeds), sign * control.rows(seeds)
        labels = {axis: label for axis, label in treatment.labels.items() if axis != self.along}
        rungs = judge(pairs, self.margin, treatment.clusters, self.level)
        return LadderOf(treatment.task, treatment.metric, labels, self.treatment, rungs)


@dataclass(frozen=True, slots=True)
class Rung:
    """One control, and what it says of the gain.

    Attributes:
        name: label of the control.
        test: of equivalence, not adjusted for the other rungs.
        p_explains: adjusted, of the treatment being better by the margin or more.
        p_differs: adjusted, of no difference.
        standing: the verdict.
        more_seeds: of an unresolved rung, see `seeds_needed`; None: no affordable number, or one seed.
    """

    name: str
    test: Equivalence
    p_explains: float
    p_differs: float
    standing: Standing
    more_seeds: int | None = None

    @property
    def estimate(self) -> float:
        """Treatment − control, in units of the score."""
        return self.test.interval.estimate


def judge(
    pairs: Mapping[str, tuple[ArrayLike, ArrayLike]],
    margin: float,
    clusters: ArrayLike | None,
    level: float = 0.95,
    most_seeds: int = 1000,
) -> tuple[Rung, ...]:
    """Judge every rung, p-values adjusted for their number.

    Args:
        pairs: by rung, scores [seeds, items] of treatment and control, rows and columns alike.
        margin: largest difference taken for none.
        clusters: cluster ids [items].
        level: one minus the error rate of all verdicts of one kind together.
        most_seeds: largest number of seeds to consider.

    Raises:
        PresightError: as `equivalence`.
    """
    alpha, power = 1 - level, 0.8
    margins = {name: crossed_margins(*pair, clusters) for name, pair in pairs.items()}
    tests = {
        name: equivalence(*pair, margin, clusters, level=level, power=power, most_seeds=most_seeds)
        for name, pair in pairs.items()
    }
    explains = holm([_p_better_by(each, margin) for each in margins.values()])
    differs = holm([test.p_difference for test in tests.values()])
    rungs = []
    for (name, test), first, second in zip(tests.items(), explains, differs, strict=True):
        standing: Standing = "unresolved"
        if first <= alpha:
            standing = "explains"
        elif second <= alpha and test.interval.estimate > 0:
            standing = "falls short"
        needed = None
        if standing == "unresolved":
            # as if it were the hardest of the rungs: its share of the error rate
            needed = seeds_needed(margins[name], margin, 1 - alpha / len(pairs), power, most_seeds)
        more = None if needed is None else max(1, needed - test.n_seeds)
        rungs.append(Rung(name, test, float(first), float(second), standing, more))
    return tuple(rungs)


def _p_better_by(margins: Margins, margin: float) -> float:
    """One-sided p of a true difference of `margin` or more."""
    half = margins.p_value(margin) / 2
    return half if margins.estimate < margin else 1 - half


@dataclass(frozen=True, slots=True)
class LadderOf:
    """The ladder of one task: its rungs, at least one, the lowest first."""

    task: str
    metric: str
    labels: Mapping[str, str]
    treatment: str
    rungs: tuple[Rung, ...]

    @property
    def explained_by(self) -> Rung | None:
        """The highest rung that explains the gain."""
        return next((rung for rung in reversed(self.rungs) if rung.standing == "explains"), None)

    @property
    def unresolved(self) -> list[Rung]:
        """Rungs above it of which that may or may not be true."""
        explained = self.explained_by
        above = self.rungs[self.rungs.index(explained) + 1 :] if explained else self.rungs
        return [rung for rung in above if rung.standing == "unresolved"]

    @property
    def more_seeds(self) -> int | None:
        """Seeds that would resolve those rungs, most likely; None: no affordable number, or none is needed."""
        needed = [rung.more_seeds for rung in self.unresolved]
        return max((each for each in needed if each is not None), default=None) if None not in needed else None

    @property
    def verdict(self) -> str:
        """A rung's name; ``none``: every rung falls short; ``unresolved``."""
        if explained := self.explained_by:
            return explained.name
        return "unresolved" if self.unresolved else "none"

    def sentence(self, along: str) -> str:
        """The verdict in plain English."""
        place = "; ".join(f"{axis}={label}" for axis, label in self.labels.items())
        head = f"On {self.task}" + (f" ({place})" if place else "")
        margin = f"{self._number(self.rungs[0].test.margin)} {self._unit}"
        explained, unsure = self.explained_by, self.unresolved
        named = ", ".join(rung.name for rung in unsure)
        if explained:
            if self.rungs[0].standing == "explains":
                lowest = self.rungs[0].name
                said = f"{self.treatment} gains less than {margin} over {lowest}, so that little is to explain; "
                said += f"the highest rung that does as well is {along}={explained.name}"
            else:
                said = f"{along}={explained.name} explains what {self.treatment} gains: it lacks less than {margin}"
            said += f" ({self._shown(explained)})"
            if unsure:
                said += f"; whether {named} above it {'does' if len(unsure) == 1 else 'do'}, too, is unresolved"
        elif unsure:
            said = f"whether {named} within {margin} {'explains' if len(unsure) == 1 else 'explain'} the gain of "
            said += f"{self.treatment} is unresolved ({'; '.join(map(self._shown, unsure))})"
        else:
            said = f"no rung explains what {self.treatment} gains: each falls short ("
            said += "; ".join(map(self._shown, self.rungs)) + ")"
        if unsure:
            said += f"; {self._needed}"
        return f"{head}, {said}."

    @property
    def _needed(self) -> str:
        if self.more_seeds is not None:
            return f"{self.more_seeds} more seed{'s' * (self.more_seeds != 1)} would tell, four times in five"
        if any(rung.test.n_seeds == 1 for rung in self.unresolved):
            return "one seed cannot say how many would tell"
        return "no affordable number of seeds would tell: more items, or a wider margin, would"

    @property
    def _unit(self) -> str:
        return "points of accuracy" if self.metric == "accuracy" else f"of {self.metric}"

    def _number(self, value: float) -> str:
        return f"{100 * value:.1f}" if self.metric == "accuracy" else f"{value:.3g}"

    def _signed(self, value: float) -> str:
        return ("−" if value < 0 else "+") + self._number(abs(value))

    def _shown(self, rung: Rung) -> str:
        interval = rung.test.interval
        limits = f"{100 * interval.level:g} % interval {self._signed(interval.low)} to {self._signed(interval.high)}"
        pair = (rung.name, self.treatment) if self.metric in LOSSES else (self.treatment, rung.name)
        return f"{' − '.join(pair)}: {self._signed(rung.estimate)}, {limits}"

    def record(self, along: str) -> dict[str, Any]:
        """As JSON."""
        return {
            "task": self.task,
            "metric": self.metric,
            "labels": dict(self.labels),
            "treatment": self.treatment,
            "verdict": self.verdict,
            "unresolved": [rung.name for rung in self.unresolved],
            "more_seeds": self.more_seeds,
            "rungs": [
                {
                    "rung": rung.name,
                    "estimate": rung.estimate,
                    "standing": rung.standing,
                    "p_explains": rung.p_explains,
                    "p_differs": rung.p_differs,
                    "more_seeds": rung.more_seeds,
                    "equivalence": rung.test.to_json(),
                }
                for rung in self.rungs
            ],
            "sentence": self.sentence(along),
        }
