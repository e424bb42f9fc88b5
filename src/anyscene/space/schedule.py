"""Which stratum a row belongs to, and the how-manieth row of it: a closed form, so that any row can be found at once.

A schedule is a tree. At every node the rows go round over the children in laps; a child with weight w gets w rows a lap. A
child that has no rows left drops out and the others take its place: laps are grouped into stages between two such events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.keyed import permutation

IntArray = NDArray[np.int64]
ENDLESS = 1 << 62


@dataclass(frozen=True, slots=True)
class Stage:
    """Laps with the same children: from row ``start`` on, ``cycle[i]`` is the child of the i-th row of a lap."""

    start: int
    cycle: IntArray
    place: IntArray
    weight: IntArray
    base: IntArray


class Node:
    """Rows that go round over children.

    Args:
        capacities: rows that each child has.
        weights: rows that each child gets in a lap.
        key: turns the order of the children within laps.
    """

    def __init__(self, capacities: Sequence[int], weights: Sequence[int], key: int) -> None:
        self.capacity = min(sum(capacities), ENDLESS)
        self._stages: list[Stage] = []
        left = [min(capacity, ENDLESS) for capacity in capacities]
        base = [0] * len(left)
        start = 0
        while start < self.capacity:
            shares = [min(weight, rest) for weight, rest in zip(weights, left, strict=True)]
            lap = sum(shares)
            laps = min(rest // share for rest, share in zip(left, shares, strict=True) if share)
            self._stages.append(_stage(start, shares, base, key))
            start += laps * lap
            left = [rest - laps * share for rest, share in zip(left, shares, strict=True)]
            base = [done + laps * share for done, share in zip(base, shares, strict=True)]
        self._starts = np.array([stage.start for stage in self._stages], dtype=np.int64)

    def locate(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """(child, row within the child) of each row of this node."""
        child = np.empty(len(rows), dtype=np.int64)
        inner = np.empty(len(rows), dtype=np.int64)
        which = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(which):
            stage = self._stages[number]
            own = which == number
            lap, place = np.divmod(rows[own] - stage.start, len(stage.cycle))
            chosen = stage.cycle[place]
            child[own] = chosen
            inner[own] = stage.base[chosen] + lap * stage.weight[chosen] + stage.place[place]
        return child, inner


def _stage(start: int, shares: list[int], base: list[int], key: int) -> Stage:
    cycle = np.repeat(np.arange(len(shares)), shares)
    place = np.concatenate([np.arange(share) for share in shares]) if shares else np.zeros(0, dtype=np.int64)
    order = permutation(len(cycle), key)
    return Stage(start, cycle[order], place[order], np.array(shares, dtype=np.int64), np.array(base, dtype=np.int64))
