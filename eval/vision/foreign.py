"""Models for images and text that transformers loads, whoever trained them, asked as ours are: both scorers.

The prompt goes through the model's own processor. Where its decoder takes embeddings alone, the picture is put among
them once and options share that prefix, as with our models; where it takes more (positions in a grid, features for
deeper layers, a prefix that sees ahead), every option is scored behind the whole input. Which of the two is tried out
on the first question that is asked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from presight import hub, index
from presight.errors import PresightError
from presight.stage import Stage

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from adapt.vlm.pictures import Pictures
    from eval.answers.questions import Question
    from eval.vision.conditions import Shown
    from eval.vision.seeing import Sighted

FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


class Foreign(Stage):
    """A model for images and text from elsewhere, in the format of transformers, with its processor.

    From a folder, as ``adapt.Export`` writes one, or from the hub. It is known by its content, or by its commit.
    """

    kind = "llava"
    version = "1"

    path: Path | None = Field(None, exclude=True, description="a folder, as save_pretrained writes it")
    repository: str | None = Field(None, description="owner/name of the hub, or owner/name@revision")
    content: str = Field("", description="digest of the folder; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn the folder's content, or pin the commit.

        Raises:
            PresightError: neither or both are given, nothing is there, or the hub lacks it.
        """
        if (self.path is None) == (self.repository is None):
            problem = "neither is given" if self.path is None else "both are given"
            raise PresightError("path or repository", problem, "name one: a folder, or owner/name of the hub")
        if self.repository is not None:
            name, _, revision = self.repository.partition("@")
            found = hub.commit("model", name, revision or "main", "repository", fetch)
            return self.changed(repository=f"{name}@{found}")
        return self if self.content else self.changed(content=index.content(self._folder()))

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Link its files, or copy them where links cannot be made.

        Raises:
            PresightError: its files changed since they were planned, cannot be had, or hold no such model.
        """
        from adapt.vlm.artifact import link

        folder = self._folder()
        if self.path is not None and index.content(folder) != self.content:
            raise PresightError(str(folder), "its files changed since it was planned", "run again")
        missing = [name for name in ("config.json", "*.safetensors") if not any(folder.glob(name))]
        if missing:
            mend = "give model and processor as save_pretrained writes them; pickled weights are not read"
            raise PresightError(str(folder), f"holds no {missing[0]}", mend)
        link(folder, out)
        size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        (out / "counts.json").write_text(json.dumps({"bytes": size}))

    def _folder(self) -> Path:
        if self.path is not None:
            return self.path.expanduser()
        from huggingface_hub import snapshot_download

        name, _, revision = str(self.repository).partition("@")
        try:
            return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
        except Exception as error:  # of any layer of the network
            mend = "download it where the hub is in reach (`hf download`), or name a copy in path"
            raise PresightError("repository", f"{name} cannot be had ({hub.line(error)})", mend) from error


def foreign(folder: Path, pictures: Sequence[Path], gpus: int, batch_tokens: int) -> Sighted:
    """A model and its processor, and the pictures that it may be shown.

    Raises:
        PresightError: transformers cannot load them, or the pictures are sounds.
    """
    from adapt.vlm import efficientnet, encoders, llava
    from adapt.vlm import model as vlm
    from adapt.vlm.pictures import Pictures
    from eval.answers.cache import code_digest, model_digest
    from eval.vision import seeing, whole

    model, processor = load(folder, gpus)
    held = [Pictures(each) for each in pictures]
    if any(each.modality != "image" for each in held):
        raise PresightError("pictures", "are sounds, which the model does not hear", "give images")
    look = Pixels(model, processor, held)
    scorer = whole.Either(model, processor.tokenizer, look.empty, batch_tokens)
    ours = (encoders, efficientnet, llava, vlm)  # what is shown, and what exports of ours compute
    code = code_digest(*(Path(str(module.__file__)) for module in (sys.modules[__name__], whole, seeing, *ours)))
    facts = {"modality": "image", "encoder": "its own", "template": "chat" if look.chat else "plain"}
    return seeing.Sighted(scorer, look, f"{model_digest(folder)[:24]}-{code[:16]}", facts)


def load(folder: Path, gpus: int) -> tuple[Any, Any]:
    """Model in float32 and processor.

    Raises:
        PresightError: transformers cannot load them.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import adapt.vlm.llava  # noqa: F401 — registers what exports of ours may be

    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model, known = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True, use_safetensors=True
        )
        if known["missing_keys"]:
            raise ValueError("weights are missing")  # transformers would draw them at random
        if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
            raise ValueError("its processor takes no images with text")
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        mend = "save a model for images and text there, with its processor, by save_pretrained"
        raise PresightError("model", f"transformers cannot load {folder} ({hub.line(error)})", mend) from error
    return model.to("cuda" if gpus else "cpu").eval(), processor


class Pixels:
    """Puts questions and pictures before a model, by way of its processor.

    Args:
        model: whose device the inputs go to.
        processor: with the chat template that it uses, if any.
        pictures: artifacts of images.
    """

    def __init__(self, model: Any, processor: Any, pictures: Sequence[Pictures]) -> None:
        self.model, self.processor, self.pictures = model, processor, pictures
        self.chat = bool(getattr(processor, "chat_template", None))
        self.space = lead(processor) if self.chat else " "

    @property
    def empty(self) -> list[int]:
        """Tokens of a prompt in which nothing is said or shown."""
        return list(self._inputs("", None)["input_ids"][0].tolist())

    def seen(self, question: Question) -> Any:
        """The picture by its content, and the view of it."""
        shown = _shown(question)
        return None if shown.key is None else [shown.key, shown.view]

    def prompt(self, question: Question, text: str) -> dict[str, torch.Tensor]:
        """What the model takes of a question behind what is shown: ids [1, T], pixels and whatever else."""
        return self._inputs(text, self.image(_shown(question)))

    def _inputs(self, text: str, image: Image | None) -> dict[str, torch.Tensor]:
        if self.chat:
            content: list[dict[str, Any]] = [{"type": "text", "text": text}]
            if image is not None:
                content.insert(0, {"type": "image", "image": image})
            said = [{"role": "user", "content": content}]
            how = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
            given = self.processor.apply_chat_template(said, add_generation_prompt=True, **how)
        elif image is None:
            given = self.processor.tokenizer(f"{text}\nAnswer:", return_tensors="pt")
        else:
            token = getattr(self.processor, "image_token", None) or "<image>"
            given = self.processor(text=f"{token}\n{text}\nAnswer:", images=image, return_tensors="pt")
        return {name: value.to(self.model.device) for name, value in given.items()}

    def image(self, shown: Shown) -> Image | None:
        """The picture in RGB, grey all over, or with its phases at random; None: there is none.

        Raises:
            PresightError: there is none of that key.
        """
        if shown.key is None:
            return None
        if not self.pictures:
            raise PresightError("pictures", "none are given, but the questions are about some", "give pictures")
        import numpy as np
        from PIL import Image

        from adapt.vlm.encoders import GREY, scrambled

        held = next((each for each in self.pictures if shown.key in each), self.pictures[0])
        image = held.image(shown.key)
        if shown.view == "blank":
            return Image.new("RGB", image.size, GREY)
        if shown.view == "scrambled":
            planes = np.asarray(image, np.float32).transpose(2, 0, 1)  # [3, H, W]
            mixed = scrambled(planes, shown.key).transpose(1, 2, 0)
            return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
        return image


def lead(processor: Any) -> str:
    """The space that a chat template puts between the place of an answer and the answer, if that is all it puts."""
    mark = "q7919x"
    said = [{"role": "user", "content": [{"type": "text", "text": mark}]}]
    answered = [*said, {"role": "assistant", "content": [{"type": "text", "text": mark}]}]
    opened = processor.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    between = processor.apply_chat_template(answered, tokenize=False).removeprefix(opened).partition(mark)[0]
    return " " if between == " " else ""


def _shown(question: Question) -> Shown:
    from eval.vision.conditions import NOTHING
    from eval.vision.seeing import Pictured

    return question.shown if isinstance(question, Pictured) else NOTHING
