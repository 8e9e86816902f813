"""The one sentence of a report that an index over many shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from eval.report import alignment, blindness, emergence, landscape, structure
from eval.report.words import plural

if TYPE_CHECKING:
    from eval.report.evidence import Comparison, Evidence


def headline(evidence: Evidence) -> tuple[str, bool]:
    """What is found most firmly, and whether it is established.

    What the comparisons are made into goes before them: a ladder, whose highest control that explains a gain is what a
    gain means, a structure, a surface. Comparisons go by how surely a difference is there: Holm's p, then how far
    the interval is from 0. One that is established alone and not after Holm's correction is told, with that said, only
    where nothing else is established, and does not count as established.
    """
    if ladders := [each for family in evidence.families if family.ladder for each in family.ladder["ladders"]]:
        chosen = next((each for each in ladders if each["verdict"] != "unresolved"), ladders[0])
        return str(chosen["sentence"]), chosen["verdict"] != "unresolved"
    made = [*reversed(structure.verdicts(evidence)), *landscape.verdicts(evidence)]
    if established := [each for each in made if each[1]]:
        return established[0]
    compared = [each for family in evidence.families for each in family.comparisons]
    found = sorted((each for each in compared if each.general), key=_doubt)
    if found and found[0].verdict == "established":
        return found[0].delta.sentence(), True
    told = [*_told(evidence), *made]
    if established := [each for each in told if each[1]]:
        return established[0]
    if found:
        return f"{found[0].delta.sentence()} It does not hold after Holm’s correction.", False
    if compared:
        return f"Of {plural(len(compared), 'comparison')} none is established.", False
    return told[0] if told else ("Nothing was compared.", False)


def _doubt(each: Comparison) -> tuple[bool, float, float]:
    interval = each.delta.interval
    distance = 2 * abs(each.delta.estimate) / (interval.high - interval.low or 1.0)
    return each.verdict != "established", each.holm, -distance


def _told(evidence: Evidence) -> Iterator[tuple[str, bool]]:
    """Sentences on what no comparison says, and whether they are established."""
    yield from blindness.verdicts(evidence)
    yield from (emergence.verdict(each) for each in evidence.emergences)
    yield from alignment.verdicts(evidence)
