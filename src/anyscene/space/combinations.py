"""Combinations and multisets as numbers (the combinatorial number system)."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def combination(rank: int, size: int) -> list[int]:
    """The ``size``-subset of the naturals with a number (combinatorial number system), ascending."""
    found = []
    for k in range(size, 0, -1):
        low, high = k - 1, k
        while comb(high, k) <= rank:
            high *= 2
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if comb(middle, k) <= rank else (low, middle)
        found.append(low)
        rank -= comb(low, k)
    return found[::-1]


def combination_rank(values: Sequence[int]) -> int:
    """The number of a set of naturals, given ascending."""
    return sum(comb(value, k + 1) for k, value in enumerate(values))


def multiset(rank: int, size: int) -> list[int]:
    """The multiset of ``size`` naturals with a number."""
    return [value - i for i, value in enumerate(combination(rank, size))]


def multiset_rank(falling: list[int]) -> int:
    """The number of a multiset of naturals, given from large to small."""
    return combination_rank([value + i for i, value in enumerate(reversed(falling))])
