import json
from functools import partial

import numpy as np
import pyarrow.parquet
import pytest
import torch
from toy_models import tiny_lm

from adapt import Invented, RawInputClassifier, Task
from eval.probe.milestone import Milestone
from eval.probe.probe import Split, few_shot, fit_neighbours, fit_probe
from eval.probe.probing import Probe, raw_features
from presight.errors import PresightError
from presight.stage import Stage

SPLITS = ("train", "validation", "test")


class Given(Stage):
    """A checkpoint that lies there already."""

    kind = "checkpoint"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny model and gratings."""
    root = tmp_path_factory.mktemp("made")
    tiny_lm("llama").save_pretrained(root / "lm")
    (root / "lm" / "counts.json").write_text(json.dumps({"tokens": 640}))
    (root / "images").mkdir()
    Invented(modality="image", train=64, validation=32, test=48, noise=0.3).run(root / "images", {})
    return root


def run(made, out, **fields):
    out.mkdir()
    stage = Probe(model=Given(), data=Invented(modality="image"), **fields)
    stage.run(out, {"model": made / "lm", "data": made / "images"})
    return json.loads((out / "probe.json").read_text()), pyarrow.parquet.read_table(out / "items.parquet")


@pytest.fixture(scope="module")
def task(made):
    return Task.load(made / "images", None, dict.fromkeys(SPLITS))


def test_features_are_those_of_one_example_at_a_time(made, task):
    model = RawInputClassifier.load(made / "lm", task.width, 4, seed=3).eval()
    found = raw_features(made / "lm", task, seed=3)
    assert {name: each.shape for name, each in found.items()} == {
        "train": (4, 64, 16), "validation": (4, 32, 16), "test": (4, 48, 16)
    }  # fmt: skip
    with torch.no_grad():
        for row in range(0, 48, 7):
            embedded = model.norm(model.project(torch.from_numpy(task.patches["test"][row])))
            states = model.backbone(inputs_embeds=embedded[None], output_hidden_states=True).hidden_states
            slow = np.array([state[0].mean(0).numpy() for state in states])
            assert np.abs(found["test"][:, row] - slow).max() < 1e-5
    other = raw_features(made / "lm", task, seed=4)["test"]
    assert np.abs(other - found["test"]).max() > 1e-2


@pytest.mark.parametrize("method", ["linear", "knn"])
def test_stage_probes_every_layer_item_by_item(made, task, tmp_path, method):
    options = {"method": method, "strengths": (0.1, 1), "shots": (2, 3), "fractions": (1,), "folds": 1}
    record, table = run(made, tmp_path / "out", seed=1, **options)
    features = raw_features(made / "lm", task, seed=1)
    probe = {"linear": partial(fit_probe, strengths=(0.1, 1)), "knn": fit_neighbours}[method]
    test = task.split["test"]
    assert len(table) == 4 * 48
    for layer, described in enumerate(record["layers"]):
        splits = [Split(features[name][layer], task.split[name].labels) for name in SPLITS]
        done, rows = probe(*splits), table.slice(48 * layer, 48)
        assert set(rows["layer"].to_pylist()) == {layer}
        assert rows["item"].to_pylist() == list(test.items)
        assert rows["cluster"].to_pylist() == list(test.clusters)
        for name, expected in (("label", test.labels), ("prediction", done.predicted), ("correct", done.correct)):
            assert (rows[name].to_numpy() == expected).all()
        assert rows["confidence"].to_numpy() == pytest.approx(done.confidence)
        assert described["layer"] == layer
        assert described["accuracy"] == done.accuracy == rows["correct"].to_numpy().mean()
        assert (described["strength"], described["validation"]) == (done.strength, done.validation)
        few = few_shot(*splits, (2, 3), range(1), probe)
        assert described["shots"]["amounts"] == [2, 3]
        assert described["shots"]["accuracy"] == few.accuracy.tolist()
        assert np.array(described["shots"]["draws"]).shape == (2, 1)
        assert described["fractions"]["accuracy"][0] == pytest.approx(done.accuracy, abs=0.05)
    best = max(range(4), key=lambda layer: (record["layers"][layer]["validation"], -layer))
    assert record["best"] == best
    assert record["accuracy"] == record["layers"][best]["accuracy"]
    assert (record["tokens"], record["items"], record["chance"]) == (640, 48, 0.25)


def test_layers_may_be_chosen_and_curves_left_out(made, tmp_path):
    record, table = run(made, tmp_path / "some", layers=(0, 2), method="knn")
    whole, _ = run(made, tmp_path / "all", method="knn")
    assert record["layers"] == [whole["layers"][0], whole["layers"][2]]
    assert "shots" not in record["layers"][0]
    assert "fractions" not in record["layers"][0]
    assert table["layer"].to_pylist() == [0] * 48 + [2] * 48
    with pytest.raises(PresightError, match="layers: 4 of a model of 3"):
        run(made, tmp_path / "many", layers=(4,))


def test_what_goes_in_does_not_depend_on_the_weights(made, tmp_path):
    """Layer 0 of models of one width is the same but for scale, which probes do not see."""
    model = tiny_lm("llama")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(tmp_path / "lm")
    (tmp_path / "images").symlink_to(made / "images")
    for method in ("linear", "knn"):
        first, ours = run(made, tmp_path / f"ours {method}", method=method, strengths=(0.1, 1))
        second, theirs = run(tmp_path, tmp_path / f"theirs {method}", method=method, strengths=(0.1, 1))
        assert ours["prediction"].to_pylist()[:48] == theirs["prediction"].to_pylist()[:48]
        assert ours["prediction"].to_pylist()[48:] != theirs["prediction"].to_pylist()[48:]
        assert first["tokens"] == 640
        assert second["tokens"] is None


def test_milestones_are_checkpoints_in_order_of_their_tokens(tmp_path):
    kept = tmp_path / "lm" / "milestones"
    for tokens in (0, 512, 20_480):
        (kept / f"{tokens:015d}").mkdir(parents=True)
        (kept / f"{tokens:015d}" / "config.json").write_text(str(tokens))
    (tmp_path / "lm" / "tokenizer.json").write_text("words")
    (tmp_path / "lm" / "config.json").write_text("the last")
    (tmp_path / "out").mkdir()
    Milestone(model=Given(), number=2).run(tmp_path / "out", {"model": tmp_path / "lm"})
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        "config.json": "20480", "tokenizer.json": "words", "counts.json": '{"tokens": 20480}'
    }  # fmt: skip
    with pytest.raises(PresightError, match="number: 3 of 3 milestones; give 0 to 2"):
        Milestone(model=Given(), number=3).run(tmp_path / "out", {"model": tmp_path / "lm"})
    with pytest.raises(PresightError, match="kept no milestones"):
        Milestone(model=Given(), number=0).run(tmp_path / "out", {"model": tmp_path / "out"})
