import json

import numpy as np
import pytest
from toy_experiment import payload, varied

from adapt import Classify, Invented, Search, Task, examples, fitting
from adapt.metrics import lwlrap
from presight.errors import EXIT_DIVERGED, PresightError
from pretrain import Init


@pytest.fixture(scope="module")
def world(tiny):
    data = Invented(modality="image", train=64, validation=40, test=60, noise=0.5)
    model = Init(tokenizer=tiny.tokenizer, model="tiny", context=64)
    for stage in (data, model):
        tiny.store.perform(stage)
    return tiny.store, model, data


@pytest.fixture(scope="module")
def classify(world):
    _, model, data = world
    return Classify(model=model, data=data, learning_rate=1e-2, epochs=2)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))


def run(world, stage, out):
    """Its artifact in a work folder of its own, as a store makes it."""
    store, model, data = world
    out = out / "payload"
    out.mkdir(parents=True)
    stage.run(out, {"model": store.path(model), "data": store.path(data)})
    return out


def table(folder):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(folder / "items.parquet").to_pydict()


def test_a_record_for_every_item(world, classify, tmp_path):
    store, _, data = world
    out = run(world, classify, tmp_path / "a")
    rows, record = table(out), json.loads((out / "scores.json").read_text())
    test = examples.read(store.path(data), "test")
    assert set(rows) == {"item", "cluster", "label", "prediction", "correct", "confidence"}
    assert rows["item"] == list(test.items)
    assert rows["cluster"] == list(test.clusters)
    assert rows["label"] == test.labels.tolist()
    assert rows["correct"] == [a == b for a, b in zip(rows["label"], rows["prediction"], strict=True)]
    assert all(0 <= each <= 1 for each in rows["confidence"])
    assert all(c > 0.25 for c, right in zip(rows["confidence"], rows["correct"], strict=True) if right)
    assert record["accuracy"] == np.mean(rows["correct"])
    assert record["items"] == 60 == json.loads((out / "counts.json").read_text())["items"]
    assert record["chance"] == np.bincount(test.labels).max() / 60
    assert (record["learning_rate"], record["edge"], record["trained"]) == (1e-2, False, "norms")
    assert record["metric"] == "accuracy"
    assert (record["examples_trained"], record["tokens"]) == (64, 16)
    assert np.array(record["confusion"]).sum() == 60
    assert np.trace(record["confusion"]) == sum(rows["correct"])
    assert record["input_norm"] == pytest.approx(record["text_norm"], rel=1e-3)
    assert record["projected_norm"] > 0
    assert len(record["losses"]) == 2
    assert 0 <= record["validation"] <= 1


def test_bytes_are_the_same_on_repeat(world, classify, tmp_path):
    first = payload(run(world, classify, tmp_path / "a"))
    assert payload(run(world, classify, tmp_path / "b")) == first
    assert payload(run(world, varied(classify, seed=1), tmp_path / "c"))["scores.json"] != first["scores.json"]


def test_few_examples_are_read_more_often(world, classify, tmp_path):
    out = run(world, varied(classify, items=20, steps=3), tmp_path)
    record = json.loads((out / "scores.json").read_text())
    assert (record["examples_trained"], len(record["losses"])) == (20, 3)  # one step a pass


def test_what_is_trained_is_counted(world, classify, tmp_path):
    counted = {}
    for trained in ("head", "input", "norms", "lora", "full"):
        out = run(world, varied(classify, trained=trained, epochs=1, items=8, rank=2), tmp_path / trained)
        counted[trained] = json.loads((out / "scores.json").read_text())["parameters_trained"]
    width, classes, patch, norms, block = 64, 4, 16, 5 * 64, 2 * (4 * 64**2 + 3 * 64 * 176)
    assert counted["head"] == classes * (width + 1)
    assert counted["input"] == counted["head"] + width * (patch + 1) + 2 * width
    assert counted["norms"] == counted["input"] + norms
    assert counted["full"] == counted["norms"] + block
    assert counted["lora"] == counted["input"] + 2 * 2 * (4 * 2 * 64 + 3 * (64 + 176))


def search(world, monkeypatch, tmp_path, outcomes):
    """Run a search whose fits end as told: ``{rate: validation, or None where it diverges}``."""
    _, model, data = world
    asked = []

    def told(model, task, rate, *given, **known):
        asked.append(rate)
        if outcomes[rate] is None:
            raise PresightError("learning_rate", "diverged", "", EXIT_DIVERGED)
        return [1.0]

    monkeypatch.setattr(fitting, "fit", told)
    monkeypatch.setattr(fitting, "value", lambda *given: outcomes[asked[-1]])
    stage = Search(model=model, data=data, learning_rates=tuple(outcomes), items=8)
    found = json.loads((run(world, stage, tmp_path / "search") / "rate.json").read_text())
    assert asked == sorted(outcomes)
    assert [point["learning_rate"] for point in found["curve"]] == sorted(outcomes)
    return found["learning_rate"], found["edge"]


@pytest.mark.parametrize(
    ("outcomes", "rate", "edge"),
    [
        ({1e-3: 0.5, 3e-3: 0.7, 1e-2: 0.6}, 3e-3, False),
        ({1e-2: 0.6, 1e-3: 0.5, 3e-3: 0.7}, 3e-3, False),
        ({1e-3: 0.7, 3e-3: 0.7, 1e-2: 0.7}, 1e-3, True),
        ({1e-3: 0.5, 3e-3: 0.7, 1e-2: 0.7, 3e-2: 0.1}, 3e-3, False),
        ({1e-3: 0.5, 3e-3: 0.6, 1e-2: 0.7}, 1e-2, True),
        ({1e-3: 0.1, 3e-3: 0.2, 1e-2: None}, 3e-3, False),
        ({1e-3: 0.5}, 1e-3, False),
    ],
)
def test_the_best_on_validation_is_chosen(world, monkeypatch, tmp_path, outcomes, rate, edge):
    assert search(world, monkeypatch, tmp_path, outcomes) == (rate, edge)


def test_other_faults_of_a_fit_are_not_hidden(world, monkeypatch, tmp_path):
    monkeypatch.setattr(fitting, "fit", lambda *given, **known: (_ for _ in ()).throw(PresightError("x", "is wrong")))
    _, model, data = world
    with pytest.raises(PresightError, match="x: is wrong"):
        run(world, Search(model=model, data=data, items=8), tmp_path / "a")


def test_search_never_reads_the_test_split(world, monkeypatch, tmp_path):
    _, model, data = world
    read, asked = examples.read, []
    monkeypatch.setattr(
        examples, "read", lambda folder, split, *rest: asked.append(split) or read(folder, split, *rest)
    )
    stage = Search(model=model, data=data, learning_rates=(1e-2, 1e-3), items=32, epochs=1)
    first = payload(run(world, stage, tmp_path / "a"))
    assert sorted(asked) == ["train", "validation"]
    assert payload(run(world, stage, tmp_path / "b")) == first
    again = Search(model=model, data=data, learning_rates=(1e-3, 1e-2), items=32, epochs=1)
    assert payload(run(world, again, tmp_path / "c")) == first


def test_classify_takes_the_rate_that_was_found(world, classify, tmp_path):
    store, model, data = world
    stage = varied(classify, learning_rate=Search(model=model, data=data), epochs=1)
    (tmp_path / "rate").mkdir()
    (tmp_path / "rate" / "rate.json").write_text('{"learning_rate": 0.002, "edge": true, "curve": []}')
    out = tmp_path / "a" / "payload"
    out.mkdir(parents=True)
    places = {field: store.path(parent) for field, parent in stage.inputs().items()}
    stage.run(out, places | {"learning_rate": tmp_path / "rate"})
    record = json.loads((out / "scores.json").read_text())
    assert (record["learning_rate"], record["edge"]) == (2e-3, True)


def test_every_candidate_begins_alike(world, monkeypatch, tmp_path):
    begun, plain = [], fitting.fit

    def watched(model, *given, **known):
        begun.append([each.detach().clone() for each in model.parameters()])
        return plain(model, *given, **known)

    monkeypatch.setattr(fitting, "fit", watched)
    _, model, data = world
    run(world, Search(model=model, data=data, learning_rates=(1e-3, 1e-1), items=8, epochs=1), tmp_path / "a")
    assert all(one.equal(other) for one, other in zip(*begun, strict=True))


def test_a_stopped_search_goes_on(world, monkeypatch, tmp_path):
    _, model, data = world
    stage = Search(model=model, data=data, learning_rates=(1e-3, 1e-2, 1e-1), items=40, epochs=1)
    undisturbed = payload(run(world, stage, tmp_path / "a"))
    store, plain, fits = world[0], fitting.fit, []

    def stopped(*given, **known):
        fits.append(given[2])
        if len(fits) == 3:
            raise KeyboardInterrupt
        return plain(*given, **known)

    monkeypatch.setattr(fitting, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(world, stage, tmp_path / "b")
    monkeypatch.setattr(fitting, "fit", plain)
    out = tmp_path / "b" / "payload"
    stage.run(out, {"model": store.path(model), "data": store.path(data)})
    assert payload(out) == undisturbed


@pytest.mark.parametrize("options", [{"structure": "mlp"}, {"shuffled": "patches"}, {"codebook": 16}, {"head": "knn"}])
def test_every_arm_is_scored(world, classify, tmp_path, options):
    out = run(world, varied(classify, epochs=1, **options), tmp_path / "a")
    record = json.loads((out / "scores.json").read_text())
    assert {name: record["arm"][name] for name in options} == options
    assert len(table(out)["item"]) == 60


def recordings(out, multilabel):
    """Clips of recordings, two of each, in the format ``examples``: 200 Hz, 500 Hz, both or none."""
    order = np.random.default_rng(0)
    time = np.arange(400) / 4000

    def split(count):
        for number in range(count):
            there = [number % 2 == 0, number % 4 < 2] if multilabel else [number % 2 == 0, number % 2 == 1]
            for clip in range(2):
                wave = 0.05 * order.normal(size=400)
                for pitch in np.array([200, 500])[there]:
                    wave = wave + 0.2 * np.sin(2 * np.pi * pitch * time + order.uniform(0, 6))
                label = tuple(int(c) for c in np.flatnonzero(there))
                yield examples.Example(
                    f"{number}#{clip}",
                    wave.astype(np.float32),
                    label if multilabel else label[0],
                    f"artist {number // 4}",
                    {"clip": f"recording {number}"},
                )

    out.mkdir()
    counts = {"train": 40, "validation": 8, "test": 30}
    splits = {name: split(count) for name, count in counts.items()}
    examples.write(out, splits, "sound", ["low", "high"], 4000, multilabel=multilabel)


@pytest.mark.parametrize("multilabel", [False, True])
def test_recordings_are_scored_once_each(world, classify, tmp_path, multilabel):
    store, model, _ = world
    recordings(tmp_path / "data", multilabel)
    out = tmp_path / "a" / "payload"
    out.mkdir(parents=True)
    stage = varied(classify, trained="full", epochs=8)
    stage.run(out, {"model": store.path(model), "data": tmp_path / "data"})
    rows, record = table(out), json.loads((out / "scores.json").read_text())
    assert rows["item"] == [f"recording {number}" for number in range(30)]
    assert rows["cluster"] == [f"artist {number // 4}" for number in range(30)]
    if not multilabel:
        assert rows["label"] == [number % 2 for number in range(30)]
        return
    assert rows["labels"] == [[c for c in (0, 1) if (number % 2 == 0, number % 4 < 2)[c]] for number in range(30)]
    assert record["metric"] == "lwlrap"
    assert np.mean(rows["lwlrap"]) == pytest.approx(record["lwlrap"])
    mean = np.mean(list(record["average_precision"].values()))
    assert mean == pytest.approx(record["mean_average_precision"])
    task = Task.load(tmp_path / "data", None, {"test": None})
    always = np.broadcast_to(task.items("train").labels.mean(0), (30, 2))
    assert record["chance"] == pytest.approx(lwlrap(task.items("test").labels, always))
    assert 0 < record["chance"] < 1
    assert record["lwlrap"] > 0.5
    assert "confusion" not in record


def test_a_checkpoint_is_needed_where_one_is_asked_for(world):
    _, model, data = world
    with pytest.raises(ValueError, match="checkpoint"):
        Classify(model=data, data=data, learning_rate=0.1)
    with pytest.raises(ValueError, match="rate"):
        Classify(model=model, data=data, learning_rate=data)


def test_the_estimate_follows_model_patch_and_candidates():
    from adapt import Images, StatsMatched
    from corpus import Invented, Mix, Tokenize, Tokenizer
    from pretrain import SHAPES, Train

    text = Invented()
    tokens = Tokenize(documents=text, tokenizer=Tokenizer(documents=text))
    small, large = (
        StatsMatched(model=Train(mixture=Mix(tokens=tokens, sources={"web": 1}, budget=1e6), model=model))
        for model in ("1m", "7m")
    )
    coarse, fine = (Images(patch=patch, train=90, validation=30, test=60) for patch in (7, 4))
    one = Classify(model=small, data=coarse, learning_rate=0.01, epochs=2).estimate()
    assert one.items == 60
    assert one.flops == (2 * 90 + (30 + 60) / 3) * 16 * SHAPES["1m"].flops(0, 16)
    assert Classify(model=large, data=coarse, learning_rate=0.01).estimate().flops > 3 * one.flops
    assert Classify(model=small, data=fine, learning_rate=0.01).estimate().flops > 3 * one.flops
    searches = [Search(model=small, data=coarse, learning_rates=rates).estimate().flops for rates in ((1,), (1, 2, 3))]
    assert searches[1] == pytest.approx(3 * searches[0])
