"""Made-up images and sounds with known classes, for tests and for machines without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from presight.stage import FrozenMap, Stage

if TYPE_CHECKING:
    from adapt import examples

CLASSES = 4
SIDE = 16
RATE = 4000


class Invented(Stage):
    """Gratings of four orientations, or tones of four pitches, in noise. Nothing may be concluded from them."""

    kind = "examples"
    version = "1"

    modality: Literal["image", "sound"] = Field(description="gratings or tones")
    train: int = Field(128, ge=8, description="examples of this split")
    validation: int = Field(64, ge=8, description="examples of this split")
    test: int = Field(128, ge=8, description="examples of this split")
    noise: float = Field(1.0, ge=0, description="its deviation; the signal's amplitude is 1")
    seed: int = Field(0, ge=0, description="of phases and noise")

    @property
    def sizes(self) -> FrozenMap[str, int]:
        """Examples of each split."""
        return FrozenMap({"train": self.train, "validation": self.validation, "test": self.test})

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Draw and write."""
        from adapt import examples

        splits = {split: self._draw(split, count) for split, count in self.sizes.items()}
        names = [f"{180 // CLASSES * label} degrees" for label in range(CLASSES)]
        if self.modality == "sound":
            names = [f"{200 * (label + 1)} Hz" for label in range(CLASSES)]
        examples.write(out, splits, self.modality, names, RATE if self.modality == "sound" else None)

    def _draw(self, split: str, count: int) -> Iterator[examples.Example]:
        from adapt.examples import Example

        order = np.random.default_rng([self.seed, *split.encode()])
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE
        time = np.arange(RATE // 4) / RATE
        for number in range(count):
            label, phase = number % CLASSES, order.uniform(0, 2 * np.pi)
            if self.modality == "image":
                angle = np.pi * label / CLASSES
                wave = np.sin(6 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) + phase)
                noisy = wave + self.noise * order.normal(size=wave.shape)
                data = np.clip(127 + 40 * noisy, 0, 255).astype(np.uint8)
            else:
                wave = np.sin(2 * np.pi * 200 * (label + 1) * time + phase)
                data = (0.1 * (wave + self.noise * order.normal(size=wave.shape))).astype(np.float32)
            yield Example(f"{split}-{number}", data, label, f"{split}-{number}")
