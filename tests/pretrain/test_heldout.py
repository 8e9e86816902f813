import json
import math

import numpy as np
import pytest
from toy_experiment import ITEM

from pretrain.heldout import Heldout
from pretrain.model import configuration, initialise


@pytest.fixture(scope="module")
def heldout(tiny):
    return Heldout.read(tiny.path(tiny.tokens), ITEM, 12)


@pytest.fixture(scope="module")
def model():
    return initialise(configuration("tiny", 512, ITEM, 0), 0)


def rows(tiny, source):
    """All whole items of a source's held-out shards, in order."""
    folder = tiny.path(tiny.tokens)
    found = []
    for path in sorted(folder.glob(f"heldout/{source}/*.ds")):
        stream = np.fromfile(path, dtype="<u2").astype(np.int64)
        found += [stream[i : i + ITEM] for i in range(0, len(stream) - ITEM + 1, ITEM)]
    return np.array(found)


@pytest.mark.parametrize("items", [1, 2, 7, 12, 10_000])
def test_the_first_items_of_each_source(tiny, items):
    found = Heldout.read(tiny.path(tiny.tokens), ITEM, items)
    assert set(found.tokens) == {"code", "math", "web"}
    for source, tokens in found.tokens.items():
        assert tokens.dtype == np.int64
        assert np.array_equal(tokens, rows(tiny, source)[:items])
    if items == 10_000:
        assert all(len(found.tokens[source]) < items for source in found.tokens)


def test_no_mixture_reads_them(tiny, heldout):
    from corpus.mixture import FILE
    from pretrain.batches import Items

    items = Items(tiny.path(tiny.mixture) / FILE)
    trained = {row.tobytes() for row in items.batch(0, len(items)).tokens}
    assert not any(row.tobytes() in trained for tokens in heldout.tokens.values() for row in tokens)


def test_a_source_with_less_than_an_item_is_left_out(tiny, tmp_path):
    described = json.loads((tiny.path(tiny.tokens) / "tokens.json").read_text())
    (tmp_path / "h").mkdir()
    splits = described["sources"]["web"]["heldout"] | {"shards": [{"path": "h/0.ds", "tokens": ITEM - 1}]}
    np.zeros(ITEM - 1, dtype="<u2").tofile(tmp_path / "h" / "0.ds")
    described["sources"] = {"web": {"heldout": splits}, "none": {"heldout": {"shards": [], "tokens": 0, "bytes": 0}}}
    (tmp_path / "tokens.json").write_text(json.dumps(described))
    assert Heldout.read(tmp_path, ITEM, 12).tokens == {}


def test_losses_are_those_of_plain_transformers(heldout, model):
    import torch

    for source, found in heldout.losses(model).items():
        each = []
        for row in heldout.tokens[source]:
            x = torch.from_numpy(row[None])
            with torch.no_grad():
                each.append(model(input_ids=x, labels=x).loss.item())
        assert found["loss"] == pytest.approx(np.mean(each), abs=1e-5)
        assert found["predicted"] == len(each) * (ITEM - 1)


def test_losses_by_hand(heldout, model):
    import torch

    row = heldout.tokens["web"][0]
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(row[None])).logits[0].double().numpy()
    by_hand = -np.mean([logits[i, row[i + 1]] - np.log(np.exp(logits[i]).sum()) for i in range(ITEM - 1)])
    one = Heldout({"web": row[None]}, {"web": 2.0})
    found = one.losses(model)["web"]
    assert found["loss"] == pytest.approx(by_hand, abs=1e-5)
    assert found["bits_per_byte"] == pytest.approx(by_hand / math.log(2) / 2.0, abs=1e-5)


def test_bits_per_byte_count_the_bytes_of_the_whole_split(tiny, heldout, model):
    described = json.loads((tiny.path(tiny.tokens) / "tokens.json").read_text())["sources"]
    for source, found in heldout.losses(model).items():
        split = described[source]["heldout"]
        bits = found["loss"] / math.log(2) * split["tokens"]
        assert found["bits_per_byte"] == pytest.approx(bits / split["bytes"])


def test_measuring_leaves_no_trace(heldout, model):
    for mode in (True, False):
        model.train(mode)
        heldout.losses(model)
        assert model.training is mode
    assert all(parameter.grad is None for parameter in model.parameters())
    assert heldout.losses(model) == heldout.losses(model)
