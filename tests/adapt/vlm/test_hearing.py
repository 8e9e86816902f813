import io
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from adapt.vlm.hearing import FLOOR, Listener, Speaker, Spectrogram, mel, pooled, speaker
from adapt.vlm.pictures import Pictures, Writer
from presight import packages
from presight.errors import PresightError
from presight.packages import Fetched


def tone(hertz, seconds, rate=16_000, loud=0.5):
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def stored(folder, sounds):
    """Sounds, each samples and rate, as pictures; the artifact and their keys."""
    import soundfile

    folder.mkdir()
    with Writer(folder, "sound") as writer:
        keys = []
        for samples, rate in sounds:
            written = io.BytesIO()
            soundfile.write(written, samples, rate, format="wav", subtype="FLOAT")
            keys.append(writer.add(written.getvalue(), "wav"))
    return Pictures(folder), keys


def slow_mel(samples, bands):
    """Frame by frame and filter by filter, in double precision; what is beyond the ends is a mirror image."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(201, bands, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    mirrored = np.pad(samples.astype(np.float64), 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    found = []
    for start in range(0, len(samples) + 1, 160):
        wave = mirrored[start : start + 400] * window
        turns = np.exp(-2j * np.pi * np.outer(np.arange(201), np.arange(400)) / 400)
        found.append([(np.abs(turns @ wave) ** 2 * filters[:, band]).sum() for band in range(bands)])
    return np.array(found)


def test_mel_is_that_of_sums():
    samples = np.random.default_rng(0).uniform(-1, 1, 1600).astype(np.float32)
    found = mel(torch.from_numpy(samples)[None], 40)[0].numpy()
    expected = slow_mel(samples, 40)
    assert found.shape == (11, 40)
    assert np.abs(found - expected).max() < 1e-4 * expected.max()


def test_pooling_is_means_of_stretches():
    frames = torch.randn(2, 101, 3)
    found = pooled(frames, 10)
    for place in range(10):
        first, last = place * 101 // 10, -(-(place + 1) * 101 // 10)
        assert torch.allclose(found[:, place], frames[:, first:last].mean(1), atol=1e-6)


def test_spectrogram_shows_when_and_how_high(tmp_path):
    encoder = Spectrogram(1.0)
    assert (encoder.modality, encoder.grid, encoder.width) == ("sound", (1, 10), 80)
    later = np.concatenate([np.zeros(8000, np.float32), tone(1000, 0.5)])
    pictures, keys = stored(tmp_path / "a", [(later, 16_000), (tone(300, 3), 16_000), (tone(3000, 0.2), 16_000)])
    found = encoder.encode([encoder.prepare(pictures, key) for key in keys])
    assert found.shape == (3, 10, 80)
    assert found[0, :4].max() < -2 < 1 < found[0, 6:].max()
    assert found[1, 5].argmax() < found[0, 7].argmax() < found[2, 0].argmax()
    assert found[2, 3:].max() == found[2].min()  # filled up with silence
    silence = encoder.encode([encoder.blank()])
    assert np.allclose(silence, np.log10(FLOOR) / 2 + 2)


def test_sounds_come_at_the_networks_rate(tmp_path):
    encoder = Spectrogram(0.5)
    pictures, keys = stored(tmp_path / "a", [(tone(440, 2, rate), rate) for rate in (8000, 16_000, 44_100)])
    prepared = [encoder.prepare(pictures, key) for key in keys]
    assert [len(each) for each in prepared] == [8000] * 3
    assert all(np.abs(each[500:-500] - prepared[1][500:-500]).max() < 0.01 for each in prepared)
    _, (short, empty) = pictures, keys = stored(tmp_path / "b", [(tone(440, 0.1), 16_000), (np.zeros(0), 8000)])
    assert len(encoder.prepare(pictures, short)) == 1600
    assert len(encoder.prepare(pictures, empty)) == 0
    assert np.array_equal(encoder.encode([encoder.prepare(pictures, empty)]), encoder.encode([encoder.blank()]))


def network():
    torch.manual_seed(0)
    return nn.LSTM(40, 256, 3, batch_first=True).eval()


def test_speaker_is_the_lstm_frame_by_frame():
    encoder, lstm = Speaker(network(), 0.5), network()
    samples = np.random.default_rng(0).uniform(-0.2, 0.2, 8000).astype(np.float32)
    states, state = [], None
    with torch.inference_mode():
        for frame in mel(torch.from_numpy(samples)[None], 40)[0]:
            out, state = lstm(frame[None, None], state)
            states.append(out[0, 0])
        expected = pooled(torch.stack(states)[None], 5)
    assert (encoder.grid, encoder.width, encoder.layer) == ((1, 5), 256, -1)
    assert np.abs(encoder.encode([samples])[0] - expected[0].numpy()).max() < 1e-5


def test_quiet_sounds_are_raised_for_the_speaker(tmp_path):
    encoder = Speaker(network(), 0.5)
    given = [tone(440, 0.5, loud=loud) for loud in (0.001, 0.01, 0.5, 0.0)]
    pictures, keys = stored(tmp_path / "a", [(each, 16_000) for each in given])
    faint, quiet, loud, none = (encoder.prepare(pictures, key) for key in keys)
    assert np.square(faint).mean() == pytest.approx(1e-3, rel=1e-4)
    assert np.abs(faint - quiet).max() < 1e-5
    assert np.array_equal(loud, given[2])
    assert not none.any()


def published(folder, lstm, **more):
    """As the package has it: the LSTM and what else there is in the training's state."""
    state = {f"lstm.{name}": tensor for name, tensor in lstm.state_dict().items()}
    written = io.BytesIO()
    torch.save({"step": 1, "model_state": {**state, "linear.weight": torch.zeros(2)}, **more}, written)
    path = folder / "Resemblyzer-0.1.4-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("resemblyzer/pretrained.pt", written.getvalue())
    return Fetched("model.hearing", {"Resemblyzer": path}, "", {})


class Trap:
    """Would note, were it unpickled, that it was."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_speaker_is_read_out_of_its_package_and_never_unpickled(tmp_path):
    found = speaker(published(tmp_path, network()), 0.5)
    samples = tone(300, 0.5)
    assert np.array_equal(found.encode([samples]), Speaker(network(), 0.5).encode([samples]))
    with pytest.raises(PresightError, match=r"model\.hearing: its weights are not those of Resemblyzer"):
        speaker(published(tmp_path, network(), optimizer_state=Trap()))
    assert not Trap.sprung
    with pytest.raises(PresightError, match="are not those of Resemblyzer"):
        speaker(published(tmp_path, nn.LSTM(40, 256, 2)))


COMMON = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)


def listener(name, folder):
    """A tiny encoder of a family in a folder, with its extractor; and both."""
    import transformers as hf

    torch.manual_seed(0)
    if name == "Whisper":
        sizes = dict(d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, vocab_size=20)
        sizes |= dict(decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, num_mel_bins=20)
        special = dict(pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0)
        model = hf.WhisperModel(hf.WhisperConfig(**sizes, **special, max_source_positions=100))
        extractor = hf.WhisperFeatureExtractor(feature_size=20, chunk_length=2)
    elif name == "AST":
        config = hf.ASTConfig(**COMMON, max_length=100, num_mel_bins=32, patch_size=8)
        model = hf.ASTModel(config)
        extractor = hf.ASTFeatureExtractor(max_length=100, num_mel_bins=32)
    else:
        convolutions = dict(conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 64), num_feat_extract_layers=2)
        more = dict(num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, vocab_size=20)
        config = getattr(hf, f"{name}Config")(**COMMON, **convolutions, **more)
        model = getattr(hf, f"{name}Model")(config)
        extractor = hf.Wav2Vec2FeatureExtractor()
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model.eval(), extractor


@pytest.mark.parametrize("name", ["Whisper", "Wav2Vec2", "Hubert", "AST"])
def test_listeners_are_those_of_transformers(name, tmp_path):
    model, extractor = listener(name, tmp_path / "model")
    encoder = Listener(tmp_path / "model", 0.8)
    given = [tone(300, 0.8), tone(700, 0.3), np.random.default_rng(0).uniform(-1, 1, 12_800).astype(np.float32)]
    filled = [np.pad(each, (0, 12_800 - len(each))) for each in given]
    read = extractor(filled, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        tower = model.encoder if name == "Whisper" else model
        states = tower(read[extractor.model_input_names[0]], output_hidden_states=True).hidden_states
    expected = states[-2]
    if name == "Whisper":
        assert expected.shape[1] == 100
        expected = expected[:, :40]  # 0.8 s of 2 s
    if name == "AST":  # bands of frequency, and in each places in time
        high, wide = (32 - 8) // 10 + 1, (100 - 8) // 10 + 1
        assert expected.shape[1] == high * wide + 2
        kept = [sum(expected[:, 2 + band * wide + place] for band in range(high)) / high for place in range(wide)]
        expected = torch.stack(kept[:8], 1)  # 0.8 s of 1 s
    found = encoder.encode(given)
    assert encoder.grid == (1, expected.shape[1])
    assert encoder.width == 16
    assert np.abs(found - expected.numpy()).max() < 1e-5
    alone = np.concatenate([encoder.encode([each]) for each in given])
    assert np.abs(alone - found).max() < 1e-5
    assert Listener(tmp_path / "model", 0.8, layer=-1).encode(given).shape == found.shape


def test_listeners_refuse_what_they_cannot_hear(tmp_path):
    listener("Whisper", tmp_path / "model")
    with pytest.raises(PresightError, match="seconds: 3 of an encoder that hears 2"):
        Listener(tmp_path / "model", 3.0)
    with pytest.raises(PresightError, match="layer: 5 of 3"):
        Listener(tmp_path / "model", 1.0, layer=5)
    with pytest.raises(PresightError, match="transformers cannot load"):
        Listener(tmp_path)


@pytest.mark.network
def test_real_speaker_tells_high_voices_from_low():
    encoder = speaker(packages.fetch("model.hearing"), 1.0)
    assert encoder.grid == (1, 10)
    buzz = [sum(tone(k * pitch, 1.0, loud=0.1 / k) for k in range(1, 20)) for pitch in (100, 102, 220, 224)]
    low, near, high, close = encoder.encode(buzz)[:, 5:].mean(1)
    assert np.linalg.norm(low - near) < np.linalg.norm(low - high)
    assert np.linalg.norm(high - close) < np.linalg.norm(high - near)
