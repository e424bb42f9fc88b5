"""Realism: which of a few competing values fits best, with weight ``exp(beta z)``.

``z`` is a plausibility score with mean 0 and deviation 1 over random pairs. Realism 0.5 lets nothing compete; towards 1 the
plausible wins, towards 0 the implausible. Competition is among values of one type and decided by keyed Gumbel noise in whole
numbers, so that the choice does not hang on the last bit of a float.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.keyed import U64, mix

IntArray = NDArray[np.int64]
MAX_BETA = 4.0
MAX_WIDTH = 16
_STEPS = 1024
_UNIT = 256


def width_of(realism: float) -> int:
    """How many values compete for a place: 1 at 0.5, 16 at both ends."""
    return max(1, round(math.pow(MAX_WIDTH, 2 * abs(realism - 0.5))))


def beta_of(realism: float) -> float:
    """The weight of plausibility: -4 at realism 0, 0 at 0.5, 4 at 1."""
    return MAX_BETA * 2 * (realism - 0.5)


@lru_cache(maxsize=1)
def _gumbel() -> IntArray:
    """Quantiles of the Gumbel distribution in 1/256."""
    return np.array([round(-math.log(-math.log((i + 0.5) / _STEPS)) * _UNIT) for i in range(_STEPS)], dtype=np.int64)


def winners(scores: NDArray[np.float32], beta: float, keys: U64) -> IntArray:
    """The competitor that wins in each row.

    Args:
        scores: ``(rows, competitors)`` z-scores.
        beta: weight of the scores.
        keys: ``(rows,)`` hash of each row.
    """
    columns = np.arange(scores.shape[1], dtype=np.uint64)
    noise = _gumbel()[(mix(keys[:, None] + columns[None, :]) & np.uint64(_STEPS - 1)).astype(np.int64)]
    worth = np.rint(scores * (beta * 16)).astype(np.int64) * (_UNIT // 16)
    return np.asarray(np.argmax(worth + noise, axis=1), dtype=np.int64)
