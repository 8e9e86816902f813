import json
import shutil

import numpy as np
import pytest
import torch
from toy_experiment import payload, varied
from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel, GPT2Config, GPT2Model, MimiConfig, MimiModel

from adapt import Classify, Invented, Search, Task, caching, codec
from adapt.codec import Codec
from adapt.sounds import resample
from presight.errors import PresightError
from pretrain import Init

RATE, SIZE, HOP = 4000, 16, 8


def encodec(**changes):
    """EnCodec in small: frames of 8 samples, 4 bits a level, so 2 kbps a level."""
    config = EncodecConfig(
        target_bandwidths=[2.0, 4.0, 8.0], sampling_rate=RATE, num_filters=4, hidden_size=8, codebook_dim=8,
        codebook_size=SIZE, upsampling_ratios=[4, 2], num_lstm_layers=1, num_residual_layers=1, **changes,
    )  # fmt: skip
    return spread(EncodecModel(config))


def spread(model):
    """Codebooks as a fresh model has them are all noughts: give them entries like what they code."""
    order = torch.Generator().manual_seed(0)
    noise = torch.randn(1, getattr(model.config, "audio_channels", 1), 80 * HOP, generator=order)
    with torch.no_grad():
        coded = model.encoder(noise)
    frames = (coded if isinstance(coded, torch.Tensor) else coded[0])[0].T  # [T, D]
    for name, each in model.named_buffers():
        if name.endswith(("codebook.embed", "codebook.embed_sum")):
            first = ".0." in name
            each.copy_(frames[: len(each)] if first else frames.std(0) * torch.randn(each.shape, generator=order))
        if name.endswith("cluster_usage"):
            each.fill_(1.0)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("codec")
    encodec().save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    out = tmp_path_factory.mktemp("tones")
    Invented(modality="sound", train=24, validation=8, test=8, noise=0.3).run(out, {})
    return out


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))


def waves(count=3, length=100, seed=0):
    return np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)


def slow_codes(model, wave, levels):
    """A clip's codes frame by frame: the nearest entry of each level to what the levels before it left."""
    padded = np.concatenate([wave, np.zeros(-len(wave) % HOP, np.float32)])
    with torch.no_grad():
        frames = model.encoder(torch.from_numpy(padded)[None, None])[0].T.double()  # [T, D]
    tokens = []
    for left in frames:
        for level in range(levels):
            entries = model.quantizer.layers[level].codebook.embed.double()
            nearest = int(((entries - left) ** 2).sum(1).argmin())
            left = left - entries[nearest]
            tokens.append(nearest + level * SIZE)
    return tokens


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_codes_equal_the_slow_twin(folder, levels):
    heard, model = waves(), Codec.load(folder)
    found = model(heard, RATE, levels)
    assert found.dtype == np.int64
    assert found.shape == (3, 13 * levels)  # 100 samples are 12 frames and a half
    assert found.tolist() == [slow_codes(model._model, wave, levels) for wave in heard]
    assert len(set(found.ravel().tolist())) > 4 * levels
    assert found.max() < SIZE * levels


def test_clips_are_coded_one_like_another_and_at_the_codecs_rate(folder, monkeypatch):
    model, heard = Codec.load(folder), waves(5, 160)
    monkeypatch.setattr(codec, "BATCH", 2)
    assert (model(heard, RATE, 2) == np.concatenate([model(heard[k : k + 1], RATE, 2) for k in range(5)])).all()
    twice = np.stack([resample(wave, 2 * RATE, RATE) for wave in heard])
    assert (model(heard, 2 * RATE) == model(twice, RATE)).all()
    assert model(heard, 2 * RATE).shape == (5, 10)


def test_a_codec_of_chunks_codes_everything_once(tmp_path):
    torch.manual_seed(0)
    encodec(chunk_length_s=0.02, overlap=0.5, normalize=True, audio_channels=2).save_pretrained(tmp_path)
    model, heard = Codec.load(tmp_path), waves(2, 96)
    found = model(heard, RATE, 2)
    assert found.shape == (2, 2 * 12)  # as without chunks
    assert (found == np.concatenate([model(heard[:, k : k + 40], RATE, 2) for k in (0, 40, 80)], 1)).all()


@pytest.mark.parametrize("kind", ["dac", "mimi"])
def test_other_codecs_are_asked_for_their_levels(kind, tmp_path):
    torch.manual_seed(0)
    if kind == "dac":
        config = DacConfig(
            encoder_hidden_size=4, downsampling_ratios=[2, 4], upsampling_ratios=[4, 2], decoder_hidden_size=16,
            n_codebooks=3, codebook_size=SIZE, codebook_dim=4, sampling_rate=RATE,
        )  # fmt: skip
        model = DacModel(config)
    else:
        config = MimiConfig(
            sampling_rate=RATE, hidden_size=16, num_filters=4, upsampling_ratios=[4, 2], num_quantizers=3,
            codebook_size=SIZE, codebook_dim=16, vector_quantization_hidden_dimension=16, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=16, upsample_groups=16,
            num_semantic_quantizers=1, frame_rate=None,
        )  # fmt: skip
        model = spread(MimiModel(config))
    model.save_pretrained(tmp_path)
    loaded = Codec.load(tmp_path)
    one, three = loaded(waves(), RATE), loaded(waves(), RATE, 3)
    assert (loaded.size, three.shape[1]) == (SIZE, 3 * one.shape[1])
    assert (three[:, ::3] == one).all()
    for level in range(3):
        assert (three[:, level::3] // SIZE == level).all()
    with pytest.raises(PresightError, match=r"levels: 4 of a codec that has 3; give 1 to 3\."):
        loaded(waves(), RATE, 4)


def test_what_is_no_codec_is_one_sentence(folder, tmp_path):
    with pytest.raises(PresightError, match="levels: 5 of a codec that has 4; give 1 to 4"):
        Codec.load(folder)(waves(), RATE, 5)
    with pytest.raises(PresightError, match="cannot be read"):
        Codec.load(tmp_path)
    GPT2Model(GPT2Config(vocab_size=8, n_positions=8, n_embd=8, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    with pytest.raises(PresightError, match="GPT2Model codes no sounds by levels of quantisers"):
        Codec.load(tmp_path)
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(PresightError, match=r"codec: .* cannot be read"):
        Codec.load(pickled)


def test_a_task_of_codes(folder, tones):
    limits = {"train": 20, "test": None}
    task = Task.load(tones, None, limits, codec=folder, levels=2)
    assert (task.codes, task.width, task.tokens) == (2 * SIZE, 2 * SIZE, 2 * 125)
    plain = Task.load(tones, None, limits)
    for split in limits:
        assert (task.patches[split][:] == Codec.load(folder)(plain.patches[split].data, RATE, 2)).all()
        assert task.patches[split][3:5].dtype == np.int64
    mixed = Task.load(tones, None, limits, "order", codec=folder, levels=2).patches["test"][:]
    assert not (mixed == task.patches["test"][:]).all()
    assert (np.sort(mixed) == np.sort(task.patches["test"][:])).all()


def test_what_is_coded_once_is_read_and_a_change_is_not(folder, tones, tmp_path, monkeypatch):
    task = Task.load(tones, None, {}, codec=folder)
    heard = []
    monkeypatch.setattr(Codec, "_codes", lambda self, some, levels: heard.append(1) or np.zeros((len(some), 125), int))
    assert (Task.load(tones, None, {}, codec=folder).patches["train"][:] == task.patches["train"][:]).all()
    assert not heard
    other = tmp_path / "other"
    torch.manual_seed(1)
    encodec().save_pretrained(other)
    assert codec.key(other, tones, 1) != codec.key(folder, tones, 1) != codec.key(folder, tones, 2)
    shutil.copytree(folder, tmp_path / "moved")
    assert codec.key(tmp_path / "moved", tones, 1) == codec.key(folder, tones, 1)
    assert not (Task.load(tones, None, {}, codec=other).patches["train"][:]).any()
    assert heard
    kept = [each.name for each in (caching.cache_root() / "features").rglob("*") if each.is_file()]
    assert kept == ["train-24.npy"] * 2


def test_images_have_no_codec(folder, tmp_path):
    Invented(modality="image", train=8, validation=8, test=8).run(tmp_path, {})
    with pytest.raises(PresightError, match="codec: codes sounds, and these are images; leave it out"):
        Task.load(tmp_path, None, {}, codec=folder)


def test_an_arm_of_codes_is_searched_and_scored(tiny, folder, tmp_path):
    data = Invented(modality="sound", train=40, validation=12, test=16, noise=0.3)
    model = Init(tokenizer=tiny.tokenizer, model="tiny", context=256)
    given = {"model": model, "data": data, "codec": folder, "levels": 2, "epochs": 1, "trained": "head"}
    search = Search(**given, learning_rates=(1e-2, 1e-1)).settle(fetch=False)
    stage = Classify(**given, learning_rate=search).settle(fetch=False)
    assert stage.codec_content == search.codec_content != ""
    for each in (data, model, search, stage):
        tiny.store.perform(each)
    record = json.loads((tiny.store.path(stage) / "scores.json").read_text())
    assert (record["tokens"], record["arm"]["levels"], record["items"]) == (250, 2, 16)
    assert record["arm"]["codec_content"] == stage.codec_content
    first = payload(tiny.store.path(stage))
    again = tmp_path / "again" / "out"
    again.mkdir(parents=True)
    stage.run(again, {name: tiny.store.path(each) for name, each in stage.inputs().items()})
    assert payload(again)["items.parquet"] == first["items.parquet"]


def test_a_codec_is_known_by_its_content(folder, tiny, tmp_path):
    data, model = Invented(modality="sound"), Init(tokenizer=tiny.tokenizer, model="tiny")
    shutil.copytree(folder, tmp_path / "moved")
    here, there = (
        Classify(model=model, data=data, learning_rate=1e-2, codec=place).settle(fetch=False)
        for place in (folder, tmp_path / "moved")
    )
    plain = Classify(model=model, data=data, learning_rate=1e-2).settle(fetch=False)
    assert here.fingerprint == there.fingerprint != plain.fingerprint
    assert varied(here, levels=2).fingerprint != here.fingerprint
    search = Search(model=model, data=data)
    with pytest.raises(ValueError, match="the search is of another arm: codec_content ''"):
        Classify(model=model, data=data, learning_rate=search, codec=folder).settle(fetch=False)
    for fields, what in (
        ({"codec": folder, "codebook": 8}, "codec and codebook both say what the tokens are"),
        ({"codec": folder, "patch": 8}, "codec and patch both say what the tokens are"),
        ({"levels": 2}, "levels are of a codec, and none is named"),
    ):
        with pytest.raises(ValueError, match=what):
            Search(model=model, data=data, **fields)
    config = tmp_path / "moved" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(PresightError, match="changed since it was planned; run again"):
        there.task(tmp_path, "test")
