import numpy as np
import pytest
import torch
from toy_experiment import varied
from toy_models import tiny_lm

from adapt import Classify, Invented, Search
from adapt.arms import freeze, trains
from adapt.backbones import TokenMlp, add_lora
from adapt.fitting import fit
from adapt.raw import RawInputClassifier
from presight.errors import PresightError
from presight.stage import Stage
from pretrain import Checkpoint
from pretrain.model import configuration, initialise

TRAINED = ("head", "input", "norms", "lora", "full")


class Given(Stage):
    """A checkpoint that lies there already."""

    kind = "checkpoint"


def backbones():
    from transformers import Qwen2Config, Qwen2Model

    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    yield initialise(configuration("tiny", 512, 64, 0), 0).model
    yield tiny_lm("gpt2").base_model
    yield Qwen2Model(Qwen2Config(**small, num_key_value_heads=2, vocab_size=64))
    yield TokenMlp(tiny_lm("llama").get_input_embeddings(), 0)


def made(inner, trained, **options):
    if trained == "lora":
        add_lora(inner, 2, 0)
    return RawInputClassifier(inner, 48, 4, 0, **options)


def expected(model, trained):
    names = [name for name, _ in model.named_parameters()]
    own = {"head.weight", "head.bias"} | {name for name in names if name.startswith("pool.")}
    if trained != "head":
        own |= {name for name in names if name.startswith(("project.", "norm."))}
    if trained == "norms":
        own |= {name for name in names if "norm" in name or ".ln_" in name or "wpe" in name}
    if trained == "lora":
        own |= {name for name in names if "lora_" in name}
    if trained == "full":
        own |= {name for name in names if not any(text in name for text in ("embed_tokens", "wte", "backbone.text"))}
    return own


@pytest.mark.parametrize("trained", TRAINED)
def test_freeze_leaves_exactly_the_named_part(trained):
    for inner in backbones():
        model = made(inner, trained, readout="attention")
        found = freeze(model, trained)
        assert set(found) == expected(model, trained)
        assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == set(found)
        freeze(model, "head")
        assert freeze(model, trained) == found  # whatever was frozen before


def test_lora_without_updates_is_one_sentence():
    model = RawInputClassifier(tiny_lm("llama").base_model, 48, 4, 0)
    with pytest.raises(PresightError, match=r"^trained: lora, but the model has no low-rank updates"):
        freeze(model, "lora")


def test_what_trains_is_said():
    model = made(initialise(configuration("tiny", 512, 64, 0), 0).model, "norms")
    freeze(model, "norms")
    total = sum(parameter.numel() for parameter in model.parameters())
    count = 4 * 65 + 64 * 49 + 2 * 64 + 5 * 64
    assert trains(model) == f"trains backbone, project, head, norm: {count:,} of {total:,} parameters"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("arms")
    for name in ("llama", "gpt2"):
        tiny_lm(name).save_pretrained(root / name)
    (root / "images").mkdir()
    Invented(modality="image", train=64, validation=8, test=8, noise=0.3).run(root / "images", {})
    return root


def stage(**fields):
    return Classify(**({"model": Given(), "data": Invented(modality="image"), "learning_rate": 0.01} | fields))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("trained", TRAINED)
def test_what_is_frozen_stays_as_it_is_to_the_bit(folders, name, trained):
    arm = stage(trained=trained, readout="attention", rank=2)
    task = arm.task(folders / "images", "validation")
    model = arm.classifier(folders / name, task)
    before = {key: each.detach().clone() for key, each in model.named_parameters()}
    batch = torch.from_numpy(task.patches["validation"][:])
    first = model.eval()(batch)
    fit(model, task, 1e-2, 1, 0, "")
    assert not torch.allclose(first, model.eval()(batch), atol=1e-4)
    moved = {key for key, each in model.named_parameters() if not torch.equal(each, before[key])}
    trainable = {key for key, each in model.named_parameters() if each.requires_grad}
    assert moved <= trainable
    unread = {"backbone.wpe.weight"}  # all of it moves that is read
    assert moved >= {key for key in trainable if "lora_A" not in key} - unread
    if trained == "lora":
        assert any("lora_B" in key for key in moved)


def test_a_preset_is_its_fields():
    preset = stage(preset="fpt")
    by_hand = stage(trained="norms", readout="last", interface="orthogonal")
    assert preset == by_hand
    assert preset.fingerprint == by_hand.fingerprint
    assert preset.fingerprint != stage().fingerprint
    assert varied(preset, seed=1).readout == "last"
    with pytest.raises(ValueError, match=r"preset fpt sets trained to 'norms'"):
        stage(preset="fpt", trained="full")


def test_the_preset_builds_a_frozen_pretrained_transformer(folders):
    arm = stage(preset="fpt")
    task = arm.task(folders / "images")
    model = arm.classifier(folders / "gpt2", task)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    inner = {name for name in trained if name.startswith("backbone.")}
    blocks = {f"backbone.h.{k}.ln_{n}.{part}" for k in range(3) for n in (1, 2) for part in ("weight", "bias")}
    assert inner == blocks | {"backbone.ln_f.weight", "backbone.ln_f.bias", "backbone.wpe.weight"}
    assert trained - inner == {"project.weight", "project.bias", "head.weight", "head.bias"}
    patches = torch.from_numpy(task.patches["train"][:2])
    hidden = model.eval().backbone(inputs_embeds=model.project(patches)).last_hidden_state
    assert torch.allclose(model.features(patches), hidden[:, -1], atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"items": 5, "fraction": 0.1}, "leave one out"),
        ({"trained": "head", "head": "knn"}, "nothing to train"),
        ({"structure": "mlp", "readout": "last"}, "knows of no other"),
        ({"structure": "block", "layers": 2}, "leave one out"),
        ({"fraction": 1.5}, "less than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, what):
    with pytest.raises(ValueError, match=what):
        stage(**fields)


def test_a_search_is_for_its_own_arm():
    search = Search(model=Given(), data=Invented(modality="image"), trained="head", items=8, epochs=1, seed=3)
    assert stage(trained="head", learning_rate=search).learning_rate is search
    for field, value in (("trained", "full"), ("structure", "block"), ("readout", "last"), ("shuffled", "labels")):
        with pytest.raises(ValueError, match=rf"the search is of another arm: {field}"):
            stage(**{"trained": "head", "learning_rate": search, field: value})


def test_shares_of_the_training_examples(folders):
    for fields, count in (({}, 64), ({"items": 10}, 10), ({"fraction": 0.25}, 16), ({"fraction": 0.001}, 1)):
        task = stage(**fields).task(folders / "images")
        assert len(task.split["train"]) == count
    first, second = (stage(fraction=share).task(folders / "images").split["train"] for share in (0.25, 0.5))
    assert first.items == second.items[:16]  # less data is part of more


def test_more_tokens_than_positions_is_one_sentence(folders):
    arm = stage(patch=2)
    task = arm.task(folders / "images")
    assert task.tokens == 64
    with pytest.raises(PresightError, match=r"^patch: 64 tokens an example, but the model has 32 positions"):
        arm.classifier(folders / "gpt2", task)
    assert arm.classifier(folders / "llama", task)


def test_seeds_that_share_a_projection(folders):
    arms = [stage(seed=seed, projection=5) for seed in (0, 1)]
    first, second = (arm.classifier(folders / "llama", arm.task(folders / "images")) for arm in arms)
    assert torch.equal(first.project.weight, second.project.weight)
    assert not torch.equal(first.head.weight, second.head.weight)
    shuffled = [varied(arm, shuffled="patches").task(folders / "images").patches["train"][:] for arm in arms]
    assert np.array_equal(*shuffled)


def test_the_estimate_of_a_frozen_arm_is_one_pass():
    counts = {"model": Given(), "data": Invented(modality="image", train=90, validation=30, test=60)}
    many, one = (
        Search(**counts, trained="head", learning_rates=rates).estimate().flops for rates in ((1e-3, 1e-2), (1e-3,))
    )
    assert many == one
    trained = Search(**counts, trained="norms", learning_rates=(1e-3,), epochs=4).estimate().flops
    assert trained > 8 * one


def test_the_estimate_counts_the_blocks_that_are_used():
    data = Invented(modality="image", train=900, validation=8, test=8)
    counts = {"data": data, "learning_rates": (1e-3,), "trained": "full"}
    whole = Checkpoint(sample="smollm2", content="x")
    costs = [
        Search(**counts, model=model, **fields).estimate().flops
        for model, fields in (
            (whole, {}), (whole, {"layers": 2}), (varied(whole, layers=2), {}), (whole, {"structure": "block"}),
        )
    ]  # fmt: skip
    assert costs[0] == pytest.approx(15 * costs[1])
    assert costs[1] == costs[2] == pytest.approx(2 * costs[3])


def test_few_examples_are_read_more_often():
    for fields, examples, passes in (
        ({}, 64, 4),
        ({"steps": 8}, 64, 4),  # two steps a pass
        ({"steps": 9}, 64, 5),
        ({"steps": 100}, 20, 100),
        ({"steps": 100, "epochs": 200}, 20, 200),
    ):
        assert stage(**fields).passes(examples) == passes
    assert stage(steps=8).fingerprint != stage().fingerprint
