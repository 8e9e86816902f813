"""What the runs of a recipe that train an LM will take on its GPUs, and what chains of budgets save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from presight.errors import PresightError
from pretrain.budget import Layout, Memory, Prediction, memory, predict
from pretrain.model import shape
from pretrain.train import Train
from pretrain.vocabulary import vocabulary


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one run takes.

    Attributes:
        size: it is of, of the table.
        tokens: that it reads.
        layout: of the run on its GPUs.
        memory: of one GPU.
        rate: predicted speed and time, or why there is none; of a run that trains a part, in tokens that would take as
            much in training the whole.
    """

    size: str
    tokens: int
    layout: Layout
    memory: Memory
    rate: Prediction | PresightError

    @property
    def speed(self) -> float | None:
        """Tokens that it reads in a second on all its GPUs; None where there is no rate."""
        return None if isinstance(self.rate, PresightError) else self.rate.rate * self.tokens / self.rate.tokens


def forecast(run: Any, gpu: str, mfu: float | None = None) -> Forecast | None:
    """What a run takes on the GPUs that its resources name; None for an LM of no size in the table.

    Args:
        run: a ``pretrain.Train``, ``adapt.Align`` or ``adapt.Instruct``.
        gpu: a card of ``pretrain.peaks.CARDS``, or ``cpu``.
        mfu: share of the peak; default: what others publish for such a run.

    Raises:
        PresightError: no such card, or a layout that cannot be.
    """
    size, cost = run.size(), run.estimate()
    if size is None or not cost.tokens:
        return None
    gpus, words = max(1, run.resources.gpus * run.resources.nodes), vocabulary(run)
    context = getattr(run.mixture, "item", 256) if isinstance(run, Train) else run.context
    worth = cost.tokens if isinstance(run, Train) else cost.flops / shape(size).flops(words, context)
    layout = Layout(
        gpus=gpus,
        zero=run.zero,
        dtype=run.dtype,
        optimizer=getattr(run, "optimizer", "adamw"),
        offload=run.offload,
        checkpointing=run.checkpointing,
        micro_batch=run.micro_batch or max(1, run.batch // gpus),
        context=context,
        vocabulary=words,
    )
    rate: Prediction | PresightError
    try:
        rate = predict(size, worth, gpu=gpu, layout=layout, mfu=mfu)
    except PresightError as error:
        if error.field != "mfu" or mfu is not None:  # no figure is published: memory alone is an answer
            raise
        rate = error
    need = memory(shape(size), layout)
    if not getattr(run, "tunes", True):  # of a frozen LM; the projector's share is small
        need = replace(need, gradients=0, optimizer=0, host=0)
    return Forecast(size, cost.tokens, layout, need, rate)


def tokens_alone(runs: Sequence[Train]) -> int:
    """Tokens that runs would read were each budget trained by itself: of every run that no other goes on from."""
    gone_on = {each.start.fingerprint for each in runs if each.start is not None and each.goes_on(each.start)}
    ends = {each.fingerprint: each for each in runs if each.fingerprint not in gone_on}
    return sum(each.estimate().tokens + each.first(each.mixture.estimate().tokens) for each in ends.values())
