"""Sets of scene attributes that can stand together: counted, numbered and drawn.

Values with the same type and the same contradictions form a group, so that sets are counted over a few hundred groups.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import SpecError
from anyscene.scene.keyed import U64, mix, mix_int
from anyscene.space.tables import Tables

IntArray = NDArray[np.int64]
TRIES = 12


class SceneSets:
    """Sets of compatible scene attributes, at most one of each type."""

    def __init__(self, tables: Tables) -> None:
        self.values = tables.scene_attributes
        self._taxonomy = tables.taxonomy
        self._counts: dict[tuple[bytes, int], int] = {}

    @cached_property
    def _free(self) -> NDArray[np.bool_]:
        """``(values, values)``: may the two stand together?"""
        conflicts = self._taxonomy.scene_conflicts
        return ~conflicts[np.ix_(self.values, self.values)]

    @cached_property
    def _grouping(self) -> tuple[IntArray, list[IntArray], NDArray[np.bool_]]:
        """(group of each value, values of each group, which groups may stand together)."""
        packed = np.packbits(self._free, axis=1)
        _, first, group = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        group = order[group.ravel()]
        members = [np.flatnonzero(group == g) for g in range(len(first))]
        heads = np.array([own[0] for own in members], dtype=np.int64)
        return group, members, self._free[np.ix_(heads, heads)]

    def count(self, size: int) -> int:
        """How many sets of ``size`` scene attributes there are."""
        if size == 0:
            return 1
        if len(self.values) == 0:
            return 0
        return self._count(np.ones(len(self._grouping[1]), dtype=np.bool_), size)

    def _count(self, mask: NDArray[np.bool_], size: int) -> int:
        """Weighted cliques of ``size`` among the groups of ``mask``."""
        if size == 0:
            return 1
        key = (np.packbits(mask).tobytes(), size)
        if key not in self._counts:
            _, members, free = self._grouping
            chosen = np.flatnonzero(mask)
            weight = np.array([len(members[g]) for g in chosen], dtype=np.float64)
            near = free[np.ix_(chosen, chosen)].astype(np.float64)
            if size == 1:
                total = int(weight.sum())
            elif size == 2:
                total = int(weight @ near @ weight) // 2
            elif size == 3:
                total = round(float(((near * weight) @ near * near * weight[:, None] * weight[None, :]).sum())) // 6
            else:
                total = 0
                for place, g in enumerate(chosen):
                    later = np.zeros_like(mask)
                    later[chosen[place + 1 :]] = True
                    total += len(members[g]) * self._count(later & free[g], size - 1)
            self._counts[key] = total
        return self._counts[key]

    def unrank(self, size: int, rank: int) -> tuple[int, ...]:
        """The set with a number from ``0`` to ``count(size) - 1``, in word order."""
        if size == 0:
            return ()
        _, members, free = self._grouping
        mask = np.ones(len(members), dtype=np.bool_)
        found: list[int] = []
        for left in range(size - 1, -1, -1):
            for g in np.flatnonzero(mask):
                mask[g] = False
                rest = self._count(mask & free[g], left)
                block = len(members[g]) * rest
                if rank < block:
                    member, rank = divmod(rank, rest)
                    found.append(int(self.values[members[g][member]]))
                    mask &= free[g]
                    break
                rank -= block
        return self.in_word_order(found)

    def rank(self, values: tuple[int, ...]) -> int:
        """The number of a set: the inverse of ``unrank``.

        Raises:
            SpecError: a value is not allowed, or two of them contradict each other.
        """
        group, members, free = self._grouping if len(self.values) else (np.zeros(0, np.int64), [], np.zeros((0, 0), np.bool_))
        places = np.searchsorted(self.values, values)
        if any(p >= len(self.values) or self.values[p] != v for p, v in zip(places, values, strict=True)):
            raise SpecError("a scene attribute is not one that this space has")
        if not all(self._free[a, b] for i, a in enumerate(places) for b in places[:i]):
            raise SpecError("two scene attributes contradict each other or are of one type")
        order = sorted(places, key=lambda p: group[p])
        mask = np.ones(len(members), dtype=np.bool_)
        rank = 0
        for place, left in zip(order, range(len(order) - 1, -1, -1), strict=True):
            for g in np.flatnonzero(mask):
                mask[g] = False
                rest = self._count(mask & free[g], left)
                if g == group[place]:
                    rank += int(np.searchsorted(members[g], place)) * rest
                    mask &= free[g]
                    break
                rank += len(members[g]) * rest
        return rank

    def in_word_order(self, values: list[int]) -> tuple[int, ...]:
        """Sorted as they stand in a caption: types are numbered in word order."""
        kinds = self._taxonomy.scene_attributes.type_index
        return tuple(sorted(values, key=lambda value: (kinds[value], value)))

    @cached_property
    def _draw(self) -> tuple[IntArray, IntArray, IntArray, NDArray[np.bool_]]:
        """(type of each of 4096 equal shares, first value and number of values by type, who may stand with whom)."""
        kinds = self._taxonomy.scene_attributes.type_index[self.values]
        sizes = np.bincount(kinds, minlength=len(self._taxonomy.scene_attribute_types))
        weight = self._taxonomy.scene_attribute_types.weight * (sizes > 0)
        if weight.sum() == 0:
            weight = (sizes > 0).astype(np.float64)
        ends = np.floor(np.cumsum(weight) / weight.sum() * 4096 + 0.5).astype(np.int64)
        shares = np.searchsorted(ends, np.arange(4096), side="right")
        order = np.argsort(kinds, kind="stable")
        return shares, order, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), self._free

    def draw(self, sizes: IntArray, keys: U64) -> tuple[IntArray, IntArray]:
        """Draw a set for each row: types by weight, values alike within a type, contradictions drawn anew.

        Args:
            sizes: ``(rows,)`` how many each row gets; there must be at least one set of that size.
            keys: ``(rows,)`` hash of each row.

        Returns:
            ``(values, counts)``: flat values in word order within each row, and ``sizes``.
        """
        most = int(sizes.max(initial=0))
        if most == 0:
            return np.zeros(0, dtype=np.int64), sizes
        shares, order, starts, free = self._draw
        chosen = np.full((len(sizes), most), -1, dtype=np.int64)
        for place in range(most):
            todo = np.flatnonzero(sizes > place)
            for turn in range(TRIES):
                if not len(todo):
                    break
                h = mix(keys[todo] + np.uint64(0xA5A5 + place * 64 + turn))
                kind = shares[(h & np.uint64(4095)).astype(np.int64)]
                size = starts[kind + 1] - starts[kind]
                value = order[starts[kind] + ((h >> np.uint64(12)) % size.astype(np.uint64)).astype(np.int64)]
                fine = np.ones(len(todo), dtype=np.bool_)
                for before in range(place):
                    fine &= free[value, chosen[todo, before]]
                chosen[todo[fine], place] = value[fine]
                todo = todo[~fine]
            for row in todo:
                self._complete(chosen[row], int(sizes[row]), int(keys[row]))
        flat = np.where(chosen >= 0, self.values[chosen], np.iinfo(np.int64).max)
        kinds = self._taxonomy.scene_attributes.type_index
        rank = np.where(chosen >= 0, kinds[np.where(chosen >= 0, flat, 0)].astype(np.int64), np.iinfo(np.int64).max)
        flat = np.take_along_axis(flat, np.argsort(rank, axis=1, kind="stable"), axis=1)
        return flat[np.arange(most)[None, :] < sizes[:, None]], sizes

    def _complete(self, chosen: IntArray, size: int, key: int) -> None:
        """Where drawing found nothing that fits: go on among the types that are left, or take the set that the key numbers."""
        places = [int(place) for place in chosen[:size] if place >= 0]
        kinds = self._taxonomy.scene_attributes.type_index[self.values]
        open_ = np.logical_and.reduce(self._free[places]) if places else np.ones(len(self.values), dtype=np.bool_)
        while len(places) < size and open_.any():
            left = np.flatnonzero(open_)
            types = np.unique(kinds[left])
            key = mix_int(key)
            own = left[kinds[left] == types[key % len(types)]]
            places.append(int(own[(key >> 20) % len(own)]))
            open_ &= self._free[places[-1]]
        if len(places) < size:
            places = np.searchsorted(self.values, self.unrank(size, key % self.count(size))).tolist()
        chosen[:size] = places
        chosen[size:] = -1
