"""How many scenes there are, exactly.

A part is a coloured graph: every object takes a *content* (noun and attribute set) and every relation a predicate, and the class
rules couple the two. Fillings up to the part's symmetries are counted by Burnside's lemma; the fillings that a symmetry
leaves in place are a sum over classes, one variable for each cycle of objects, taken variable by variable (tensor contraction).
Copies of a part are a multiset.
"""

from __future__ import annotations

from functools import cached_property
from math import comb

import numpy as np
from numpy.typing import NDArray

from anyscene.scene.structure import Permutation
from anyscene.space.frames import Frame, Part, cycles
from anyscene.space.tables import Tables

Weights = NDArray[np.object_]
Factor = tuple[tuple[int, ...], Weights]


class Counter:
    """Counts fillings of parts and frames over the tables of a spec; results are kept."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._parts: dict[tuple[object, ...], int] = {}

    def frame(self, frame: Frame) -> int:
        """The number of distinct scenes (scene attributes aside) of a frame."""
        total = 1
        for part in frame.parts:
            fillings = self.part(part)
            copies = len(part.copies)
            total *= comb(fillings + copies - 1, copies)
        return total

    def part(self, part: Part) -> int:
        """The number of fillings of a part up to its automorphisms."""
        key = (part.component, part.seeds, part.given)
        if key not in self._parts:
            self._parts[key] = self.orbits(part, part.automorphisms, {})
        return self._parts[key]

    def orbits(self, part: Part, group: tuple[Permutation, ...], known: dict[int, int]) -> int:
        """Fillings up to a group, where the objects in ``known`` have a given class (Burnside)."""
        fixed = sum(int(self._fixed(part, g, known)) for g in group)
        orbits, rest = divmod(fixed, len(group))
        assert rest == 0, "Burnside's sum is a multiple of the group order"
        return orbits

    def orbits_by_class(self, part: Part, group: tuple[Permutation, ...], known: dict[int, int], node: int) -> Weights:
        """``(classes,)``: ``orbits`` split by the class of an object that no member of the group moves."""
        total = sum((self._fixed(part, g, known, node) for g in group), start=np.zeros(len(self.tables.taxonomy.classes), dtype=object))
        return np.asarray(total // len(group), dtype=object)

    def _fixed(self, part: Part, g: Permutation, known: dict[int, int], keep: int | None = None) -> Weights:
        """Fillings that ``g`` leaves in place: one content a cycle of objects, one predicate a cycle of relations.

        A single number, or ``(classes,)`` by the class of the object ``keep``.
        """
        variable = {}
        factors: list[Factor] = []
        for i, cycle in enumerate(cycles(g)):
            for node in cycle:
                variable[node] = i
            factors.append(((i,), self.contents(part, cycle[0], known.get(cycle[0]))))
        seen = set()
        for edge, given in zip(part.component.edges, part.given, strict=True):
            if edge in seen:
                continue
            a, b = edge
            while (a, b) not in seen:
                seen.add((a, b))
                a, b = g[a], g[b]
            if given < 0:
                factors.append(self._pair(variable[edge[0]], variable[edge[1]]))
        return contract(factors, None if keep is None else variable[keep])

    def _pair(self, a: int, b: int) -> Factor:
        return ((a, b), self.predicates) if a < b else ((b, a), self.predicates.T)

    @cached_property
    def predicates(self) -> Weights:
        """``(classes, classes)``: relations that fit each pair of classes."""
        return np.array([[len(cell) for cell in row] for row in self.tables.relations], dtype=object)

    def contents(self, part: Part, node: int, known: int | None) -> Weights:
        """``(classes,)``: contents of an object by class."""
        seed = part.seeds[node]
        attributes = part.component.attributes[node]
        if seed >= 0:
            weights = np.zeros(len(self.tables.taxonomy.classes), dtype=object)
            profile = self.tables.seed_profile[seed]
            weights[self.tables.profile_class[profile]] = self.seed_sets(seed, attributes)
        else:
            weights = self.class_contents(attributes)
        if known is None:
            return weights
        only = np.zeros_like(weights)
        only[known] = weights[known]
        return only

    def seed_sets(self, seed: int, attributes: int) -> int:
        """Attribute sets of a given size that hold those of an object of the contained graph."""
        assert self.tables.seed is not None
        taken = self.tables.seed.attributes[seed]
        poly = self.tables.polynomial(self.tables.seed_profile[seed], taken)
        free = attributes - len(taken)
        return poly[free] if free < len(poly) else 0

    def class_contents(self, attributes: int) -> Weights:
        """``(classes,)``: nouns with attribute sets of a given size."""
        weights = np.zeros(len(self.tables.taxonomy.classes), dtype=object)
        for profile, nouns in enumerate(self.tables.nouns):
            weights[self.tables.profile_class[profile]] += len(nouns) * self.sets(profile, attributes)
        return weights

    def sets(self, profile: int, attributes: int) -> int:
        """Attribute sets of a given size that an object of a profile can have."""
        poly = self.tables.polynomials[profile]
        return poly[attributes] if attributes < len(poly) else 0


def contract(factors: list[Factor], keep: int | None = None) -> Weights:
    """The sum, over all values of all variables, of the product of the factors (variable elimination).

    Returns:
        A single number, or with ``keep`` one number for each value of that variable.
    """
    variables = sorted({v for names, _ in factors for v in names if v != keep})
    while variables:
        touching = {v: {u for names, _ in factors if v in names for u in names} for v in variables}
        chosen = min(variables, key=lambda v: (len(touching[v]), v))
        names = tuple(sorted(touching[chosen]))
        own = [(held, table) for held, table in factors if chosen in held]
        joined = own[0][1].reshape(_aligned(own[0], names))
        for factor in own[1:]:
            joined = joined * factor[1].reshape(_aligned(factor, names))
        summed = np.asarray(joined.sum(axis=names.index(chosen)), dtype=object)
        factors = [factor for factor in factors if chosen not in factor[0]]
        factors.append((tuple(v for v in names if v != chosen), summed))
        variables.remove(chosen)
    total: Weights = np.asarray(1, dtype=object)
    for _, table in factors:
        total = np.asarray(total * table, dtype=object)
    return total


def _aligned(factor: Factor, names: tuple[int, ...]) -> list[int]:
    """The shape of a factor among the variables ``names``, with 1 where it does not depend on one."""
    held, table = factor
    return [table.shape[held.index(v)] if v in held else 1 for v in names]
