"""Reports of ladders, layers, emergence and alignment, on made-up artifacts."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from eval.alignment.mutual import align
from eval.ladder import LadderOf, judge
from eval.probe.emerge import Emergence
from eval.report.evidence import Evidence, Family, Probed, Result
from eval.report.layers import Curve
from eval.report.report import Report
from eval.stats.deltas import crossed_interval, holm, mean_interval
from eval.vision.blindness import Blindness
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled, Needs, Stage
from presight.store import Store

RUNGS = {"random": 0.0, "stats": 0.03, "permuted": 0.06, "block": 0.155, "order": 0.10}
GAIN = 0.16
ITEMS, LAYERS, MILESTONES = 240, 5, (0, 51_200, 102_400, 204_800, 409_600)


class Lm(Stage):
    kind = "checkpoint"
    name: str

    def run(self, out: Path, inputs: Any) -> None:
        (out / "config.json").write_text(json.dumps({"num_hidden_layers": 4, "hidden_size": 128}))


class Climb(Stage):
    """A ladder's artifact: two tasks, of which the second has few items and one seed less."""

    kind = "deltas"
    margin: float = 0.03

    def run(self, out: Path, inputs: Any) -> None:
        rng = np.random.default_rng(3)
        ladders = []
        for task, count, seeds in (("image classification", 4000, 6), ("sound <b> classification", 300, 3)):
            hard = rng.uniform(0.1, 0.6, count)

            def draw(gain: float, hard: Any = hard, seeds: int = seeds) -> Any:
                return (rng.random((seeds, len(hard))) < hard + gain + 0.003 * rng.standard_normal((seeds, 1))) * 1.0

            pairs = {rung: (draw(GAIN), draw(gain)) for rung, gain in RUNGS.items()}
            labels = {"trained": "norms"}
            ladders.append(LadderOf(task, "accuracy", labels, "text", judge(pairs, self.margin, None)).record("rung"))
        found = {"along": "rung", "treatment": "text", "replicate": "init", "arms": [], "deltas": []}
        (out / "deltas.json").write_text(json.dumps(found))
        found |= {"rungs": list(RUNGS), "margin": self.margin, "level": 0.95, "ladders": ladders}
        (out / "ladder.json").write_text(json.dumps(found))


class Probe(Stage):
    """A probe's artifact; what its model gains grows with layers and tokens."""

    kind = "probe"
    model: Annotated[Stage, Needs("checkpoint")]
    tokens: int | None
    seed: int
    first: int = 0
    task: str = "image classification"

    def run(self, out: Path, inputs: Any) -> None:
        tables, layers = [], []
        rng = np.random.default_rng([9, self.seed, self.tokens or 1])
        names = [f"test-{i:03d}" for i in range(ITEMS)]
        for layer in range(self.first, LAYERS):
            hard = np.random.default_rng([1, layer]).uniform(0.1, 0.5, ITEMS)  # as hard for all
            gain = 0.11 * layer * (self.tokens or 0) / MILESTONES[-1]
            correct = np.random.default_rng([2, layer, self.seed]).random(ITEMS) < hard + gain
            columns = {"layer": np.full(ITEMS, layer), "item": names, "cluster": names, "correct": correct}
            tables.append(pyarrow.table(columns))
            accuracy = float(correct.mean())
            held = accuracy + 0.01 * float(rng.standard_normal())
            layers.append({"layer": layer, "accuracy": accuracy, "validation": held, "edge": layer == 1})
        pyarrow.parquet.write_table(pyarrow.concat_tables(tables), out / "items.parquet")
        found = {"task": self.task, "modality": "image", "metric": "accuracy", "method": "linear"}
        found |= {"tokens": self.tokens, "items": ITEMS, "chance": 0.1, "layers": layers}
        (out / "probe.json").write_text(json.dumps(found))


class Aligned(Stage):
    """An alignment's artifact; images know more or less of the captions' features."""

    kind = "alignment"
    model: Annotated[Stage, Needs("checkpoint")]
    seed: int
    alike: float

    def run(self, out: Path, inputs: Any) -> None:
        rng = np.random.default_rng([4, self.seed])
        text = rng.standard_normal((4, 100, 8))
        image = [self.alike * text[2] + rng.standard_normal((100, 8)) for _ in range(3)]
        found = align(text, {"efficient<net": image}, k=10, permutations=199)
        (out / "alignment.json").write_text(json.dumps(found.to_json()))


class Asked(Stage):
    """An artifact of answers: the picture tells something of colours, and nothing of numbers."""

    kind = "scores"
    model: Annotated[Stage, Needs("checkpoint")]
    condition: str
    seed: int

    def run(self, out: Path, inputs: Any) -> None:
        results, tables = [], []
        for place, (task, group, gain) in enumerate((("colour", "General", 0.5), ("count", "Vision-centric", 0.0))):
            seen = gain if self.condition == "right" else 0.0
            draws = np.random.default_rng([7, place, self.seed]).random(ITEMS)  # the same chances in all conditions
            names = [f"{task}-{i:03d}" for i in range(ITEMS)]
            columns = {"item": names, "task": [task] * ITEMS, "group": [group] * ITEMS, "cluster": names}
            tables.append(pyarrow.table(columns | {"score": (draws < 0.25 + seen) * 1.0}))
            results.append({"task": task, "group": group, "metric": "accuracy", "column": "score", "chance": 0.25})
        pyarrow.parquet.write_table(pyarrow.concat_tables(tables), out / "items.parquet")
        (out / "scores.json").write_text(json.dumps({"condition": self.condition, "results": results}))


def labelled(stage: Stage, **labels: Any) -> Labelled:
    return Labelled(FrozenMap({name: str(value) for name, value in labels.items()}), stage)


def world(root: Path, **fields: Any) -> tuple[Report, Path]:
    """A report of all kinds, made in a store; its folder."""
    store = Store(root / "store")
    lms = {(name, seed): Lm(name=f"{name}{seed}") for name in ("text", "random") for seed in range(3)}
    probed = [
        labelled(Probe(model=lms["text", seed], tokens=tokens, seed=seed), milestone=place, init=seed)
        for place, tokens in enumerate(MILESTONES)
        for seed in range(3)
    ]
    unread = [labelled(Probe(model=lms["random", seed], tokens=None, seed=seed), init=seed) for seed in range(3)]
    emerged = Emergence(text=tuple(probed), control=tuple(unread))
    aligned = [
        labelled(Aligned(model=lms[name, seed], seed=seed, alike=alike), weights=name, init=seed)
        for name, alike in (("text", 0.8), ("random", 0.0))
        for seed in range(3)
    ]
    asked = [
        labelled(Asked(model=lms["text", seed], condition=condition, seed=seed), condition=condition, init=seed)
        for condition in ("right", "blank", "none")
        for seed in range(3)
    ]
    looked = Blindness(scores=tuple(asked))
    given: dict[str, Any] = {"deltas": (Climb(),), "emergence": (emerged,), "title": "What layers hold <&> share"}
    given |= {"probes": tuple(probed), "alignments": tuple(aligned), "blindness": (looked,)}
    report = Report(**{**given, **fields})
    stages = [*lms.values(), Climb(), *(each.stage for each in (*probed, *unread)), emerged]
    for stage in [*stages, *(each.stage for each in (*aligned, *asked)), looked]:
        store.perform(stage)
    out = root / "out"
    out.mkdir()
    report.run(out, {field: store.path(stage) for field, stage in report.inputs().items()})
    return report, out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("measured")
    _, out = world(root)
    return Store(root / "store"), (out / "report.html").read_text(), out


def seen(page: str) -> str:
    """The page as read: no scripts, no style, no tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare))


def part(page: str, name: str) -> str:
    """A section of the page."""
    return page[page.index(f'<h2 id="{name}">') :].split("</section>")[0]


def figure(page: str, name: str) -> dict[str, Any]:
    (found,) = re.findall(rf'data-plot="{name}[^"]*">(.*?)</script>', page)
    return json.loads(found)


def record(store: Store, kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        each.path for each in store.artifacts() if (each.path / name).exists() and each.path.parent.name == kind
    ]
    return json.loads((found / name).read_text())


def test_sections_are_those_that_something_was_given_for(made, tmp_path):
    _, page, out = made
    assert re.findall(r"<h2 id=[^>]*>(.*?)</h2>", page) == [
        "Differences", "Ladders of controls", "Looking", "Layers", "Emergence", "Alignment", "Lineage and cards"
    ]  # fmt: skip
    counts = json.loads((out / "counts.json").read_text())
    assert (counts["ladders"], counts["probes"], counts["emergence"], counts["alignments"]) == (2, 15, 1, 6)
    assert counts["blindness"] == 1
    assert counts["plots"] == page.count('class="figure"') == 5
    _, only = world(tmp_path, deltas=(), probes=(), emergence=(), blindness=())
    text = (only / "report.html").read_text()
    assert re.findall(r"<h2 id=[^>]*>(.*?)</h2>", text) == ["Alignment", "Lineage and cards"]
    assert "Nothing was compared" not in text
    assert "100 pairs of caption and image" in seen(text)


def test_every_rung_stands_as_it_was_judged(made):
    store, page, _ = made
    ladder = record(store, "deltas", "ladder.json")
    section = part(page, "ladders-of-controls")
    standings = [rung["standing"] for each in ladder["ladders"] for rung in each["rungs"]]
    assert set(standings) == {"explains", "falls short", "unresolved"}, "the made-up world must hold all"
    for each in ladder["ladders"]:
        sentence = each["sentence"].replace("<b>", "&lt;b&gt;")
        assert page.partition("<body>")[2].count(sentence) == 1
    text = seen(page)
    assert "image classification · norms: block does as well as text within 3 points" in text
    assert "classification · norms: unresolved for random, stats, permuted, block, order" in text
    rows = re.findall(r'<tr(?: class="open")?><td>.*?</tr>', section)
    assert [("unresolved" in row) == ('class="open"' in row) for row in rows] == [True] * len(rows)
    assert len(rows) == len(standings)
    assert "explains, the highest" in section
    drawn = figure(page, "ladder-rung-accuracy")
    whiskers = [each for each in drawn["data"] if each.get("error_x")]
    assert len(whiskers) == len(standings)
    for each, rung in zip(whiskers, [rung for one in ladder["ladders"] for rung in one["rungs"]], strict=True):
        interval = rung["equivalence"]["interval"]
        assert each["x"] == pytest.approx([100 * interval["estimate"]])
        assert each["x"][0] + each["error_x"]["array"][0] == pytest.approx(100 * interval["high"])
        grey = each["marker"]["color"] == "white"
        assert grey == (rung["standing"] == "unresolved")
    (band,) = [shape for shape in drawn["layout"]["shapes"] if shape["type"] == "rect"]
    assert band["x1"] == pytest.approx(3.0)
    assert band["x0"] <= min(each["x"][0] - each["error_x"]["arrayminus"][0] for each in whiskers)


def probe(folder: Path, layers: tuple[int, ...], correct: Any, labels: dict[str, str], **more: Any) -> Probed:
    described = [
        {"layer": n, "validation": float(row.mean()), "edge": False} for n, row in zip(layers, correct, strict=True)
    ]
    found = {"task": "t", "method": "linear", "modality": "image", "chance": 0.25, "items": correct.shape[1]}
    items = tuple(f"{i}" for i in range(correct.shape[1]))
    return Probed(labels, str(folder), found | {"layers": described} | more, layers, items, np.array(items), correct)


def test_a_layer_is_established_where_it_differs_from_what_goes_in(tmp_path):
    rng = np.random.default_rng(0)
    correct = rng.random((3, 4, 200)) < np.array([0.4, 0.4, 0.7, 0.1])[:, None]  # [seeds, layers, items]
    probes = [probe(tmp_path, (0, 1, 2, 3), each, {"init": str(seed)}) for seed, each in enumerate(correct)]
    curve = Curve.of("all", probes)
    assert [curve.established(place) for place in range(4)] == [False, False, True, True]
    assert curve.chosen == 2
    table = correct.swapaxes(0, 1).astype(float)
    slow = crossed_interval(table[2], table[0], np.array(probes[0].items), 1 - 0.05 / 3)
    assert (curve.gains[2].low, curve.gains[2].high) == (slow.low, slow.high)
    assert curve.accuracy[1] == mean_interval(table[1], np.array(probes[0].items), 0.95)
    bare = [probe(tmp_path, (1, 3), each[[1, 3]], {"init": str(seed)}) for seed, each in enumerate(correct)]
    assert Curve.of("all", bare).gains[0].estimate == pytest.approx(table[1].mean() - 0.25)  # else from chance
    other = [probes[0], probe(tmp_path, (0, 1, 2), correct[0][:3], {"init": "1"})]
    with pytest.raises(PresightError, match="the seeds of all have other items or layers"):
        Curve.of("all", other)


def test_layers_are_drawn_by_place_and_greyed_where_not_established(made):
    _, page, _ = made
    drawn = figure(page, "layers-image-classification-linear")
    lines = [each for each in drawn["data"] if each["mode"] == "lines+markers"]
    assert len(lines) == len(MILESTONES)
    assert lines[0]["marker"]["color"][1:] == ["white"] * 4  # before the first step no layer adds anything
    assert set(lines[0]["marker"]["line"]["color"][1:]) == {"#9aa0a6"}
    assert lines[-1]["marker"]["color"][-1] == lines[-1]["line"]["color"]
    section = part(page, "layers")
    assert section.count('<tr class="task">') == len(MILESTONES)
    assert "strength on the edge in 3 of 3" in section
    assert "0, what goes in" in section


def test_the_map_is_grey_where_the_interval_holds_nought(made):
    store, page, _ = made
    found = record(store, "emergence", "emergence.json")
    grey, coloured, *_ = figure(page, "emergence-image-classification")["data"]
    low, high = np.array(found["low"]), np.array(found["high"])
    shown = ((low > 0) | (high < 0)).T  # [layers, milestones]
    assert 0 < shown.sum() < shown.size, "the made-up world must hold both"
    for cells, which in ((grey, False), (coloured, True)):
        assert [[cell is not None for cell in row] for row in cells["z"]] == (shown == which).tolist()
    points = [
        [cell if cell is not None else other for cell, other in zip(*rows, strict=True)]
        for rows in zip(grey["z"], coloured["z"], strict=True)
    ]
    assert np.array(points) == pytest.approx(100 * np.array(found["estimate"]).T)
    frames = figure(page, "emergence-image-classification")["layout"]["shapes"]
    onsets = [(layer, onset) for layer, onset in enumerate(found["onset"]) if onset is not None]
    assert [(round((f["y0"] + f["y1"]) / 2), round((f["x0"] + f["x1"]) / 2)) for f in frames] == [
        (layer, found["tokens"].index(onset)) for layer, onset in onsets
    ]
    text = seen(part(page, "emergence"))
    for _, onset in onsets:
        assert f"{onset:,}" in text
    first = min(onset for _, onset in onsets)
    count = f"{first / 1000:.3g}k"
    assert f"in {len(onsets)} of 5 layers, first from {count} tokens on" in seen(page)


def test_alignment_stands_beside_its_null_and_chance(made):
    store, page, _ = made
    found = [
        json.loads((each.path / "alignment.json").read_text())
        for each in store.artifacts()
        if each.path.parent.name == "alignment"
    ]
    adjusted = holm([each["p"] for each in found])
    section = part(page, "alignment")
    assert section.count('<tr class="open">') == int((np.array(adjusted) > 0.05).sum()) > 0
    drawn = figure(page, "alignment-100-10")
    bars = [each for each in drawn["data"] if each.get("error_x")]
    assert len(bars) == 6
    nulls = sorted((100 * each["quantiles"]["0.5"], 100 * each["quantiles"]["0.05"]) for each in found)
    drawn_nulls = sorted((bar["x"][0], bar["x"][0] - bar["error_x"]["arrayminus"][0]) for bar in bars)
    assert np.array(drawn_nulls) == pytest.approx(np.array(nulls))
    (line,) = drawn["layout"]["shapes"]
    assert line["x0"] == pytest.approx(100 * 10 / 99, abs=1e-3)
    text, shared = seen(page), r"[\d.]+ % of neighbours shared, [\d.]+ % if unpaired"
    assert re.search(rf"text: {shared}: beyond chance in 3 of 3 models", text)
    assert re.search(rf"random: {shared}: not established beyond chance ", text)


def test_what_is_seen_is_told_from_what_is_not(made):
    store, page, _ = made
    found = record(store, "blindness", "blindness.json")
    drawn = figure(page, "blindness-")
    whiskers = [each for each in drawn["data"] if each.get("error_x")]
    shown = [each for each in found["figures"] if each["level"] in ("group", "overall")]
    names = dict.fromkeys(contrast["name"] for each in shown for contrast in each["contrasts"])
    order = [each for name in names for one in shown for each in one["contrasts"] if each["name"] == name]
    assert len(whiskers) == len(order) == 3 * len(shown) > 0
    for each, contrast in zip(whiskers, order, strict=True):
        assert each["x"] == pytest.approx([100 * contrast["estimate"]])
        assert (each["marker"]["color"] == "white") == (contrast["p_holm"] > 0.05)
    section = part(page, "looking")
    rows = re.findall(r'<tr(?: class="open")?><td>.*?</tr>', section)
    established = [any(c["p_holm"] <= 0.05 for c in each["contrasts"]) for each in found["figures"]]
    assert [('class="open"' in row) for row in rows] == [not each for each in established]
    assert {True, False} == set(established), "the made-up world must hold both"
    colour = next(each for each in found["figures"] if each["task"] == "colour")
    assert f"<td>{100 * colour['means']['right']['estimate']:.1f}</td>" in section


def test_text_is_escaped_and_every_link_has_a_target(made):
    _, page, _ = made
    own = re.sub(r'<script type="text/plain" id="plotly">.*?</script>', "", page, flags=re.S)
    assert "sound <b>" not in re.sub(r'<script type="application/json".*?</script>', "", own, flags=re.S)
    assert "efficient<net" not in own
    targets = set(re.findall(r'\bid="([^"]+)"', page))
    assert {link for link in re.findall(r'href="#([^"]+)"', page) if link not in targets} == set()
    assert re.findall(r"(?:src|href)=[\"'](?!#|store/)[^\"']*", own) == []


def test_the_same_inputs_give_the_same_bytes(made, tmp_path):
    assert (world(tmp_path)[1] / "report.html").read_text() == made[1]


def test_places_are_named_without_their_seed():
    families = (Family("f", "weights", "text", "run", (), ()),)
    found = Evidence("", families, (), (), {}, emergences=(Result({}, "e", {"replicate": "init"}),))
    assert found.place({"weights": "text", "run": "1", "init": "2"}) == "text"
    assert found.seed({"weights": "text", "run": "1", "init": "2"}) == "run 1 · init 2"
    assert found.place({"init": "0"}) == "all models"
