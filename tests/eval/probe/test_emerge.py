import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from eval.probe.emerge import Emergence, figure, read_items, sentences
from eval.probe.emergence import emergence
from eval.stats.deltas import minimum_detectable_effect, paired_item_sd
from presight.errors import PresightError
from presight.stage import Cost, FrozenMap, Labelled, Stage

LAYERS, ITEMS = [0, 2], 40


class Probed(Stage):
    """A probe's result that lies there already."""

    kind = "probe"

    name: str


def write(folder, correct, tokens, order, clusters, **changed):
    """A probe's files; right or wrong [layers, items], items in some order."""
    folder.mkdir(parents=True)
    tables = [
        pyarrow.table(
            {
                "layer": np.full(ITEMS, layer),
                "item": [f"test-{i:03d}" for i in order],
                "cluster": [f"c{clusters[i]}" for i in order],
                "correct": row[order],
            }
        )
        for layer, row in zip(LAYERS, correct, strict=True)
    ]
    pyarrow.parquet.write_table(pyarrow.concat_tables(tables), folder / "items.parquet")
    record = {"task": "image classification", "modality": "image", "metric": "accuracy", "method": "linear"}
    record |= {"tokens": tokens, "chance": 0.1, "layers": [{"edge": layer == 0 and tokens == 0} for layer in LAYERS]}
    (folder / "probe.json").write_text(json.dumps(record | changed))


@pytest.fixture
def scores():
    """Right or wrong of text [milestones, layers, seeds, items] and control; the last layer gains on the way."""
    rng = np.random.default_rng(0)
    control = np.tile(rng.random((1, 2, 3, ITEMS)) < 0.3, (3, 1, 1, 1))
    chance = np.array([[0, 0], [0, 0.4], [0, 0.9]])  # [milestones, layers]
    gained = rng.random((3, 2, 3, ITEMS)) < chance[:, :, None, None]
    return control | gained, control


def gathered(root, side, scores, tokens, milestones=True, **changed):
    """Write one side's results in another order each; the labelled stages and their folders."""
    rng, labelled, folders = np.random.default_rng(1), [], {}
    clusters = np.arange(ITEMS) // 2
    for t, place in enumerate(("late", "early", "middle") if milestones else ("",)):
        for seed in range(3):
            name = f"{side} {place} {seed}"
            row = {"late": 2, "early": 0, "middle": 1, "": 0}[place]
            write(root / name, scores[row][:, seed], tokens[row], rng.permutation(ITEMS), clusters, **changed)
            labels = {"init": str(seed)} | ({"milestone": place} if milestones else {})
            folders[f"{side}[{3 * t + seed}]"] = root / name
            labelled.append(Labelled(FrozenMap(labels), Probed(name=name)))
    return tuple(labelled), folders


def run(root, text, control, **fields):
    root.mkdir(exist_ok=True)
    stage = Emergence(text=text[0], control=control[0], **fields)
    stage.run(root, text[1] | control[1])
    return json.loads((root / "emergence.json").read_text())


def test_stage_is_emergence_of_the_paired_tables(tmp_path, scores):
    text = gathered(tmp_path, "text", scores[0], [0, 100, 900])
    fixed = gathered(tmp_path, "control", scores[1], [0], milestones=False)
    found = run(tmp_path / "fixed", text, fixed, level=0.9)
    clusters = np.arange(ITEMS) // 2
    expected = emergence([0, 100, 900], scores[0], scores[1][0], clusters, 0.9)
    for name in ("estimate", "low", "high", "p", "p_holm"):
        assert np.array(found[name]) == pytest.approx(getattr(expected, name))
    assert found["onset"] == list(expected.onset)
    assert found["onset"][1] in (100, 900)
    assert found["tokens"] == [0, 100, 900]
    assert (found["layers"], found["seeds"], found["items"], found["clusters"]) == (LAYERS, ["0", "1", "2"], ITEMS, 20)
    assert np.array(found["text"]) == pytest.approx(scores[0].mean((2, 3)))
    assert np.array(found["control"]) == pytest.approx(np.tile(scores[1][0].mean((1, 2)), (3, 1)))
    assert np.array(found["per_seed"]).mean(2) == pytest.approx(expected.estimate)
    assert found["edges"] == {"text": pytest.approx(1 / 6), "control": 0.5}
    assert found["sentences"] == sentences(expected, LAYERS)
    other = scores[1] & (np.arange(3) < 2)[:, None, None, None]  # a control that moves
    found = run(tmp_path / "moving", text, gathered(tmp_path / "other", "control", other, [0, 0, 0]))
    expected = emergence([0, 100, 900], scores[0], other, clusters)
    assert np.array(found["low"]) == pytest.approx(expected.low)


def test_sentences_and_figure_say_what_was_found(scores):
    found = emergence([0, 100, 9000], scores[0], scores[1])
    said = sentences(found, LAYERS)
    assert said[0].startswith("Layer 0: ")
    assert said[0].endswith("at 9,000 tokens, not established at the end.")
    assert "established from" in said[1]
    assert f"{100 * found.estimate[-1, 1]:+.1f} points [{100 * found.low[-1, 1]:+.1f}, " in said[1]
    drawn = figure(found, LAYERS)
    heat, stars = drawn["data"]
    assert np.array(heat["z"]) == pytest.approx(100 * found.estimate.T)
    assert heat["zmax"] == -heat["zmin"] == pytest.approx(100 * np.abs(found.estimate).max())
    assert (heat["x"], heat["y"]) == (["0", "100", "9,000"], ["0", "2"])
    assert (stars["x"], stars["y"]) == ([f"{found.onset[1]:,.0f}"], ["2"])
    plotly = pytest.importorskip("plotly.graph_objects")
    assert len(plotly.Figure(drawn).data) == 2


def test_items_are_read_in_order_whatever_they_are_written_in(tmp_path, scores):
    rng, clusters = np.random.default_rng(2), np.arange(ITEMS) // 2
    for name in "ab":
        write(tmp_path / name, scores[0][0][:, 0], 0, rng.permutation(ITEMS), clusters)
        layers, items, groups, table = read_items(tmp_path / name)
        assert (layers, items) == (LAYERS, sorted(items))
        assert groups.tolist() == [f"c{i // 2}" for i in range(ITEMS)]
        assert (table == scores[0][0][:, 0]).all()


def test_what_cannot_be_paired_is_refused(tmp_path, scores):
    text = gathered(tmp_path, "text", scores[0], [0, 100, 900])
    control = gathered(tmp_path, "control", scores[1], [0], milestones=False)
    out = tmp_path / "out"

    def without(side, place):
        kept = [i for i in range(len(side[0])) if i != place]
        name = next(iter(side[1])).split("[")[0]
        return tuple(side[0][i] for i in kept), {f"{name}[{n}]": side[1][f"{name}[{i}]"] for n, i in enumerate(kept)}

    with pytest.raises(PresightError, match="text: milestone late lacks seed 1"):
        run(out, without(text, 1), control)
    with pytest.raises(PresightError, match="control: has other seeds than text"):
        run(out, text, without(control, 1))
    with pytest.raises(PresightError, match="text: two probes of depth -, init 0"):
        run(out, text, control, along="depth")
    other = gathered(tmp_path / "other", "control", scores[1], [0], milestones=False, method="knn")
    with pytest.raises(PresightError, match="control: is probed by knn"):
        run(out, text, other)
    unsaid = gathered(tmp_path / "unsaid", "text", scores[0], [None] * 3)
    with pytest.raises(PresightError, match="does not say how many tokens"):
        run(out, unsaid, control)
    moving = gathered(tmp_path / "moving", "control", scores[1], [0, 0, 0])
    with pytest.raises(PresightError, match="control: has other milestones"):
        run(out, text, (moving[0][3:], {f"control[{i}]": moving[1][f"control[{i + 3}]"] for i in range(6)}))
    record = json.loads((text[1]["text[4]"] / "probe.json").read_text())
    (text[1]["text[4]"] / "probe.json").write_text(json.dumps(record | {"tokens": 5}))
    with pytest.raises(PresightError, match="milestone early: 0 tokens in one seed, 5 in another"):
        run(out, text, control)


class Run(Stage):
    """A pretraining run of some size."""

    kind = "checkpoint"

    model: str


class Planned(Stage):
    """A probe that is still to be made."""

    kind = "probe"

    model: Stage
    layers: tuple[int, ...] = ()
    items: int = 1000

    def estimate(self):
        return Cost(items=self.items)


def planned(seeds, **fields):
    sides = {
        side: tuple(
            Labelled(FrozenMap({"milestone": m, "init": str(s)}), Planned(**{"model": Run(model="1m"), **fields}))
            for m in milestones
            for s in range(seeds)
        )
        for side, milestones in (("text", "01"), ("control", "0"))
    }
    return Emergence(**sides)


def test_plan_says_what_the_design_could_see():
    said = planned(3).design()
    assert said.startswith("smallest detectable effect at a milestone in any of 5 layers with 3 seeds: 1000 items: ")
    expected = minimum_detectable_effect(1000, 3, item_sd=paired_item_sd(0.5, 0.3), seed_sd=0.02, level=1 - 0.05 / 5)
    assert f"{100 * expected:.1f} points" in said
    one = planned(3, layers=(4,)).design()
    assert "in one layer with" in one
    assert float(one.split("items: ")[1].split()[0]) < 100 * expected  # fewer layers, fewer chance findings to allow
    assert "in one layer (less can be seen" in planned(3, model=Run(model="mine")).design()
    assert "1000 items: none" in planned(1).design()
    assert planned(3, items=0).design() is None
