import pytest
import torch
from toy_experiment import payload
from toy_models import tiny_lm
from toy_tokenizer import byte_tokenizer

from adapt import Permuted, StatsMatched
from presight.stage import Stage

STAGES = {"matched": StatsMatched, "permuted": Permuted}


class Given(Stage):
    """A checkpoint that lies there already."""

    kind = "checkpoint"


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    tiny_lm("gpt2").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def made(lm, tmp_path_factory):
    root = tmp_path_factory.mktemp("controls")
    for name, stage in STAGES.items():
        for letter, seed in (("a", 0), ("b", 0), ("c", 1)):
            (root / f"{name}-{letter}").mkdir()
            stage(model=Given(), seed=seed).run(root / f"{name}-{letter}", {"model": lm})
    return root


def model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def pairs(made, lm, control):
    """Name, tensor of the text model and tensor of the control, float64 and flat."""
    second = dict(model(made / f"{control}-a").named_parameters())
    first = dict(model(lm).named_parameters())
    assert set(first) == set(second)
    for name, tensor in first.items():
        assert tensor.shape == second[name].shape
        yield name, tensor.double().flatten(), second[name].double().flatten()


def test_matched_tensors_keep_mean_and_deviation(made, lm):
    for name, mine, other in pairs(made, lm, "matched"):
        assert mine.mean().item() == pytest.approx(other.mean().item(), abs=1e-5), name
        assert mine.std(correction=0).item() == pytest.approx(other.std(correction=0).item(), abs=1e-5), name


def test_permuted_tensors_keep_their_values(made, lm):
    for name, mine, other in pairs(made, lm, "permuted"):
        assert torch.equal(mine.sort().values, other.sort().values), name
        if len(set(mine.tolist())) > 10:
            assert not torch.equal(mine, other), name


@pytest.mark.parametrize("control", STAGES)
def test_nothing_else_of_a_matrix_is_left(made, lm, control):
    for name, mine, other in pairs(made, lm, control):
        if mine.std() > 0 and mine.numel() > 100:
            correlation = torch.corrcoef(torch.stack([mine, other]))[0, 1].item()
            assert abs(correlation) < 5 / mine.numel() ** 0.5, name


@pytest.mark.parametrize("control", STAGES)
def test_tied_tensors_stay_tied(made, control):
    found = model(made / f"{control}-a")
    assert found.get_input_embeddings().weight is found.get_output_embeddings().weight


def test_the_noise_is_normal(made):
    values = model(made / "matched-a").get_input_embeddings().weight.detach().double().flatten()
    values = (values - values.mean()) / values.std()
    assert abs((values**3).mean()) < 0.1
    assert abs((values**4).mean() - 3) < 0.2


@pytest.mark.parametrize("control", STAGES)
def test_bytes_follow_from_the_seed(made, control):
    first, second, other = (payload(made / f"{control}-{letter}") for letter in "abc")
    assert first == second
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


@pytest.mark.parametrize("control", STAGES)
def test_nothing_else_changes(made, lm, control):
    first, second = payload(lm), payload(made / f"{control}-a")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert second[name] == first[name]
    mine, other = (model(folder).config.to_dict() for folder in (lm, made / f"{control}-a"))
    assert {key for key in mine | other if mine.get(key) != other.get(key)} <= {"_name_or_path", "dtype"}


@pytest.mark.parametrize("control", STAGES)
def test_other_architectures_and_constant_tensors(tmp_path, control):
    changed = tiny_lm("llama")
    with torch.no_grad():
        changed.model.norm.weight.fill_(0.7)
    changed.save_pretrained(tmp_path / "from")
    (tmp_path / "out").mkdir()
    STAGES[control](model=Given()).run(tmp_path / "out", {"model": tmp_path / "from"})
    found = model(tmp_path / "out")
    assert found.model.norm.weight.tolist() == pytest.approx([0.7] * 16)
    mine, other = (each.model.layers[1].mlp.up_proj.weight for each in (changed, found))
    assert not torch.equal(mine, other)
    assert mine.std().item() == pytest.approx(other.std().item(), rel=1e-4)
