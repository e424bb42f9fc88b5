"""Scene graphs keep their rules, and ``same_scene`` is isomorphism."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.errors import GraphError
from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.scene.graph import MAX_ELEMENTS, MAX_NAME_CHARS

DOG, CAT = Object("a", "dog"), Object("b", "cat")
RED = Attribute("color", "red")


def renumbered(graph: SceneGraph, shuffle: Callable[[list[Any]], None]) -> SceneGraph:
    """The same scene with other ids and everything in another order."""
    ids = [f"n{i}" for i in range(len(graph.objects))]
    shuffle(ids)
    new = dict(zip((one.id for one in graph.objects), ids, strict=True))

    def mixed(values: Any) -> tuple[Any, ...]:
        found = list(values)
        shuffle(found)
        return tuple(found)

    return SceneGraph(
        mixed(Object(new[one.id], one.name, mixed(one.attributes)) for one in graph.objects),
        mixed(Relation(new[r.subject], r.predicate, new[r.object]) for r in graph.relations),
        mixed(graph.scene_attributes),
    )


def as_networkx(graph: SceneGraph) -> networkx.MultiDiGraph:
    """Written here apart from ``to_networkx``: labels as plain values."""
    found = networkx.MultiDiGraph()
    for one in graph.objects:
        found.add_node(one.id, label=(one.name, sorted((a.type, a.value) for a in one.attributes)))
    for r in graph.relations:
        found.add_edge(r.subject, r.object, predicate=r.predicate)
    return found


def isomorphic(one: SceneGraph, other: SceneGraph) -> bool:
    def edges(data: dict[Any, dict[str, str]]) -> list[str]:
        return sorted(entry["predicate"] for entry in data.values())

    scene = [sorted((a.type, a.value) for a in graph.scene_attributes) for graph in (one, other)]
    return scene[0] == scene[1] and networkx.is_isomorphic(
        as_networkx(one), as_networkx(other), node_match=lambda a, b: a == b, edge_match=lambda a, b: edges(a) == edges(b)
    )


@st.composite
def graphs(draw: st.DrawFn) -> SceneGraph:
    """Few words, so that twins and symmetries are common."""
    size = draw(st.integers(1, 5))
    attributes = st.lists(st.sampled_from([RED, Attribute("size", "big"), Attribute("size", "red")]), max_size=1, unique=True).map(tuple)
    objects = tuple(Object(str(i), draw(st.sampled_from(["dog", "cat"])), draw(attributes)) for i in range(size))
    pairs = [(str(a), str(b)) for a in range(size) for b in range(size) if a != b]
    ends = draw(st.lists(st.sampled_from(pairs), max_size=5)) if pairs else []
    relations = tuple(Relation(a, draw(st.sampled_from(["on", "near"])), b) for a, b in ends)
    return SceneGraph(objects, relations, draw(st.sampled_from([(), (SceneAttribute("weather", "fog"),)])))


# ---- values -------------------------------------------------------------------------------------------------------------------


def test_a_graph_is_a_value() -> None:
    one, other = SceneGraph((DOG, CAT), (Relation("a", "on", "b"),)), SceneGraph((DOG, CAT), (Relation("a", "on", "b"),))
    assert one == other and hash(one) == hash(other)
    with pytest.raises(FrozenInstanceError):
        one.objects = ()  # type: ignore[misc]


def test_complexity_counts_objects_attributes_and_relations_only() -> None:
    graph = SceneGraph((Object("a", "dog", (RED,)), CAT), (Relation("a", "on", "b"),), (SceneAttribute("weather", "fog"),))
    assert graph.complexity == 4


@given(graphs())
def test_a_graph_reads_back_as_it_was_written(graph: SceneGraph) -> None:
    assert SceneGraph.from_dict(graph.to_dict()) == graph


BROKEN: list[tuple[Callable[[], SceneGraph], str]] = [
    (lambda: SceneGraph(()), "no objects"),
    (lambda: SceneGraph((DOG, DOG)), "two objects have the id 'a'"),
    (lambda: SceneGraph((DOG,), (Relation("a", "on", "b"),)), "names the object 'b', which is not in the graph"),
    (lambda: SceneGraph((DOG,), (Relation("a", "on", "a"),)), "goes from 'a' to itself"),
    (lambda: SceneGraph((Object("a", ""),)), "the name of object 'a' is ''"),
    (lambda: SceneGraph((Object("a", " dog"),)), "without space around"),
    (lambda: SceneGraph((Object("a", "do\ng"),)), "control characters"),
    (lambda: SceneGraph((Object("a", "do\u200bg"),)), "control characters"),
    (lambda: SceneGraph((Object("a", "x" * (MAX_NAME_CHARS + 1)),)), "has 201 characters; at most 200"),
    (lambda: SceneGraph((Object("a", "dog", (RED, RED)),)), "the same attribute twice"),
    (lambda: SceneGraph((Object("a", "dog", (Attribute("color", ""),)),)), "an attribute of object 'a' is ''"),
    (lambda: SceneGraph((DOG, CAT), (Relation("a", "", "b"),)), "the relation from 'a' to 'b' is ''"),
    (lambda: SceneGraph((DOG,), (), (SceneAttribute("weather", "fog "),)), "a scene attribute is 'fog '"),
    (lambda: SceneGraph(tuple(Object(str(i), "dog") for i in range(MAX_ELEMENTS + 1))), "2001 elements; at most 2000"),
    (lambda: SceneGraph((DOG,), (), (SceneAttribute("a", "b"),) * MAX_ELEMENTS), "2001 elements; at most 2000"),
]


@pytest.mark.parametrize(("make", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_graph_that_breaks_a_rule_is_refused(make: Callable[[], SceneGraph], message: str) -> None:
    with pytest.raises(GraphError, match=re.escape(message)):
        make()


def test_the_limits_are_taken() -> None:
    assert SceneGraph((Object("a", "x" * MAX_NAME_CHARS),)).objects[0].name
    assert SceneGraph(tuple(Object(str(i), "dog") for i in range(MAX_ELEMENTS))).complexity == MAX_ELEMENTS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the graph is list"),
        ({}, "the graph lacks 'objects'"),
        ({"objects": None}, "'objects' is NoneType"),
        ({"objects": [{"id": "a", "name": "dog"}], "boxes": []}, "unknown key 'boxes'"),
        ({"objects": [{"id": "a", "name": "dog", "attributes": [{"type": "color"}]}]}, r"attributes\[0\] lacks 'value'"),
        (
            {"objects": [{"id": "a", "name": "dog"}], "relations": [{"subject": "a", "predicate": 1, "object": "a"}]},
            r"relations\[0\].predicate is int",
        ),
        ({"objects": [{"id": "a", "name": "dog"}], "scene_attributes": ["fog"]}, r"scene_attributes\[0\] is str"),
    ],
)
def test_a_bad_record_says_where(data: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        SceneGraph.from_dict(data)


# ---- the same scene -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(graphs(), st.randoms(use_true_random=False))
def test_a_renumbered_graph_is_the_same_scene(graph: SceneGraph, rng: random.Random) -> None:
    other = renumbered(graph, rng.shuffle)
    assert graph.same_scene(other) and graph.canonical_key() == other.canonical_key()


@settings(max_examples=400)
@given(graphs(), graphs())
def test_same_scene_is_isomorphism(one: SceneGraph, other: SceneGraph) -> None:
    assert one.same_scene(other) == isomorphic(one, other)


@settings(max_examples=300)
@given(graphs(), st.data())
def test_same_scene_sees_one_turned_relation(graph: SceneGraph, data: st.DataObject) -> None:
    """Near misses: one relation moved to other ends."""
    if not graph.relations or len(graph.objects) < 2:
        return
    place = data.draw(st.integers(0, len(graph.relations) - 1))
    a, b = data.draw(st.permutations([one.id for one in graph.objects]))[:2]
    relations = list(graph.relations)
    relations[place] = Relation(a, relations[place].predicate, b)
    other = SceneGraph(graph.objects, tuple(relations), graph.scene_attributes)
    assert graph.same_scene(other) == isomorphic(graph, other)


def ring(*sizes: int) -> SceneGraph:
    """Directed rings of dogs: refinement alone tells none of them apart."""
    objects, relations, start = [], [], 0
    for size in sizes:
        objects += [Object(str(start + i), "dog") for i in range(size)]
        relations += [Relation(str(start + i), "near", str(start + (i + 1) % size)) for i in range(size)]
        start += size
    return SceneGraph(tuple(objects), tuple(relations))


def test_what_refinement_cannot_tell_apart_is_told_apart() -> None:
    assert ring(6).same_scene(renumbered(ring(6), random.Random(1).shuffle))
    assert not ring(6).same_scene(ring(3, 3))


def test_many_lone_twins_are_fast() -> None:
    graph = SceneGraph(tuple(Object(str(i), "dog") for i in range(300)))
    start = time.perf_counter()
    assert graph.same_scene(renumbered(graph, random.Random(1).shuffle))
    assert time.perf_counter() - start < 2


def spread(size: int, arms: int) -> SceneGraph:
    """Chains of dogs that all hang on one tree: each like the others."""
    objects = [Object("t", "tree")] + [Object(f"{a} {i}", "dog") for a in range(arms) for i in range(size)]
    relations = [Relation(f"{a} {i}", "near", f"{a} {i + 1}" if i + 1 < size else "t") for a in range(arms) for i in range(size)]
    return SceneGraph(tuple(objects), tuple(relations))


def pairs(count: int) -> SceneGraph:
    """As many times the same dog with the same cat."""
    objects = [Object(f"{name} {i}", name) for i in range(count) for name in ("dog", "cat")]
    return SceneGraph(tuple(objects), tuple(Relation(f"dog {i}", "chasing", f"cat {i}") for i in range(count)))


@pytest.mark.parametrize("graph", [pairs(6), spread(2, 6)], ids=["pairs", "arms"])
def test_repeated_groups_are_fast(graph: SceneGraph) -> None:
    start = time.perf_counter()
    assert graph.same_scene(renumbered(graph, random.Random(1).shuffle))
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: SceneGraph((Object("", "dog"),)),
        lambda: SceneGraph((Object("a\nb", "dog"),)),
        lambda: SceneGraph((Object("\ud800", "dog"),)),
        lambda: SceneGraph((Object("x" * 10_000, "dog"),)),
        lambda: SceneGraph((Object("a", "dog", (Attribute("", "red"),)),)),
        lambda: SceneGraph((DOG,), (), (SceneAttribute("a\nb", "fog"),)),
    ],
)
def test_ids_and_types_are_checked_too(make: Callable[[], SceneGraph]) -> None:
    with pytest.raises(GraphError):
        make()


@pytest.mark.parametrize(
    "data", [{"a\nb": 1}, {"objects": [{"id": "a", "name": " " + "x" * 100_000}]}, {"objects": [{"id": "x" * 100_000, "name": ""}]}]
)
def test_a_message_is_one_short_line(data: Any) -> None:
    with pytest.raises(GraphError) as caught:
        SceneGraph.from_dict(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
