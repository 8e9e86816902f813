import pytest
import torch
from toy_models import tiny_lm

from adapt.arms import freeze
from adapt.raw import GAIN, RawInputClassifier
from pretrain.model import configuration, initialise

WIDTH, CLASSES = 48, 4


def backbone(seed=0, scale=1.0):
    model = initialise(configuration("tiny", 512, 64, 0), seed).model
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(scale)
    return model


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("codes", [False, True])
def test_inputs_are_as_long_as_text_embeddings(scale, codes):
    model = RawInputClassifier(backbone(scale=scale), WIDTH, CLASSES, 0, codes=codes)
    inputs = torch.randint(0, WIDTH, (8, 16)) if codes else torch.randn(8, 16, WIDTH)
    embedded = model.norm(model.project(inputs))
    lengths = model.backbone.get_input_embeddings().weight.detach().norm(dim=1)
    assert embedded.norm(dim=-1).mean().item() == pytest.approx(lengths.mean().item(), rel=1e-3)
    found = model.norms(inputs)
    assert found["text_norm"] == pytest.approx(lengths.mean().item(), rel=1e-5)
    assert found["input_norm"] == pytest.approx(lengths.mean().item(), rel=1e-3)
    assert found["projected_norm"] == pytest.approx(model.project(inputs).norm(dim=-1).mean().item(), rel=1e-5)


def test_the_projection_keeps_lengths_and_angles():
    project = RawInputClassifier(backbone(), WIDTH, CLASSES, 0).project
    assert torch.allclose(project.weight.T @ project.weight, torch.eye(WIDTH), atol=1e-5)
    assert not project.bias.any()


def test_an_orthogonal_interface_has_a_gain_and_no_norm():
    model = RawInputClassifier(backbone(), WIDTH, CLASSES, 0, interface="orthogonal")
    assert torch.allclose(model.project.weight.T @ model.project.weight, GAIN**2 * torch.eye(WIDTH), atol=1e-5)
    inputs = torch.randn(2, 3, WIDTH)
    assert torch.equal(model.norm(model.project(inputs)), model.project(inputs))


@pytest.mark.parametrize("projection", [None, 7])
def test_one_seed_gives_every_backbone_the_same_new_parts(projection):
    torch.manual_seed(5)
    first = RawInputClassifier(backbone(0), WIDTH, CLASSES, 3, projection=projection)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn  # the caller's seed is left alone
    second, other = (
        RawInputClassifier(backbone(1, 2.0), WIDTH, CLASSES, seed, projection=projection) for seed in (3, 4)
    )
    for name in ("project", "head"):
        mine, same, different = (getattr(model, name).weight for model in (first, second, other))
        assert torch.equal(mine, same)
        assert torch.equal(mine, different) == (name == "project" and projection is not None)


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


@pytest.mark.parametrize("readout", ["mean", "last", "attention"])
def test_read_outs_are_what_their_names_say(readout):
    model = RawInputClassifier(backbone(), WIDTH, CLASSES, 0, readout=readout).eval()
    patches = torch.randn(3, 16, WIDTH)
    hidden = model.backbone(inputs_embeds=model.norm(model.project(patches)), use_cache=False).last_hidden_state
    if readout == "attention":
        assert torch.allclose(model.pool(hidden), hidden.mean(1), atol=1e-6)  # as it begins
        with torch.no_grad():
            model.pool.query.copy_(torch.randn(64))
    expected = []
    for row in hidden:  # token by token
        if readout == "attention":
            weights = torch.stack([(token @ model.pool.query / 8.0).exp() for token in row])
            expected.append(sum(weight * token for weight, token in zip(weights, row, strict=True)) / weights.sum())
        else:
            expected.append(row[-1] if readout == "last" else sum(row) / 16)
    embedded = model.embed(model.features(patches))
    assert torch.allclose(embedded, torch.stack(expected), atol=1e-5)
    assert torch.allclose(model(patches), model.head(embedded), atol=1e-6)


def test_codes_are_looked_up():
    model = RawInputClassifier(backbone(), 10, CLASSES, 0, codes=True).eval()
    codes = torch.tensor([[3, 3, 9], [0, 1, 2]])
    assert torch.equal(model.project(codes)[0, 2], model.project.weight[9])
    assert model(codes).shape == (2, CLASSES)


@pytest.mark.parametrize("trained", ["head", "input", "norms", "full"])
def test_no_gradient_is_taken_below_the_first_trained_weight(trained):
    model = RawInputClassifier(backbone(), WIDTH, CLASSES, 0)
    freeze(model, trained)
    features = model.features(torch.randn(2, 5, WIDTH))
    assert features.requires_grad == (trained != "head")
    model.classify(features).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize(("trained", "drops"), [("head", False), ("input", False), ("norms", True), ("full", True)])
def test_nothing_drops_out_of_a_backbone_that_is_frozen_whole(trained, drops):
    model = RawInputClassifier(tiny_lm("gpt2").base_model, WIDTH, CLASSES, 0)
    freeze(model, trained)
    model.train()
    patches = torch.randn(4, 6, WIDTH)
    assert torch.equal(model(patches), model(patches)) != drops
    model.eval()
    assert torch.equal(model(patches), model(patches))


@pytest.mark.parametrize("readout", ["mean", "attention"])
def test_a_head_reads_frozen_embeddings_standardised(readout):
    model = RawInputClassifier(backbone(), WIDTH, CLASSES, 0, readout=readout).eval()
    patches = torch.randn(50, 16, WIDTH)
    with torch.no_grad():
        features = model.features(patches)
        plain = model.classify(features)
        assert torch.equal(plain, model.head(model.embed(features)))  # unless it is asked for
        model.standardise(features.numpy())
        embedded = model.embed(features)
        by_hand = (embedded - embedded.mean(0)) / embedded.std(0, correction=0)
        assert torch.allclose(model.classify(features), model.head(by_hand), atol=1e-3)


def test_bfloat16_is_near_and_leaves_weights_alone():
    precise, coarse = (
        RawInputClassifier(backbone(), WIDTH, CLASSES, 0, precision=precision).eval()
        for precision in ("float32", "bfloat16")
    )
    patches = torch.randn(4, 16, WIDTH)
    with torch.no_grad():
        first, second = precise.features(patches), coarse.features(patches)
    assert second.dtype == torch.float32
    assert not torch.equal(first, second)
    assert (first - second).abs().max() < 0.05 * first.abs().max()
    assert {parameter.dtype for parameter in coarse.parameters()} == {torch.float32}


def test_it_loads_a_checkpoint_as_it_is(tmp_path):
    causal = initialise(configuration("tiny", 512, 64, 0), 2)
    causal.save_pretrained(tmp_path)
    model = RawInputClassifier.load(tmp_path, WIDTH, CLASSES, 0)
    inner = causal.model.state_dict()
    assert set(model.backbone.state_dict()) == set(inner)
    assert all(torch.equal(value, inner[name]) for name, value in model.backbone.state_dict().items())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
