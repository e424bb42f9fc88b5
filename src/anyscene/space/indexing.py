"""Every scene is a number: an exact numbering of the fillings of a frame, both ways.

Each part is numbered up to its symmetries, and copies of a part as a multiset. A filling of a part is reached in three steps:

1. classes of the objects, one object (or one orbit of exchangeable objects) after the other; how many fillings each choice leaves
   is counted exactly (``counting``);
2. for slots that symmetries still exchange: which of them are equal and how the others are ranked (a *pattern*), and then which
   values they have (a set); a pattern breaks all or part of the symmetry, until none is left;
3. the values of all other slots, as mixed-radix digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from math import comb, prod

from anyscene.errors import SpecError
from anyscene.scene.structure import Permutation
from anyscene.space.combinations import combination, combination_rank, multiset, multiset_rank
from anyscene.space.contents import Content, Contents
from anyscene.space.counting import Counter
from anyscene.space.frames import Frame, Part, cycles

Pattern = tuple[int, ...]
Slot = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Filling:
    """The words of one scene, by position in its structure: nouns, attributes (in word order), predicates (in caption order)."""

    nouns: tuple[int, ...]
    attributes: tuple[tuple[int, ...], ...]
    relations: tuple[int, ...]


@dataclass(slots=True)
class _Words:
    """The words of one part while they are being read or written."""

    classes: dict[int, int] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)
    predicates: dict[int, int] = field(default_factory=dict)


class Indexer:
    """Numbers the fillings of frames from 0 to ``counter.frame(frame) - 1``."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.contents = Contents(counter)
        self._menus: dict[tuple[object, ...], list[tuple[dict[int, int], tuple[Permutation, ...], int]]] = {}

    def unrank(self, frame: Frame, rank: int) -> Filling:
        """The filling with a number."""
        structure = frame.structure
        nouns = [0] * structure.num_objects
        attributes: list[tuple[int, ...]] = [()] * structure.num_objects
        relations = [0] * len(structure.edges)
        place = {edge: i for i, edge in enumerate(structure.edges)}
        for part in frame.parts:
            fillings = self.counter.part(part)
            rank, own = divmod(rank, comb(fillings + len(part.copies) - 1, len(part.copies)))
            for copy, number in zip(part.copies, multiset(own, len(part.copies)), strict=True):
                words = self._unrank_part(part, number)
                for node, position in enumerate(copy):
                    nouns[position], attributes[position] = words.contents[node]
                for i, (a, b) in enumerate(part.component.edges):
                    relations[place[copy[a], copy[b]]] = words.predicates[i]
        return Filling(tuple(nouns), tuple(attributes), tuple(relations))

    def rank(self, frame: Frame, filling: Filling) -> int:
        """The number of a filling: the inverse of ``unrank`` for every way to see the same scene.

        Raises:
            SpecError: a word is not allowed where it stands.
        """
        place = {edge: i for i, edge in enumerate(frame.structure.edges)}
        rank, radix = 0, 1
        for part in frame.parts:
            fillings = self.counter.part(part)
            numbers = []
            for copy in part.copies:
                nouns = [filling.nouns[position] for position in copy]
                values = [filling.attributes[position] for position in copy]
                predicates = [filling.relations[place[copy[a], copy[b]]] for a, b in part.component.edges]
                numbers.append(self._rank_part(part, nouns, values, predicates))
            rank += radix * multiset_rank(sorted(numbers, reverse=True))
            radix *= comb(fillings + len(part.copies) - 1, len(part.copies))
        return rank

    # ---- one part ---------------------------------------------------------------------------------------------------------

    def _unrank_part(self, part: Part, rank: int) -> _Words:
        words = _Words()
        group = part.automorphisms
        while (menu := self._menu(part, group, words.classes)) is not None:
            for chosen, smaller, fillings in menu:
                if rank < fillings:
                    words.classes.update(chosen)
                    group = smaller
                    break
                rank -= fillings
        self._unrank_slots(part, group, words, rank)
        return words

    def _rank_part(self, part: Part, nouns: Sequence[int], values: Sequence[tuple[int, ...]], predicates: Sequence[int]) -> int:
        """Try the part's symmetries: the ones that turn the filling into the form that ``unrank`` writes give its number."""
        edges = {edge: i for i, edge in enumerate(part.component.edges)}
        for g in part.automorphisms:
            words = _Words()
            for node in range(part.component.size):
                noun, own = nouns[g[node]], values[g[node]]
                words.classes[node] = self.contents.class_of(noun)
                words.contents[node] = (noun, own)
            for i, (a, b) in enumerate(part.component.edges):
                words.predicates[i] = predicates[edges[g[a], g[b]]]
            rank = self._walk(part, words)
            if rank is not None:
                return rank
        raise SpecError(
            "the words of the scene do not go together in this space (an object, its attributes or a relation is not allowed there)"
        )

    def _walk(self, part: Part, words: _Words) -> int | None:
        known: dict[int, int] = {}
        group = part.automorphisms
        rank = 0
        while (menu := self._menu(part, group, known)) is not None:
            for chosen, smaller, fillings in menu:
                if all(words.classes[node] == one for node, one in chosen.items()):
                    known.update(chosen)
                    group = smaller
                    break
                rank += fillings
            else:
                return None
        inner = self._rank_slots(part, group, known, words)
        return None if inner is None else rank + inner

    def _menu(
        self, part: Part, group: tuple[Permutation, ...], known: dict[int, int]
    ) -> list[tuple[dict[int, int], tuple[Permutation, ...], int]] | None:
        """The next choice of classes: (classes of the next objects, symmetries left, fillings); ``None`` when slots can be filled."""
        name = (part.component, part.seeds, part.given, group, tuple(sorted(known.items())))
        if name in self._menus:
            return self._menus[name]
        unknown = [node for node in range(part.component.size) if node not in known]
        fixed = next((node for node in unknown if all(g[node] == node for g in group)), None)
        if fixed is not None:
            totals = self.counter.orbits_by_class(part, group, known, fixed)
            menu = [({fixed: c}, group, int(total)) for c, total in enumerate(totals) if total]
        else:
            orbit = next((one for one in _orbits(group, unknown) if not self._leafy(part, group, known, one)), None)
            if orbit is None:
                return None
            menu = self._orbit_menu(part, group, known, orbit)
        if len(self._menus) < 20_000:
            self._menus[name] = menu
        return menu

    def _orbit_menu(
        self, part: Part, group: tuple[Permutation, ...], known: dict[int, int], orbit: tuple[int, ...]
    ) -> list[tuple[dict[int, int], tuple[Permutation, ...], int]]:
        weights = self.counter.contents(part, orbit[0], None)
        possible = [c for c in range(len(weights)) if weights[c]]
        place = {node: i for i, node in enumerate(orbit)}
        moves = {tuple(place[g[node]] for node in orbit) for g in group}
        menu = []
        for classes in product(possible, repeat=len(orbit)):
            if any(tuple(classes[i] for i in move) < classes for move in moves):
                continue
            smaller = tuple(g for g in group if all(classes[place[g[node]]] == classes[place[node]] for node in orbit))
            chosen = dict(zip(orbit, classes, strict=True))
            total = self.counter.orbits(part, smaller, {**known, **chosen})
            if total:
                menu.append((chosen, smaller, total))
        return menu

    def _leafy(self, part: Part, group: tuple[Permutation, ...], known: dict[int, int], orbit: tuple[int, ...]) -> bool:
        """Are all neighbours of the orbit objects of known class that no symmetry moves?"""
        around = {a if b in orbit else b for a, b in part.component.edges if a in orbit or b in orbit}
        return all(node in known and all(g[node] == node for g in group) for node in around)

    # ---- slots ------------------------------------------------------------------------------------------------------------

    def _slots(self, part: Part, known: dict[int, int]) -> dict[Slot, int]:
        """Slots and how many values each has: objects, relations, and leaves together with their relations."""
        slots: dict[Slot, int] = {}
        for node in range(part.component.size):
            if node in known:
                slots["object", node] = int(self.counter.contents(part, node, known[node])[known[node]])
            else:
                slots["leaf", node] = sum(self._leaf_classes(part, known, node))
        for i, (a, b) in enumerate(part.component.edges):
            if a in known and b in known:
                slots["relation", i] = 1 if part.given[i] >= 0 else int(self.counter.predicates[known[a], known[b]])
        return slots

    def _leaf_classes(self, part: Part, known: dict[int, int], leaf: int) -> list[int]:
        """Values of a leaf by its class: contents times the relations that join it to what is known."""
        contents = self.counter.contents(part, leaf, None)
        return [int(contents[c]) * prod(self._leaf_relations(part, known, leaf, c)) for c in range(len(contents))]

    def _leaf_relations(self, part: Part, known: dict[int, int], leaf: int, own: int) -> list[int]:
        predicates = self.counter.predicates
        found = []
        for i, (a, b) in enumerate(part.component.edges):
            if leaf in (a, b):
                pair = (own, known[b]) if a == leaf else (known[a], own)
                found.append(1 if part.given[i] >= 0 else int(predicates[pair]))
        return found

    def _unrank_slots(self, part: Part, group: tuple[Permutation, ...], words: _Words, rank: int) -> None:
        known = dict(words.classes)
        slots = self._slots(part, known)
        actions = _slot_actions(part, tuple(slots), group)
        values: dict[Slot, int] = {}
        rest = list(slots)
        while rest:
            fixed = [slot for slot in rest if all(action[slot] == slot for action in actions)]
            for slot in fixed:
                rank, values[slot] = divmod(rank, slots[slot])
            rest = [slot for slot in rest if slot not in values]
            if not rest:
                break
            orbit = _slot_orbit(actions, rest)
            rest = [slot for slot in rest if slot not in orbit]
            for pattern, smaller in _patterns(_moves(orbit, actions)):
                kept = tuple(actions[i] for i in smaller)
                levels = max(pattern) + 1
                block = comb(slots[orbit[0]], levels) * _fillings(slots, rest, kept)
                if rank < block:
                    rank, subset = divmod(rank, comb(slots[orbit[0]], levels))
                    chosen = combination(subset, levels)
                    values.update((slot, chosen[level]) for slot, level in zip(orbit, pattern, strict=True))
                    actions = kept
                    break
                rank -= block
        self._read_values(part, known, values, words)

    def _rank_slots(self, part: Part, group: tuple[Permutation, ...], known: dict[int, int], words: _Words) -> int | None:
        slots = self._slots(part, known)
        actions = _slot_actions(part, tuple(slots), group)
        values = self._write_values(part, known, tuple(slots), words)
        rank, radix = 0, 1
        rest = list(slots)
        while rest:
            fixed = [slot for slot in rest if all(action[slot] == slot for action in actions)]
            for slot in fixed:
                rank += radix * values[slot]
                radix *= slots[slot]
            rest = [slot for slot in rest if slot not in fixed]
            if not rest:
                break
            orbit = _slot_orbit(actions, rest)
            rest = [slot for slot in rest if slot not in orbit]
            chosen = sorted({values[slot] for slot in orbit})
            own = tuple(chosen.index(values[slot]) for slot in orbit)
            for pattern, smaller in _patterns(_moves(orbit, actions)):
                kept = tuple(actions[i] for i in smaller)
                levels = max(pattern) + 1
                ways = comb(slots[orbit[0]], levels)
                if pattern == own:
                    rank += radix * combination_rank(chosen)
                    radix *= ways
                    actions = kept
                    break
                rank += radix * ways * _fillings(slots, rest, kept)
            else:
                return None
        return rank

    def _read_values(self, part: Part, known: dict[int, int], values: dict[Slot, int], words: _Words) -> None:
        for (kind, i), value in values.items():
            if kind == "object":
                words.contents[i] = self.contents.unrank(part, i, known[i], value)
            elif kind == "relation":
                a, b = part.component.edges[i]
                words.predicates[i] = self._predicate(part, i, known[a], known[b], value)
            else:
                self._read_leaf(part, known, i, value, words)

    def _read_leaf(self, part: Part, known: dict[int, int], leaf: int, value: int, words: _Words) -> None:
        blocks = self._leaf_classes(part, known, leaf)
        own = 0
        while value >= blocks[own]:
            value -= blocks[own]
            own += 1
        for i, (a, b) in enumerate(part.component.edges):
            if leaf in (a, b):
                ends = (own, known[b]) if a == leaf else (known[a], own)
                size = 1 if part.given[i] >= 0 else int(self.counter.predicates[ends])
                value, number = divmod(value, size)
                words.predicates[i] = self._predicate(part, i, *ends, number)
        words.contents[leaf] = self.contents.unrank(part, leaf, own, value)

    def _write_values(self, part: Part, known: dict[int, int], slots: tuple[Slot, ...], words: _Words) -> dict[Slot, int]:
        values = {}
        for kind, i in slots:
            if kind == "object":
                values[kind, i] = self.contents.rank(part, i, known[i], words.contents[i])
            elif kind == "relation":
                a, b = part.component.edges[i]
                values[kind, i] = self._predicate_rank(part, i, known[a], known[b], words.predicates[i])
            else:
                values[kind, i] = self._write_leaf(part, known, i, words)
        return values

    def _write_leaf(self, part: Part, known: dict[int, int], leaf: int, words: _Words) -> int:
        own = words.classes[leaf]
        value, radix = 0, 1
        for i, (a, b) in enumerate(part.component.edges):
            if leaf in (a, b):
                ends = (own, known[b]) if a == leaf else (known[a], own)
                value += radix * self._predicate_rank(part, i, *ends, words.predicates[i])
                radix *= 1 if part.given[i] >= 0 else int(self.counter.predicates[ends])
        value += radix * self.contents.rank(part, leaf, own, words.contents[leaf])
        return sum(self._leaf_classes(part, known, leaf)[:own]) + value

    def _predicate(self, part: Part, edge: int, a: int, b: int, number: int) -> int:
        return part.given[edge] if part.given[edge] >= 0 else int(self.counter.tables.relations[a][b][number])

    def _predicate_rank(self, part: Part, edge: int, a: int, b: int, predicate: int) -> int:
        if part.given[edge] >= 0:
            return 0
        return self.contents.position(self.counter.tables.relations[a][b], predicate, "relation")


# ---- symmetry of slots --------------------------------------------------------------------------------------------------------


def _slot_actions(part: Part, slots: tuple[Slot, ...], group: tuple[Permutation, ...]) -> tuple[dict[Slot, Slot], ...]:
    edges = {edge: i for i, edge in enumerate(part.component.edges)}
    actions = []
    for g in group:
        action = {}
        for kind, i in slots:
            if kind == "relation":
                a, b = part.component.edges[i]
                action[kind, i] = (kind, edges[g[a], g[b]])
            else:
                action[kind, i] = (kind, g[i])
        actions.append(action)
    return tuple(actions)


def _slot_orbit(actions: tuple[dict[Slot, Slot], ...], slots: list[Slot]) -> tuple[Slot, ...]:
    return tuple(sorted({action[slots[0]] for action in actions}))


def _moves(orbit: tuple[Slot, ...], actions: tuple[dict[Slot, Slot], ...]) -> tuple[Permutation, ...]:
    place = {slot: i for i, slot in enumerate(orbit)}
    return tuple(tuple(place[action[slot]] for slot in orbit) for action in actions)


def _fillings(slots: dict[Slot, int], rest: list[Slot], actions: tuple[dict[Slot, Slot], ...]) -> int:
    """Values of the slots that are left, up to the symmetries that are left (Burnside)."""
    total = 0
    place = {slot: i for i, slot in enumerate(rest)}
    for action in actions:
        total += prod(slots[rest[cycle[0]]] for cycle in cycles(tuple(place[action[slot]] for slot in rest)))
    return total // len(actions)


def _orbits(group: tuple[Permutation, ...], nodes: list[int]) -> list[tuple[int, ...]]:
    return sorted({tuple(sorted({g[node] for g in group})) for node in nodes}, key=lambda orbit: (len(orbit), orbit))


@lru_cache(maxsize=4096)
def _patterns(moves: tuple[Permutation, ...]) -> tuple[tuple[Pattern, tuple[int, ...]], ...]:
    """Ways to rank the slots of an orbit with ties, one per symmetry class: (rank of each slot, symmetries that keep it)."""
    size = len(moves[0])
    distinct = set(moves)
    found = []
    for pattern in product(range(size), repeat=size):
        if set(pattern) != set(range(max(pattern) + 1)):
            continue
        if any(tuple(pattern[i] for i in move) < pattern for move in distinct):
            continue
        found.append((pattern, tuple(n for n, move in enumerate(moves) if tuple(pattern[i] for i in move) == pattern)))
    return tuple(found)
