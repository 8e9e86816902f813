"""Segments: a source's tokens cut within documents, the unit that carries labels; and what they say of items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from presight.errors import EXIT_DATA, PresightError

LONGEST = 1024  # tokens; the paper labels segments of this length

Bounds = npt.NDArray[np.int64]


def cut(ends: npt.ArrayLike, longest: int = LONGEST) -> Bounds:
    """The bounds of segments: every document's tokens by ``longest``, what is left over at its end by itself.

    Args:
        ends: of the documents, in tokens, ascending [documents].
        longest: tokens of a segment at most.

    Returns:
        int64[segments + 1]: segment k is the tokens bounds[k] … bounds[k + 1] − 1; empty documents have none.
    """
    ends = np.asarray(ends, dtype=np.int64)
    starts = np.concatenate([[0], ends])[:-1]
    pieces = -(-(ends - starts) // longest)  # rounded up
    first = np.cumsum(pieces) - pieces
    inside = np.arange(pieces.sum()) - np.repeat(first, pieces)
    return np.concatenate([np.repeat(starts, pieces) + inside * longest, ends[-1:] if len(ends) else [0]]).astype(
        np.int64
    )


def means(scores: npt.ArrayLike, bounds: Bounds, starts: Bounds, stops: Bounds) -> npt.NDArray[np.float64]:
    """Token-weighted means of segments' scores over windows of tokens.

    Args:
        scores: of segments [segments, labels].
        bounds: of segments [segments + 1].
        starts: first token of each window [windows].
        stops: one past its last token [windows]; later than its start.

    Returns:
        [windows, labels].
    """
    scores = np.asarray(scores, dtype=np.float64)
    lengths = np.diff(bounds)[:, None]
    total = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores * lengths, axis=0)])

    def until(token: Bounds) -> npt.NDArray[np.float64]:
        """The sum of scores over all tokens before ``token``."""
        segment = np.clip(np.searchsorted(bounds, token, side="right") - 1, 0, len(scores) - 1)
        return total[segment] + scores[segment] * (token - bounds[segment])[:, None]

    return (until(stops) - until(starts)) / (stops - starts)[:, None]


def ends(shard: Path, tokens: int) -> Bounds:
    """The ends of a shard's documents, in tokens, out of its index.

    Raises:
        PresightError: the index is missing or does not end where the shard does (exit code 87).
    """
    path = shard.with_name(f"{shard.name}.index")
    found = np.fromfile(path, dtype="<u8").astype(np.int64) if path.exists() else np.zeros(0, dtype=np.int64)
    if not len(found) or found[-1] != tokens or (np.diff(found) < 0).any() or path.stat().st_size % 8:
        mend = "restore it, or delete its artifact and run again"
        raise PresightError(str(path), f"does not index the {tokens} tokens of its shard", mend, EXIT_DATA)
    return found
