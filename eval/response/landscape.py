"""How a study's figures respond to the shares of its mixtures: surface, shapes, optimum, and the runs to do next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from eval.vision.figures import figure_name
from presight.console import say
from presight.errors import PresightError, nearest
from presight.stage import FrozenMap, Labelled, Needs, Stage

if TYPE_CHECKING:
    from eval.cohort import Cohort
    from eval.stats.margins import Floats

FILE = "landscape.json"
NEXT = "next.yaml"  # axes of a recipe
MEAN = "The surface predicts mixtures it has not seen no better than their mean: do not use it."


class Landscape(Stage):
    """A quadratic surface of each figure over the shares that its models were mixed by, and what to run next.

    Shares are those that the models' mixtures ask for: label families where they have some, else sources. A share that
    no mixture varies, and of shares that add up to one the last, is left out. For the figure named by `of` the most
    informative further mixtures are written as axes of a recipe. What the runs do not determine is said, not guessed.
    """

    kind = "landscape"
    version = "3"

    scores: tuple[Annotated[Labelled, Needs("scores")], ...] = Field(
        min_length=1, description="$scores[*]: of every model, under one condition"
    )
    replicate: str = Field("init", description="the axis of seeds: runs that repeat a mixture")
    benchmarks: FrozenMap[str, tuple[str, ...]] = Field(
        FrozenMap(), description="group: its benchmarks; none named: the paper's, and the groups that questions name"
    )
    partial: bool = Field(False, description="take the mean of what is there of a group")
    of: str = Field("all groups", description="the figure whose optimum is looked for")
    criterion: Literal["optimum", "I", "D"] = Field("optimum", description="of further mixtures; eval.propose")
    mixtures: int = Field(6, ge=1, description="further mixtures")
    repeats: int = Field(1, ge=1, description="runs of each")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")

    def design(self) -> str | None:
        """Whether the mixtures can determine a quadratic surface over the shares that they vary."""
        try:
            varied = Varied.of(list(self._by_labels().values()))
        except PresightError:
            return None  # the run says why
        runs = Counter(map(tuple, varied.fractions.round(9).tolist()))
        k, few, many = len(varied.names), min(runs.values()), max(runs.values())
        terms = 1 + k * (k + 3) // 2
        each = f"{few} to {many} runs" if few < many else f"{many} run{'s' * (many > 1)}"
        verb = "cannot determine" if len(runs) < terms else "for"
        said = f"{len(runs)} mixtures × {each} {verb} the {terms} terms of a surface"
        return f"{said} over {', '.join(varied.names)}"

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``landscape.json``, and ``next.yaml`` where further runs can be chosen.

        Raises:
            PresightError: as `eval.cohort.Cohort.of`, mixtures without shares, or no figure of that name.
        """
        from eval.cohort import Cohort

        table = Cohort.of(self.scores, inputs, self.replicate, self.benchmarks, self.partial)
        by_labels = self._by_labels()
        found, axes = self.found(table, [by_labels[tuple(sorted(labels.items()))] for labels in table.labels])
        for sentence in found["sentences"]:
            say(sentence)
        (out / FILE).write_text(json.dumps(found, indent=1))
        if axes:
            (out / NEXT).write_text(axes)
        counts = {"models": len(table.labels), "figures": len(found["figures"])}
        (out / "counts.json").write_text(json.dumps(counts))

    def found(self, table: Cohort, shares: list[dict[str, float]]) -> tuple[dict[str, Any], str]:
        """What the files say of models with these shares, in per cent; the second is empty without further runs.

        Raises:
            PresightError: models of the same shares, or no figure of that name.
        """
        known = [figure_name(name) for name in table.names]
        if self.of not in known:
            raise PresightError("of", f"{self.of!r} is no figure", nearest(self.of, known))
        varied, figures, sentences, axes = Varied.of(shares), dict[str, Any](), list[str](), ""
        for name, called, column in zip(known, table.names, table.scores.T, strict=True):
            own, said, further = self._figure(varied, 100 * column, name == self.of)
            figures[name] = {"called": called, **own}
            sentences += [f"{called}: {each}" for each in said]
            axes = axes or further
        found = {"of": self.of, "level": self.level, "held": varied.held, "rest": varied.rest}
        found |= {"models": _models(table, shares), "figures": figures, "sentences": sentences}
        return found, axes

    def _figure(self, varied: Varied, scores: Floats, chosen: bool) -> tuple[dict[str, Any], list[str], str]:
        """One figure, in points: its record, sentences, and the axes of further runs where it is the chosen one."""
        from eval.response import record
        from eval.response.optimum import optimum
        from eval.response.proposals import propose
        from eval.response.replicates import Runs
        from eval.response.response import respond
        from eval.response.surface import fit, leave_one_out

        runs = Runs.of(varied.fractions, scores, varied.names)
        found: dict[str, Any] = {"names": list(runs.names), "mixtures": len(runs.means), "runs": runs.n}
        found |= {"points": record.of_points(runs, varied.fractions, scores), "responses": {}, "unsaid": []}
        said: list[str] = []

        def unsaid(words: str) -> None:
            found["unsaid"].append(words)
            said.append(words)

        for name in runs.names:
            try:
                response = respond(runs, name, level=self.level)
            except PresightError as error:
                unsaid(f"its response to {name} cannot be said: {error}")
                continue
            found["responses"][name] = record.of_response(response)
            said.append(response.sentence())
        try:
            surface = fit(runs)
            errors = leave_one_out(runs)
            best = optimum(surface, level=self.level)
        except PresightError as error:
            unsaid(f"its surface cannot be said: {error}")
            return found, said, ""
        found |= record.of_surface(surface, errors, best)
        said.append(best.sentence())
        if not found["predicts"]:
            said.append(MEAN)
        if not chosen:
            return found, said, ""
        try:
            proposal = propose(surface, self.mixtures, criterion=self.criterion, optimum=best, repeats=self.repeats)
        except PresightError as error:
            unsaid(f"further runs cannot be chosen: {error}")
            return found, said, ""
        found["proposals"] = record.of_proposal(proposal, varied.held, varied.rest)
        said.append(proposal.sentence())
        first = 1 + max((int(seed) for seed in self._seeds()), default=-1)
        return found, said, proposal.axes(first, varied.held, varied.rest)

    def _by_labels(self) -> dict[tuple[tuple[str, str], ...], dict[str, float]]:
        """Shares of each model; several artifacts with the same labels are one model's."""
        return {tuple(sorted(each.labels.items())): _shares(each.stage) for each in self.scores}

    def _seeds(self) -> Iterator[str]:
        for each in self.scores:
            if (seed := each.labels.get(self.replicate, "")).isdigit():
                yield seed


def _shares(stage: Stage) -> dict[str, float]:
    """The shares, in per cent, that the nearest mixture which a model stands on asks for.

    Those of families are per cent; those of sources are made to add up, as they are when they are mixed.

    Raises:
        PresightError: a share is a bound and no number.
    """
    row = [stage]
    while row:
        for each in row:
            if each.kind == "mixture":
                families = getattr(each, "families", None)
                asked = families or getattr(each, "sources", {})
                for name, value in asked.items():
                    if not isinstance(value, int | float):
                        problem = f"a mixture bounds {name} and does not say its share"
                        raise PresightError("scores", problem, "give models of mixtures whose shares are numbers")
                whole = 1.0 if families else sum(asked.values()) / 100
                return {str(name): float(value) / whole for name, value in asked.items()}
        row = [parent for each in row for parent in each.inputs().values()]
    return {}


@dataclass(frozen=True, slots=True)
class Varied:
    """What differs between the mixtures of models, and what does not.

    Attributes:
        names: of the shares that vary [k].
        fractions: of each model [models, k].
        held: shares that no mixture varies, in per cent.
        rest: the share that is whatever the others leave; empty: there is none.
    """

    names: list[str]
    fractions: Floats
    held: dict[str, float]
    rest: str

    @classmethod
    def of(cls, shares: list[dict[str, float]]) -> Varied:
        """Read shares in per cent, a share that is not named being nought.

        Raises:
            PresightError: no share varies.
        """
        import numpy as np

        names = list(dict.fromkeys(name for each in shares for name in each))
        rows = [[each.get(name, 0.0) for name in names] for each in shares]
        closed = len(names) > 1 and all(abs(sum(row) - 100) < 0.5 for row in rows)
        varied = [place for place in range(len(names)) if len({round(row[place], 9) for row in rows}) > 1]
        kept = varied[:-1] if closed and len(varied) > 1 else varied
        if not kept:
            raise PresightError("scores", "stand on mixtures of the same shares", "give models of differing mixtures")
        fractions = np.array([[row[place] / 100 for place in kept] for row in rows])
        held = {name: rows[0][place] for place, name in enumerate(names) if place not in varied}
        return cls([names[place] for place in kept], fractions, held, names[varied[-1]] if kept != varied else "")


def _models(table: Cohort, shares: list[dict[str, float]]) -> list[dict[str, Any]]:
    return [
        {"labels": labels, "shares": own, "figures": dict(zip(table.names, row, strict=True))}
        for labels, own, row in zip(table.labels, shares, table.scores.tolist(), strict=True)
    ]
