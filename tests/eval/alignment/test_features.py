import numpy as np
import pytest
import torch
from toy_models import VISION, tiny_encoder, tiny_lm

from eval.alignment.features import encoder_features, layer_features
from presight.errors import PresightError

TEXTS = ["a", "the cat sat on the mat", "b c", "one two three four five six seven eight nine ten", "", "d e f g"]


def byte_tokens(texts, **_):
    return {"input_ids": [[1, *(byte + 2 for byte in text.encode())] for text in texts]}


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_layers_of_texts_are_those_of_one_text_at_a_time(name, pooling):
    model = tiny_lm(name)
    assert model.training
    with torch.no_grad():
        model.eval()
        slow = []
        for ids in byte_tokens(TEXTS)["input_ids"]:
            states = model(torch.tensor([ids[:32]]), output_hidden_states=True).hidden_states
            slow.append([state[0].mean(0) if pooling == "mean" else state[0, -1] for state in states])
    model.train()
    expected = np.array([[state.numpy() for state in text] for text in slow]).swapaxes(0, 1)
    for batch in (1, 4, 32):
        found = layer_features(model, byte_tokens, TEXTS, pooling, batch=batch)
        assert found.shape == (4, len(TEXTS), 16)
        assert np.abs(found - expected).max() < 1e-5
    assert model.training


def test_texts_are_cut_to_length():
    model = tiny_lm("llama")
    whole, cut = layer_features(model, byte_tokens, TEXTS), layer_features(model, byte_tokens, TEXTS, length=4)
    starts = layer_features(model, byte_tokens, [text[:3] for text in TEXTS])
    assert np.abs(cut - starts).max() < 1e-5
    assert np.abs(whole - cut).max() > 1e-3


def test_a_real_tokenizer_without_a_padding_token_will_do():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"?": 0, "cat": 1, "dog": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
    found = layer_features(tiny_lm("llama").model, tokenizer, ["cat", "dog dog cat", "cat"])
    assert np.abs(found[:, 0] - found[:, 2]).max() < 1e-6
    with pytest.raises(PresightError, match=r"texts\[1\]: has no token"):
        layer_features(tiny_lm("llama"), tokenizer, ["cat", " "])
    with pytest.raises(PresightError, match="texts"):
        layer_features(tiny_lm("llama"), tokenizer, [])


@pytest.mark.parametrize(
    ("name", "others"), [("CLIP", 1), ("Siglip", 0), ("Dinov2", 1), ("Dinov2WithRegisters", 4), ("ViT", 1)]
)
def test_layers_of_images_are_those_of_one_image_at_a_time(name, others):
    encoder = tiny_encoder(name)
    images = np.random.default_rng(0).standard_normal((5, 3, 12, 12))
    with torch.no_grad():
        encoder.eval()
        states = [
            encoder(torch.tensor(each[None]).float(), output_hidden_states=True).hidden_states for each in images
        ]
    encoder.train()
    expected = np.array([[state[0, others:].mean(0).numpy() for state in image] for image in states]).swapaxes(0, 1)
    for batch in (1, 3, 32):
        found = encoder_features(encoder, images, "mean", batch=batch)
        assert found.shape == (3, 5, 16)
        assert np.abs(found - expected).max() < 1e-5
    assert encoder.training
    if others:
        expected = np.array([[state[0, 0].numpy() for state in image] for image in states]).swapaxes(0, 1)
        assert np.abs(encoder_features(encoder, images) - expected).max() < 1e-5
    else:
        with pytest.raises(PresightError, match="no class token"):
            encoder_features(encoder, images)


def test_a_masked_autoencoder_sees_whole_images():
    encoder = tiny_encoder("ViTMAE")
    images = np.random.default_rng(0).standard_normal((4, 3, 12, 12))
    first, again = encoder_features(encoder, images), encoder_features(encoder, images, batch=1)
    assert np.abs(first - again).max() < 1e-5
    assert (encoder_features(encoder, images) == first).all()  # its patches come in one order, to the last digit
    assert encoder.config.mask_ratio == 0.75
    moved = images.copy()
    moved[:, :, :4, :4] += 1  # each patch reaches the class token
    assert (np.abs(encoder_features(encoder, moved)[-1] - first[-1]).max(1) > 1e-4).all()
    with torch.no_grad():
        embedded = encoder.embeddings.patch_embeddings(torch.tensor(images).float())
        expected = (embedded + encoder.embeddings.position_embeddings[:, 1:]).mean(1).numpy()
    assert np.abs(encoder_features(encoder, images, "mean")[0] - expected).max() < 1e-5


def test_a_tower_of_two_is_read_by_its_vision_model():
    from transformers import CLIPConfig, CLIPModel

    text = dict(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION))
    images = np.zeros((2, 3, 12, 12))
    assert (encoder_features(model, images) == encoder_features(model.vision_model, images)).all()


def test_what_is_no_image_is_refused():
    with pytest.raises(PresightError, match="images"):
        encoder_features(tiny_encoder("ViT"), np.zeros((3, 12, 12)))
    with pytest.raises(PresightError, match="has no patches"):
        encoder_features(tiny_lm("llama"), np.zeros((1, 3, 12, 12)))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_encoder_that_merges_its_patches_is_refused(pooling):
    from transformers import SwinConfig, SwinModel

    merging = SwinModel(
        SwinConfig(image_size=16, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2)
    )
    with pytest.raises(PresightError, match="not its patches in every layer"):
        encoder_features(merging, np.zeros((1, 3, 16, 16)), pooling)
