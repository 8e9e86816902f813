"""A vision or audio encoder's features before a causal LM: resized, projected, put where the picture stands."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adapt.vlm.artifact import LANGUAGE, PROJECTOR, Attachment, link
from adapt.vlm.template import Template
from presight.errors import PresightError

if TYPE_CHECKING:
    import numpy.typing as npt


class Projector(nn.Module):
    """Features to the LM's embeddings: linear, GELU, linear, named as LLaVA's are.

    The weights depend on widths and seed alone: every LM of a width starts from the same projector.

    Args:
        width: of a feature.
        depth: of an embedding.
        seed: of the weights.
        gain: of a norm behind the last layer, so that a picture's token is ``gain · √depth`` long; None: no norm.
    """

    def __init__(self, width: int, depth: int, seed: int = 0, gain: float | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.linear_1 = nn.Linear(width, depth)
            self.linear_2 = nn.Linear(depth, depth)
        self.norm = None if gain is None else nn.LayerNorm(depth)
        if self.norm is not None and gain is not None:
            nn.init.constant_(self.norm.weight, gain)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings [..., D] of features [..., width]."""
        found: Tensor = self.linear_2(nn.functional.gelu(self.linear_1(features)))
        return found if self.norm is None else self.norm(found)


def resize(features: Tensor, grid: tuple[int, int], tokens: int) -> Tensor:
    """Features [B, h·w, d] of a grid as so many tokens [B, tokens, d], bilinear between the places of the grid.

    A picture's tokens are a square of rows from the top; a sound's grid is one row, and stays one.

    Raises:
        PresightError: so many tokens are no square.
    """
    height, width = side(tokens, grid)
    count, places, depth = features.shape
    assert places == grid[0] * grid[1]
    if grid == (height, width):
        return features
    planes = features.float().transpose(1, 2).reshape(count, depth, *grid)
    found = nn.functional.interpolate(planes, (height, width), mode="bilinear", align_corners=False)
    return found.flatten(2).transpose(1, 2)  # [B, tokens, d]


def side(tokens: int, grid: tuple[int, int]) -> tuple[int, int]:
    """The grid of so many tokens made from another grid.

    Raises:
        PresightError: they are no square, as a picture needs.
    """
    if grid[0] == 1:
        return 1, tokens
    root = math.isqrt(tokens)
    if root * root != tokens:
        near = f"{root * root} or {(root + 1) ** 2}" if root else "1"
        raise PresightError("tokens", f"{tokens} of a picture make no square", f"give {near}")
    return root, root


class VisionLanguageModel(nn.Module):
    """A causal LM that is shown pictures.

    Args:
        language: a transformers causal LM.
        projector: from the encoder's width to that of the LM's embeddings.
        tokenizer: the LM's.
        attachment: what is shown, and how turns are written.
    """

    def __init__(self, language: Any, projector: Projector, tokenizer: Any, attachment: Attachment) -> None:
        super().__init__()
        self.language, self.projector, self.tokenizer = language, projector, tokenizer
        self.attachment = attachment
        self.template = Template(attachment.template, tokenizer)

    @property
    def tokens(self) -> int:
        """Of a picture."""
        return self.attachment.tokens

    @property
    def grid(self) -> tuple[int, int]:
        """Of the encoder's features."""
        return self.attachment.grid

    @classmethod
    def attached(cls, folder: Path, attachment: Attachment) -> VisionLanguageModel:
        """The causal LM of a checkpoint with a fresh projector, in float32.

        Raises:
            PresightError: transformers cannot load it.
        """
        language, tokenizer = _language(folder)
        depth = language.get_input_embeddings().weight.shape[1]
        gain = text_norm(language) / math.sqrt(depth) if attachment.interface == "matched" else None
        projector = Projector(attachment.width, depth, attachment.seed, gain)
        return cls(language, projector, tokenizer, attachment)

    @classmethod
    def load(cls, folder: Path, gpus: int = 0) -> VisionLanguageModel:
        """A ``vlm`` artifact in float32, on a GPU if there shall be one, in evaluation mode.

        Raises:
            PresightError: it is none, or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        attachment = Attachment.read(folder)
        language, tokenizer = _language(folder / LANGUAGE)
        depth = language.get_input_embeddings().weight.shape[1]
        projector = Projector(attachment.width, depth, gain=1.0 if attachment.interface == "matched" else None)
        try:
            projector.load_state_dict(load_file(folder / PROJECTOR))
        except (OSError, RuntimeError, SafetensorError) as error:
            problem = f"its projector cannot be read ({' '.join(str(error).split())[:120]})"
            raise PresightError(str(folder), problem, "delete the artifact and run again") from error
        return cls(language, projector, tokenizer, attachment).to("cuda" if gpus else "cpu").eval()

    def look(self, features: Tensor) -> Tensor:
        """What the LM is shown of features [B, h·w, d]: embeddings [B, tokens, D], float32."""
        weight = self.projector.linear_1.weight
        resized = resize(features.to(weight.device).float(), self.grid, self.tokens)
        shown: Tensor = self.projector(resized.to(weight.dtype))
        return shown.float()

    @torch.no_grad()
    def prompt(self, question: str, features: npt.NDArray[Any] | Tensor | None) -> Tensor:
        """Embeddings [T, D] of a question, up to where the answer begins.

        Args:
            question: the user's turn.
            features: of the picture [h·w, d]; None: there is none.
        """
        text = self.template.prompt(question, features is not None)
        embed = self.language.get_input_embeddings()
        embedded: Tensor = embed(torch.from_numpy(text.ids).to(embed.weight.device))  # [T, D]
        if features is None:
            return embedded
        shown = self.look(torch.as_tensor(features)[None])[0].to(embedded.dtype)
        return torch.cat([embedded[: text.place], shown, embedded[text.place :]])

    def save(self, out: Path, language: Path | None = None, **more: Any) -> None:
        """Write a ``vlm`` artifact, in float32.

        Args:
            out: its folder.
            language: a checkpoint that holds the LM as it is: its files are linked, or copied, instead of written.
            more: for ``vlm.json``.
        """
        if language is None:
            self.language.save_pretrained(out / LANGUAGE)
            self.tokenizer.save_pretrained(out / LANGUAGE)
        else:
            link(language, out / LANGUAGE)
        self.save_projector(out)
        self.attachment.write(out, **more)

    def save_projector(self, out: Path) -> None:
        """Write its weights alone, in float32."""
        from safetensors.torch import save_file

        state = {
            name: value.detach().cpu().float().contiguous() for name, value in self.projector.state_dict().items()
        }
        out.mkdir(parents=True, exist_ok=True)
        save_file(state, out / PROJECTOR)

    def with_template(self, name: str) -> VisionLanguageModel:
        """Write turns in another way from now on."""
        self.attachment = replace(self.attachment, template=name)
        self.template = Template(name, self.tokenizer)
        return self


@torch.no_grad()
def text_norm(language: Any) -> float:
    """Mean length of a text token's embedding, as the LM's first block is given it."""
    embed = language.get_input_embeddings()
    every = torch.arange(embed.weight.shape[0], device=embed.weight.device)
    return sum(float(embed(part).float().norm(dim=-1).sum()) for part in every.split(4096)) / len(every)


def _language(folder: Path) -> tuple[Any, Any]:
    """A causal LM in float32, and its tokenizer."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        language, known = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
        if known["missing_keys"]:
            raise ValueError("weights are missing")  # transformers would draw them at random
        return language, AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        mend = "save causal LM and tokenizer there with save_pretrained"
        raise PresightError(str(folder), "transformers cannot load an LM from it", mend) from error
