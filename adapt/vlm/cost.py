"""What adapting an LM takes, for plans: its size, tokens, arithmetic and disk."""

from __future__ import annotations

from typing import Any

from presight.stage import Cost, Stage
from pretrain.model import SHAPES, shape
from pretrain.train import MODEL_BYTES, STATE_BYTES, Train
from pretrain.vocabulary import vocabulary

TURN = 64  # tokens of what is said of a picture
FROZEN = 4 / 6  # of the arithmetic of training: no gradients of weights


def cost(stage: Any, items: int, trained: bool, shown: bool) -> Cost:
    """Of so many conversations; of an LM that is of no size in the table, these alone.

    Args:
        stage: ``adapt.Align`` or ``adapt.Instruct``.
        items: conversations read, over all epochs.
        trained: whether the LM is.
        shown: whether pictures are.
    """
    model = language(stage)
    if model is None:
        return Cost(items=items)
    words = vocabulary(stage)
    tokens = items * min(stage.context, TURN + (_pictured(stage) if shown else 0))
    flops = tokens * shape(model).flops(words, stage.context) * (1.0 if trained else FROZEN)
    kept = shape(model).parameters(words) if trained else 0
    state = kept * (STATE_BYTES + (2 if stage.dtype == "bf16" else 0))
    return Cost(tokens=tokens, flops=flops, items=items, disk=MODEL_BYTES * kept, working=2 * state)


def language(stage: Stage) -> str | None:
    """The size of the LM that a stage stands on, of the table of shapes; None for another."""
    row = [stage]
    for each in row:
        if each.kind == "checkpoint":
            named = each.size() if isinstance(each, Train) else getattr(each, "model", None)
            if not isinstance(named, Stage):  # a control is of the size of what it is made of
                return named if named in SHAPES else None
        row += [parent for name, parent in each.inputs().items() if name in ("model", "start")]
    return None


def _pictured(stage: Stage) -> int:
    """Tokens of a picture, as the alignment at the beginning has them."""
    first = stage
    while not hasattr(first, "tokens") and hasattr(first, "start"):
        first = first.start
    return int(getattr(first, "tokens", 0))
