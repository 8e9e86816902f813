"""How long a picture's tokens are beside text's: projectors as they come make them far longer (arXiv 2512.08374)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from adapt.vlm.model import VisionLanguageModel, text_norm

if TYPE_CHECKING:
    from adapt.vlm.samples import Samples

PICTURES = 64  # that the mean is taken over


@dataclass(frozen=True, eq=False, slots=True)
class Norms:
    """Mean lengths of tokens.

    Attributes:
        text: of a text token's embedding.
        before: of a picture's token, by the projector that a tuning begins with; None: no pictures are shown.
        features: of the pictures it is taken over, float16 [P, h·w, d].
    """

    text: float
    before: float | None
    features: npt.NDArray[np.float16] | None

    @classmethod
    def of(cls, model: VisionLanguageModel, samples: Samples) -> Norms:
        """Before a tuning."""
        keys = {each.picture: None for each in samples.conversations if each.picture is not None}
        if samples.features is None or not keys:
            return cls(text_norm(model.language), None, None)
        features = samples.features.read(list(keys)[:PICTURES])
        return cls(text_norm(model.language), picture_norm(model, features), features)

    def sentence(self) -> str:
        """For people."""
        if self.before is None:
            return f"a text token is {self.text:.3g} long, and no picture is shown"
        return f"a text token is {self.text:.3g} long, a picture's {self.before:.3g} to begin with"

    def after(self, model: VisionLanguageModel) -> dict[str, float | None]:
        """Before and after, for the record."""
        now = None if self.features is None else picture_norm(model, self.features)
        return {"text": self.text, "picture_before": self.before, "picture": now}


@torch.no_grad()
def picture_norm(model: VisionLanguageModel, features: npt.NDArray[np.float16]) -> float:
    """Mean length of the tokens of pictures, of features [P, h·w, d]."""
    return float(model.look(torch.from_numpy(features)).norm(dim=-1).mean())
