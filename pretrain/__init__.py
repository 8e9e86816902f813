"""Mixture in, checkpoint out: models, batches and training with DeepSpeed."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from pretrain.checkpoint import Checkpoint as Checkpoint
    from pretrain.init import Init as Init
    from pretrain.model import SHAPES as SHAPES
    from pretrain.passport import Passport as Passport
    from pretrain.passport import comparable as comparable
    from pretrain.search import Search as Search
    from pretrain.train import Train as Train

__getattr__, __all__ = lazy(
    "pretrain",
    {
        "Checkpoint": "checkpoint",
        "Init": "init",
        "Passport": "passport",
        "SHAPES": "model",
        "Search": "search",
        "Train": "train",
        "comparable": "passport",
    },
)
