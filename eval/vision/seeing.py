"""Questions as a model with an encoder reads them: the item's words, its options, and the features of a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.answers.questions import Question, Style, letters
from eval.answers.scoring import Answers, Scorer
from eval.vision.conditions import NOTHING, Shown
from eval.vision.items import Item
from presight.errors import PresightError

if TYPE_CHECKING:
    import torch

    from adapt.vlm.features import Features
    from adapt.vlm.model import VisionLanguageModel
    from eval.answers.choices import Look

WORDING = "1"  # version of the words below
LETTER = "Answer with the option's letter from the given choices directly."  # LLaVA-1.5's, as Cambrian-1 asks
EXPLAIN = "Explain your reasoning step by step, then answer."
STOP = ("\n\n", "\nQuestion:", "\nUser:")  # what follows is no part of a reply
TURN = ("\nUser:",)  # nor of an explanation


@dataclass(frozen=True, slots=True)
class Pictured(Question):
    """A question about what is shown; without options it is to be answered freely.

    Attributes:
        shown: in the picture's place.
        ending: what is asked for, behind the options.
    """

    shown: Shown = NOTHING
    ending: str = LETTER

    @classmethod
    def of(cls, item: Item, shown: Shown, ending: str | None = None) -> Pictured:
        """An item's question; by default its letter is asked for, or of a free answer nothing but what it says.

        What shares a picture is one cluster, unless the item names another.
        """
        if ending is None:
            ending = LETTER if item.options else ""
        answer = item.answer if isinstance(item.answer, int) else -1
        cluster = item.cluster or item.picture or item.item
        return cls(item.item, item.prompt, item.options, answer, cluster, shown=shown, ending=ending)

    def text(self, style: Style = "letters") -> str:
        """What the user says; in the cloze style the question alone."""
        if style == "cloze":
            return self.prompt
        lines = [
            f"{letter}. {option}" for letter, option in zip(letters(len(self.options)), self.options, strict=True)
        ]
        return "\n".join([self.prompt, *lines, *([self.ending] if self.ending else [])])


@dataclass(frozen=True, slots=True)
class Sighted:
    """A model that can be asked about pictures.

    Attributes:
        scorer: scores options and writes replies.
        look: puts a question and what is shown before it.
        digest: of its weights, and of the code that reads them: what it answered is kept under this name.
        facts: for the record: what it is, and how it is asked.
    """

    scorer: Answers
    look: Look
    digest: str
    facts: dict[str, Any]


class Eyes:
    """Puts questions and features before an LM with a projector.

    Args:
        model: as `VisionLanguageModel.load` gives it.
        features: artifacts of its encoder; none: it can be asked without pictures only.

    Raises:
        PresightError: features of another encoder.
    """

    def __init__(self, model: VisionLanguageModel, features: Sequence[Features]) -> None:
        self.model, self.features, self.space = model, features, model.template.lead
        for each in features:
            wanted, given = (model.attachment.width, model.grid), (each.width, each.grid)
            if (wanted, model.attachment.encoder) != (given, each.encoder):
                problem = f"are of {each.encoder}, {given[0]} wide over a grid of {given[1]}"
                mend = f"encode with {model.attachment.encoder}, {wanted[0]} wide over {wanted[1]}, as the model was"
                raise PresightError("features", problem, mend)

    def read(self, shown: Shown) -> Any:
        """Features [h·w, d] of what is shown; None: nothing.

        Raises:
            PresightError: there are none.
        """
        if shown == NOTHING:
            return None
        if not self.features:
            raise PresightError("features", "none are given, but the questions are about pictures", "give features")
        if shown.view == "blank":
            return self.features[0].blank
        held = next((each for each in self.features if shown.key in each), self.features[0])
        return held.read([str(shown.key)], shown.view)[0]

    def seen(self, question: Question) -> Any:
        """Digest of the features, whatever picture they are said to be of; None without."""
        features = self.read(_shown(question))
        return None if features is None else hashlib.sha256(features.tobytes()).hexdigest()

    def prompt(self, question: Question, text: str) -> torch.Tensor:
        """Embeddings [T, D] of the question behind what is shown."""
        return self.model.prompt(text, self.read(_shown(question)))


class Reader:
    """Puts questions before an LM that sees nothing.

    Args:
        space: in front of an option.
    """

    def __init__(self, space: str = " ") -> None:
        self.space = space

    def seen(self, question: Question) -> Any:
        """Nothing.

        Raises:
            PresightError: a picture is to be shown.
        """
        if _shown(question) != NOTHING:
            problem = "a checkpoint sees no pictures"
            raise PresightError("condition", problem, "ask with condition: none, or a model of kind vlm")

    def prompt(self, question: Question, text: str) -> str:
        """The text, and the place of the answer."""
        return f"{text}\nAnswer:"


def with_projector(folder: Path, features: Sequence[Path], gpus: int, batch_tokens: int) -> Sighted:
    """A ``vlm`` artifact, and features of what it is to be shown.

    Raises:
        PresightError: it cannot be loaded; or as `Eyes`.
    """
    from adapt.vlm import chat, model, template
    from adapt.vlm.features import Features

    vlm = model.VisionLanguageModel.load(folder, gpus)
    empty = vlm.template.prompt("", False).ids.tolist()
    scorer = Scorer(vlm.language, vlm.tokenizer, empty=empty, budget=batch_tokens, ends=vlm.template.ends)
    look = Eyes(vlm, [Features(each) for each in features])
    code = [Path(str(module.__file__)) for module in (chat, model, template)]
    facts = {"modality": vlm.attachment.modality, "encoder": vlm.attachment.encoder, "template": vlm.template.name}
    return Sighted(scorer, look, _digest(folder, code), facts)


def without_eyes(folder: Path, gpus: int, batch_tokens: int) -> Sighted:
    """A causal LM, to be asked without pictures.

    Raises:
        PresightError: it cannot be loaded.
    """
    from eval.checkpoint import load_model

    language, tokenizer = load_model(folder, gpus)
    return Sighted(Scorer(language, tokenizer, budget=batch_tokens), Reader(), _digest(folder), {"modality": "text"})


def _digest(folder: Path, code: Sequence[Path] = ()) -> str:
    from eval.answers.cache import code_digest, model_digest

    return f"{model_digest(folder)[:24]}-{code_digest(Path(__file__), *code)[:16]}"


def _shown(question: Question) -> Shown:
    return question.shown if isinstance(question, Pictured) else NOTHING
