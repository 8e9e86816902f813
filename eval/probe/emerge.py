"""Emergence as a stage: probes along pretraining against a control's, and from how many tokens on a prior shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from eval.probe.emergence import Emergence as Found
from eval.probe.emergence import emergence
from eval.stats.margins import Floats
from presight.errors import PresightError
from presight.stage import Labelled, Needs, Stage


class Emergence(Stage):
    """Text minus control in every layer at every milestone, over seeds × items, and where each layer's prior begins.

    Seeds and items are paired. A control that reads no text (fresh weights) is compared with every milestone; one that
    is made of each (its statistics) with its own.
    """

    kind = "emergence"
    version = "1"

    text: tuple[Annotated[Labelled, Needs("probe")], ...] = Field(min_length=1, description="$text[*]: along the way")
    control: tuple[Annotated[Labelled, Needs("probe")], ...] = Field(min_length=1, description="$control[*]")
    along: str = Field("milestone", description="the axis of milestones; their tokens are read off the models")
    replicate: str = Field("init", description="the axis of seeds: the unit of replication")
    level: float = Field(0.95, gt=0.5, lt=1, description="coverage of all onsets together")

    def design(self) -> str | None:
        """The smallest difference that one layer could show at a milestone, and the variances it assumes."""
        from eval.stats.deltas import minimum_detectable_effect, paired_item_sd

        seeds = len({each.labels.get(self.replicate) for each in self.text} - {None})
        counts = sorted({each.stage.estimate().items for each in self.text} - {0})
        if not seeds or not counts:
            return None
        layers = max((layers_of(each.stage) or 0 for each in self.text), default=0)
        level = 1 - (1 - self.level) / (layers or 1)
        lines = []
        for items in counts:
            effect = minimum_detectable_effect(
                items, seeds, item_sd=paired_item_sd(0.5, 0.3), seed_sd=0.02, level=level
            )
            lines.append(f"{items} items: " + (f"{100 * effect:.1f} points" if effect <= 1 else "none"))
        place = f"any of {layers} layers" if layers > 1 else "one layer"
        place += " (less can be seen in any of several)" * (not layers)
        assumed = "accuracy 0.5, item correlation 0.3, s.d. between seeds 2 points, power 0.8"
        return (
            f"smallest detectable effect at a milestone in {place} with {seeds} seed{'s' * (seeds > 1)}: "
            f"{', '.join(lines)} (assumed: {assumed})"
        )

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write ``emergence.json`` and ``emergence.plotly.json``, a figure.

        Raises:
            PresightError: probes that cannot be paired, of other items, layers, seeds or milestones; a model that does
                not say how many tokens it has read; or as `emergence`.
        """
        text = Series.read("text", self.text, inputs, self.along, self.replicate)
        control = Series.read("control", self.control, inputs, self.along, self.replicate)
        if None in text.tokens.values():
            raise PresightError("text", "a model does not say how many tokens it has read", "probe eval.Milestone's")
        order = sorted(text.places, key=lambda place: text.tokens[place] or 0)
        text.require_like(control, order)
        first = text.correct(order)
        second = control.correct(order if control.moves else [""])
        tokens = [text.tokens[place] or 0 for place in order]
        found = emergence(tokens, first, second if control.moves else second[0], text.clusters, self.level)
        record = {
            "task": text.record["task"],
            "modality": text.record["modality"],
            "metric": text.record["metric"],
            "method": text.record["method"],
            "along": self.along,
            "replicate": self.replicate,
            "seeds": text.seeds,
            "items": len(text.items),
            "clusters": len(np.unique(text.clusters)),
            "chance": text.record["chance"],
            "level": self.level,
            "tokens": [int(each) for each in found.tokens],
            "layers": text.layers,
            "text": first.mean((2, 3)).tolist(),
            "control": np.broadcast_to(second.mean((2, 3)), first.shape[:2]).tolist(),
            "per_seed": (first - second).mean(3).tolist(),
            **{name: getattr(found, name).tolist() for name in ("estimate", "low", "high", "p", "p_holm")},
            "onset": [None if each is None else int(each) for each in found.onset],
            "edges": {"text": text.edges, "control": control.edges},
            "sentences": sentences(found, text.layers),
        }
        (out / "emergence.json").write_text(json.dumps(record, indent=1))
        (out / "emergence.plotly.json").write_text(json.dumps(figure(found, text.layers)))
        (out / "counts.json").write_text(json.dumps({"milestones": len(tokens), "layers": len(text.layers)}))


@dataclass(frozen=True, slots=True)
class Series:
    """Probe results of one side: by milestone (one nameless one of a control that does not move) and seed.

    Attributes:
        tokens: that the models of a milestone have read; None: they do not say.
        tables: by milestone and seed, right or wrong [layers, items], items in order of their names.
        record: ``probe.json`` of one of them.
        edges: share of the probes whose best strength lay on the edge of what was tried.
    """

    name: str
    tokens: dict[str, int | None]
    tables: dict[tuple[str, str], NDArray[np.bool_]]
    layers: list[int]
    items: list[str]
    clusters: NDArray[Any]
    record: dict[str, Any]
    edges: float

    @classmethod
    def read(
        cls, name: str, gathered: Sequence[Labelled], inputs: Mapping[str, Path], along: str, replicate: str
    ) -> Series:
        """Read and check that all have scored the same items in the same layers."""
        tokens: dict[str, int | None] = {}
        tables: dict[tuple[str, str], NDArray[np.bool_]] = {}
        edges: list[bool] = []
        kept: tuple[list[int], list[str], NDArray[Any], dict[str, Any]] | None = None
        for place, each in enumerate(gathered):
            milestone, seed = each.labels.get(along, ""), each.labels.get(replicate, "-")
            if (milestone, seed) in tables:
                problem = f"two probes of {along} {milestone or '-'}, {replicate} {seed}"
                raise PresightError(name, problem, "pin the other axes, as in $text[data=images,milestone=*,init=*]")
            folder = inputs[f"{name}[{place}]"]
            record = json.loads((folder / "probe.json").read_text())
            layers, items, clusters, table = read_items(folder)
            kept = kept or (layers, items, clusters, record)
            if (layers, items, record["method"]) != (kept[0], kept[1], kept[3]["method"]):
                raise PresightError(name, "probes of other items, layers or methods", "probe all alike")
            if tokens.setdefault(milestone, record["tokens"]) != record["tokens"]:
                problem = f"{along} {milestone}: {tokens[milestone]} tokens in one seed, {record['tokens']} in another"
                raise PresightError(name, problem, "pretrain the seeds alike")
            tables[milestone, seed] = table
            edges += [layer["edge"] for layer in record["layers"]]
        assert kept is not None
        return cls(name, tokens, tables, *kept, sum(edges) / len(edges))

    @property
    def places(self) -> list[str]:
        """Milestones."""
        return list(self.tokens)

    @property
    def seeds(self) -> list[str]:
        """Labels of the seeds."""
        return sorted({seed for _, seed in self.tables})

    @property
    def moves(self) -> bool:
        """Whether it has milestones."""
        return self.places != [""]

    def require_like(self, control: Series, order: Sequence[str]) -> None:
        """Refuse a control with other items, layers, seeds or milestones, and gaps in either."""
        same = ("layers", "items", "seeds")
        if other := [field for field in same if getattr(self, field) != getattr(control, field)]:
            raise PresightError("control", f"has other {' and '.join(other)} than text", "probe both alike")
        if control.record["method"] != self.record["method"]:
            raise PresightError("control", f"is probed by {control.record['method']}", "probe both alike")
        if control.moves and set(control.places) != set(order):
            raise PresightError("control", "has other milestones than text", "give it the same, or none")
        for side in (self, control):
            for place in side.places:
                if missing := [seed for seed in side.seeds if (place, seed) not in side.tables]:
                    raise PresightError(side.name, f"milestone {place or '-'} lacks seed {missing[0]}", "probe it")

    def correct(self, places: Sequence[str]) -> Floats:
        """Right or wrong as 1 and 0: [places, layers, seeds, items]."""
        seeds = self.seeds
        return np.array([np.stack([self.tables[place, seed] for seed in seeds], 1) for place in places], np.float64)


def layers_of(probe: Stage) -> int | None:
    """How many layers a probe looks into, as far as that can be told before its model is made."""
    from pretrain import SHAPES

    if chosen := getattr(probe, "layers", ()):
        return len(chosen)
    model: Any = probe
    while isinstance(model, Stage):  # a milestone names a run, a run names a size
        model = getattr(model, "model", None)
    return SHAPES[model].layers + 1 if isinstance(model, str) and model in SHAPES else None  # and the input


def read_items(folder: Path) -> tuple[list[int], list[str], NDArray[Any], NDArray[np.bool_]]:
    """Layers, items, clusters [items] and right or wrong [layers, items] of a probe's records, sorted by name."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / "items.parquet").sort_by(
        [("layer", "ascending"), ("item", "ascending")]
    )
    layers = sorted(set(table["layer"].to_pylist()))
    count = len(table) // len(layers)
    items, clusters = (table[name].to_pylist()[:count] for name in ("item", "cluster"))
    return layers, items, np.array(clusters), table["correct"].to_numpy().reshape(len(layers), count)


def sentences(found: Found, layers: Sequence[int]) -> list[str]:
    """What was found, layer by layer, in plain English."""
    said = []
    for place, (layer, onset) in enumerate(zip(layers, found.onset, strict=True)):
        low, gain, high = (100 * each[-1, place] for each in (found.low, found.estimate, found.high))
        when = "not established at the end" if onset is None else f"established from {onset:,.0f} tokens on"
        end = f"{gain:+.1f} points [{low:+.1f}, {high:+.1f}] at {found.tokens[-1]:,.0f} tokens"
        said.append(f"Layer {layer}: {end}, {when}.")
    return said


def figure(found: Found, layers: Sequence[int]) -> dict[str, Any]:
    """Plotly JSON: a map of the differences over milestones × layers; a star is where a layer's onset lies."""
    points = 100 * found.estimate.T  # [L, T]
    reach = max(float(np.abs(points).max()), 1e-9)
    times = [f"{each:,.0f}" for each in found.tokens]
    rows = [str(layer) for layer in layers]
    limits = np.stack([100 * found.low.T, 100 * found.high.T, found.p_holm.T], axis=2)
    hover = "layer %{y}, %{x} tokens<br>%{z:+.1f} [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}]"
    onsets = [(row, each) for row, each in zip(rows, found.onset, strict=True) if each is not None]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": times,
                "y": rows,
                "z": points.tolist(),
                "zmin": -reach,
                "zmax": reach,
                "colorscale": [[0, "#0072B2"], [0.5, "#ffffff"], [1, "#D55E00"]],
                "colorbar": {"title": {"text": "points"}},
                "customdata": limits.tolist(),
                "hovertemplate": f"{hover}<br>Holm p %{{customdata[2]:.2g}}<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": [f"{each:,.0f}" for _, each in onsets],
                "y": [row for row, _ in onsets],
                "marker": {"symbol": "star", "size": 12, "color": "#1f2328"},
                "hovertemplate": "layer %{y}: from %{x} tokens on<extra></extra>",
            },
        ],
        "layout": {
            "xaxis": {"type": "category", "title": {"text": "tokens of text read"}},
            "yaxis": {"type": "category", "title": {"text": "layer"}},
            "showlegend": False,
            "height": 160 + 34 * len(rows),
        },
    }
