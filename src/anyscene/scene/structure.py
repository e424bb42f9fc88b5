"""Structures: scene graphs with the words left out, enumerated up to isomorphism.

A structure is a multiset of *components*: connected acyclic directed graphs with a number of attributes on every object.
Components are grown edge by edge and kept once per isomorphism class; structures are the multisets of them. Objects are
numbered in the order in which the ``plain`` caption mentions them, so that a caption parses back to the very same graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import permutations, product

from anyscene.errors import SpecError

MAX_COMPLEXITY = 14

Edge = tuple[int, int]
Permutation = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """A connected piece: ``edges`` between ``size`` objects and how many attributes each has."""

    size: int
    edges: tuple[Edge, ...]
    attributes: tuple[int, ...]
    automorphisms: tuple[Permutation, ...]

    @property
    def complexity(self) -> int:
        """Objects + attributes + relations."""
        return self.size + len(self.edges) + sum(self.attributes)


@dataclass(frozen=True)
class Structure:
    """An unfilled scene graph.

    Attributes:
        edges: (subject, object) positions, in caption order.
        attributes: number of attributes of each object.
        parts: each distinct component with, for each copy of it, the position of each of its objects.
    """

    edges: tuple[Edge, ...]
    attributes: tuple[int, ...]
    parts: tuple[tuple[Component, tuple[tuple[int, ...], ...]], ...]

    @property
    def num_objects(self) -> int:
        """How many objects it has."""
        return len(self.attributes)

    @property
    def num_attributes(self) -> int:
        """How many attributes its objects have together."""
        return sum(self.attributes)

    @property
    def complexity(self) -> int:
        """Objects + attributes + relations (paper, section 3.2)."""
        return self.num_objects + len(self.edges) + self.num_attributes

    @property
    def split(self) -> tuple[int, int, int]:
        """(objects, relations, attributes)."""
        return self.num_objects, len(self.edges), self.num_attributes

    @cached_property
    def code(self) -> str:
        """A short name: ``3:0>1,0>2:1.0.2`` is objects, relations, attributes of each object."""
        edges = ",".join(f"{a}>{b}" for a, b in self.edges)
        return f"{self.num_objects}:{edges}:{'.'.join(map(str, self.attributes))}"


def mention_order(size: int, edges: tuple[Edge, ...]) -> list[int]:
    """Objects in the order in which a caption with one sentence a subject names them.

    The next subject is the earliest-named object that still has something to say; where there is none, the lowest-numbered
    unnamed subject (one that nothing points to, if there is such a one). Objects without relations come last.
    """
    order: list[int] = []
    for subject, targets in subject_order(size, edges):
        for node in (subject, *targets):
            if node not in order:
                order.append(node)
    return order + [node for node in range(size) if node not in order]


def subject_order(size: int, edges: tuple[Edge, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """(subject, its targets) in the order of the sentences of a caption; targets already named come first, in that order."""
    targets: dict[int, list[int]] = {}
    pointed = set()
    for a, b in edges:
        targets.setdefault(a, []).append(b)
        pointed.add(b)
    named: dict[int, int] = {}
    waiting = dict.fromkeys(sorted(targets))
    sentences = []
    while waiting:
        known = [node for node in waiting if node in named]
        fresh = [node for node in waiting if node not in pointed] or list(waiting)
        subject = min(known, key=lambda node: named[node]) if known else fresh[0]
        del waiting[subject]
        named.setdefault(subject, len(named))
        after = sorted(dict.fromkeys(targets[subject]), key=lambda node: (node not in named, named.get(node, node)))
        for node in after:
            named.setdefault(node, len(named))
        sentences.append((subject, tuple(after)))
    return sentences


@cache
def enumerate_components(complexity: int) -> tuple[Component, ...]:
    """All components of a complexity, one per isomorphism class, in a fixed order."""
    return tuple(
        part
        for size in range(1, complexity + 1)
        for num_edges in range(size - 1, min(complexity - size, size * (size - 1) // 2) + 1)
        for part in _components(size, num_edges, complexity - size - num_edges)
    )


@cache
def _components(size: int, num_edges: int, num_attributes: int) -> tuple[Component, ...]:
    found = []
    for edges in _connected(size, num_edges):
        group = _automorphisms(size, edges)
        for weights in _weights(num_attributes, size):
            if all(weights >= tuple(weights[i] for i in g) for g in group):
                kept = tuple(g for g in group if tuple(weights[i] for i in g) == weights)
                found.append(Component(size, edges, weights, kept))
    return tuple(found)


@cache
def enumerate_structures(complexity: int) -> tuple[Structure, ...]:
    """All structures of a complexity up to isomorphism, in a fixed order.

    There are 1, 2, 4, 8, 17, 37 of complexity 1 to 6.

    Raises:
        SpecError: the complexity is below 1 or above ``MAX_COMPLEXITY``.
    """
    return tuple(one for split in splits_of(complexity) for one in structures_of(*split))


def splits_of(complexity: int) -> list[tuple[int, int, int]]:
    """(objects, relations, attributes) that make up a complexity, ascending.

    Raises:
        SpecError: the complexity is below 1 or above ``MAX_COMPLEXITY``.
    """
    check_complexity(complexity)
    return [(size, edges, complexity - size - edges) for size in range(1, complexity + 1) for edges in range(complexity - size + 1)]


@cache
def structures_of(num_objects: int, num_relations: int, num_attributes: int) -> tuple[Structure, ...]:
    """All structures of so many objects, relations and attributes up to isomorphism, in a fixed order."""
    pool = [
        part
        for size in range(1, num_objects + 1)
        for edges in range(size - 1, min(num_relations, size * (size - 1) // 2) + 1)
        for weight in range(num_attributes + 1)
        for part in _components(size, edges, weight)
    ]
    found: list[Structure] = []

    def extend(first: int, objects: int, relations: int, attributes: int, chosen: list[int]) -> None:
        if objects == 0:
            if relations == attributes == 0:
                found.append(_assemble([pool[i] for i in chosen]))
            return
        if relations > objects * (objects - 1) // 2:
            return
        for i in range(first, len(pool)):
            part = pool[i]
            if part.size > objects:
                break
            edges, weight = relations - len(part.edges), attributes - sum(part.attributes)
            if edges >= 0 and weight >= 0:
                extend(i, objects - part.size, edges, weight, [*chosen, i])

    extend(0, num_objects, num_relations, num_attributes, [])
    return tuple(sorted(found, key=lambda one: one.code))


def count_structures(complexity: int) -> int:
    """How many structures there are: the Euler transform of the component counts, without listing them."""
    check_complexity(complexity)
    parts = [0] + [len(enumerate_components(c)) for c in range(1, complexity + 1)]
    weighted = [0] + [sum(d * parts[d] for d in range(1, n + 1) if n % d == 0) for n in range(1, complexity + 1)]
    counts = [1]
    for n in range(1, complexity + 1):
        counts.append(sum(weighted[k] * counts[n - k] for k in range(1, n + 1)) // n)
    return counts[complexity]


def check_complexity(complexity: int) -> None:
    """Raise ``SpecError`` unless structures of this complexity are enumerated."""
    if not 1 <= complexity <= MAX_COMPLEXITY:
        raise SpecError(f"complexity {complexity}: it must be from 1 to {MAX_COMPLEXITY}")


def _assemble(components: list[Component]) -> Structure:
    """Number the objects of all components in mention order."""
    components = sorted(components, key=lambda part: (not part.edges, -part.complexity, part.size, part.edges, part.attributes))
    starts, total = [], 0
    for part in components:
        starts.append(total)
        total += part.size
    edges = tuple((a + start, b + start) for part, start in zip(components, starts, strict=True) for a, b in part.edges)
    weights = [w for part in components for w in part.attributes]
    order = mention_order(total, edges)
    place = {node: i for i, node in enumerate(order)}
    renamed = {(place[a], place[b]) for a, b in edges}
    sentences = subject_order(total, tuple(sorted(renamed)))
    copies: dict[Component, list[tuple[int, ...]]] = {}
    for part, start in zip(components, starts, strict=True):
        copies.setdefault(part, []).append(tuple(place[start + i] for i in range(part.size)))
    return Structure(
        edges=tuple((a, b) for a, targets in sentences for b in targets),
        attributes=tuple(weights[node] for node in order),
        parts=tuple((part, tuple(where)) for part, where in copies.items()),
    )


def _weights(total: int, size: int) -> Iterator[tuple[int, ...]]:
    if size == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _weights(total - first, size - 1):
            yield (first, *rest)


@cache
def _connected(size: int, num_edges: int) -> tuple[tuple[Edge, ...], ...]:
    """Connected acyclic directed graphs, one per isomorphism class.

    A tree grows by a leaf; beyond that, an edge joins two objects that have none between them and closes no directed cycle.
    Removing an edge of an undirected cycle keeps a graph connected, so every graph is reached.
    """
    if size == 1:
        return ((),) if num_edges == 0 else ()
    found: dict[int, tuple[Edge, ...]] = {}
    if num_edges == size - 1:
        new = size - 1
        grown = [(*edges, edge) for edges in _connected(size - 1, num_edges - 1) for old in range(new) for edge in ((old, new), (new, old))]
    else:
        grown = [
            (*edges, (a, b))
            for edges in _connected(size, num_edges - 1)
            for a, b in permutations(range(size), 2)
            if (a, b) not in edges and (b, a) not in edges and not _reaches(edges, b, a)
        ]
    for edges in grown:
        key, canonical = _canonical(size, edges)
        found.setdefault(key, canonical)
    return tuple(found[key] for key in sorted(found))


def _reaches(edges: tuple[Edge, ...], start: int, goal: int) -> bool:
    frontier, seen = [start], {start}
    while frontier:
        node = frontier.pop()
        if node == goal:
            return True
        for a, b in edges:
            if a == node and b not in seen:
                seen.add(b)
                frontier.append(b)
    return False


def _cells(size: int, edges: tuple[Edge, ...]) -> list[list[int]]:
    """Objects grouped by what their surroundings look like; the order does not depend on their numbers."""
    color: list[int] = [0] * size
    for _ in range(size):
        around: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []
        for node in range(size):
            after = tuple(sorted(color[b] for a, b in edges if a == node))
            before = tuple(sorted(color[a] for a, b in edges if b == node))
            around.append((color[node], after, before))
        rank = {key: i for i, key in enumerate(sorted(set(around)))}
        refined = [rank[key] for key in around]
        if refined == color:
            break
        color = refined
    cells: dict[int, list[int]] = {}
    for node, c in enumerate(color):
        cells.setdefault(c, []).append(node)
    return [cells[c] for c in sorted(cells)]


def _relabelings(size: int, edges: tuple[Edge, ...]) -> Iterator[list[int]]:
    """For each order that the cells allow: the new number of every object."""
    cells = _cells(size, edges)
    for order in product(*(permutations(cell) for cell in cells)):
        place = [0] * size
        for i, node in enumerate(node for cell in order for node in cell):
            place[node] = i
        yield place


def _canonical(size: int, edges: tuple[Edge, ...]) -> tuple[int, tuple[Edge, ...]]:
    best = min(sum(1 << (place[a] * size + place[b]) for a, b in edges) for place in _relabelings(size, edges))
    return best, tuple((bit // size, bit % size) for bit in range(size * size) if best >> bit & 1)


@cache
def _automorphisms(size: int, edges: tuple[Edge, ...]) -> tuple[Permutation, ...]:
    """Permutations of the objects that keep the edges; the identity among them."""
    own = set(edges)
    cells = _cells(size, edges)
    group = []
    for order in product(*(permutations(cell) for cell in cells)):
        image = [0] * size
        for cell, moved in zip(cells, order, strict=True):
            for a, b in zip(cell, moved, strict=True):
                image[a] = b
        if all((image[a], image[b]) in own for a, b in edges):
            group.append(tuple(image))
    return tuple(sorted(group))


def identify(attributes: tuple[int, ...], edges: tuple[Edge, ...]) -> tuple[Structure, list[int]] | None:
    """The structure of a graph given by attribute counts and edges, and which node stands at each of its positions.

    ``None`` where no structure is like it: a directed circle, two edges between one pair, or more than ``MAX_COMPLEXITY``.
    """
    if not 1 <= len(attributes) + len(edges) + sum(attributes) <= MAX_COMPLEXITY or len({frozenset(edge) for edge in edges}) < len(edges):
        return None
    found: list[tuple[Component, list[int]]] = []
    for nodes in _pieces(len(attributes), edges):
        placed = _identify_component(nodes, attributes, edges)
        if placed is None:
            return None
        found.append(placed)
    structure = _assemble([component for component, _ in found])
    waiting = {component: list(copies) for component, copies in structure.parts}
    order = [0] * len(attributes)
    for component, nodes in found:
        for position, node in zip(waiting[component].pop(), nodes, strict=True):
            order[position] = node
    return structure, order


def _pieces(size: int, edges: tuple[Edge, ...]) -> list[list[int]]:
    """The nodes of each connected piece."""
    rest = set(range(size))
    found = []
    while rest:
        piece, frontier = set(), [min(rest)]
        while frontier:
            node = frontier.pop()
            if node in rest:
                rest.discard(node)
                piece.add(node)
                frontier += [b if a == node else a for a, b in edges if node in (a, b)]
        found.append(sorted(piece))
    return found


def _identify_component(nodes: list[int], attributes: tuple[int, ...], edges: tuple[Edge, ...]) -> tuple[Component, list[int]] | None:
    """The component that a connected piece is, and which node stands at each of its places."""
    local = {node: i for i, node in enumerate(nodes)}
    own = tuple((local[a], local[b]) for a, b in edges if a in local)
    size = len(nodes)
    best: tuple[int, tuple[int, ...], list[int]] | None = None
    for place in _relabelings(size, own):
        key = sum(1 << (place[a] * size + place[b]) for a, b in own)
        order = [0] * size
        for node, position in enumerate(place):
            order[position] = nodes[node]
        weights = tuple(attributes[node] for node in order)
        if best is None or (key, [-w for w in weights]) < (best[0], [-w for w in best[1]]):
            best = key, weights, order
    assert best is not None
    key, weights, order = best
    canonical = tuple((bit // size, bit % size) for bit in range(size * size) if key >> bit & 1)
    for component in enumerate_components(size + len(own) + sum(weights)):
        if component.edges == canonical and component.attributes == weights:
            return component, order
    return None
