import pytest
import torch
from toy_models import tiny_lm

from adapt import backbones
from presight.errors import PresightError

NAMES = ("llama", "gpt2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("backbones")
    for name in NAMES:
        tiny_lm(name).save_pretrained(root / name)
    return root


def hidden(backbone, states):
    with torch.no_grad():
        return backbone.eval()(inputs_embeds=states, use_cache=False).last_hidden_state


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_tokens_see_those_after_them_only_when_asked(folder, name, attention):
    before = torch.randn(2, 9, 16)
    after = before.clone()
    after[:, -1] = torch.randn(2, 16)
    for bidirectional in (False, True):
        backbone = backbones.load(folder / name, bidirectional=bidirectional)
        backbone.set_attn_implementation(attention)
        moved = (hidden(backbone, before) - hidden(backbone, after)).abs().amax((0, 2))
        assert (moved[:-1] > 1e-5).all() if bidirectional else not moved[:-1].any()
        assert moved[-1] > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_first_layers_are_those_of_the_whole(folder, name, layers):
    whole, short = backbones.load(folder / name), backbones.load(folder / name, layers=layers)
    states = torch.randn(2, 9, 16)
    with torch.no_grad():
        found = whole.eval()(inputs_embeds=states, use_cache=False, output_hidden_states=True).hidden_states
    norm = whole.norm if name == "llama" else whole.ln_f
    expected = found[layers] if layers == 3 else norm(found[layers])  # the last of them is behind the norm already
    assert torch.allclose(hidden(short, states), expected, atol=1e-5)
    if layers == 1:
        assert torch.equal(hidden(short, states), hidden(backbones.load(folder / name, "block"), states))


def test_more_layers_than_there_are_is_one_sentence(folder):
    with pytest.raises(PresightError, match=r"^layers: 4 of a model of 3; give 1 to 3\.$"):
        backbones.load(folder / "llama", layers=4)


@pytest.mark.parametrize("name", NAMES)
def test_without_an_lm_tokens_meet_nowhere(folder, name):
    backbone = backbones.load(folder / name, "mlp", seed=3)
    states = torch.randn(2, 9, 16)
    changed = states.clone()
    changed[:, 4] = torch.randn(2, 16)
    moved = (hidden(backbone, states) - hidden(backbone, changed)).abs().amax((0, 2))
    assert moved[4] > 1e-2
    assert moved.sum() == moved[4]
    lengths = backbones.load(folder / name).get_input_embeddings().weight.norm(dim=1).mean()
    assert backbone.positions(9).norm(dim=1).tolist() == pytest.approx([lengths.item()] * 9, rel=1e-4)
    assert len({tuple(row) for row in backbone.positions(40).tolist()}) == 40  # a place is known
    again, other = (backbones.load(folder / name, "mlp", seed=seed) for seed in (3, 4))
    assert torch.equal(hidden(again, states), hidden(backbone, states))
    assert not torch.equal(hidden(other, states), hidden(backbone, states))


@pytest.mark.parametrize("name", NAMES)
def test_lora_begins_where_the_model_is_and_moves_it(folder, name):
    plain, backbone = backbones.load(folder / name), backbones.load(folder / name)
    kept = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbones.add_lora(backbone, 2, seed=0)
    states = torch.randn(2, 9, 16)
    assert torch.equal(hidden(backbone, states), hidden(plain, states))
    updates = {key: value for key, value in backbone.named_parameters() if "lora_" in key}
    maps = 7 if name == "llama" else 4  # of a block
    assert len(updates) == 2 * 3 * maps
    assert {min(value.shape) for value in updates.values()} == {2}
    with torch.no_grad():
        for key, value in updates.items():
            if "lora_B" in key:
                value.copy_(torch.randn_like(value))
    assert (hidden(backbone, states) - hidden(plain, states)).abs().max() > 1e-2
    after = {key.replace(".base_layer", ""): value for key, value in backbone.state_dict().items()}
    assert all(torch.equal(after[key], value) for key, value in kept.items())


def test_lora_follows_from_its_seed(folder):
    drawn = []
    for seed in (0, 0, 1):
        backbone = backbones.load(folder / "gpt2")
        torch.manual_seed(9)
        backbones.add_lora(backbone, 2, seed)
        drawn.append(torch.cat([value.flatten() for key, value in backbone.named_parameters() if "lora_A" in key]))
        assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(9))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_lora_without_peft_is_one_sentence(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(PresightError, match=r"^trained: lora needs peft, which is not installed; pip install peft\.$"):
        backbones.add_lora(backbones.load(folder / "llama"), 2, 0)


def test_learned_positions_are_found(folder):
    assert backbones.positions(backbones.load(folder / "llama")) == []
    gpt2 = backbones.load(folder / "gpt2")
    assert [each.weight is gpt2.wpe.weight for each in backbones.positions(gpt2)] == [True]
