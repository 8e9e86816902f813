"""A causal LM from elsewhere as a checkpoint: to train on, to measure, or for its shape alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from presight import hub, index
from presight.errors import PresightError
from presight.stage import Stage

_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


class Checkpoint(Stage):
    """A causal LM of the transformers format, from a folder or the hub, with its tokenizer.

    Known by its content, or by its commit on the hub. Tokenise a corpus with it (``tokenizer: $model``) to go on from
    it (``start: $model``). With ``fresh`` only its configuration counts: the weights are drawn anew from the seed, so
    any architecture that transformers knows can be pretrained from nothing, and has its random control.
    """

    kind = "checkpoint"
    version = "1"

    path: Path | None = Field(None, exclude=True, description="a folder, as save_pretrained writes it")
    repository: str | None = Field(None, description="owner/name of the hub, or owner/name@revision")
    fresh: bool = Field(False, description="its configuration alone, with weights drawn from the seed")
    seed: int = Field(0, ge=0, description="of fresh weights")
    content: str = Field("", description="digest of the folder; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn the folder's content, or pin the commit."""
        if (self.path is None) == (self.repository is None):
            given = "neither is given" if self.path is None else "both are given"
            raise PresightError("path or repository", given, "name one: a folder, or owner/name of the hub")
        if self.repository is not None:
            name, _, revision = self.repository.partition("@")
            found = hub.commit("model", name, revision or "main", "repository", fetch)
            return self.changed(repository=f"{name}@{found}")
        return self if self.content else self.changed(content=index.content(self.folder()))

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
                unpickling would read.
        """
        folder = self.folder()
        if self.path is not None and index.content(folder) != self.content:
            raise PresightError(str(folder), "its files changed since it was planned", "run again")
        model, tokenizer = self._read(folder)
        if not tokenizer.is_fast:
            raise PresightError(str(folder), "its tokenizer has no tokenizer.json", "convert it to a fast tokenizer")
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        (out / "counts.json").write_text(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}))

    def _read(self, folder: Path) -> tuple[Any, Any]:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            config = AutoConfig.from_pretrained(folder)
            if not self.fresh:
                model, known = AutoModelForCausalLM.from_pretrained(
                    folder, dtype="auto", use_safetensors=True, output_loading_info=True
                )
                if missing := sorted(known["missing_keys"]):
                    raise ValueError(f"{len(missing)} weights are missing, as {missing[0]}")
                return model, tokenizer
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return AutoModelForCausalLM.from_config(config).float(), tokenizer
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            mend = "give a causal LM with config.json, *.safetensors and its tokenizer, as save_pretrained writes them"
            raise PresightError(str(folder), f"cannot be read ({hub.line(error)})", mend) from error
