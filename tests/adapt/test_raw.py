import pytest
import torch

from adapt.raw import RawInputClassifier
from pretrain.model import configuration, initialise

WIDTH, CLASSES = 48, 4


def backbone(seed=0, scale=1.0):
    model = initialise(configuration("tiny", 512, 64, 0), seed).model
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(scale)
    return model


def others():
    from transformers import GPT2Config, GPT2Model, Qwen2Config, Qwen2Model

    yield GPT2Model(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=64, n_positions=32))
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    yield Qwen2Model(Qwen2Config(**small, num_key_value_heads=2, vocab_size=64))


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_inputs_are_as_long_as_text_embeddings(scale):
    model = RawInputClassifier(backbone(scale=scale), WIDTH, CLASSES, 0)
    embedded = model.norm(model.project(torch.randn(8, 16, WIDTH)))
    lengths = model.backbone.get_input_embeddings().weight.detach().norm(dim=1)
    assert model.text_norm == pytest.approx(lengths.mean().item(), rel=1e-5)
    assert embedded.norm(dim=-1).mean().item() == pytest.approx(lengths.mean().item(), rel=1e-3)


def test_the_projection_keeps_lengths_and_angles():
    project = RawInputClassifier(backbone(), WIDTH, CLASSES, 0).project
    assert torch.allclose(project.weight.T @ project.weight, torch.eye(WIDTH), atol=1e-5)
    assert not project.bias.any()


def test_one_seed_gives_every_backbone_the_same_new_parts():
    torch.manual_seed(5)
    first = RawInputClassifier(backbone(0), WIDTH, CLASSES, 3)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn  # the caller's seed is left alone
    second, other = (RawInputClassifier(backbone(1, 2.0), WIDTH, CLASSES, seed) for seed in (3, 4))
    for name in ("project", "head"):
        mine, same, different = (getattr(model, name).weight for model in (first, second, other))
        assert torch.equal(mine, same)
        assert not torch.equal(mine, different)


def test_forward():
    model = RawInputClassifier(backbone(), WIDTH, CLASSES, 0).eval()
    patches = torch.randn(3, 16, WIDTH)
    logits = model(patches)
    assert logits.shape == (3, CLASSES)
    each = torch.cat([model(row[None]) for row in patches])  # rows do not see each other
    assert torch.allclose(logits, each, atol=1e-5)
    turned = model(patches.flip(1))
    assert not torch.allclose(logits, turned, atol=1e-4)  # order matters to an LM
    assert model(torch.randn(2, 100, WIDTH)).shape == (2, CLASSES)  # longer than the training context


def expected(model, trained):
    names = [name for name, _ in model.named_parameters()]
    own = {"head.weight", "head.bias"}
    if trained != "head":
        own |= {name for name in names if name.startswith(("project.", "norm."))}
    if trained == "norms":
        own |= {name for name in names if "norm" in name or ".ln_" in name}
    if trained == "full":
        own |= {name for name in names if "embed_tokens" not in name and "wte" not in name}
    return own


@pytest.mark.parametrize("trained", ["head", "input", "norms", "full"])
def test_freeze_leaves_exactly_the_named_part(trained):
    for inner in (backbone(), *others()):
        model = RawInputClassifier(inner, WIDTH, CLASSES, 0)
        found = model.freeze(trained)
        assert set(found) == expected(model, trained)
        assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == set(found)
        model.freeze("head")
        assert model.freeze(trained) == found  # whatever was frozen before


def test_it_loads_a_checkpoint_as_it_is(tmp_path):
    causal = initialise(configuration("tiny", 512, 64, 0), 2)
    causal.save_pretrained(tmp_path)
    model = RawInputClassifier.load(tmp_path, WIDTH, CLASSES, 0)
    inner = causal.model.state_dict()
    assert set(model.backbone.state_dict()) == set(inner)
    assert all(torch.equal(value, inner[name]) for name, value in model.backbone.state_dict().items())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
