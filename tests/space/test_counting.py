"""Counts are exact: every space is listed a second time by brute force, and the two lists are the same."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import pytest
from brute_force import (
    DEEPEST,
    HOME,
    LONELY,
    VOCABULARIES,
    Key,
    Load,
    Noun,
    Predicate,
    Value,
    Vocabulary,
    isomorphism_classes,
    key_of_graph,
    labelled_scenes,
    scenes,
    smallest,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.scene import count_structures
from anyscene.space import SceneSpec, Space
from anyscene.taxonomy import Taxonomy

CASES = [(name, complexity) for name, deepest in DEEPEST.items() for complexity in range(1, deepest + 1)]


@cache
def listed(name: str, complexity: int, class_rules: bool = True, counts: bool = False) -> frozenset[Key]:
    return frozenset(scenes(VOCABULARIES[name], complexity, class_rules=class_rules, counts=counts))


# ---- the brute force itself ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "complexity"), [("home", 2), ("bare", 4), ("mono", 6), ("twins", 4), ("lonely", 4)])
def test_the_brute_force_agrees_with_networkx_on_what_is_the_same_scene(name: str, complexity: int) -> None:
    every = list(labelled_scenes(VOCABULARIES[name], complexity))
    assert isomorphism_classes(every) == len(listed(name, complexity))
    assert len({smallest(*scene) for scene in listed(name, complexity)}) == len(listed(name, complexity))


def test_the_brute_force_counts_what_can_be_counted_by_hand() -> None:
    assert len(scenes(LONELY, 1)) == 2  # sun; moon
    assert len(scenes(LONELY, 2)) == 7  # bright or dim sun or moon; two suns, two moons, a sun and a moon
    assert len(scenes(HOME, 1)) == 5


# ---- counts -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "complexity"), CASES)
def test_a_space_has_exactly_the_scenes_that_brute_force_finds(small: dict[str, Taxonomy], name: str, complexity: int) -> None:
    space = Space(small[name], SceneSpec(complexity=(complexity, complexity)))
    expected = listed(name, complexity)
    assert space.size == len(expected) == space.scene_counts[complexity]
    assert {key_of_graph(space[i]) for i in range(space.size)} == expected


@pytest.mark.parametrize(("name", "complexity"), [("home", 1), ("home", 2), ("home", 3), ("twins", 3), ("lonely", 3)])
@pytest.mark.parametrize("class_rules", [True, False])
def test_counts_are_attributes_of_what_can_be_counted(small: dict[str, Taxonomy], name: str, complexity: int, class_rules: bool) -> None:
    realism = 0.5 if class_rules else 0.0
    space = Space(small[name], SceneSpec(complexity=(complexity, complexity), counts=True, realism=realism))
    expected = listed(name, complexity, class_rules, True)
    assert space.size == len(expected)
    assert {key_of_graph(space[i]) for i in range(space.size)} == expected


def test_neither_mass_nouns_nor_plural_only_nouns_are_counted(small: dict[str, Taxonomy]) -> None:
    space = Space(small["home"], SceneSpec(complexity=(2, 2), counts=True, realism=0.0))
    counted = {one.name for i in range(space.size) for one in space[i].objects if any(a.type == "count" for a in one.attributes)}
    assert counted == {"boy", "dog", "cup"}


@pytest.mark.parametrize(("name", "complexity"), [("home", 1), ("home", 2), ("home", 3), ("bare", 4), ("twins", 4)])
def test_realism_0_puts_the_class_rules_aside(small: dict[str, Taxonomy], name: str, complexity: int) -> None:
    space = Space(small[name], SceneSpec(complexity=(complexity, complexity), realism=0.0))
    expected = listed(name, complexity, class_rules=False)
    assert space.size == len(expected)
    assert {key_of_graph(space[i]) for i in range(space.size)} == expected


@pytest.mark.parametrize("realism", [0.01, 0.2, 0.5, 0.8, 1.0])
def test_any_other_realism_counts_what_the_class_rules_allow(small: dict[str, Taxonomy], realism: float) -> None:
    assert Space(small["home"], SceneSpec(complexity=(1, 3), realism=realism)).size == 5 + 38 + 202


def test_a_range_of_complexities_is_the_sum(small: dict[str, Taxonomy]) -> None:
    space = Space(small["bare"], SceneSpec(complexity=(2, 5)))
    assert space.scene_counts == {c: len(listed("bare", c)) for c in range(2, 6)}
    assert space.size == sum(space.scene_counts.values())
    assert [space[i].complexity for i in range(space.size)] == [c for c, count in space.scene_counts.items() for _ in range(count)]


def test_structures_are_counted(small: dict[str, Taxonomy]) -> None:
    space = Space(small["mono"], SceneSpec(complexity=(1, 8)))
    assert space.structure_counts == {c: count_structures(c) for c in range(1, 9)}
    assert [space.structure_counts[c] for c in range(1, 7)] == [1, 2, 4, 8, 17, 37]


def test_a_limit_of_structures_is_a_limit_of_their_count(small: dict[str, Taxonomy]) -> None:
    space = Space(small["mono"], SceneSpec(complexity=(3, 3), relations=(1, 1)))
    assert space.structure_counts == {3: 1}


@pytest.mark.parametrize("index", [-1, 245, 10**40])
def test_a_number_outside_the_space_is_an_index_error(small: dict[str, Taxonomy], index: int) -> None:
    space = Space(small["home"], SceneSpec(complexity=(1, 3)))
    assert space.size == 245
    with pytest.raises(IndexError, match="0 to 244"):
        space[index]


def test_a_large_count_by_hand(shipped: Taxonomy) -> None:
    """One noun; one noun and one attribute; two nouns, alike or not; two nouns and a relation."""
    space = Space(shipped, SceneSpec(complexity=(1, 2)))
    seen = shipped.objects.visuality >= 0.5
    classes = shipped.objects.class_index[seen]
    nouns = int(seen.sum())
    assert space.scene_counts[1] == nouns
    pairs = int(shipped.attributes.fits[:, classes].sum())
    assert space.scene_counts[2] == pairs + nouns * (nouns + 1) // 2


# ---- any vocabulary -----------------------------------------------------------------------------------------------------------

CLASSES = ("animal", "person", "thing")


@st.composite
def vocabularies(draw: st.DrawFn) -> Vocabulary:
    some = st.lists(st.sampled_from([*CLASSES, "animate"]), min_size=1, max_size=2, unique=True).map(tuple)
    kinds = draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3))
    numbers = draw(st.lists(st.sampled_from(["count", "mass", "plural", "either"]), min_size=len(kinds), max_size=len(kinds)))
    values = draw(st.lists(st.tuples(st.sampled_from(["color", "state"]), some, st.booleans()), max_size=3))
    predicates = draw(st.lists(st.tuples(some, some), max_size=2))
    return Vocabulary(
        nouns=tuple(Noun(f"noun{i}", kind, number) for i, (kind, number) in enumerate(zip(kinds, numbers, strict=True))),
        values=tuple(Value(f"value{i}", kind, fits, exclusive) for i, (kind, fits, exclusive) in enumerate(values)),
        predicates=tuple(Predicate(f"predicate{i}", subjects, objects) for i, (subjects, objects) in enumerate(predicates)),
        groups=(("animal", "animate"), ("person", "animate"), ("animate", ""), ("thing", "")),
    )


@settings(max_examples=40, deadline=None)
@given(vocabulary=vocabularies(), class_rules=st.booleans(), counts=st.booleans())
def test_any_vocabulary_is_counted_numbered_and_exhausted_exactly(
    load: Load, vocabulary: Vocabulary, class_rules: bool, counts: bool
) -> None:
    """Up to complexity 3, with and without class rules and counts."""
    space = Space(load(vocabulary), SceneSpec(complexity=(1, 3), realism=0.5 if class_rules else 0.0, counts=counts))
    expected = set().union(*(scenes(vocabulary, c, class_rules=class_rules, counts=counts) for c in (1, 2, 3)))
    assert space.size == len(expected)
    graphs = [space[i] for i in range(space.size)]
    assert {key_of_graph(graph) for graph in graphs} == expected
    assert [space.index(graph) for graph in graphs] == list(range(space.size))


@pytest.mark.parametrize("order", ["balanced", "uniform"])
def test_scenes_differ_as_labelled_graphs(small: dict[str, Taxonomy], order: str) -> None:
    """The project's own canonical form tells all scenes of a space apart."""
    space = Space(small["twins"], SceneSpec(complexity=(1, 4), order=order))
    keys = [space[i].canonical_key() for i in range(space.size)]
    assert len(set(keys)) == space.size == 2 + 8 + 24 + 87
    assert not any(a.same_scene(b) for a, b in combinations([space[i] for i in range(0, space.size, 7)], 2))
