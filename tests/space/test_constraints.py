"""Constraints leave exactly the scenes that they describe, and one that leaves none says which it is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from brute_force import DEEPEST, HOME, VOCABULARIES, Key, Load, Noun, Vocabulary, key_of_graph, scenes

from anyscene.errors import AnySceneError, EmptySpaceError
from anyscene.space import SceneSpec, Space, graph_of_row
from anyscene.taxonomy import Taxonomy


@cache
def every(name: str, deepest: int) -> frozenset[Key]:
    return frozenset().union(*(scenes(VOCABULARIES[name], c) for c in range(1, deepest + 1)))


def nouns(key: Key) -> set[str]:
    return {name for name, _ in key[0]}


def drawn(space: Space) -> set[Key]:
    rows = space.rows(seed=1)
    assert rows.capacity == space.size
    batch = rows.rows(0, rows.capacity)
    found = [key_of_graph(graph_of_row(space.taxonomy, batch, i)) for i in range(batch.rows)]
    assert len(set(found)) == len(found)
    return set(found)


BRANCHES = {
    "a class": ({"only": ("person",)}, {"boy"}),
    "a group of classes": ({"only": ("animate",)}, {"boy", "dog"}),
    "several": ({"only": ("person", "food")}, {"boy", "rice"}),
    "an object": ({"only": ("dog",)}, {"dog"}),
    "an object in capitals": ({"only": ("DOG",)}, {"dog"}),
    "a hypernym by name": ({"only": ("living being",)}, {"boy", "dog"}),
    "a hypernym by id": ({"only": ("creature",)}, {"boy", "dog"}),
    "everything": ({"only": ("any",)}, {"boy", "dog", "rice", "cup", "scissors"}),
    "without a class": ({"without": ("thing",)}, {"boy", "dog", "rice"}),
    "without several": ({"without": ("person", "cup")}, {"dog", "rice", "scissors"}),
    "only and without": ({"only": ("animate",), "without": ("dog",)}, {"boy"}),
    "familiar": ({"familiar": True}, {"boy", "dog", "cup", "scissors"}),
    "familiar and without": ({"familiar": True, "without": ("animate",)}, {"cup", "scissors"}),
}


@pytest.mark.parametrize("what", BRANCHES)
def test_branches_of_the_taxonomy(small: dict[str, Taxonomy], what: str) -> None:
    options, kept = BRANCHES[what]
    space = Space(small["home"], SceneSpec(complexity=(1, 3), **options))  # type: ignore[arg-type]
    expected = {key for key in every("home", 3) if nouns(key) <= kept}
    assert space.size == len(expected) > 0
    assert {key_of_graph(space[i]) for i in range(space.size)} == drawn(space) == expected


LIMITS = [
    {"objects": (1, 1)},
    {"objects": (2, 3)},
    {"attributes": (0, 0)},
    {"attributes": (1, 2)},
    {"relations": (0, 0)},
    {"relations": (1, 5)},
    {"objects": (2, 2), "relations": (1, 1)},
    {"objects": (1, 2), "attributes": (1, 1), "relations": (0, 0)},
    {"objects": (0, 9), "attributes": (0, 9), "relations": (0, 9)},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("name", ["home", "twins", "bare"])
def test_limits_of_objects_attributes_and_relations(small: dict[str, Taxonomy], name: str, limits: dict[str, tuple[int, int]]) -> None:
    def inside(key: Key) -> bool:
        counts = {"objects": len(key[0]), "attributes": sum(len(values) for _, values in key[0]), "relations": len(key[1])}
        return all(low <= counts[kind] <= high for kind, (low, high) in limits.items())

    space = Space(small[name], SceneSpec(complexity=(1, DEEPEST[name]), **limits))  # type: ignore[arg-type]
    expected = {key for key in every(name, DEEPEST[name]) if inside(key)}
    assert space.size == len(expected)
    assert {key_of_graph(space[i]) for i in range(space.size)} == expected
    if expected:
        assert drawn(space) == expected


def test_what_cannot_be_shown_is_left_out(load: Load) -> None:
    vocabulary = replace(HOME, nouns=(*HOME.nouns, Noun("justice", "thing", visuality=0.3), Noun("breeze", "thing", visuality=0.5)))
    space = Space(load(vocabulary), SceneSpec(complexity=(1, 1)))
    assert {space[i].objects[0].name for i in range(space.size)} == {"boy", "dog", "rice", "cup", "scissors", "breeze"}


def test_only_objects_are_needed(load: Load) -> None:
    space = Space(load(Vocabulary(nouns=(Noun("dog"), Noun("cat")))), SceneSpec(complexity=(1, 4)))
    assert space.scene_counts == {1: 2, 2: 3, 3: 4, 4: 5} and len(drawn(space)) == 14


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"only": ("dog",), "without": ("animal",)}, "animal"),
        ({"only": ("food",), "familiar": True}, "food|familiar"),
        ({"without": ("any",)}, "any"),
        ({"without": ("animate", "thing", "food")}, "food"),
    ],
)
def test_a_constraint_that_leaves_no_object_is_named(small: dict[str, Taxonomy], options: dict[str, object], named: str) -> None:
    with pytest.raises(EmptySpaceError, match=named):
        Space(small["home"], SceneSpec(complexity=(1, 3), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"only": ("zebra",)}, {"without": ("zebra",)}, {"only": ("scisors",)}])
def test_a_branch_that_is_not_there_is_named(small: dict[str, Taxonomy], options: dict[str, object]) -> None:
    word = next(iter(options.values()))[0]  # type: ignore[index]
    with pytest.raises(AnySceneError, match=word):
        Space(small["home"], SceneSpec(complexity=(1, 3), **options))  # type: ignore[arg-type]


def test_a_branch_with_a_slip_of_the_pen_is_suggested(small: dict[str, Taxonomy]) -> None:
    with pytest.raises(AnySceneError, match="scissors"):
        Space(small["home"], SceneSpec(complexity=(1, 3), only=("scisors",)))


@pytest.mark.parametrize("name", ["vehicle", "animal", "person"])
def test_branches_of_the_shipped_vocabulary(shipped: Taxonomy, name: str) -> None:
    inside = shipped.branch(name)
    kept, left = (Space(shipped, SceneSpec(complexity=(1, 1), **{option: (name,)})) for option in ("only", "without"))  # type: ignore[arg-type]
    assert kept.size + left.size == Space(shipped, SceneSpec(complexity=(1, 1))).size
    batch = Space(shipped, SceneSpec(complexity=(3, 5), only=(name,))).rows(0).rows(0, 500)
    assert inside[batch.objects].all()
    batch = Space(shipped, SceneSpec(complexity=(3, 5), without=(name,))).rows(0).rows(0, 500)
    assert not inside[batch.objects].any()
