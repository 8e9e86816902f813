"""The content of a mixture: every pool as an endless stream of positions, one keyed permutation per epoch.

A draw depends on the seed, the pool's name, its supply and the draw's number, never on the mixture: a mixture that
takes less of a pool reads a prefix of what a mixture that takes more of it reads.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Four rounds make a Feistel network hard to tell from a random permutation in large pools. In pools of a handful of
# items two more are needed before the frequency of each order stops showing the structure plainly.
ROUNDS = 6
_GAMMA = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
_U64 = np.uint64

Unsigned = npt.NDArray[np.uint64]


def stream_key(seed: int, name: str) -> int:
    """64 bits that name a pool's stream."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")


def _mix(state: Unsigned) -> Unsigned:
    """The output function of splitmix64 (Steele, Lea, Flood 2014), in place."""
    state ^= state >> _U64(30)
    state *= _U64(0xBF58476D1CE4E5B9)
    state ^= state >> _U64(27)
    state *= _U64(0x94D049BB133111EB)
    state ^= state >> _U64(31)
    return state


def _feistel(index: Unsigned, side: Unsigned, key: Unsigned) -> Unsigned:
    """A bijection of [0, side²): the two digits of ``index`` in base ``side`` take turns to be shifted by the other.

    Round i of digit d is output number ROUNDS·d + i of the splitmix64 stream that starts at ``key``.
    """
    left, right = np.divmod(index, side)
    for i in range(ROUNDS):
        state = right * _U64(ROUNDS * _GAMMA & _MASK)
        state += key
        state += _U64((i + 1) * _GAMMA & _MASK)
        shift = _mix(state)
        shift >>= _U64(32)
        shift *= side
        shift >>= _U64(32)  # uniform in [0, side), to one part in 2³² / side
        shift += left
        left, right = right, np.minimum(shift, shift - side)  # mod side: the smaller of the two once it wraps
    return left * side + right


def scrambled(count: int, name: str) -> Unsigned:
    """A key for each of 0 … count − 1, as good as random: sorting by them is a permutation that ``name`` decides."""
    state = np.arange(count, dtype=_U64) * _U64(_GAMMA)
    state += _U64(stream_key(0, name))
    return _mix(state)


class Streams:
    """The streams of several pools.

    Args:
        seed: with the pool's name, the key of a stream.
        names: one per pool.
        supplies: items in each pool.
    """

    def __init__(self, seed: int, names: Sequence[str], supplies: Sequence[int]) -> None:
        self.supply = np.array(supplies, dtype=_U64)  # [pools]
        # The smallest square that holds the supply: about one index in √supply/2 falls outside and walks on.
        self._side = np.array([math.isqrt(s - 1) + 1 if s else 0 for s in supplies], dtype=_U64)
        self._key = np.array([stream_key(seed, name) for name in names], dtype=_U64)

    def draw(self, pool: npt.NDArray[np.int16], k: npt.NDArray[np.int64]) -> tuple[Unsigned, Unsigned]:
        """Draw number ``k`` (from 0) of pool ``pool``: its epoch and its position in [0, supply); all [n]."""
        supply, side = self.supply[pool], self._side[pool]
        epoch, position = np.divmod(k.astype(_U64), supply)
        key = epoch * _U64(_GAMMA)
        key += self._key[pool]
        key = _mix(key)
        position = _feistel(position, side, key)
        outside = np.flatnonzero(position >= supply)
        while outside.size:  # cycle walking: following a cycle until it re-enters keeps the map a bijection
            position[outside] = _feistel(position[outside], side[outside], key[outside])
            outside = outside[position[outside] >= supply[outside]]
        return epoch, position
