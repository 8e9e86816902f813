"""Features of what is frozen: computed once, kept in memory-mapped files that are named by all they depend on.

Below the first trained weight nothing changes while an arm is fitted: with the head alone trained, one pass over the
data serves every epoch, every learning rate, and every seed that shares the projection. The key is a digest of
weights, examples, seeds, structure, code and library versions, so that nothing stale is ever read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from presight.console import progress
from presight.packages import cache_root

CODE = ("arms", "backbones", "caching", "patches", "raw", "task", "tokens")  # what features follow from
BATCH = 256
ROOM = 20e9  # bytes kept; what was used longest ago goes first
_WEIGHTS = (".safetensors", "config.json")


class Features(Mapping[str, npt.NDArray[np.float32]]):
    """Features by split, float32 [N, D] or [N, T, D], each computed when it is first asked for.

    Args:
        model: a `RawInputClassifier` whose projection and backbone are frozen.
        inputs: what goes in, by split.
        key: digest of all that they depend on, see `digest`; None: kept in memory only.
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any], key: str | None) -> None:
        self._model, self._inputs = model, inputs
        self._folder = cache_root() / "features" / key[:32] if key else None
        self._found: dict[str, npt.NDArray[np.float32]] = {}

    def __getitem__(self, split: str) -> npt.NDArray[np.float32]:
        if split not in self._found:
            self._found[split] = self._read(split)
        return self._found[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    def _read(self, split: str) -> npt.NDArray[np.float32]:
        if self._folder is None:
            return compute(self._model, self._inputs[split])
        path = self._folder / f"{split}.npy"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}")
            compute(self._model, self._inputs[split], partial)
            partial.replace(path)
            tidy(self._folder.parent, keep=self._folder)
        os.utime(self._folder)
        found: npt.NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        assert len(found) == len(self._inputs[split])
        return found


def compute(model: Any, inputs: Any, path: Path | None = None) -> npt.NDArray[np.float32]:
    """Features of all inputs, in order, in memory or in a file of numpy's format."""
    import torch

    training = model.training
    model.eval()
    device = next(model.parameters()).device
    found: npt.NDArray[np.float32] | None = None
    with torch.inference_mode():
        for start in progress(range(0, len(inputs), BATCH), "frozen features"):
            part = model.features(torch.from_numpy(inputs[start : start + BATCH]).to(device)).cpu().numpy()
            if found is None:
                shape = (len(inputs), *part.shape[1:])
                found = (
                    np.lib.format.open_memmap(path, "w+", np.float32, shape) if path else np.empty(shape, np.float32)
                )
            found[start : start + BATCH] = part
    model.train(training)
    assert found is not None
    if isinstance(found, np.memmap):
        found.flush()
    return found


def digest(checkpoint: Path, data: Path, settings: Mapping[str, Any]) -> str:
    """Digest of weights, examples, settings, the code that makes features and the libraries that it calls."""
    import torch
    import transformers

    here = Path(__file__).parent
    parts = {
        "weights": {path.name: _sha256(path) for path in _files(checkpoint) if path.name.endswith(_WEIGHTS)},
        "examples": {path.name: _sha256(path) for path in _files(data)},
        "settings": dict(settings),
        "code": {name: _sha256(here / f"{name}.py") for name in CODE},
        "libraries": [torch.__version__, transformers.__version__, np.__version__],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def tidy(root: Path, keep: Path, room: float = ROOM) -> None:
    """Delete features that were used longest ago until the rest fits; ``keep`` stays."""
    folders = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    total = 0.0
    for folder in [keep, *(each for each in folders if each != keep)]:
        total += sum(each.stat().st_size for each in folder.glob("*"))
        if total > room and folder != keep:
            shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    """Files of an artifact; its card and counts say nothing of their own."""
    skipped = ("card.json", "counts.json", "licences.json")
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name not in skipped)


def _sha256(path: Path) -> str:
    """Of a file; an artifact's card is taken at its word."""
    card = path.parent / "card.json"
    if card.exists():
        listed = {each["name"]: each["sha256"] for each in json.loads(card.read_text())["files"]}
        if path.name in listed:
            return str(listed[path.name])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
