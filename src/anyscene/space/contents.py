"""Contents of an object: a noun with its attribute set, numbered within its class."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import SpecError
from anyscene.space.combinations import combination, combination_rank
from anyscene.space.counting import Counter
from anyscene.space.frames import Part

Content = tuple[int, tuple[int, ...]]
"""(noun, attributes in word order)"""


class Contents:
    """Numbers the contents that an object of a part can have, class by class."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.tables = counter.tables
        self._suffixes: dict[tuple[int, tuple[int, ...]], list[tuple[int, ...]]] = {}

    def class_of(self, noun: int) -> int:
        """The class of a noun."""
        return int(self.tables.taxonomy.objects.class_index[noun])

    def unrank(self, part: Part, node: int, own: int, rank: int) -> Content:
        """The content of class ``own`` with a number."""
        seed = part.seeds[node]
        size = part.component.attributes[node]
        if seed >= 0:
            assert self.tables.seed is not None
            taken = self.tables.seed.attributes[seed]
            extra = self._unrank_set(self.tables.seed_profile[seed], taken, size - len(taken), rank)
            return self.tables.seed.nouns[seed], self.in_word_order((*taken, *extra))
        for profile, nouns in enumerate(self.tables.nouns):
            if self.tables.profile_class[profile] == own:
                sets = self.counter.sets(profile, size)
                if rank < len(nouns) * sets:
                    noun, inner = divmod(rank, sets)
                    return int(nouns[noun]), self.in_word_order(self._unrank_set(profile, (), size, inner))
                rank -= len(nouns) * sets
        raise AssertionError("the number is below the number of contents")

    def rank(self, part: Part, node: int, own: int, content: Content) -> int:
        """The number of a content: the inverse of ``unrank``."""
        noun, values = content
        seed = part.seeds[node]
        if seed >= 0:
            assert self.tables.seed is not None
            taken = self.tables.seed.attributes[seed]
            return self._rank_set(self.tables.seed_profile[seed], taken, tuple(v for v in values if v not in taken))
        rank = 0
        mine = int(self.tables.profile_of[noun])
        if mine < 0:
            raise SpecError(f"the object {self.tables.taxonomy.objects.names[noun]!r} is not in this space")
        for profile, nouns in enumerate(self.tables.nouns):
            if self.tables.profile_class[profile] == own:
                sets = self.counter.sets(profile, len(values))
                if profile == mine:
                    return rank + self.position(nouns, noun, "object") * sets + self._rank_set(profile, (), values)
                rank += len(nouns) * sets
        raise AssertionError("the profile of a noun is of its class")

    def in_word_order(self, values: tuple[int, ...]) -> tuple[int, ...]:
        """Sorted as they stand before the noun: types are numbered in word order."""
        kinds = self.tables.taxonomy.attributes.type_index
        return tuple(sorted(values, key=lambda value: (kinds[value], value)))

    def position(self, values: NDArray[np.int64], value: int, what: str) -> int:
        """The place of a value in an ascending list."""
        place = int(np.searchsorted(values, value))
        if place >= len(values) or values[place] != value:
            taxonomy = self.tables.taxonomy
            names = {"object": taxonomy.objects.names, "attribute": taxonomy.attributes.values, "relation": taxonomy.relations.names}[what]
            raise SpecError(f"the {what} {names[value]!r} is not allowed there in this space")
        return place

    def _suffix(self, profile: int, taken: tuple[int, ...]) -> list[tuple[int, ...]]:
        """``[type][size]``: sets out of this type and all after it."""
        if (profile, taken) not in self._suffixes:
            types = len(self.tables.taxonomy.attribute_types)
            parts = [self.tables.polynomial(profile, taken, first) for first in range(types + 1)]
            self._suffixes[profile, taken] = parts
        return self._suffixes[profile, taken]

    def _ways(self, profile: int, taken: tuple[int, ...], kind: int, size: int) -> list[tuple[int, int, int]]:
        """(values of this type, ways to choose them, sets that the types after it leave), for each number of values."""
        here = self.tables.type_polynomial(profile, kind, taken)
        after = self._suffix(profile, taken)[kind + 1]
        return [(k, here[k], after[size - k]) for k in range(min(size, len(here) - 1) + 1) if size - k < len(after)]

    def _unrank_set(self, profile: int, taken: tuple[int, ...], size: int, rank: int) -> tuple[int, ...]:
        found: list[int] = []
        for kind in range(len(self.tables.taxonomy.attribute_types)):
            if size == 0:
                break
            for k, here, after in self._ways(profile, taken, kind, size):
                if rank < here * after:
                    rank, own = divmod(rank, here)
                    found += self._unrank_type(profile, taken, kind, k, own)
                    size -= k
                    break
                rank -= here * after
        return tuple(found)

    def _rank_set(self, profile: int, taken: tuple[int, ...], values: tuple[int, ...]) -> int:
        kinds = self.tables.taxonomy.attributes.type_index
        rank, radix, size = 0, 1, len(values)
        for kind in range(len(self.tables.taxonomy.attribute_types)):
            if size == 0:
                break
            own = [value for value in values if kinds[value] == kind]
            for k, here, after in self._ways(profile, taken, kind, size):
                if k == len(own):
                    rank += radix * self._rank_type(profile, taken, kind, own)
                    radix *= here
                    size -= k
                    break
                rank += radix * here * after
            else:
                raise SpecError(f"the attributes {', '.join(self.tables.taxonomy.attributes.values[v] for v in own)} do not go together")
        return rank

    def _unrank_type(self, profile: int, taken: tuple[int, ...], kind: int, size: int, rank: int) -> list[int]:
        """``size`` values of a type: first the sets without an exclusive value, then by exclusive value."""
        exclusive, free = self.tables.values(profile, kind, taken)
        plain = comb(len(free), size)
        if rank < plain:
            return [int(free[i]) for i in combination(rank, size)]
        first, rest = divmod(rank - plain, comb(len(free), size - 1))
        return [int(exclusive[first]), *(int(free[i]) for i in combination(rest, size - 1))]

    def _rank_type(self, profile: int, taken: tuple[int, ...], kind: int, own: list[int]) -> int:
        exclusive, free = self.tables.values(profile, kind, taken)
        closed = [value for value in own if self.tables.taxonomy.attributes.exclusive[value]]
        places = sorted(self.position(free, value, "attribute") for value in own if value not in closed)
        if not closed:
            return combination_rank(places)
        if len(closed) > 1:
            raise SpecError(f"the attributes {', '.join(self.tables.taxonomy.attributes.values[v] for v in closed)} exclude each other")
        return (
            comb(len(free), len(own))
            + self.position(exclusive, closed[0], "attribute") * comb(len(free), len(own) - 1)
            + combination_rank(places)
        )
