import json
import os

import numpy as np
import pytest
import torch
from toy_models import tiny_lm

from adapt import Classify, Invented, Search, caching
from adapt.caching import Features, digest, tidy
from adapt.classify import trunk_of
from adapt.fitting import Trunk, fit, predict
from presight.stage import Stage


class Given(Stage):
    """A checkpoint that lies there already."""

    kind = "checkpoint"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("caching")
    tiny_lm("gpt2").save_pretrained(root / "model")
    (root / "data").mkdir()
    Invented(modality="image", train=70, validation=40, test=300, noise=0.3).run(root / "data", {})
    return {"model": root / "model", "data": root / "data"}


def stage(**fields):
    given = {"model": Given(), "data": Invented(modality="image"), "trained": "head", "learning_rate": 0.03}
    return Classify(**given | fields)


def trunk(arm, inputs):
    task = arm.task(inputs["data"], "validation", "test")
    model = arm.classifier(inputs["model"], task)
    return model, task, trunk_of(arm, model, task, inputs)


@pytest.mark.parametrize("readout", ["mean", "last", "attention"])
def test_cached_features_score_as_recomputed_ones(inputs, cache, readout):
    arm = stage(readout=readout)
    model, task, kept = trunk(arm, inputs)
    other = arm.classifier(inputs["model"], task)
    other.standardise(caching.compute(other, task.patches["train"]))
    losses = fit(model, task, 0.03, 3, 0, "", trunk=kept)
    again = fit(other, task, 0.03, 3, 0, "", trunk=Trunk.whole(other, task))
    assert losses == pytest.approx(again, abs=1e-5)
    first, second = predict(model, task, "test", trunk=kept), predict(other, task, "test")
    assert np.abs(first - second).max() < 1e-5
    assert (first.argmax(1) == second.argmax(1)).all()


def test_features_are_those_of_one_example_at_a_time(inputs, cache):
    model, task, kept = trunk(stage(), inputs)
    found = kept.inputs["test"]
    assert isinstance(found, np.memmap)
    assert found.shape == (300, 16)
    with torch.no_grad():
        for row in (0, 255, 256, 299):
            slow = model.eval().features(torch.from_numpy(task.patches["test"][row : row + 1]))[0]
            assert found[row] == pytest.approx(slow.numpy(), abs=1e-5)


def passes(monkeypatch):
    """Counts the splits that are computed."""
    computed, plain = [], caching.compute
    monkeypatch.setattr(caching, "compute", lambda *given: computed.append(1) or plain(*given))
    return computed


def test_rates_and_seeds_of_one_projection_share_one_pass(inputs, cache, tmp_path, monkeypatch):
    computed = passes(monkeypatch)
    for seed in (0, 1, 2):
        out = tmp_path / f"search-{seed}"
        out.mkdir()
        search = Search(
            model=Given(),
            data=Invented(modality="image"),
            trained="head",
            learning_rates=(1e-3, 1e-2, 1e-1, 1.0),
            seed=seed,
            projection=0,
            epochs=1,
        )
        search.run(out, inputs)
        assert len(json.loads((out / "rate.json").read_text())["curve"]) == 4
    assert len(computed) == 2  # training and validation
    out = tmp_path / "scores"
    out.mkdir()
    stage(seed=1, projection=0).run(out, inputs)
    assert len(computed) == 3  # and the test split


@pytest.mark.parametrize(
    ("fields", "shared"),
    [
        ({"epochs": 9}, True),
        ({"seed": 1, "projection": 0}, True),
        ({"shuffled": "labels"}, True),
        ({"seed": 1}, False),
        ({"layers": 2}, False),
        ({"structure": "block"}, False),
        ({"bidirectional": True}, False),
        ({"readout": "last"}, False),
        ({"interface": "orthogonal"}, False),
        ({"shuffled": "order"}, False),
        ({"codebook": 8}, False),
        ({"patch": 8}, False),
        ({"items": 20}, False),
        ({"precision": "bfloat16"}, False),
    ],
)
def test_the_key_is_all_that_features_depend_on(inputs, cache, fields, shared):
    trunk(stage(), inputs)[2].inputs["validation"]
    before = set(cache.iterdir())
    trunk(stage(**fields), inputs)[2].inputs["validation"]
    assert (set(cache.iterdir()) == before) == shared


def test_other_weights_or_examples_are_another_key(inputs, tmp_path):
    first = digest(inputs["model"], inputs["data"], {})
    assert digest(inputs["model"], inputs["data"], {}) == first
    assert digest(inputs["model"], inputs["data"], {"a": 1}) != first
    changed = tiny_lm("gpt2")
    with torch.no_grad():
        changed.transformer.wpe.weight[0, 0] += 1e-3
    changed.save_pretrained(tmp_path / "model")
    assert digest(tmp_path / "model", inputs["data"], {}) != first
    (tmp_path / "data").mkdir()
    Invented(modality="image", train=70, validation=40, test=300, noise=0.3, seed=1).run(tmp_path / "data", {})
    assert digest(inputs["model"], tmp_path / "data", {}) != first


def test_nothing_half_written_is_read(inputs, cache, monkeypatch):
    model, task, _ = trunk(stage(), inputs)
    plain = caching.compute

    def killed(model, inputs, path):
        plain(model, inputs, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(caching, "compute", killed)
    with pytest.raises(KeyboardInterrupt):
        Features(model, task.patches, "k" * 64)["test"]
    monkeypatch.setattr(caching, "compute", plain)
    assert Features(model, task.patches, "k" * 64)["test"].shape == (300, 16)
    assert Features(model, task.patches, None)["test"] == pytest.approx(
        Features(model, task.patches, "k" * 64)["test"]
    )


def test_what_was_used_longest_ago_goes_first(tmp_path):
    for age, name in enumerate(("new", "middle", "old", "kept")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.npy").write_bytes(bytes(100))
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    tidy(tmp_path, tmp_path / "kept", room=1000)
    assert len(list(tmp_path.iterdir())) == 4
    tidy(tmp_path, tmp_path / "kept", room=250)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "kept"}
