"""Discrete tokens of a neural audio codec (EnCodec, DAC, Mimi) in place of patches: coded once, then read.

A codec's quantisers come in levels: the first says most, each further one corrects what is left. The codes of a
frame's first ``levels`` stand one after another, coarse to fine, as tokens of their own; those of level l are moved
by l times the size of a codebook, so that one embedding table holds all levels and no code means two things.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adapt import caching
from adapt.sounds import resample
from adapt.tokens import Codes
from presight.console import progress
from presight.errors import PresightError

BATCH = 16  # clips coded at once
MEND = "give a folder with config.json and *.safetensors of EnCodec, DAC or Mimi, as save_pretrained writes them"


class Codec:
    """An audio codec of transformers.

    Attributes:
        rate: samples a second that it hears.
        size: codes of one level.
    """

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        asked = set(inspect.signature(model.encode).parameters) if hasattr(model, "encode") else set()
        self._count = next((name for name in ("bandwidth", "n_quantizers", "num_quantizers") if name in asked), "")
        config = model.config
        if not self._count or not hasattr(config, "codebook_size"):
            raise PresightError("codec", f"{type(model).__name__} codes no sounds by levels of quantisers", MEND)
        self.rate, self.size = int(config.sampling_rate), int(config.codebook_size)

    @classmethod
    def load(cls, folder: Path) -> Codec:
        """From a folder, as ``save_pretrained`` writes it; nothing in it is unpickled or run.

        Raises:
            PresightError: transformers cannot read it, or it is no such codec.
        """
        from safetensors import SafetensorError
        from transformers import AutoModel

        try:
            model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            first = str(error).strip().partition("\n")[0]
            raise PresightError("codec", f"{folder} cannot be read ({first})", MEND) from error
        return cls(model)

    def __call__(self, waves: npt.NDArray[Any], rate: int, levels: int = 1) -> Codes:
        """Codes int64 [N, frames · levels] below ``levels · size`` of waves [N, T] at ``rate`` samples a second.

        Raises:
            PresightError: it has fewer levels.
        """
        found = [
            self._codes(resample(np.asarray(waves[start : start + BATCH], np.float32), rate, self.rate), levels)
            for start in progress(range(0, len(waves), BATCH), "coding sounds")
        ]
        return np.concatenate(found)

    def _codes(self, waves: npt.NDArray[np.float32], levels: int) -> Codes:
        values = torch.from_numpy(waves)[:, None]  # [B, 1, T]
        config = self._model.config
        hop = int(getattr(config, "hop_length", 1))  # what is left of the last frame is coded with silence after it
        values = torch.nn.functional.pad(values, (0, -values.shape[-1] % hop))
        values = values.expand(-1, int(getattr(config, "audio_channels", 1)), -1)
        # EnCodec of 48 kHz codes chunks that overlap, for its decoder's sake: one after another say all there is
        chunk = getattr(config, "chunk_stride", None) or values.shape[-1]
        with torch.inference_mode():
            parts = [self._encode(part, levels) for part in values.split(chunk, -1)]
        codes = torch.cat(parts, -1)  # [B, levels, frames]
        codes = codes[:, :levels].transpose(1, 2) + self.size * torch.arange(levels)  # [B, frames, levels]
        return codes.flatten(1).to(torch.int64).numpy()

    def _encode(self, values: Any, levels: int) -> Any:
        codes = self._model.encode(values, **{self._count: self._asked(levels)}).audio_codes
        return codes[0] if codes.ndim == 4 else codes  # EnCodec's are [chunks, B, levels, frames]

    def _asked(self, levels: int) -> float:
        """What the codec must be asked for to give so many levels: their number, or EnCodec's least bandwidth."""
        config = self._model.config
        if self._count != "bandwidth":
            if levels > (known := int(config.n_codebooks if self._count == "n_quantizers" else config.num_quantizers)):
                raise _too_many(levels, known)
            return levels
        bands = sorted(config.target_bandwidths)
        counts = [int(self._model.quantizer.get_num_quantizers_for_bandwidth(band)) for band in bands]
        enough = [band for band, count in zip(bands, counts, strict=True) if count >= levels]
        if not enough:
            raise _too_many(levels, counts[-1])
        return float(enough[0])


def key(codec: Path, data: Path, levels: int) -> str:
    """Digest of all that codes follow from: the codec's files, the examples, the levels, this code, the libraries."""
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return caching.digest(codec, data, {"codec": code, "levels": levels})


def kept(name: str, split: str, codec: Codec, waves: npt.NDArray[Any], rate: int, levels: int) -> npt.NDArray[Any]:
    """The codes of a split, int32 [N, tokens]: read from the cache of features, else coded and put there.

    Args:
        name: of all that they follow from, see `key`.
        split: name.
        codec: what codes.
        waves: its first N examples [N, T].
        rate: samples a second.
        levels: as of `Codec.__call__`.
    """
    folder = caching.cache_root() / "features" / name[:32]
    path = folder / f"{split}-{len(waves)}.npy"
    if not path.exists():
        codes = codec(waves, rate, levels).astype(np.int32)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}")
        with partial.open("wb") as file:
            np.save(file, codes)
        partial.replace(path)
        caching.tidy(folder.parent, keep=folder)
    os.utime(folder)
    found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    assert len(found) == len(waves)
    return found


def _too_many(levels: int, known: int) -> PresightError:
    return PresightError("levels", f"{levels} of a codec that has {known}", f"give 1 to {known}")
