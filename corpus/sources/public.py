"""The paper's sixteen sources as a vocabulary, each with a public stand-in of our choice (``public.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from presight import document
from presight.console import number
from presight.errors import PresightError, nearest

FILE = Path(__file__).with_name("public.yaml")
COMMIT = r"[0-9a-f]{40}"


class Entry(BaseModel, frozen=True, extra="forbid"):
    """A dataset of the model hub: where it is, under which licence, and how that is known."""

    description: str
    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    config: str | None = None
    files: str | None = None
    split: str = "train"
    revision: str | None = Field(None, pattern=f"^{COMMIT}$")
    licence: str
    gated: bool
    verified: str = Field(min_length=1, description="how these facts are known")
    note: str = ""


class Corpus(Entry, frozen=True, extra="forbid"):
    """Text to pretrain on."""

    text_key: str = "text"
    tokens: int | None = Field(gt=0, description="how many it holds; null: never counted")
    counted: str = Field("", description="with which tokenizer, by whom")


class Tuning(Entry, frozen=True, extra="forbid"):
    """Captions or instructions to adapt with."""

    kind: str = Field(pattern="^(captions|images|text)$")
    items: int = Field(gt=0)


class Public(BaseModel, frozen=True, extra="forbid"):
    """The file: whose choice it is, the stand-ins, and the sets for adaptation."""

    choice: str
    sources: dict[str, Corpus]
    adaptation: dict[str, Tuning]


@cache
def public() -> Public:
    """The file, checked.

    Raises:
        PresightError: it is not as it should be, with the first field at fault.
    """
    try:
        return Public.model_validate(document.read(FILE))
    except ValidationError as error:
        first = error.errors()[0]
        raise PresightError(f"{FILE.name}: {'.'.join(map(str, first['loc']))}", first["msg"], "mend it") from error


def stand_in(source: str) -> Corpus:
    """The public stand-in of one of the sixteen sources.

    Raises:
        PresightError: not one of them, with the nearest.
    """
    known = public().sources
    if source not in known:
        raise PresightError("sources", f"{source!r} has no public stand-in", nearest(source, known))
    return known[source]


def supply(source: str) -> int | None:
    """Tokens its stand-in holds; None: never counted. Counted with other tokenizers: good to a tenth or two."""
    return stand_in(source).tokens


def shortfall(
    shares: Mapping[str, float],
    budget: float,
    max_epochs: float,
    sources: Mapping[str, int | None] | None = None,
) -> list[str]:
    """What is asked of the sources beyond their supply, a sentence for each that falls short.

    Args:
        shares: of the mixture, in any unit.
        budget: tokens of the mixture.
        max_epochs: passes over a source allowed at most.
        sources: tokens of each source (``Hub.supply()``; None: unknown, never short); default the public stand-ins.
    """
    whole = sum(shares.values())
    found = []
    for source, share in shares.items():
        held = supply(source) if sources is None else sources.get(source)
        wanted = share / whole * budget if whole else 0.0
        if held is not None and wanted > held * max_epochs:
            most = held * max_epochs / share * whole
            problem = f"{number(wanted)} tokens are wanted, but it holds {number(held)} × max_epochs {max_epochs:g}"
            mend = f"raise max_epochs to {wanted / held:.3g} or lower the budget to {number(most)}"
            found.append(f"{source}: {problem}; {mend}")
    return found


def rows() -> list[dict[str, str]]:
    """The vocabulary as a table: a row a source, then a row a set for adaptation."""
    known = public()
    held = {name: number(entry.tokens) if entry.tokens else "?" for name, entry in known.sources.items()}
    held |= {name: f"{entry.items:,} items" for name, entry in known.adaptation.items()}
    return [
        {
            "source": name,
            "stand-in": " ".join(filter(None, [entry.id, entry.config, entry.files])),
            "holds": held[name],
            "licence": entry.licence,
            "gated": "yes" if entry.gated else "no",
            "pinned": (entry.revision or "at first use")[:12],
            "description": entry.description,
            "verified": entry.verified,
        }
        for name, entry in {**known.sources, **known.adaptation}.items()
    ]
