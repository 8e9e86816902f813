"""One prior or two: how groups of benchmarks go together over many models."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from eval.cohort import Cohort, Floats
from eval.vision.figures import figure_name
from presight.console import say
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Needs, Stage

FILE = "structure.json"
PERCEPTION, REASONING = ("General", "OCR & Chart"), ("Knowledge", "Vision-centric")
FEWEST = 5  # mixtures: a factor needs more models than groups, and an interval over fewer says nothing
PUBLISHED = {  # Spearman over 105 models of 3B (Han et al. 2025)
    frozenset(PERCEPTION): 0.37,
    frozenset(REASONING): 0.33,
    frozenset(("General", "Knowledge")): -0.03,
    frozenset(("General", "Vision-centric")): -0.10,
    frozenset(("Knowledge", "OCR & Chart")): 0.08,
    frozenset(("OCR & Chart", "Vision-centric")): 0.07,
}


class Structure(Stage):
    """Whether perception and reasoning are one prior or two, over all models of a study.

    Each model has a mean for each group of benchmarks. Rank correlations of groups, also corrected for what few items
    hide; whether groups of one kind (General with OCR & Chart, Knowledge with Vision-centric) go together more than
    groups of different kinds; and whether one factor suffices. Models that differ in their seed alone are one family
    and count once, with the mean of their scores, however many seeds there are. With too few families it says how many
    more it takes.
    """

    kind = "structure"
    version = "3"

    scores: tuple[Annotated[Labelled, Needs("scores")], ...] = Field(
        min_length=1, description="$scores[*]: of every model, under one condition"
    )
    replicate: str = Field("init", description="the axis of seeds")
    benchmarks: FrozenMap[str, tuple[str, ...]] = Field(
        FrozenMap(), description="group: its benchmarks; none named: the paper's, and the groups that questions name"
    )
    partial: bool = Field(False, description="take the mean of what is there of a group")
    apart: float = Field(0.5, ge=0, lt=1, description="correlation of two factors that are to be told from one")
    draws: int = Field(5000, ge=100, description="bootstrap replicates of corrected correlations and of differences")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of the intervals")

    def design(self) -> str | None:
        """The smallest correlation that so many families of models could tell from none."""
        count = len({frozenset(_family(each, self.replicate)) for each in self.scores})
        if count < FEWEST:
            return f"{count} mixtures cannot show a structure: {FEWEST - count} more are needed for any interval"
        least = math.tanh(2.8 / math.sqrt(count - 3)) if count > 3 else 1.0
        return f"smallest detectable correlation over {count} mixtures: {least:.2f} (power 0.8, no noise of the items)"

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``structure.json``.

        Raises:
            PresightError: as `Cohort.of`, or one of the four groups has no figure.
        """
        table = Cohort.of(self.scores, inputs, self.replicate, self.benchmarks, self.partial)
        groups = [_named(table, group) for group in (*PERCEPTION, *REASONING)]
        found = structure(table, groups, apart=self.apart, level=self.level, draws=self.draws)
        for sentence in found["sentences"]:
            say(sentence)
        (out / FILE).write_text(json.dumps(found, indent=1))
        (out / "counts.json").write_text(
            json.dumps({"models": len(table.labels), "families": len(set(table.families.tolist()))})
        )


def structure(
    table: Cohort,
    groups: Sequence[str] = (*PERCEPTION, *REASONING),
    *,
    apart: float = 0.5,
    level: float = 0.95,
    draws: int = 5000,
) -> dict[str, Any]:
    """What the table says of the structure of its groups; see `Structure`.

    Args:
        table: figures of models; those of one family are averaged first.
        groups: names of four figures: the two of perception, then the two of reasoning.
        apart: as in `eval.factor_test`.
        level: of the intervals; those of the eight differences hold at once (Bonferroni).
        draws: of the bootstrap.
    """
    count = len(set(table.families.tolist()))
    found: dict[str, Any] = {
        "models": [
            {"labels": labels, "family": family, "figures": dict(zip(table.names, row, strict=True))}
            for labels, family, row in zip(table.labels, table.families.tolist(), table.scores.tolist(), strict=True)
        ],
        "groups": list(groups),
        "families": count,
        "level": level,
        "correlations": [],
        "differences": [],
        "factors": None,
    }
    means = _averaged(table)
    flat = [group for group in groups if np.ptp(means.scores[:, means.column(group)]) == 0]
    if count < FEWEST or flat:
        why = f"all models score alike on {flat[0]}" if flat else f"{count} mixtures are too few"
        more = FEWEST - count if count < FEWEST else None
        wanted = f", {more} more models of other mixtures are needed" if more else ""
        found["more_models"] = more
        found["sentences"] = [f"Whether there is one prior or two cannot be said: {why}{wanted}."]
        return found
    pairs = list(combinations(groups, 2))
    within = [(groups[0], groups[1]), (groups[2], groups[3])]
    across = [pair for pair in pairs if pair not in within]
    found["correlations"] = [_correlated(means, pair, level, draws) for pair in pairs]
    strict = 1 - (1 - level) / (len(within) * len(across))
    found["differences"] = [_apart(means, one, two, strict, draws) for one in within for two in across]
    found["factors"] = _factors(means, groups, apart, level)
    found["more_models"] = _more(found["factors"], count)
    found["sentences"] = _sentences(found, count)
    return found


def _averaged(table: Cohort) -> Cohort:
    """A model for each family, with the mean over its seeds of scores and halves, and the noise that leaves of items.

    Means are rounded, so that families that score alike still tie.
    """
    kinds, first, sizes = np.unique(table.families, return_index=True, return_counts=True)

    def mean(values: Floats) -> Floats:
        return np.stack([values[table.families == kind].mean(axis=0) for kind in kinds]).round(12)

    return replace(
        table,
        labels=[table.labels[place] for place in first],
        families=kinds,
        scores=mean(table.scores),
        halves=mean(table.halves),
        errors=table.errors * float((1 / sizes).mean()),
    )


def _correlated(table: Cohort, pair: tuple[str, str], level: float, draws: int) -> dict[str, Any]:
    from eval.stats.correlation import correlation, disattenuated

    x, y = (table.column(group) for group in pair)
    plain = correlation(table.scores[:, x], table.scores[:, y], level=level)
    try:
        freed = asdict(disattenuated(table.halves[:, x], table.halves[:, y], level=level, draws=draws))
    except PresightError as error:  # no reliability: what the items leave is noise, which is an answer
        freed = {"problem": str(error)}
    published = PUBLISHED.get(frozenset(figure_name(group) for group in pair))
    return {"pair": list(pair), "spearman": asdict(plain), "corrected": freed, "published": published}


def _apart(table: Cohort, one: tuple[str, str], two: tuple[str, str], level: float, draws: int) -> dict[str, Any]:
    from eval.stats.correlation import correlation_difference

    a, b, c, d = (table.scores[:, table.column(group)] for group in (*one, *two))
    interval = correlation_difference(a, b, c, d, level=level, draws=draws)
    return {"within": list(one), "across": list(two), "difference": asdict(interval)}


def _factors(table: Cohort, groups: Sequence[str], apart: float, level: float) -> dict[str, Any]:
    from eval.stats.factors import factor_test

    columns = [table.column(group) for group in groups]
    try:
        return factor_test(
            table.scores[:, columns], table.errors[columns], (0, 0, 1, 1), apart=apart, level=level
        ).to_json()
    except PresightError as error:
        return {"verdict": "cannot say", "problem": str(error), "models_needed": None}


def _more(factors: Mapping[str, Any], count: int) -> int | None:
    needed = factors.get("models_needed")
    return max(0, needed - count) if needed is not None else None


def _sentences(found: Mapping[str, Any], count: int) -> list[str]:
    said = []
    for each in found["correlations"]:
        value, pair = each["spearman"], " and ".join(each["pair"])
        published = f"; published {each['published']:+.2f}" if each["published"] is not None else ""
        said.append(
            f"{pair}: rank correlation {value['estimate']:+.2f} [{value['low']:+.2f}, {value['high']:+.2f}] "
            f"over {count} mixtures{published}."
        )
    clear = [each for each in found["differences"] if each["difference"]["low"] > 0]
    said.append(
        f"In {len(clear)} of {len(found['differences'])} comparisons groups of one kind go together more than groups "
        "of different kinds; in the others no such difference is established."
    )
    factors = found["factors"]
    if factors["verdict"] == "two":
        said.append(f"One factor does not suffice (p {factors['p']:.2g}): there are two priors or more.")
    elif factors["verdict"] == "one":
        said.append(f"One factor suffices, where two would have been seen (power {factors['power']:.2f}): one prior.")
    elif factors.get("problem"):
        said.append(f"One prior or two cannot be said: {factors['problem']}")
    else:
        more = found["more_models"]
        wanted = (
            f"about {more} more models of other mixtures would tell" if more else "1,280 models would not do either"
        )
        said.append(f"One prior or two cannot be said (p {factors['p']:.2g}): {wanted}.")
    return said


def _named(table: Cohort, group: str) -> str:
    """The figure of a group, which says how much of it is there where some is missing."""
    for name in table.names:
        if figure_name(name) == group:
            return name
    raise PresightError("scores", f"{group} has no figure", "ask questions of all four groups, or set partial")


def _family(each: Labelled, replicate: str) -> list[tuple[str, str]]:
    return [item for item in each.labels.items() if item[0] != replicate]
