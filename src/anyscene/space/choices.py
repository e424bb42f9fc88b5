"""Weighted choices without repetition: typed values laid out so that a digit and a key pick one.

A *menu* is a list of types with their values. Digit 0 draws a type by weight and a value alike within it. Digits 1, 2, 3, ...
go on through the other types in turn and, lap after lap, through further values, until every value was picked once. So a
scene's first version follows the weights, and as many different versions exist as there are values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.keyed import U64, mix

IntArray = NDArray[np.int64]
SHARES = 1024


@dataclass(frozen=True)
class Menus:
    """Many menus over one flat list of values.

    Attributes:
        values: all values of all lists, one after the other.
        shares: ``(menus, 1024)`` type position for each equal share of probability.
        first, size: ``(menus, types)`` where the values of a type begin and how many there are; types by falling number of picks.
        picks: ``(menus, types)`` how often a type can be picked: its values by groups of ``width``.
        reach: ``(menus, types)`` picks of all laps up to the number of picks of each type.
        width: values that compete in one pick; 1 unless realism is asked for.
    """

    values: IntArray
    shares: NDArray[np.int16]
    first: IntArray
    size: IntArray
    picks: IntArray
    reach: IntArray
    width: int

    @property
    def radix(self) -> IntArray:
        """``(menus,)`` how many different picks each menu has."""
        return np.asarray(self.picks.sum(axis=1), dtype=np.int64)

    def pick(self, menu: IntArray, digit: IntArray, key: U64) -> tuple[IntArray, IntArray, IntArray]:
        """(first value, where its list begins, length of the list) of the competing values of each pick.

        The ``c``-th competitor is ``values[begin + (first + c) % length]``.
        """
        h = mix(key)
        kind = self.shares[menu, (h & np.uint64(SHARES - 1)).astype(np.int64)].astype(np.int64)
        lap = np.zeros(len(menu), dtype=np.int64)
        later = np.flatnonzero(digit > 0)
        if len(later):
            lap[later], kind[later] = self._go_on(menu[later], digit[later], kind[later])
        begin, length = self.first[menu, kind], self.size[menu, kind]
        turn = mix(h + kind.astype(np.uint64)) % length.astype(np.uint64)
        step = np.minimum(self.width, length)
        return (turn.astype(np.int64) + lap * step) % length, begin, length

    def _go_on(self, menu: IntArray, digit: IntArray, start: IntArray) -> tuple[IntArray, IntArray]:
        """(lap, type position) of digits above 0: types with picks left take turns, from the drawn one on."""
        reach, picks = self.reach[menu], self.picks[menu]
        gone = (reach <= digit[:, None]) & (picks > 0)
        types = (picks > 0).sum(axis=1)
        active = types - gone.sum(axis=1)
        rows = np.arange(len(menu))
        some = active < types
        last = np.minimum(active, picks.shape[1] - 1)
        before = np.where(some, reach[rows, last], 0)
        laps = np.where(some, picks[rows, last], 0)
        lap, place = np.divmod(digit - before, active)
        return laps + lap, (start % active + place) % active


def build_menus(lists: Sequence[Sequence[IntArray]], weights: NDArray[np.float64], width: int) -> Menus:
    """Lay out menus; ``lists[menu][type]`` are values, ``weights`` ``(types,)`` or ``(menus, types)``.

    A menu without any value has radix 0 and must not be picked from.
    """
    types = max((len(menu) for menu in lists), default=1)
    shape = (len(lists), max(types, 1))
    shares = np.zeros((len(lists), SHARES), dtype=np.int16)
    first, size, picks, reach = (np.zeros(shape, dtype=np.int64) for _ in range(4))
    size[:] = 1
    flat: dict[bytes, int] = {}
    chunks: list[IntArray] = []
    filled = 0
    for row, menu in enumerate(lists):
        own = weights if weights.ndim == 1 else weights[row]
        counts = np.array([len(values) // min(width, len(values)) if len(values) else 0 for values in menu], dtype=np.int64)
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] > 0]
        if not len(order):
            continue
        for place, kind in enumerate(order):
            values = menu[kind]
            name = values.tobytes()
            if name not in flat:
                flat[name] = filled
                chunks.append(values)
                filled += len(values)
            first[row, place], size[row, place], picks[row, place] = flat[name], len(values), counts[kind]
        falling = picks[row, : len(order)]
        reach[row, : len(order)] = np.minimum(falling[None, :], falling[:, None]).sum(axis=1)
        share = own[order]
        share = share if share.sum() > 0 else np.ones(len(order))
        ends = np.floor(np.cumsum(share) / share.sum() * SHARES + 0.5).astype(np.int64)
        shares[row] = np.searchsorted(ends, np.arange(SHARES), side="right")
    values = np.concatenate(chunks) if chunks else np.zeros(1, dtype=np.int64)
    return Menus(values, shares, first, size, picks, reach, width)
