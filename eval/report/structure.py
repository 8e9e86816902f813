"""The section of structure: how groups of questions go together over models, and whether one prior suffices."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING

from eval.report.correlations import (
    ABOVE,
    BELOW,
    FREED,
    OURS,
    PAPER,
    Found,
    apart,
    between,
    clear,
    forest,
    kinds,
    matrix,
    scatter,
    signed,
)
from eval.report.figures import COLOURS, GREY, slug
from eval.report.sheet import Sheet, key, p_value, table
from eval.report.words import plural

if TYPE_CHECKING:
    from eval.report.evidence import Evidence, Result

FEW = 8  # families up to which each has a colour


def section(sheet: Sheet) -> str:
    """For each artifact what is said, the correlations, what goes together more, the models, and all numbers."""
    return "".join(_structure(sheet, each) for each in sheet.evidence.structures)


def verdicts(evidence: Evidence) -> list[tuple[str, bool]]:
    """Whether groups of one kind go together more, and whether there is one prior or two."""
    return [pair for each in evidence.structures for pair in _sentences(each.record)[-2:]]


def _sentences(found: Found) -> list[tuple[str, bool]]:
    """What is said, and whether it is established; correlations first, the verdict last."""
    if not found["correlations"]:
        return [(words, False) for words in found["sentences"]]
    shown = [clear(each["spearman"]) for each in found["correlations"]]
    shown.append(any(each["difference"]["low"] > 0 for each in found["differences"]))
    shown.append(found["factors"]["verdict"] in ("one", "two"))
    return list(zip(found["sentences"], shown, strict=True))


def _structure(sheet: Sheet, each: Result) -> str:
    found, card = each.record, each.card[:8]
    level, cards = f"{100 * found['level']:g}\u00a0%", sheet.cards([each.card])
    said = "".join(f"<li{'' if shown else ' class=open'}>{escape(words)}</li>" for words, shown in _sentences(found))
    count = f"{plural(len(found['models']), 'model')} of {plural(found['families'], 'mixture')}"
    parts = [f"<p class='facts'>{count}; models that differ in their seed alone count once</p>"]
    parts.append(f"<ul class='verdicts'>{said}</ul>")
    if found["correlations"]:
        caption = (
            f"Rank correlations of groups over models, each the mean of its seeds, with their {level} intervals. "
            f"Grey: the interval holds 0. Framed: groups of one kind. {cards}"
        )
        legend = [
            key("dot", "go together", ABOVE),
            key("dot", "go apart", BELOW),
            key("dot", "not established", "#c9cdd2"),
        ]
        legend.append(key("frame", "of one kind"))
        parts.append(sheet.figure([matrix(found, slug("structure", card, "matrix"))], caption, legend))
        caption = (
            f"The same as intervals ({level}), beside the correlation that is left once what few questions hide is "
            "allowed for, and the published one (105 models of 3B, a point without an interval)."
        )
        legend = [key("dot", "rank correlation", OURS), key("dot", "corrected for noise of the questions", FREED)]
        legend += [key("diamond", "published", PAPER), key("ring", "not established", GREY)]
        parts.append(sheet.figure([forest(found, slug("structure", card, "correlations"))], caption, legend))
        parts.append(_correlations(found))
        number = len(found["differences"])
        caption = (
            "How much more groups of one kind go together than groups of different kinds. Intervals of all "
            f"{number} hold at once at {level} (Bonferroni): two priors would put them right of 0, one prior about it."
        )
        legend = [key("dot", "established", OURS), key("ring", "not established", GREY)]
        parts.append(sheet.figure([apart(found, slug("structure", card, "differences"))], caption, legend))
        parts += [_differences(found), _factors(found)]
    few = 1 < found["families"] <= FEW
    caption = f"A dot is a model; each panel has its own scale, in per cent. {'' if found['correlations'] else cards}"
    names = _families(sheet, found)
    legend = [key("dot", name, COLOURS[family % len(COLOURS)]) for family, name in names.items()] if few else []
    panels = [
        scatter(found, pair, names if few else {}, sheet.evidence, slug("structure", card, *pair))
        for pair in combinations(found["groups"], 2)
    ]
    return "".join([*parts, sheet.figure(panels, caption, legend), _models(sheet, found)])


def _families(sheet: Sheet, found: Found) -> dict[int, str]:
    """The families' names, by number: the place of their first model but for its seed."""
    names: dict[int, str] = {}
    for each in found["models"]:
        names.setdefault(each["family"], sheet.evidence.place(each["labels"]))
    return names


def _correlations(found: Found) -> str:
    rows: list[tuple[str, Sequence[str]]] = []
    for each in found["correlations"]:
        plain, freed = each["spearman"], each["corrected"]
        cells = [escape(" · ".join(each["pair"])), signed(plain["estimate"]), between(plain)]
        cells += [signed(freed["estimate"]), between(freed)] if "estimate" in freed else ["", ""]
        cells.append("" if each["published"] is None else signed(each["published"]))
        kind = "one kind" if tuple(each["pair"]) in kinds(found) else "different kinds"
        kind += f"; not corrected: {escape(freed['problem'])}" if "problem" in freed else ""
        rows.append(("" if clear(plain) else "open", [*cells, kind]))
    head = ["correlation of", "ours", "interval", "corrected", "interval", "published", "groups of"]
    return table(head, rows)


def _differences(found: Found) -> str:
    rows: list[tuple[str, Sequence[str]]] = []
    for each in found["differences"]:
        gap = each["difference"]
        cells = [f"{escape(' · '.join(each['within']))} less {escape(' · '.join(each['across']))}"]
        cells += [signed(gap["estimate"]), between(gap)]
        rows.append(("" if clear(gap) else "open", [*cells, "established" if clear(gap) else "not established"]))
    return table(["correlation of", "difference", "simultaneous interval", "finding"], rows)


def _factors(found: Found) -> str:
    """The test of one factor: what it rests on, and what it would have seen."""
    factors = found["factors"]
    if factors.get("problem"):
        return f"<p class='open'>{escape(factors['problem'])}</p>"
    words = f"A fit as bad as that of one factor has p {p_value(factors['p'])} by chance."
    if factors["verdict"] != "two":
        more = found["more_models"]
        words += (
            f" Two factors, one a kind, that correlate at {factors['apart']:g} would have been told from one with a "
            f"chance of {factors['power']:.2f} over {plural(factors['n_models'], 'mixture')}"
            + (f"; about {plural(more, 'more model')} of other mixtures would tell." if more else ".")
        )
    sign = -1 if sum(factors["loadings"]) < 0 else 1  # a factor has none of its own
    rows: list[tuple[str, Sequence[str]]] = [
        ("", [escape(group), signed(sign * loading), f"{100 * share:.0f}"])
        for group, loading, share in zip(found["groups"], factors["loadings"], factors["error_shares"], strict=True)
    ]
    said = f"<p class='facts{' open' * (factors['verdict'] == 'cannot say')}'>{words}</p>"
    return said + table(["group", "loading on one factor", "% of its variance that is noise of the questions"], rows)


def _models(sheet: Sheet, found: Found) -> str:
    head = ["model", *(f"{escape(group)}, %" for group in found["groups"])]
    rows: list[tuple[str, Sequence[str]]] = [
        (
            "",
            [
                escape(sheet.evidence.called(each["labels"])),
                *(f"{100 * each['figures'][group]:.2f}" for group in found["groups"]),
            ],
        )
        for each in found["models"]
    ]
    return table(head, rows)
