"""The report as a page: findings first, then plots with their numbers, then the card of everything behind them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from eval.report import (
    alignment,
    blindness,
    differences,
    emergence,
    findings,
    heldout,
    ladders,
    landscape,
    layers,
    lineage,
    mixtures,
    published,
    rates,
    scores,
    structure,
)
from eval.report.figures import slug
from eval.report.headline import headline
from eval.report.sheet import Sheet
from presight.page import script, style

if TYPE_CHECKING:
    from eval.report.evidence import Evidence

TEMPLATE = Path(__file__).with_name("report.html")
SECTIONS = {
    "Differences": differences.section,
    "Ladders of controls": ladders.section,
    "Scores": scores.section,
    "Beside the paper": published.section,
    "Response": landscape.section,
    "Structure": structure.section,
    "Looking": blindness.section,
    "Layers": layers.section,
    "Emergence": emergence.section,
    "Alignment": alignment.section,
    "Held-out loss": heldout.section,
    "Mixtures": mixtures.section,
    "Learning rates": rates.section,
}


def render(evidence: Evidence) -> tuple[str, int]:
    """The page and how many plots it has; the same evidence gives the same text.

    A section that nothing was given for is left out.
    """
    from plotly.offline import get_plotlyjs

    sheet = Sheet(evidence)
    written = {name: section(sheet) for name, section in SECTIONS.items()}
    written["Lineage and cards"] = lineage.section(evidence.records, evidence.names)
    sections = {name: content for name, content in written.items() if content}
    said = findings.facts(evidence) + findings.summary(evidence) + findings.seeds(evidence)
    links = "".join(f'<a href="#{slug(name)}">{name}</a>' for name in sections)
    body = [
        f"<header><h1>{escape(evidence.title)}</h1>{said}<nav>{links}</nav></header>",
        *(f'<section><h2 id="{slug(name)}">{name}</h2>\n{content}</section>' for name, content in sections.items()),
    ]
    words, established = headline(evidence)
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(evidence.title),
        description=escape(words),
        established="yes" if established else "no",
        style=style(),
        body="\n".join(body),
        script=script(),
        plotly=get_plotlyjs(),
    )
    return text, sheet.plots
