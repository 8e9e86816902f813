"""Made-up text, for tests and for machines without a network: three sources that differ as real ones do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from corpus.documents import write_index, write_source
from presight.stage import Cost, Stage

THINGS = [
    "boat",
    "lamp",
    "river",
    "garden",
    "bridge",
    "horse",
    "window",
    "market",
    "stone",
    "candle",
    "tower",
    "basket",
]
LOOKS = ["red", "small", "bright", "round", "wooden", "old", "narrow", "pale", "striped", "heavy"]
PLACES = ["beside", "under", "behind", "near", "above", "across"]


class Invented(Stage):
    """Sentences about scenes (``web``), small functions (``code``) and sums (``math``), from a seed.

    Enough structure to learn in a minute, none of it real: nothing may be concluded from what a model learns here.
    """

    kind = "documents"
    version = "1"

    documents: int = Field(300, ge=10, description="of each source")
    seed: int = Field(0, description="of the sentences")

    def estimate(self) -> Cost:
        """Bytes written, about."""
        return Cost(bytes=3 * 700 * self.documents)

    def run(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Write the three sources."""
        for source, writer in {"code": _function, "math": _sums, "web": _scene}.items():
            write_source(out, source, self._rows(source, writer), None)
        write_index(out, {source: ["CC0-1.0"] for source in ("code", "math", "web")})

    def _rows(self, source: str, writer: Any) -> Iterator[dict[str, Any]]:
        draw = Random(f"{source}-{self.seed}")
        for number in range(self.documents):
            yield {"id": f"{source}-{number}", "text": "\n".join(writer(draw) for _ in range(8)), "metadata": {}}


def _scene(draw: Random) -> str:
    first, second = draw.sample(THINGS, 2)
    return (
        f"The {draw.choice(LOOKS)} {first} stands {draw.choice(PLACES)} the {draw.choice(LOOKS)} {second}. "
        f"Nobody saw the {second} move."
    )


def _function(draw: Random) -> str:
    name, argument, times = draw.choice(THINGS), draw.choice("abcxyz"), draw.randint(2, 99)
    return f"def {name}_{times}({argument}):\n    return {argument} * {times} + {draw.randint(0, 9)}\n"


def _sums(draw: Random) -> str:
    a, b = draw.randint(10, 99), draw.randint(10, 99)
    return f"{a} + {b} = {a + b}, and {a + b} - {b} = {a}; therefore {a} < {a + b}."
