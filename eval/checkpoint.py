"""A checkpoint as model and tokenizer in memory, as all that reads text with it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from presight.errors import PresightError


def load_model(folder: Path, gpus: int = 0) -> tuple[Any, Any]:
    """A checkpoint's causal LM in float32, on a GPU if there shall be one, and its tokenizer.

    Raises:
        PresightError: transformers cannot load them, or texts have nothing to begin after.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model, known = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
        if known["missing_keys"]:
            raise ValueError("weights are missing")  # transformers would draw them at random
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        mend = "save causal LM and tokenizer there with save_pretrained"
        raise PresightError("model", f"transformers cannot load {folder}", mend) from error
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise PresightError("model", "its tokenizer has no start and no end token", "give it a bos_token")
    return model.to("cuda" if gpus else "cpu").eval(), tokenizer


@contextmanager
def reading(model: Any) -> Iterator[Any]:
    """Without gradients and dropout; gives the model's device, and its mode back."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield next(model.parameters()).device
    finally:
        model.train(training)
