"""Loss on text that no mixture reads, per source: nats a token and bits a byte."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.batches import Batch

ITEMS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Heldout:
    """The first items of each source's held-out split.

    Attributes:
        tokens: int64 [items, item] by source.
        bytes_per_token: of the source's whole held-out split: turns nats a token into bits a byte.
    """

    tokens: dict[str, np.ndarray[Any, np.dtype[np.int64]]]
    bytes_per_token: dict[str, float]

    @classmethod
    def read(cls, folder: Path, item: int, items: int) -> Heldout:
        """Read up to ``items`` items of each source from a tokens artifact; sources with less text give fewer."""
        described = json.loads((folder / "tokens.json").read_text())
        dtype = {2: "<u2", 4: "<u4"}[described["token_bytes"]]
        tokens, ratio = {}, {}
        for source, splits in described["sources"].items():
            split = splits["heldout"]
            rows: list[np.ndarray[Any, Any]] = []
            for shard in split["shards"]:
                stream = np.fromfile(folder / shard["path"], dtype=dtype, count=(items - len(rows)) * item)
                rows += list(stream[: len(stream) // item * item].reshape(-1, item))
                if len(rows) >= items:
                    break
            if rows:
                tokens[source] = np.stack(rows).astype(np.int64)
                ratio[source] = split["bytes"] / split["tokens"]
        return cls(tokens, ratio)

    def losses(
        self, model: Any, interrupted: Callable[[], bool] = lambda: False
    ) -> dict[str, dict[str, float]] | None:
        """``{source: {"loss": nats per token, "bits_per_byte": …, "predicted": tokens}}``; None when interrupted.

        Args:
            model: a causal LM, or the objective that trains one.
            interrupted: asked before every forward pass.
        """
        import torch

        from pretrain.loss import Objective

        objective = model if isinstance(model, Objective) else Objective(model)
        device = next(objective.parameters()).device
        found = {}
        training = model.training
        objective.eval()
        try:
            with torch.no_grad():
                for source, rows in self.tokens.items():
                    total = 0.0
                    for start in range(0, len(rows), ITEMS_AT_ONCE):
                        if interrupted():
                            return None
                        batch = Batch(rows[start : start + ITEMS_AT_ONCE], np.zeros(0, dtype=np.int16))
                        x, y = (torch.from_numpy(each).to(device) for each in (batch.tokens, batch.targets()))
                        total += objective(x, y, torch.zeros(x.shape, device=device))[1].double().sum().item()
                    count = rows.shape[0] * (rows.shape[1] - 1)
                    found[source] = {
                        "loss": total / count,
                        "bits_per_byte": total / count / math.log(2) / self.bytes_per_token[source],
                        "predicted": count,
                    }
        finally:
            objective.train(training)
        return found
