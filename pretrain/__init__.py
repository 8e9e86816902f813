"""Mixture in, checkpoint out: models, batches and training with DeepSpeed."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from pretrain.init import Init as Init
    from pretrain.model import SHAPES as SHAPES
    from pretrain.passport import Passport as Passport
    from pretrain.passport import comparable as comparable
    from pretrain.train import Train as Train

__getattr__, __all__ = lazy(
    "pretrain",
    {
        "Init": "init",
        "Passport": "passport",
        "SHAPES": "model",
        "Train": "train",
        "comparable": "passport",
    },
)
