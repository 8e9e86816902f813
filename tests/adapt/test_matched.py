import pytest
import torch
from toy_experiment import payload

from adapt import StatsMatched


@pytest.fixture(scope="module")
def made(tiny, lm, tmp_path_factory):
    root = tmp_path_factory.mktemp("matched")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (root / name).mkdir()
        StatsMatched(model=tiny.train, seed=seed).run(root / name, {"model": lm})
    return root


def model(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def test_each_tensor_keeps_its_mean_and_deviation(made, lm):
    first, second = model(lm), dict(model(made / "a").named_parameters())
    for name, tensor in first.named_parameters():
        mine, other = tensor.double(), second[name].double()
        assert mine.shape == other.shape
        assert mine.mean().item() == pytest.approx(other.mean().item(), abs=1e-5)
        assert mine.std(correction=0).item() == pytest.approx(other.std(correction=0).item(), abs=1e-5)
        correlation = torch.corrcoef(torch.stack([mine.flatten(), other.flatten()]))[0, 1].item()
        assert abs(correlation) < 5 / mine.numel() ** 0.5  # nothing else is left of it
    assert len(second) == len(dict(first.named_parameters()))


def test_tied_tensors_stay_tied(made):
    found = model(made / "a")
    assert found.get_input_embeddings().weight is found.get_output_embeddings().weight


def test_the_noise_is_normal(made):
    values = model(made / "a").model.layers[0].mlp.up_proj.weight.detach().double().flatten()
    values = (values - values.mean()) / values.std()
    assert abs((values**3).mean()) < 0.1
    assert abs((values**4).mean() - 3) < 0.2


def test_bytes_follow_from_the_seed(made):
    first, second, other = (payload(made / name) for name in "abc")
    assert first == second
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


def test_nothing_else_changes(made, lm):
    first, second = payload(lm), payload(made / "a")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert second[name] == first[name]
    assert model(made / "a").config.to_dict().items() >= {"vocab_size": model(lm).config.vocab_size}.items()


def test_tensors_of_one_value_and_constant_ones(tmp_path, tiny, lm):
    changed = model(lm)
    with torch.no_grad():
        changed.model.norm.weight.fill_(0.7)
    changed.save_pretrained(tmp_path / "from")
    (tmp_path / "out").mkdir()
    StatsMatched(model=tiny.train).run(tmp_path / "out", {"model": tmp_path / "from"})
    assert model(tmp_path / "out").model.norm.weight.tolist() == pytest.approx([0.7] * 64)
