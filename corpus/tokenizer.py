"""A byte-level BPE tokenizer trained on equal shares of every source, in the transformers format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from corpus.documents import INDEX, read_source
from presight.console import Track
from presight.errors import PresightError
from presight.stage import Cost, Needs, Stage

END = "<|endoftext|>"


class Tokenizer(Stage):
    """BPE over bytes; digits stand alone, so that numbers are cut the same way in every mixture.

    Every source gives the same number of characters: no mixture is favoured by its vocabulary.
    """

    kind = "tokenizer"
    version = "1"

    documents: Annotated[Stage, Needs("documents")]
    vocabulary: int = Field(4096, ge=512, le=262144, description="tokens, the end-of-text token included")
    characters: int = Field(1_500_000, gt=0, description="characters of each source that are read")

    def estimate(self) -> Cost:
        """Bytes read."""
        return Cost(bytes=self.characters * 7)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Train and save."""
        from tokenizers import Tokenizer as Model
        from tokenizers import decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast

        folder = inputs["documents"]
        sources = sorted(json.loads((folder / INDEX).read_text())["sources"])
        model = Model(models.BPE())
        model.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        model.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary,
            special_tokens=[END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        track = Track(self.characters * len(sources), "training the tokenizer")
        texts = (text for source in sources for text in self._texts(folder / source, track))
        model.train_from_iterator(texts, trainer)
        wrapped = PreTrainedTokenizerFast(tokenizer_object=model, eos_token=END, bos_token=END, pad_token=END)
        wrapped.save_pretrained(out)

    def _texts(self, folder: Path, track: Track) -> Iterator[str]:
        left = self.characters
        for document in read_source(folder):
            yield document.text[:left]
            track.advance(min(left, len(document.text)))
            left -= len(document.text)
            if left <= 0:
                return


def end_of_text(folder: Path) -> str:
    """How the end-of-text token of a tokenizer in the transformers format is spelled.

    Raises:
        PresightError: no fast tokenizer is there, or it has no such token.
    """
    missing = [name for name in ("tokenizer.json", "tokenizer_config.json") if not (folder / name).exists()]
    if missing:
        raise PresightError(str(folder), f"has no {missing[0]}", "give a tokenizer saved by transformers")
    token = json.loads((folder / "tokenizer_config.json").read_text()).get("eos_token")
    spelled = token.get("content") if isinstance(token, dict) else token
    if not spelled:
        raise PresightError(str(folder), "its tokenizer has no end-of-text token", "set eos_token and save it again")
    return str(spelled)
