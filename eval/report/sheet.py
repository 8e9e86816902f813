"""The page while it is written: figures with their captions, tables, keys, links to cards."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from eval.report.figures import INK, Plot, colours
from presight.page import table as table

if TYPE_CHECKING:
    from eval.report.evidence import Evidence

MANY = 8  # cards up to which each has a link of its own


class Sheet:
    """What sections are written on; knows the colours, and which cards are there to link to."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.palette = colours(evidence)
        self.plots = 0
        self._used: set[str] = set()

    def figure(self, chosen: Sequence[Plot], caption: str, legend: Sequence[str] = ()) -> str:
        """Plots, several as small multiples, under a legend of `key` and over a caption."""
        self.plots += len(chosen)
        places = "".join(
            f'<div class="plot" id="{name}" role="img" aria-label="{escape(each.label)}" '
            f'style="height:{each.height}px"></div><script type="application/json" class="figure" '
            f'data-plot="{name}">{each.json.replace("<", chr(92) + "u003c")}</script>'
            for each in chosen
            for name in [self._unique(each.name)]
        )
        places = f'<div class="small">{places}</div>' if len(chosen) > 1 else places
        above = f'<div class="key">{"".join(legend)}</div>' if legend else ""
        return f"<figure>{above}{places}<figcaption>{caption}</figcaption></figure>\n"

    def _unique(self, name: str) -> str:
        """An element id; words that differ may give the same name, which then gets a number."""
        tried = (name if count == 1 else f"{name}-{count}" for count in itertools.count(1))
        found = next(each for each in tried if each not in self._used)
        self._used.add(found)
        return found

    def card(self, artifact: str, name: str) -> str:
        """A link to a card, or its name if the card is not there."""
        known = artifact in self.evidence.records
        return f'<a href="#card-{artifact}">{escape(name)}</a>' if known else escape(f"{name} ({artifact[:8]})")

    def cards(self, artifacts: Sequence[str]) -> str:
        """Links to the cards that a figure stands on; of many, one to all of their kind."""
        if len(artifacts) <= MANY:
            links = [self.card(each, self.evidence.names.get(each, each[:8])) for each in artifacts]
            return f"Cards: {', '.join(links)}."
        kinds = Counter(record.kind for each in artifacts if (record := self.evidence.records.get(each)))
        links = [f'<a href="#kind-{escape(kind)}">{escape(kind)} × {count}</a>' for kind, count in kinds.items()]
        return f"Cards: {', '.join(links) or len(artifacts)}."


def key(glyph: str, words: str, colour: str = INK) -> str:
    """An entry of a legend; the glyphs are classes of the page's style."""
    return f'<span><i class="{glyph}" style="color:{colour}"></i>{escape(words)}</span>'


def p_value(value: float) -> str:
    """``0.04``, ``0.003``, ``< 0.001``."""
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
