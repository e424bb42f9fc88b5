"""Frames: the structures of a spec, with the places that a contained graph fills already.

Without a contained graph a frame is a structure. With one, a frame is a structure and a way to lay the graph into it, up to
symmetry, so that every scene belongs to exactly one frame.
"""

from __future__ import annotations

from dataclasses import dataclass

from anyscene.errors import EmptySpaceError
from anyscene.scene.keyed import key_of
from anyscene.scene.structure import Component, Permutation, Structure, splits_of, structures_of
from anyscene.space.spec import SceneSpec
from anyscene.space.tables import Seed, Tables


@dataclass(frozen=True, slots=True)
class Part:
    """A component that stands ``len(copies)`` times in a frame.

    Attributes:
        seeds: ``[object]`` which object of the contained graph sits there, or -1.
        given: ``[edge]`` the relation that is given there, or -1.
        automorphisms: those that leave seeds in place.
        copies: ``[copy][object]`` position in the structure.
    """

    component: Component
    seeds: tuple[int, ...]
    given: tuple[int, ...]
    automorphisms: tuple[Permutation, ...]
    copies: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A structure whose places are free or given."""

    structure: Structure
    parts: tuple[Part, ...]
    code: str


def enumerate_frames(spec: SceneSpec, tables: Tables, complexity: int) -> tuple[Frame, ...]:
    """All frames of a complexity that the spec allows, in a fixed order."""
    structures = [one for split in splits_of(complexity) if _allowed(spec, split) for one in structures_of(*split)]
    if spec.holdout and "structure" in spec.holdout.kinds:
        key = spec.holdout.key
        ranked = sorted(structures, key=lambda one: key_of(key, "structure", one.code))
        side = {one.code for i, one in enumerate(ranked) if spec.holdout.keeps(i % spec.holdout.parts)}
        structures = [one for one in structures if one.code in side]
    if tables.seed is None:
        return tuple(free_frame(structure) for structure in structures)
    return tuple(frame for structure in structures for frame in _seeded(structure, tables.seed))


def check_fit(spec: SceneSpec, seed: Seed) -> None:
    """Raise where the contained graph is larger than the scenes may be, or runs in a circle."""
    size = len(seed.nouns) + len(seed.relations) + sum(map(len, seed.attributes))
    if size > spec.complexity[1]:
        raise EmptySpaceError(
            f"the graph to contain has complexity {size}, more than the {spec.complexity[1]} asked for: raise --complexity"
        )
    pairs = {(a, b) for a, _, b in seed.relations}
    rest = set(range(len(seed.nouns)))
    while rest:
        free = {node for node in rest if not any(b == node and a in rest for a, b in pairs)}
        if not free:
            raise EmptySpaceError("the relations of the graph to contain run in a circle; scenes are acyclic")
        rest -= free


def _allowed(spec: SceneSpec, split: tuple[int, int, int]) -> bool:
    limits = (spec.objects, spec.relations, spec.attributes)
    return all(limit is None or limit[0] <= count <= limit[1] for limit, count in zip(limits, split, strict=True))


def free_frame(structure: Structure) -> Frame:
    """A structure with nothing given."""
    parts = tuple(Part(part, (-1,) * part.size, (-1,) * len(part.edges), part.automorphisms, copies) for part, copies in structure.parts)
    return Frame(structure, parts, structure.code)


def _seeded(structure: Structure, seed: Seed) -> list[Frame]:
    """Every way to lay the seed into the structure, one per symmetry class."""
    edges = set(structure.edges)
    frames: dict[str, Frame] = {}

    def place(chosen: list[int]) -> None:
        node = len(chosen)
        if node == len(seed.nouns):
            frame = lay_seed(structure, seed, chosen)
            frames.setdefault(frame.code, frame)
            return
        for position in range(structure.num_objects):
            if position in chosen or structure.attributes[position] < len(seed.attributes[node]):
                continue
            trial = [*chosen, position]
            ends = [(a, b) for a, _, b in seed.relations if max(a, b) == node]
            if all((trial[a], trial[b]) in edges for a, b in ends):
                place(trial)

    place([])
    return [frames[code] for code in sorted(frames)]


def lay_seed(structure: Structure, seed: Seed, positions: list[int]) -> Frame:
    """The frame in which the seed's objects stand at the given positions."""
    at = {position: node for node, position in enumerate(positions)}
    given = {(positions[a], positions[b]): relation for a, relation, b in seed.relations}
    grouped: dict[tuple[Component, tuple[int, ...], tuple[int, ...]], list[tuple[int, ...]]] = {}
    for component, copies in structure.parts:
        for copy in copies:
            seeds, turned = _smallest(component, tuple(at.get(position, -1) for position in copy), copy)
            relations = tuple(given.get((turned[a], turned[b]), -1) for a, b in component.edges)
            grouped.setdefault((component, seeds, relations), []).append(turned)
    parts = tuple(
        Part(
            component,
            seeds,
            relations,
            tuple(g for g in component.automorphisms if all(seeds[g[i]] == s for i, s in enumerate(seeds))),
            tuple(copies),
        )
        for (component, seeds, relations), copies in grouped.items()
    )
    marks = sorted((part.component.edges, part.component.attributes, part.seeds, len(part.copies)) for part in parts)
    return Frame(structure, parts, f"{structure.code}|{marks}")


def _smallest(component: Component, seeds: tuple[int, ...], copy: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The seeds and positions of a copy, turned by the automorphism that makes the seeds smallest."""
    turns = ((tuple(seeds[i] for i in g), tuple(copy[i] for i in g)) for g in component.automorphisms)
    return min(turns)


def cycles(permutation: Permutation) -> list[list[int]]:
    """The cycles of a permutation."""
    rest = set(range(len(permutation)))
    found = []
    while rest:
        node = min(rest)
        cycle = []
        while node in rest:
            rest.discard(node)
            cycle.append(node)
            node = permutation[node]
        found.append(cycle)
    return found


def noun_slices(part: Part) -> list[tuple[int, int, bool]]:
    """For each object of a part: (slice, number of slices, sliced by copy too) of the pool that its noun comes from.

    Objects that symmetries exchange get different slices, for as many orbits as it takes to break every symmetry. If the part
    stands more than once, the first such orbit is sliced by copy as well.
    """
    size = part.component.size
    slices = [(0, 1, False)] * size
    group: list[tuple[int, ...]] = list(part.automorphisms)
    broken: list[list[int]] = []
    while len(group) > 1:
        orbits = sorted({tuple(sorted({g[node] for g in group})) for node in range(size)}, key=lambda one: (len(one), one))
        moved = next(one for one in orbits if len(one) > 1)
        whole = sorted({g[node] for g in part.automorphisms for node in moved})
        broken.append(whole)
        group = [g for g in group if all(g[node] == node for node in whole)]
    if len(part.copies) > 1 and not broken:
        broken.append([0])
    for number, orbit in enumerate(broken):
        for i, node in enumerate(orbit):
            slices[node] = (i, len(orbit), number == 0)
    return slices
