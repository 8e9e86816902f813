import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from toy_experiment import varied
from toy_labels import ITEM, SEGMENT, labelled

from corpus import Mix, Mixture, Sampler, audit, segments
from corpus.labels import cells as sorting
from corpus.labels.classifier import Classifier
from corpus.mixing.compiler import lock_of
from corpus.mixing.spec import Spec
from presight.errors import PresightError
from pretrain.batches import Items


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    return labelled(tiny, tmp_path_factory.mktemp("labels"))


def positions(folder, entry):
    return np.fromfile(folder / entry["path"], dtype=f"<u{entry['bytes']}")


def test_cells_part_the_items_of_every_source(tiny, made):
    classifier, label, cells = made
    folder = tiny.path(cells)
    described = json.loads((folder / "cells.json").read_text())
    tokens = json.loads((tiny.path(tiny.tokens) / "tokens.json").read_text())
    labels = json.loads((tiny.path(label) / "labels.json").read_text())
    model = Classifier.load(tiny.path(classifier))
    assert described["by"] == ["visual", "reasoning"]
    for source, each in described["sources"].items():
        found = {name: positions(folder, entry).tolist() for name, entry in each["cells"].items()}
        assert sorted(p for cell in found.values() for p in cell) == list(range(each["items"]))
        item = 0
        for shard, place in zip(
            tokens["sources"][source]["train"]["shards"], labels["sources"][source]["train"]["shards"], strict=True
        ):
            scores = np.load(tiny.path(label) / place["path"]).astype(float)
            bounds = segments.cut(segments.ends(tiny.path(tiny.tokens) / shard["path"], shard["tokens"]), SEGMENT)
            by_token = np.repeat(scores, np.diff(bounds), axis=0)
            for start in range(0, shard["tokens"] - ITEM + 1, ITEM):  # the slow, obvious way
                family = model.taxonomy.combine(by_token[start : start + ITEM].mean(axis=0))
                names = [n for n, s in zip(model.taxonomy.families, family, strict=True) if s >= model.thresholds[n]]
                assert item in found[sorting.cell(names)]
                item += 1
        assert item == each["items"]
    assert described["records"]
    assert {row["source"] for row in described["records"]} == {"web", "math", "code"}
    truth = described["truth"]["math"]["reasoning"]
    assert truth["low"] <= 1.0 <= truth["high"] + 1e-9  # every item of math was annotated so, and found so
    assert json.loads((folder / "counts.json").read_text())["math"]["share of reasoning"].startswith("truly ")


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(0, 9))
def test_a_placebo_keeps_share_and_length(lengths, key):
    rng = np.random.default_rng(key)
    lengths = np.array(lengths, dtype=np.int64)
    flags = rng.random((len(lengths), 2)) < 0.4
    dealt = sorting.dealt(flags, lengths, f"{key}")
    for low in 2 ** np.arange(7):
        mine = (lengths >= low) & (lengths < 2 * low)
        assert sorted(dealt[mine].tolist()) == sorted(flags[mine].tolist())
    assert np.array_equal(dealt, sorting.dealt(flags, lengths, f"{key}"))


def test_a_placebo_is_dealt_out_anew():
    flags = (np.arange(4000) < 1000)[:, None]
    dealt = sorting.dealt(flags, np.full(4000, 7), "0/web")[:, 0]
    assert 200 < dealt[:1000].sum() < 300  # a quarter, wherever it was before
    assert not np.array_equal(dealt, sorting.dealt(flags, np.full(4000, 7), "1/web")[:, 0])


def test_a_mixture_of_families_is_read_item_by_item(tiny, made, tmp_path):
    cells = made[2]
    mix = Mix(tokens=tiny.tokens, cells=cells, families={"reasoning": 60, "visual": 40}, budget=ITEM * 200, item=ITEM)
    tiny.store.perform(mix)
    folder = tiny.path(mix)
    mixture = Mixture.read(folder)
    assert mixture.lock["labelled"] == {"reasoning": 0.6, "visual": 0.4}
    assert mixture.truth("reasoning").startswith(("truly", "how much truly is cannot be said"))
    items = Items(folder)
    drawn = Sampler(mixture).items(0, 200)
    rows = items.batch(0, 200).tokens
    described = json.loads((tiny.path(cells) / "cells.json").read_text())
    for row, (pool, _, position) in zip(rows, drawn.tolist(), strict=True):
        entry = mixture.lock["pools"][pool]
        cell = described["sources"][entry["source"]]["cells"][entry["name"].partition("/")[2]]
        window = int(positions(tiny.path(cells), cell)[position])
        for shard in entry["shards"]:
            stream = np.fromfile(tiny.path(tiny.tokens) / shard["path"], dtype="<u2")
            if window < len(stream) // ITEM:
                assert (stream[window * ITEM : (window + 1) * ITEM] == row).all()
                break
            window -= len(stream) // ITEM
    found = {each.check: each for each in audit.check(folder)}
    assert all(each.holds for each in found.values()), found
    assert "60.00% labelled so" in found["share of reasoning"].says


def test_a_placebo_has_the_same_cells_and_other_items(tiny, made):
    cells = made[2]
    placebo = varied(cells, shuffled=("reasoning", "visual"))
    tiny.store.perform(placebo)
    one, two = (json.loads((tiny.path(each) / "cells.json").read_text()) for each in (cells, placebo))
    for source in one["sources"]:
        sizes = [{n: e["items"] for n, e in each["sources"][source]["cells"].items()} for each in (one, two)]
        assert sizes[0] == sizes[1]
    lock = Mix(tokens=tiny.tokens, cells=placebo, families={"reasoning": 60}, budget=ITEM * 100, item=ITEM)
    tiny.store.perform(lock)
    mixture = Mixture.read(tiny.path(lock))
    assert mixture.lock["truth"] == {}
    assert mixture.lock["labelled"]["reasoning"] == 0.6


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"by": ("visuals",)}, "did you mean visual"),
        ({"thresholds": {"reason": 0.5}}, "did you mean reasoning"),
        ({"by": ("visual", "visual")}, "given twice"),
        ({"thresholds": {"visual_concept": 0.5}}, "'visual_concept' is not among what cells are made of"),
        ({"by": ("visual",), "shuffled": ("reasoning",)}, "'reasoning' is not among what cells are made of"),
        ({"by": ("visual_concept", "visual_attribute", "visual_relation", "code_reasoning", "math_reasoning",
                 "science_reasoning", "visual")}, "128 cells"),
    ],
)  # fmt: skip
def test_faults_are_one_sentence(tiny, made, tmp_path, fields, says):
    out = tmp_path / "payload"
    out.mkdir()
    with pytest.raises(PresightError, match=says):
        varied(made[2], **fields).run(out, {"tokens": tiny.path(tiny.tokens), "labels": tiny.path(made[1])})


def test_labels_of_other_tokens_are_refused(tiny, made, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    described = json.loads((tiny.path(made[1]) / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(described | {"tokens": "other"}))
    with pytest.raises(PresightError, match="labels other tokens"):
        made[2].run(tmp_path, {"tokens": tiny.path(tiny.tokens), "labels": folder})
    described["sources"]["web"]["train"]["shards"].pop()  # as of tokens made with other parts
    (folder / "labels.json").write_text(json.dumps(described))
    with pytest.raises(PresightError, match="labels other tokens"):
        made[2].run(tmp_path, {"tokens": tiny.path(tiny.tokens), "labels": folder})


def test_cells_of_other_shards_are_refused(tiny, made, tmp_path):
    """The same tokenizer is not the same tokens: an item's number means another text there."""
    described = json.loads((tiny.path(made[2]) / "cells.json").read_text())
    described["shards"]["web"][0]["sha256"] = "other"
    spec = Spec(families={"visual": 10}, budget=ITEM * 10, item=ITEM)
    for text, says in (
        (json.dumps(described), "items of other shards"),
        ("[]", "describes none"),
        ("{", "holds none"),
    ):
        (tmp_path / "cells.json").write_text(text)
        with pytest.raises(PresightError, match=says):
            lock_of(spec, tiny.path(tiny.tokens), tmp_path, tmp_path)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_is_a_probability(tiny, made, threshold):
    with pytest.raises(ValidationError):
        varied(made[2], thresholds={"visual": threshold})
