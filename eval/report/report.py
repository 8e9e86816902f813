"""The report: one HTML file that needs nothing else, of all that was measured and the cards behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from eval.report.evidence import Evidence, Family, Lock, Model, Probed, Result
from eval.report.lineage import lineage
from presight.errors import PresightError
from presight.stage import Labelled, Needs, Stage


class Report(Stage):
    """Plots first, then the numbers, then the card of every artifact they stand on."""

    kind = "report"
    version = "5"

    deltas: tuple[Annotated[Stage, Needs("deltas")], ...] = Field((), description="comparisons and ladders to show")
    models: tuple[Annotated[Labelled, Needs("checkpoint")], ...] = Field((), description="$lm[*]: their curves")
    mixtures: tuple[Annotated[Labelled, Needs("mixture")], ...] = Field((), description="$mix[*]: their shares")
    probes: tuple[Annotated[Labelled, Needs("probe")], ...] = Field((), description="$probed[*]: accuracy by layer")
    emergence: tuple[Annotated[Stage, Needs("emergence")], ...] = Field((), description="maps of tokens × layers")
    alignments: tuple[Annotated[Labelled, Needs("alignment")], ...] = Field((), description="$alignment[*]")
    blindness: tuple[Annotated[Stage, Needs("blindness")], ...] = Field(
        (), description="what answers owe to the picture"
    )
    landscapes: tuple[Annotated[Stage, Needs("landscape")], ...] = Field((), description="surfaces over shares")
    structures: tuple[Annotated[Stage, Needs("structure")], ...] = Field((), description="how groups go together")
    published: tuple[str, ...] = Field((), description="the paper's figures to show beside ours, by name")
    passport: Annotated[Stage, Needs("passport")] | None = Field(
        None, description="which ways to cut up arithmetic give the same bits; without it, only one and the same"
    )
    title: str = Field("Presight report", description="of the page")

    @field_validator("published")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from eval.report.paper import require

        require(names)
        return names

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``report.html``; the same inputs give the same bytes.

        Raises:
            PresightError: plotly is not installed, or an input is not what its kind promises.
        """
        try:
            import plotly  # noqa: F401 — asked for before anything is read, not after
        except ImportError:
            raise PresightError("report", "plotly is not installed", "pip install 'presight[report]'") from None
        from eval.report.page import render

        evidence = self.evidence(inputs)
        page, plots = render(evidence)
        (out / "report.html").write_text(page, encoding="utf-8")
        found = [each.verdict for family in evidence.families for each in family.comparisons]
        counts = {
            "comparisons": len(found),
            "established": sum(verdict.startswith("established") for verdict in found),
            "established_after_holm": found.count("established"),
            "arms": len(evidence.arms),
            "models": len(evidence.models),
            "mixtures": len(evidence.mixtures),
            "ladders": sum(len(family.ladder["ladders"]) for family in evidence.families if family.ladder),
            "probes": len(evidence.probes),
            "emergence": len(evidence.emergences),
            "alignments": len(evidence.alignments),
            "blindness": len(evidence.blindness),
            "landscapes": len(evidence.landscapes),
            "structures": len(evidence.structures),
            "cards": len(evidence.records),
            "plots": plots,
        }
        (out / "counts.json").write_text(json.dumps(counts))

    def evidence(self, inputs: Mapping[str, Path]) -> Evidence:
        """All that the page shows, read from the artifacts."""
        from corpus import Mixture

        families = tuple(Family.read(inputs[f"deltas[{index}]"]) for index in range(len(self.deltas)))
        models = tuple(Model.read(each, inputs[f"models[{index}]"]) for index, each in enumerate(self.models))
        mixtures = tuple(
            Lock(dict(each.labels), inputs[f"mixtures[{index}]"].name, Mixture.read(inputs[f"mixtures[{index}]"]).lock)
            for index, each in enumerate(self.mixtures)
        )
        passport = json.loads((inputs["passport"] / "passport.json").read_text()) if "passport" in inputs else None
        return Evidence(
            self.title,
            families,
            models,
            mixtures,
            lineage(inputs.values()),
            passport,
            tuple(Probed.read(each, inputs[f"probes[{index}]"]) for index, each in enumerate(self.probes)),
            tuple(
                Result.read({}, inputs[f"emergence[{index}]"] / "emergence.json")
                for index in range(len(self.emergence))
            ),
            tuple(
                Result.read(each.labels, inputs[f"alignments[{index}]"] / "alignment.json")
                for index, each in enumerate(self.alignments)
            ),
            tuple(
                Result.read({}, inputs[f"blindness[{index}]"] / "blindness.json")
                for index in range(len(self.blindness))
            ),
            tuple(
                Result.read({}, inputs[f"landscapes[{index}]"] / "landscape.json")
                for index in range(len(self.landscapes))
            ),
            tuple(
                Result.read({}, inputs[f"structures[{index}]"] / "structure.json")
                for index in range(len(self.structures))
            ),
            self.published,
        )
