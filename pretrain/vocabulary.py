"""Tokenizers as training needs them: their words, their end of text, and what is known of them beforehand."""

from __future__ import annotations

from pathlib import Path

from presight.stage import Stage


def words(folder: Path) -> tuple[int, int]:
    """Size of a tokenizer's vocabulary and its end-of-text token."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return len(tokenizer), int(tokenizer.eos_token_id)


def vocabulary(stage: Stage) -> int:
    """The size of the vocabulary that a stage stands on, for estimates; 32,768 where none is stated."""
    found = getattr(stage, "vocabulary", None)
    if isinstance(found, int):
        return found
    sizes = [vocabulary(parent) for parent in stage.inputs().values()]
    return min(sizes, default=32768)


def vocabulary_of(folder: Path) -> dict[str, int]:
    """The words of the tokenizer in a folder, by their spelling."""
    from transformers import AutoTokenizer

    found: dict[str, int] = AutoTokenizer.from_pretrained(folder).get_vocab()
    return found
