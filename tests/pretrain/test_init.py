import json

import pytest
from safetensors.numpy import load_file
from toy_experiment import ITEM, payload

from pretrain import Init
from pretrain.heldout import Heldout
from pretrain.model import configuration, initialise
from pretrain.vocabulary import words


@pytest.fixture(scope="module")
def init(tiny):
    stage = Init(tokenizer=tiny.tokenizer, model="tiny", context=ITEM, seed=0)
    return tiny.store.perform(stage).path


def test_its_weights_are_those_of_the_seed(tiny, init):
    size, end = words(tiny.path(tiny.tokenizer))
    state = initialise(configuration("tiny", size, ITEM, end), 0).state_dict()
    found = load_file(init / "model.safetensors")
    assert set(found) == set(state) - {"lm_head.weight"}  # tied
    for name, value in found.items():
        assert value.tobytes() == state[name].numpy().tobytes()


def test_training_starts_there(tiny, init, lm):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(init)
    lines = [json.loads(line) for line in (lm / "heldout.jsonl").read_text().splitlines()]
    measured = {line["source"]: line["loss"] for line in lines if line["step"] == 0}
    found = Heldout.read(tiny.path(tiny.tokens), ITEM, 12).losses(model)
    assert {source: each["loss"] for source, each in found.items()} == measured
    assert (init / "config.json").read_bytes() == (lm / "config.json").read_bytes()
    assert {path.name for path in init.glob("tokenizer*")} == {path.name for path in lm.glob("tokenizer*")}


def test_bytes_follow_from_the_seed(tiny, init, tmp_path):
    inputs = {"tokenizer": tiny.path(tiny.tokenizer)}
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        Init(tokenizer=tiny.tokenizer, model="tiny", context=ITEM, seed=seed).run(tmp_path / str(seed), inputs)
    same, other, first = payload(tmp_path / "0"), payload(tmp_path / "1"), payload(init)
    assert same == first
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


def test_it_generates_like_any_transformers_model(init):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(init)
    model = AutoModelForCausalLM.from_pretrained(init)
    found = model.generate(**tokenizer("The red boat", return_tensors="pt"), max_new_tokens=4, do_sample=False)
    assert tokenizer.decode(found[0]).startswith("The red boat")
    assert json.loads((init / "counts.json").read_text()) == {"tokens": 0}
