"""The loss of packed conversations: next tokens where they are learnt, and logits nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adapt.vlm.model import VisionLanguageModel
from adapt.vlm.packing import IGNORED, Rows, Sample
from adapt.vlm.template import Tokens
from presight.errors import PresightError
from pretrain.loss import CHUNK, ChunkedLoss, shaped

READ = 32  # tokens of a text by which an LM is tried
APART = 1e-3  # in losses of float32: what rounding never makes of them


class Objective(nn.Module):
    """A model with its loss: the module that DeepSpeed trains.

    Most positions are a picture's or a question's, where nothing is learnt; logits are made for the others alone, in
    chunks, so that those of a whole batch never exist.

    Args:
        model: of which some parameters may be frozen.
        chunk: positions whose logits are held at once.
    """

    def __init__(self, model: VisionLanguageModel, chunk: int = CHUNK) -> None:
        super().__init__()
        self.model = model
        self.chunk = 0 if shaped(model.language) else chunk
        self.looks = any(parameter.requires_grad for parameter in model.projector.parameters())

    def embedded(self, ids: Tensor, shown: Tensor, features: Tensor, pictured: bool) -> tuple[Tensor, Tensor]:
        """What the LM reads [B, L, D], and a nought to be added to the loss.

        By that nought the projector has a gradient, though it be zero, in a part of rows without pictures, too: ranks
        reduce their gradients together, and one that had none would leave the others waiting.
        """
        found: Tensor = self.model.language.get_input_embeddings()(ids)
        nought = found.new_zeros(())
        if pictured or self.looks:
            looked = self.model.look(features)  # [P, tokens, D]
            nought = 0.0 * looked.sum()
            if pictured:
                found = found.clone()
                found[shown] = looked.flatten(0, 1).to(found.dtype)
        return found, nought

    def forward(
        self,
        ids: Tensor,
        shown: Tensor,
        features: Tensor,
        targets: Tensor,
        positions: Tensor,
        weight: float,
        pictured: bool,
    ) -> tuple[Tensor, Tensor]:
        """Sum of the losses times ``weight``, to go backward from, and the losses themselves.

        Args:
            ids: [B, L] int64.
            shown: [B, L], where the pictures' tokens stand.
            features: [P, h·w, d] of the pictures in the order in which they stand; one of anything where none does.
            targets: [B, L]; ``IGNORED`` where nothing is learnt.
            positions: [B, L], beginning anew with every conversation.
            weight: of every token that is learnt.
            pictured: whether any picture stands there.

        Returns:
            A scalar, and float32 [K] without a graph, of the K positions that have a target, row by row.
        """
        embedded, nought = self.embedded(ids, shown, features, pictured)
        kept = targets != IGNORED  # [B, L]
        goals = targets[kept]  # [K]
        # without mask and cache: only then are conversations told apart by their positions
        given = {"inputs_embeds": embedded, "position_ids": positions, "use_cache": False}
        language = self.model.language
        if not self.chunk:
            logits = language(**given).logits[kept].float()  # [K, V]
            each = nn.functional.cross_entropy(logits, goals, reduction="none")
            return (each * weight).sum() + nought, each.detach()
        hidden = getattr(language, language.base_model_prefix)(**given).last_hidden_state[kept]  # [K, D]
        output = language.get_output_embeddings().weight
        weights = torch.full(goals.shape, weight, dtype=torch.float32, device=goals.device)
        total, each = ChunkedLoss.apply(hidden, output, goals, weights, self.chunk, torch.is_grad_enabled())
        return total + nought, each


@torch.no_grad()
def try_packing(module: Objective, texts: Sequence[Sequence[int]]) -> None:
    """Refuse an LM that reads a text in a row with others otherwise than alone.

    Whether positions that begin anew part the conversations is up to each architecture: state-space models carry on.

    Args:
        module: in float32, in evaluation mode.
        texts: token ids of two texts.

    Raises:
        PresightError: it is such an LM.
    """
    first, second = (Sample.of(_all_learnt(ids[:READ]), None, 0) for ids in texts)
    mend = "give an LM of a transformer whose attention goes by positions"
    try:
        together, alone = (_losses(module, Rows.of([row])) for row in ([first, second], [second]))
    except TypeError as error:
        raise PresightError("model", f"takes no positions ({error})", mend) from error
    apart = float((together[-len(alone) :] - alone).abs().max())
    if not apart < APART:
        problem = f"reads conversations that share a row otherwise than alone: losses differ by {apart:.2g}"
        raise PresightError("model", problem, mend)


def _all_learnt(ids: Sequence[int]) -> Tokens:
    return Tokens(np.asarray(ids, dtype=np.int64), np.ones(len(ids), dtype=np.bool_), None)


def _losses(module: Objective, rows: Rows) -> Tensor:
    ids, shown, targets, positions = (
        torch.from_numpy(each) for each in (rows.ids, rows.shown, rows.targets, rows.positions)
    )
    attached = module.model.attachment
    nothing = torch.zeros(1, attached.grid[0] * attached.grid[1], attached.width)
    losses: Tensor = module(ids, shown, nothing, targets, positions, 1.0, False)[1]
    return losses
