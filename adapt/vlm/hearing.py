"""What listens to sounds: encoders of transformers, an LSTM out of a package, and a spectrogram as their floor."""

from __future__ import annotations

import io
import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from adapt.sounds import resample
from adapt.vlm.encoders import LAYER, Encoder, Prepared, within
from adapt.vlm.pictures import Modality, Pictures
from adapt.vlm.towers import load
from presight import hub
from presight.errors import PresightError
from presight.packages import Archive, Fetched

SECONDS = 10.0
PLACES = 10  # a second, of encoders that are pooled in time
# The front end that the LSTM was trained with (Resemblyzer 0.1.4, hparams.py)
RATE, WINDOW, HOP, BANDS = 16_000, 400, 160, 40
CELLS, DEPTH = 256, 3
LOUDNESS = 1e-3  # mean power that quiet sounds are raised to: −30 dB of full scale
FLOOR = 1e-10  # power below which the log-mel spectrogram does not go: −100 dB


class Hearing(Encoder):
    """An encoder of sounds, each cut or filled up with silence to the same length.

    Args:
        seconds: of that length.
        rate: samples a second that the network takes.
    """

    modality: Modality = "sound"

    def __init__(self, seconds: float | None, rate: int) -> None:
        self.seconds, self.rate = seconds or SECONDS, rate
        self.samples = round(self.seconds * rate)
        self.size = f"{self.seconds:g} seconds"

    def prepare(self, pictures: Pictures, key: str) -> Prepared:
        """Samples [T] of a sound at the network's rate, of which there may be fewer than it is given."""
        samples, rate = pictures.sound(key)
        heard = samples[: math.ceil((self.seconds + 1) * rate)]  # the filter looks past the end, but not far
        return resample(heard, rate, self.rate)[: self.samples] if len(heard) else heard

    def blank(self) -> Prepared:
        """Silence."""
        return np.zeros(self.samples, np.float32)

    def encode(self, prepared: Sequence[Prepared]) -> npt.NDArray[np.float32]:
        """Features [B, places, width]."""
        filled = np.zeros((len(prepared), self.samples), np.float32)
        for row, samples in zip(filled, prepared, strict=True):
            row[: len(samples)] = samples
        with torch.inference_mode():
            return self._features(filled).float().cpu().numpy()

    @abstractmethod
    def _features(self, samples: Prepared) -> Tensor:
        """Features [B, places, width] of samples [B, T]."""


class Listener(Hearing):
    """A transformer of transformers that was saved with its feature extractor: Whisper, Wav2Vec2, HuBERT, AST.

    Of what hears a fixed time, as Whisper its 30 s, the places that lie within the sound's length are kept. AST's
    patches are averaged over frequencies.

    Args:
        folder: as save_pretrained writes it; of an encoder with a decoder the former is taken.
        seconds: sounds are cut or filled up to.
        layer: of the hidden states, of which the first is the embeddings.
        device: where it runs.
        dtype: of its arithmetic.

    Raises:
        PresightError: transformers cannot load it, it is no encoder of sounds, there is no such layer, or it hears
            less than so many seconds.
    """

    def __init__(
        self,
        folder: Path,
        seconds: float | None = None,
        layer: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        model, self.extractor = load(folder, "AutoFeatureExtractor", dtype)
        super().__init__(seconds, int(getattr(self.extractor, "sampling_rate", RATE)))
        self.model: Any = (model.get_encoder() if model.config.is_encoder_decoder else model).to(device).eval()
        self.name = type(self.model).__name__
        self.layer = LAYER if layer is None else layer
        hears = _hears(self.extractor)
        if hears and self.seconds > hears:
            problem = f"{self.seconds:g} of an encoder that hears {hears:g}"
            raise PresightError("seconds", problem, f"give {hears:g} at most")
        self._share = self.seconds / hears if hears else 1.0
        with torch.inference_mode():
            _, places, self.width = self._features(self.blank()[None]).shape
        self.grid = (1, places)

    def _features(self, samples: Prepared) -> Tensor:
        name = self.extractor.model_input_names[0]
        read = self.extractor(list(samples), sampling_rate=self.rate, return_tensors="np")[name]
        parameter = next(self.model.parameters())
        given = torch.from_numpy(np.asarray(read, np.float32)).to(parameter.device, parameter.dtype)
        try:
            states = self.model(given, output_hidden_states=[self.layer]).hidden_states
        except (ValueError, RuntimeError) as error:
            problem = f"{self.name} cannot read what its extractor makes ({hub.line(error)})"
            raise PresightError("encoder", problem, "save both from one repository") from error
        within(self.layer, len(states))
        found: Tensor = states[self.layer]
        if (stride := getattr(self.model.config, "time_stride", None)) is not None:  # AST: frequency by time
            config = self.model.config
            wide = (config.max_length - config.patch_size) // stride + 1
            high = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
            found = found[:, -high * wide :].unflatten(1, (high, wide)).mean(1)
        return found[:, : math.ceil(self._share * found.shape[1])]


class Spectrogram(Hearing):
    """Log-mel energies as features: no learned weights, the floor of what an encoder must be better than.

    Args:
        seconds: sounds are cut or filled up to.
        bands: of frequency.
        device: where it is computed.
    """

    name, layer = "log-mel spectrogram", -1

    def __init__(self, seconds: float | None = None, bands: int = 80, device: str = "cpu") -> None:
        super().__init__(seconds, RATE)
        self.width, self.device = bands, device
        self.grid = 1, places(self.seconds)

    def _features(self, samples: Prepared) -> Tensor:
        power = mel(torch.from_numpy(samples).to(self.device), self.width)
        return pooled(power.clamp(min=FLOOR).log10() / 2 + 2, self.grid[1])  # of what is audible within about ± 3


class Speaker(Hearing):
    """The LSTM of Resemblyzer, trained to tell speakers apart: its top layer at every frame, pooled in time.

    Args:
        network: with its weights.
        seconds: sounds are cut or filled up to.
        device: where it runs.
    """

    name, layer = "Resemblyzer", -1

    def __init__(self, network: nn.LSTM, seconds: float | None = None, device: str = "cpu") -> None:
        super().__init__(seconds, RATE)
        self.network, self.device, self.width = network.to(device), device, network.hidden_size
        self.grid = 1, places(self.seconds)

    def prepare(self, pictures: Pictures, key: str) -> Prepared:
        """Samples [T] of a sound, a quiet one raised, as the network was trained."""
        samples = super().prepare(pictures, key)
        power = float(np.mean(np.square(samples))) if len(samples) else 0.0
        return samples * np.float32(math.sqrt(LOUDNESS / power)) if 0 < power < LOUDNESS else samples

    def _features(self, samples: Prepared) -> Tensor:
        states, _ = self.network(mel(torch.from_numpy(samples).to(self.device), BANDS))
        return pooled(states, self.grid[1])


def speaker(fetched: Fetched, seconds: float | None = None, device: str = "cpu") -> Speaker:
    """The LSTM out of its package, a PyTorch state read as tensors only and never unpickled otherwise.

    Args:
        fetched: the role ``model.hearing``.
        seconds: sounds are cut or filled up to.
        device: where it runs.

    Raises:
        PresightError: its weights are not those.
    """
    ((package, path),) = fetched.archives.items()
    ((name, _),) = fetched.members(package)
    network = nn.LSTM(BANDS, CELLS, DEPTH, batch_first=True)
    try:
        read = torch.load(io.BytesIO(Archive(path).read(name)), map_location="cpu", weights_only=True)
        state = read["model_state"].items()
        network.load_state_dict({key[5:]: tensor for key, tensor in state if key.startswith("lstm.")})
    except Exception as error:
        problem = f"its weights are not those of Resemblyzer ({type(error).__name__})"
        raise PresightError("model.hearing", problem, "fetch it again") from error
    return Speaker(network.eval(), seconds, device)


def mel(samples: Tensor, bands: int) -> Tensor:
    """Power in mel bands (Slaney's), every 10 ms: [B, ⌊T / 160⌋ + 1, bands] of samples [B, T] at 16 kHz."""
    from transformers.audio_utils import mel_filter_bank

    shape = torch.hann_window(WINDOW, device=samples.device)
    spectrum = torch.stft(samples, WINDOW, HOP, window=shape, pad_mode="reflect", return_complex=True)
    filters = mel_filter_bank(WINDOW // 2 + 1, bands, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
    return spectrum.abs().square().transpose(1, 2) @ torch.from_numpy(filters).to(samples)


def pooled(frames: Tensor, count: int) -> Tensor:
    """Means [B, count, d] over as many stretches of frames [B, T, d]."""
    return nn.functional.adaptive_avg_pool1d(frames.transpose(1, 2), count).transpose(1, 2)


def places(seconds: float) -> int:
    """How many features a sound of so many seconds has where they are pooled."""
    return max(1, round(seconds * PLACES))


def _hears(extractor: Any) -> float | None:
    """Seconds that an extractor fills its sounds up to; None: it takes them as they are."""
    if (chunk := getattr(extractor, "chunk_length", None)) is not None:  # Whisper
        return float(chunk)
    frames = getattr(extractor, "max_length", None)  # AST; its frames are Kaldi's, 10 ms apart
    return frames / 100 if frames is not None else None
