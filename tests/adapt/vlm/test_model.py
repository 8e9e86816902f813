import json

import numpy as np
import pytest
import torch
import toy_tuning as toy
from hypothesis import given
from hypothesis import strategies as st

from adapt.vlm.artifact import DESCRIPTION, LANGUAGE, PROJECTOR, Attachment
from adapt.vlm.model import Projector, VisionLanguageModel, resize, side, text_norm
from presight.errors import PresightError

ATTACHED = Attachment(4, toy.WIDTH, toy.GRID, "toy@1", "image", "plain")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    toy.Lm().run(folder, {})
    (folder / "counts.json").write_text("{}")
    return folder


def at(line, place):
    """The value between the middles of a line's cells; beyond the first and the last, theirs."""
    place = min(max(place, 0.0), len(line) - 1.0)
    low = int(place)
    high = min(low + 1, len(line) - 1)
    return line[low] + (place - low) * (line[high] - line[low])


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.integers(0, 9))
def test_pictures_are_resized_as_by_hand(height, width, root, seed):
    height += height == 1  # one row is a sound
    values = np.random.default_rng(seed).normal(size=(height, width))
    found = resize(torch.from_numpy(values.reshape(1, -1, 1)), (height, width), root * root)[0, :, 0]
    for row in range(root):
        between = [at(list(column), (row + 0.5) * height / root - 0.5) for column in values.T]
        for column in range(root):
            expected = at(between, (column + 0.5) * width / root - 0.5)
            assert float(found[row * root + column]) == pytest.approx(expected, abs=1e-5)


def test_a_sounds_tokens_are_in_time():
    line = torch.arange(6.0)[None, :, None]
    assert resize(line, (1, 6), 3)[0, :, 0].tolist() == [0.5, 2.5, 4.5]
    assert resize(line, (1, 6), 6) is line
    assert side(5, (1, 6)) == (1, 5)


def test_a_pictures_tokens_are_a_square():
    with pytest.raises(PresightError, match="tokens: 500 of a picture make no square; give 484 or 529"):
        side(500, (14, 14))
    assert side(576, (14, 14)) == (24, 24)


def test_a_projector_depends_on_its_widths_and_its_seed_alone():
    torch.manual_seed(1)
    one = Projector(8, 16, seed=3)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # and leaves the dice alone
    two, other = Projector(8, 16, seed=3), Projector(8, 16, seed=4)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])
        assert not torch.equal(value, other.state_dict()[name])
    assert set(one.state_dict()) == {f"linear_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")}
    x = torch.randn(5, 8)
    by_hand = torch.nn.functional.gelu(x @ one.linear_1.weight.T + one.linear_1.bias)
    assert torch.allclose(one(x), by_hand @ one.linear_2.weight.T + one.linear_2.bias, atol=1e-6)


def test_matched_a_pictures_tokens_are_as_long_as_texts(checkpoint):
    attachment = Attachment(4, toy.WIDTH, toy.GRID, "toy@1", "image", "plain", "matched")
    model = VisionLanguageModel.attached(checkpoint, attachment)
    text = text_norm(model.language)
    assert text == pytest.approx(model.language.get_input_embeddings().weight.norm(dim=1).mean().item(), rel=1e-5)
    lengths = model.look(100 * torch.randn(3, 16, toy.WIDTH)).norm(dim=-1)
    assert lengths.detach().numpy() == pytest.approx(text, rel=1e-2)
    plain = VisionLanguageModel.attached(checkpoint, ATTACHED)
    assert float(plain.look(torch.randn(3, 16, toy.WIDTH)).norm(dim=-1).mean().detach()) > 3 * text
    for name, value in plain.projector.state_dict().items():
        assert torch.equal(value, model.projector.state_dict()[name])


def test_a_prompt_is_text_and_picture_where_the_template_has_them(checkpoint):
    model = VisionLanguageModel.attached(checkpoint, ATTACHED)
    features = toy.features_of("a red cat").astype(np.float16)
    shown, blind = model.prompt("What is it?", features), model.prompt("What is it?", None)
    assert not shown.requires_grad
    ids = model.tokenizer("<s>User: What is it?\nAssistant:")["input_ids"]
    text = model.language.get_input_embeddings()(torch.tensor(ids))
    assert torch.equal(blind, text)
    looked = model.look(torch.from_numpy(features)[None])[0]
    assert torch.equal(shown, torch.cat([text[:1], looked, text[1:]]))
    assert shown.shape == (len(ids) + 4, 32)
    assert shown.dtype == torch.float32
    assert not torch.equal(model.prompt("What is it?", features[::-1].copy()), shown)


@pytest.mark.parametrize("interface", ["plain", "matched"])
def test_what_is_saved_is_what_is_loaded(checkpoint, tmp_path, interface):
    attachment = Attachment(4, toy.WIDTH, toy.GRID, "toy@1", "image", "plain", interface, 5)
    model = VisionLanguageModel.attached(checkpoint, attachment)
    with torch.no_grad():
        model.projector.linear_1.weight.mul_(2)
        model.language.get_input_embeddings().weight.mul_(2)
    model.save(tmp_path)
    found = VisionLanguageModel.load(tmp_path)
    assert found.attachment == attachment
    assert (found.tokens, found.grid, found.template.name) == (4, (4, 4), "plain")
    assert not found.training
    assert found.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name


def test_an_lm_that_stayed_as_it_was_is_linked(checkpoint, tmp_path):
    model = VisionLanguageModel.attached(checkpoint, ATTACHED)
    for _ in range(2):  # again, as after a kill
        model.save(tmp_path, checkpoint, norms={"text": 1.0})
    weights = tmp_path / LANGUAGE / "model.safetensors"
    assert weights.stat().st_ino == (checkpoint / "model.safetensors").stat().st_ino
    names = {path.name for path in (tmp_path / LANGUAGE).iterdir()}
    assert names == {path.name for path in checkpoint.iterdir()} - {"counts.json"}
    assert json.loads((tmp_path / DESCRIPTION).read_text())["norms"] == {"text": 1.0}
    assert torch.equal(VisionLanguageModel.load(tmp_path).prompt("Hi", None), model.prompt("Hi", None))


def test_what_cannot_be_loaded_is_one_sentence(checkpoint, tmp_path):
    with pytest.raises(PresightError, match="holds no LM with an encoder attached"):
        VisionLanguageModel.load(checkpoint)
    with pytest.raises(PresightError, match="transformers cannot load an LM from it"):
        VisionLanguageModel.attached(tmp_path, ATTACHED)
    VisionLanguageModel.attached(checkpoint, ATTACHED).save(tmp_path, checkpoint)
    whole = (tmp_path / PROJECTOR).read_bytes()
    other = Projector(toy.WIDTH + 1, 32)
    for content in (whole[:100], b"", other):
        if content is other:
            from safetensors.torch import save_file

            save_file(other.state_dict(), tmp_path / PROJECTOR)
        else:
            (tmp_path / PROJECTOR).write_bytes(content)
        with pytest.raises(PresightError, match="its projector cannot be read") as error:
            VisionLanguageModel.load(tmp_path)
        assert "\n" not in str(error.value)
