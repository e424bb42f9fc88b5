"""Structures: every one is there once, the count agrees, and any graph is found among them."""

from __future__ import annotations

import random
from itertools import combinations, permutations, product

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.errors import SpecError
from anyscene.scene import Structure, count_structures, enumerate_components, enumerate_structures
from anyscene.scene.structure import MAX_COMPLEXITY, Edge, identify, mention_order, subject_order

COUNTS = [1, 2, 4, 8, 17, 37, 83, 193, 469, 1171, 3047]


def as_networkx(attributes: tuple[int, ...], edges: tuple[Edge, ...]) -> networkx.DiGraph:
    graph = networkx.DiGraph()
    graph.add_nodes_from((node, {"attributes": count}) for node, count in enumerate(attributes))
    graph.add_edges_from(edges)
    return graph


def isomorphic(one: networkx.DiGraph, other: networkx.DiGraph) -> bool:
    return bool(networkx.is_isomorphic(one, other, node_match=lambda a, b: a == b))


def all_labelled(complexity: int) -> list[networkx.DiGraph]:
    """Every labelled acyclic graph with attribute counts, by brute force."""
    found = []
    for size in range(1, complexity + 1):
        pairs = list(permutations(range(size), 2))
        for num_edges in range(min(complexity - size, size * (size - 1) // 2) + 1):
            rest = complexity - size - num_edges
            for edges in combinations(pairs, num_edges):
                for attributes in product(range(rest + 1), repeat=size):
                    if sum(attributes) == rest:
                        graph = as_networkx(attributes, edges)
                        if networkx.is_directed_acyclic_graph(graph):
                            found.append(graph)
    return found


def classes(graphs: list[networkx.DiGraph]) -> list[networkx.DiGraph]:
    """One graph of each isomorphism class."""
    buckets: dict[str, list[networkx.DiGraph]] = {}
    for graph in graphs:
        key = repr(sorted((graph.in_degree(n), graph.out_degree(n), graph.nodes[n]["attributes"]) for n in graph))
        bucket = buckets.setdefault(key, [])
        if not any(isomorphic(graph, known) for known in bucket):
            bucket.append(graph)
    return [graph for bucket in buckets.values() for graph in bucket]


STRUCTURES = [structure for complexity in range(1, 9) for structure in enumerate_structures(complexity)]
structures = st.sampled_from(STRUCTURES)


def renumbered(structure: Structure, rng: random.Random) -> tuple[tuple[int, ...], tuple[Edge, ...]]:
    place = list(range(structure.num_objects))
    rng.shuffle(place)
    attributes = [0] * structure.num_objects
    for old, new in enumerate(place):
        attributes[new] = structure.attributes[old]
    edges = [(place[a], place[b]) for a, b in structure.edges]
    rng.shuffle(edges)
    return tuple(attributes), tuple(edges)


# ---- counting -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("complexity", "count"), list(enumerate(COUNTS, start=1)))
def test_the_list_is_as_long_as_the_count_says(complexity: int, count: int) -> None:
    assert count_structures(complexity) == len(enumerate_structures(complexity)) == count


@pytest.mark.parametrize("complexity", range(1, 8))
def test_every_graph_is_one_structure_by_brute_force(complexity: int) -> None:
    expected = classes(all_labelled(complexity))
    found = [as_networkx(s.attributes, s.edges) for s in enumerate_structures(complexity)]
    assert len(expected) == len(found) == len(classes(found))
    assert all(any(isomorphic(graph, known) for known in found) for graph in expected)


@pytest.mark.parametrize("complexity", range(1, 8))
def test_components_are_the_connected_structures(complexity: int) -> None:
    connected = [s for s in enumerate_structures(complexity) if networkx.is_weakly_connected(as_networkx(s.attributes, s.edges))]
    assert len(connected) == len(enumerate_components(complexity))


@pytest.mark.parametrize("complexity", range(1, 9))
def test_automorphisms_are_those_that_networkx_finds(complexity: int) -> None:
    for part in enumerate_components(complexity):
        graph = as_networkx(part.attributes, part.edges)
        matcher = networkx.isomorphism.DiGraphMatcher(graph, graph, node_match=lambda a, b: a == b)
        expected = {tuple(mapping[i] for i in range(part.size)) for mapping in matcher.isomorphisms_iter()}
        assert set(part.automorphisms) == expected and len(part.automorphisms) == len(expected)
        assert part.complexity == complexity


@pytest.mark.parametrize("complexity", [0, -1, MAX_COMPLEXITY + 1])
def test_complexity_has_limits(complexity: int) -> None:
    for ask in (enumerate_structures, count_structures):
        with pytest.raises(SpecError, match=f"from 1 to {MAX_COMPLEXITY}"):
            ask(complexity)


# ---- each structure -----------------------------------------------------------------------------------------------------------


def test_structures_are_sound() -> None:
    codes = set()
    for structure in STRUCTURES:
        graph = as_networkx(structure.attributes, structure.edges)
        assert networkx.is_directed_acyclic_graph(graph)
        assert len({frozenset(edge) for edge in structure.edges}) == len(structure.edges)
        assert structure.complexity == sum(structure.split) == structure.num_objects + structure.num_attributes + len(structure.edges)
        codes.add(structure.code)
    assert len(codes) == len(STRUCTURES)


def test_parts_cover_a_structure() -> None:
    for structure in STRUCTURES:
        places = sorted(place for _, copies in structure.parts for copy in copies for place in copy)
        assert places == list(range(structure.num_objects))
        edges = {(copy[a], copy[b]) for part, copies in structure.parts for copy in copies for a, b in part.edges}
        assert edges == set(structure.edges)
        for part, copies in structure.parts:
            assert all(tuple(structure.attributes[place] for place in copy) == part.attributes for copy in copies)


def test_the_order_of_structures_is_fixed() -> None:
    assert [s.code for s in enumerate_structures(3)] == ["1::2", "2::1.0", "2:0>1:0.0", "3::0.0.0"]


def test_objects_stand_in_mention_order() -> None:
    """Numbering by mention is idempotent: objects and sentences of a structure are in caption order already."""
    for structure in STRUCTURES:
        size = structure.num_objects
        assert mention_order(size, structure.edges) == list(range(size))
        assert tuple((a, b) for a, targets in subject_order(size, structure.edges) for b in targets) == structure.edges


@settings(max_examples=300)
@given(structures, st.randoms(use_true_random=False))
def test_mention_order_is_idempotent_on_any_numbering(structure: Structure, rng: random.Random) -> None:
    _, edges = renumbered(structure, rng)
    order = mention_order(structure.num_objects, edges)
    assert sorted(order) == list(range(structure.num_objects))
    place = {node: i for i, node in enumerate(order)}
    again = tuple((place[a], place[b]) for a, targets in subject_order(structure.num_objects, edges) for b in targets)
    assert mention_order(structure.num_objects, again) == list(range(structure.num_objects))


# ---- identify -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(structures, st.randoms(use_true_random=False))
def test_a_renumbered_structure_is_identified(structure: Structure, rng: random.Random) -> None:
    attributes, edges = renumbered(structure, rng)
    found = identify(attributes, edges)
    assert found is not None
    same, order = found
    assert same.code == structure.code and same == structure
    assert sorted(order) == list(range(structure.num_objects))
    assert tuple(attributes[node] for node in order) == structure.attributes
    assert {(order[a], order[b]) for a, b in structure.edges} == set(edges)


def test_every_structure_identifies_itself() -> None:
    for structure in STRUCTURES:
        found = identify(structure.attributes, structure.edges)
        assert found is not None and found[0] == structure


@pytest.mark.parametrize(
    ("attributes", "edges"),
    [
        ((), ()),
        ((0, 0, 0), ((0, 1), (1, 2), (2, 0))),
        ((0, 0), ((0, 1), (1, 0))),
        ((0, 0), ((0, 1), (0, 1))),
        ((MAX_COMPLEXITY,), ()),
        ((0,) * (MAX_COMPLEXITY + 1), ()),
    ],
)
def test_what_is_no_structure_is_not_identified(attributes: tuple[int, ...], edges: tuple[Edge, ...]) -> None:
    assert identify(attributes, edges) is None


def test_a_self_loop_is_not_identified() -> None:
    assert identify((0, 0), ((0, 0),)) is None
