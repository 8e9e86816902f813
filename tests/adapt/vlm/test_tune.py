import json
import math

import numpy as np
import pytest
import torch
import toy_tuning as toy
from toy_experiment import forked

from adapt.vlm.artifact import DESCRIPTION, LANGUAGE, PROJECTOR
from adapt.vlm.features import Features
from adapt.vlm.model import VisionLanguageModel
from adapt.vlm.tune import Align, Instruct
from presight.errors import PresightError
from presight.stage import FrozenMap, Labelled
from presight.store import Store

LM, SEEN, CAPTIONS, SAID = toy.Lm(), toy.Seen(), toy.Captions(), toy.Instructions()
ALIGN = Align(
    model=LM, data=CAPTIONS, features=SEEN, tokens=4, batch=32, context=96, learning_rate=1e-2, interface="matched"
)
BLIND = Instruct(
    start=ALIGN,
    data=SAID,
    blind=True,
    without=("perception",),
    batch=64,
    context=96,
    learning_rate=1e-3,
    micro_batch=8,
)
CHAT = Instruct(start=BLIND, data=SAID, features=SEEN, batch=64, context=96, items=64, template="chat", micro_batch=8)
LEARNT = Instruct(
    start=ALIGN,
    data=CAPTIONS,
    features=SEEN,
    batch=16,
    context=96,
    epochs=60,
    learning_rate=1e-2,
    warmup=0.1,
    micro_batch=8,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with all of them, and what their process said."""
    store = Store(tmp_path_factory.mktemp("tune") / "store")
    stages = (LM, SEEN, CAPTIONS, SAID, ALIGN, BLIND, CHAT, LEARNT)
    done = forked(*((store, stage) for stage in stages))
    assert done.returncode == 0, done.stderr
    return store, done.stderr


@pytest.fixture(scope="module")
def store(made):
    return made[0]


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tensors(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_aligned_the_lm_is_what_it_was_bit_by_bit(store):
    before, after = store.path(LM), store.path(ALIGN) / LANGUAGE
    for path in before.glob("*"):
        if path.name != "card.json":
            assert (after / path.name).read_bytes() == path.read_bytes(), path.name
    fresh = VisionLanguageModel.attached(before, VisionLanguageModel.load(store.path(ALIGN)).attachment)
    for name, value in tensors(store.path(ALIGN) / PROJECTOR).items():
        assert not torch.equal(value, fresh.projector.state_dict()[name]), name


def test_blind_the_projector_is_what_it_was_and_the_lm_is_not(store):
    aligned, blind = store.path(ALIGN), store.path(BLIND)
    assert (blind / PROJECTOR).read_bytes() == (aligned / PROJECTOR).read_bytes()
    before, after = (tensors(each / LANGUAGE / "model.safetensors") for each in (aligned, blind))
    assert before.keys() == after.keys()
    assert not any(torch.equal(value, after[name]) for name, value in before.items())
    counts = json.loads((blind / "counts.json").read_text())
    assert counts["pictures"] == counts["tokens of pictures"] == 0
    assert (counts["samples"], counts["left out: perception"]) == (96, 32)
    assert {tag for line in lines(blind) for tag in line["loss_by_tag"]} == {"reasoning", "other"}


def test_after_a_blind_pass_comes_the_normal_one(store):
    blind, seen = store.path(BLIND), store.path(CHAT)
    assert (seen / PROJECTOR).read_bytes() != (blind / PROJECTOR).read_bytes()
    before, after = (tensors(each / LANGUAGE / "model.safetensors") for each in (blind, seen))
    assert not any(torch.equal(value, after[name]) for name, value in before.items())
    counts = json.loads((seen / "counts.json").read_text())
    assert counts["samples"] == 64 == 192 // 2 - 32
    assert counts["left out: beyond what was asked for"] == 64


def test_the_artifact_says_what_it_is(store):
    found = json.loads((store.path(ALIGN) / DESCRIPTION).read_text())
    norms = found.pop("norms")
    assert found == {
        "tokens": 4,
        "width": toy.WIDTH,
        "grid": [4, 4],
        "encoder": "toy@1",
        "modality": "image",
        "template": "caption",
        "interface": "matched",
        "seed": 0,
    }
    assert norms["picture_before"] == pytest.approx(norms["text"], rel=1e-2)
    assert norms["picture"] != norms["picture_before"]
    known = {"tokens": 4, "encoder": "toy@1", "interface": "matched"}
    for stage, template in ((BLIND, "plain"), (CHAT, "chat")):
        found = json.loads((store.path(stage) / DESCRIPTION).read_text())
        assert {name: found[name] for name in known} == known
        assert found["template"] == template
    assert json.loads((store.path(BLIND) / DESCRIPTION).read_text())["norms"]["picture"] is None


def test_it_says_what_trains(made):
    said = [line for line in made[1].splitlines() if line.startswith(("trains", "a text token"))]
    projector = sum(value.numel() for value in tensors(made[0].path(ALIGN) / PROJECTOR).values())
    lm = sum(value.numel() for value in tensors(made[0].path(LM) / "model.safetensors").values())
    assert said[::2] == [
        f"trains projector: {projector:,} of {projector + lm:,} parameters",
        f"trains language: {lm:,} of {projector + lm:,} parameters",
        f"trains language, projector: {projector + lm:,} of {projector + lm:,} parameters",
        f"trains language, projector: {projector + lm:,} of {projector + lm:,} parameters",
    ]
    assert said[3].endswith("long, and no picture is shown")


def answer(model, features):
    """The caption that the model finds the most probable of all, by one forward pass for each."""
    prompt = model.prompt("", features)
    embed = model.language.get_input_embeddings()
    totals = []
    for caption in toy.CAPTIONS:
        ids = torch.tensor(model.tokenizer(model.template.lead + caption)["input_ids"])
        with torch.no_grad():
            logits = model.language(inputs_embeds=torch.cat([prompt, embed(ids)])[None]).logits[0]
        totals.append(logits[len(prompt) - 1 : -1].log_softmax(1).gather(1, ids[:, None]).sum().item())
    return toy.CAPTIONS[int(np.argmax(totals))]


def test_sixty_four_captions_are_learnt_and_answers_follow_the_picture(store):
    found = [line["loss"] for line in lines(store.path(LEARNT))]
    assert found[0] > math.log(200)
    assert found[-1] < 0.02
    model, features = VisionLanguageModel.load(store.path(LEARNT)), Features(store.path(SEEN))
    some = slice(3, None, 9)
    seen = [answer(model, each) for each in features.read(toy.KEYS[some])]
    assert seen == list(toy.CAPTIONS[some])
    blank = [answer(model, features.blank)] * 64  # one answer to all: right once in 64
    assert sum(mine == right for mine, right in zip(blank, toy.CAPTIONS, strict=True)) == 1


def test_one_or_several_or_gathered():
    one, several = ALIGN.data, Align(model=LM, data=[CAPTIONS, SAID], features=SEEN).data
    assert one == (CAPTIONS,)
    assert several == (CAPTIONS, SAID)
    gathered = Align(model=LM, data=(Labelled(FrozenMap({"a": "b"}), CAPTIONS),), features=SEEN)
    assert gathered.inputs() == {"model": LM, "data[0]": CAPTIONS, "features[0]": SEEN}


def test_how_it_is_run_is_not_its_identity():
    for fields in ({"zero": 2}, {"micro_batch": 4}, {"checkpointing": True}, {"offload": True}):
        assert ALIGN.changed(**fields).fingerprint == ALIGN.fingerprint
    for fields in ({"seed": 1}, {"tokens": 16}, {"context": 32}, {"dtype": "bf16"}, {"data": SAID}):
        assert ALIGN.changed(**fields).fingerprint != ALIGN.fingerprint
    assert ALIGN.arithmetic() == "ranks=1/rows=1/fp32/zero=1"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Align(model=SEEN, data=CAPTIONS, features=SEEN), "'features', but checkpoint is needed"),
        (lambda: Align(model=LM, data=CAPTIONS, features=CAPTIONS), "'conversations', but features is needed"),
        (lambda: Align(model=LM, data=(), features=SEEN), "at least 1 item"),
        (lambda: Instruct(start=LM, data=SAID), "'checkpoint', but vlm is needed"),
        (lambda: Instruct(start=ALIGN, data=SAID, items=3, fraction=0.5), "leave one out"),
        (lambda: Instruct(start=ALIGN, data=SAID, dtype="bf16", zero=0), "zero 0 cannot accumulate"),
        (lambda: Instruct(start=ALIGN, data=SAID, without=("seeing",)), "'perception', 'reasoning' or 'other'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(make, words):
    with pytest.raises(ValueError, match="validation error") as error:
        make()
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Instruct(start=ALIGN, data=SAID), "features: none are given, but the data speak of pictures"),
        (
            Instruct(start=ALIGN, data=SAID, features=toy.Seen(encoder="other@2")),
            "features: are of other@2, but the start was aligned with toy@1",
        ),
        (
            Align(model=LM, data=CAPTIONS, features=SEEN, tokens=5),
            "tokens: 5 of a picture make no square; give 4 or 9",
        ),
        (
            Align(model=LM, data=CAPTIONS, features=SEEN),
            "tokens: 576 of a picture leave no room for words: a conversation has 96",
        ),
        (
            Align(model=LM, data=SAID, features=SEEN, tokens=4),
            "template: a conversation of 4 turns is no caption; give captions, or template: plain",
        ),
    ],
)
def test_what_does_not_go_together_is_one_sentence(store, tmp_path, stage, words):
    """Before an engine is made, so it can be asked in this process."""
    other = Store(tmp_path)
    for each in stage.inputs().values():
        if not store.find(each):
            store.perform(each)
    inputs = {name: store.path(each) for name, each in stage.inputs().items()}
    out = other.work(stage) / "payload"
    out.mkdir(parents=True)
    with pytest.raises(PresightError) as error:
        stage._tune(out, inputs, None)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(out.iterdir())
