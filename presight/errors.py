"""The one error a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Exit codes of every command and every rank (the training codes are those a SLURM script acts on).
EXIT_USER = 2
EXIT_CONTINUE = 85
EXIT_BAD_NODE = 86
EXIT_DATA = 87
EXIT_DIVERGED = 88


class PresightError(Exception):
    """A fault the user can mend: printed as one sentence, without a traceback, exit code 2.

    Args:
        field: what is at fault, as the user wrote it (``stages.lm.learning_rate``, a path, an option).
        problem: what is wrong with it, with the value.
        mend: what to do about it.
        code: exit code; 2 unless a scheduler must act on it.
    """

    def __init__(self, field: str, problem: str, mend: str = "", code: int = EXIT_USER) -> None:
        self.field, self.problem, self.mend, self.code = field, problem, mend, code
        sentence = f"{field}: {problem}" + (f"; {mend}" if mend else "")
        super().__init__(sentence if sentence.endswith("?") else f"{sentence}.")


class Unavailable(PresightError):
    """Outside data that cannot be had here: what needs it is left out of a recipe, and said."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The mend for an unknown name: the nearest known one, or the list of them."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return "known: " + ", ".join(names) if names else "none is known here"
