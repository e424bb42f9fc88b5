"""Scenes around a given graph: all of it is in every row, its nouns nowhere else, and the count is exact."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest
from brute_force import HOME, VOCABULARIES, Key, contains, graph_of_key, key_of_graph, renumbered, scenes

from anyscene.errors import AnySceneError, EmptySpaceError, SpecError
from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.space import SceneSpec, Space, graph_of_row
from anyscene.taxonomy import Taxonomy


def graph(*objects: str, relations: str = "") -> SceneGraph:
    """``graph("red dog", "cup", relations="0 on 1")``; words of any vocabulary of ``brute_force``."""
    kinds = {value.name: value.kind for one in VOCABULARIES.values() for value in one.values}
    made = []
    for i, text in enumerate(objects):
        *values, name = text.split()
        made.append(Object(f"s{i}", name, tuple(Attribute(kinds.get(value, "color"), value) for value in values)))
    triples = [part.split() for part in relations.split(",") if part]
    return SceneGraph(tuple(made), tuple(Relation(f"s{a}", p, f"s{b}") for a, p, b in triples))


SEEDS = {
    "an object": ("home", 3, graph("dog")),
    "an object with an attribute": ("home", 3, graph("red dog")),
    "an object with two attributes": ("home", 4, graph("wet dirty dog")),
    "a mass noun": ("home", 3, graph("rice")),
    "two objects": ("home", 3, graph("dog", "cup")),
    "a relation": ("home", 4, graph("boy", "dog", relations="0 chasing 1")),
    "a relation and attributes": ("home", 5, graph("boy", "wet cup", relations="0 holding 1")),
    "a pair of classes": ("twins", 5, graph("dog", "cup", relations="0 on 1")),
    "one of two twins": ("twins", 5, graph("dog")),
    "the other": ("twins", 5, graph("shiny cup")),
    "a bare object": ("bare", 5, graph("dog")),
    "a bare pair": ("bare", 5, graph("dog", "cat")),
    "a bare relation": ("bare", 5, graph("dog", "cat", relations="1 near 0")),
    "a bare path": ("bare", 6, graph("dog", "cat", "cup", relations="0 near 1,1 in 2")),
    "the only noun": ("mono", 4, graph("ball")),
    "the only noun with all it can have": ("mono", 4, graph("red ball")),
}


@cache
def brute(name: str, complexity: int, class_rules: bool = True) -> frozenset[Key]:
    return frozenset(scenes(VOCABULARIES[name], complexity, class_rules=class_rules))


def expected(name: str, complexity: int, seed: SceneGraph, class_rules: bool = True) -> set[Key]:
    return {key for c in range(1, complexity + 1) for key in brute(name, c, class_rules) if contains(key, seed)}


@pytest.fixture(scope="module")
def around(small: dict[str, Taxonomy]) -> Callable[[str], tuple[Space, set[Key]]]:
    @cache
    def make(what: str) -> tuple[Space, set[Key]]:
        name, complexity, seed = SEEDS[what]
        complexity = min(complexity, 4) if name == "home" else complexity
        return Space(small[name], SceneSpec(complexity=(1, complexity), containing=seed)), expected(name, complexity, seed)

    return make


@pytest.mark.parametrize("what", SEEDS)
def test_the_scenes_around_a_graph_are_those_of_brute_force(around: Callable[[str], tuple[Space, set[Key]]], what: str) -> None:
    space, keys = around(what)
    assert space.size == len(keys) > 0
    assert {key_of_graph(space[i]) for i in range(space.size)} == keys


@pytest.mark.parametrize("what", SEEDS)
def test_they_are_numbered(around: Callable[[str], tuple[Space, set[Key]]], what: str) -> None:
    space, _ = around(what)
    rng = random.Random(what)
    for i in range(0, space.size, 1 + space.size // 300):
        assert space.index(renumbered(space[i], rng.shuffle)) == i


@pytest.mark.parametrize("what", SEEDS)
def test_they_are_all_drawn_once(around: Callable[[str], tuple[Space, set[Key]]], what: str) -> None:
    space, keys = around(what)
    rows = space.rows(seed=4)
    assert rows.capacity == space.size
    batch = rows.rows(0, rows.capacity)
    found = Counter(key_of_graph(graph_of_row(space.taxonomy, batch, i)) for i in range(batch.rows))
    assert set(found) == keys and set(found.values()) == {1}


@pytest.mark.parametrize("what", SEEDS)
def test_only_scenes_around_the_graph_have_a_number(
    small: dict[str, Taxonomy], around: Callable[[str], tuple[Space, set[Key]]], what: str
) -> None:
    """Of all scenes of the vocabulary, those without the graph are refused, never given the number of another scene."""
    space, keys = around(what)
    name, _, _seed = SEEDS[what]
    wrong = []
    for complexity in range(1, 4):
        for key in sorted(brute(name, complexity)):
            try:
                found: object = key_of_graph(space[space.index(graph_of_key(VOCABULARIES[name], key))])
            except SpecError:
                found = None
            except Exception as error:
                found = repr(error)
            if found != (key if key in keys else None):
                wrong.append((key, found))
    assert not wrong, f"{len(wrong)} scenes, the first: {wrong[0]}"


@pytest.mark.parametrize("order", ["balanced", "uniform"])
@pytest.mark.parametrize("realism", [0.0, 0.5, 0.9])
def test_every_row_of_the_shipped_vocabulary_holds_the_graph(shipped: Taxonomy, order: str, realism: float) -> None:
    if order == "uniform" and realism == 0.9:
        pytest.skip("uniform rows have no realism")
    seed = SceneGraph(
        (Object("a", "dog", (Attribute("color", "brown"),)), Object("b", "chair"), Object("c", "boy")), (Relation("a", "on top of", "b"),)
    )
    space = Space(shipped, SceneSpec(complexity=(5, 7), containing=seed, order=order, realism=realism))
    batch = space.rows(seed=3).rows(0, 300)
    found = set()
    for i in range(batch.rows):
        one = graph_of_row(space.taxonomy, batch, i)
        assert contains(key_of_graph(one), seed), one
        found.add(key_of_graph(one))
        if i % 20 == 0:
            assert space[space.index(one)].same_scene(one)
    assert len(found) == 300


def test_a_graph_may_break_the_class_rules(small: dict[str, Taxonomy]) -> None:
    """What is asked for by name is taken as it is; the rest keeps the rules."""
    seed = graph("rice", "boy", relations="0 chasing 1")
    space = Space(small["home"], SceneSpec(complexity=(3, 4), containing=seed))
    assert space.size > 1
    for i in range(space.size):
        assert contains(key_of_graph(space[i]), seed) and space.index(space[i]) == i


def test_a_graph_as_large_as_the_scenes_is_the_only_one(small: dict[str, Taxonomy]) -> None:
    seed = graph("boy", "wet cup", relations="0 holding 1")
    space = Space(small["home"], SceneSpec(complexity=(1, 4), containing=seed))
    assert space.size == 1 and space[0].same_scene(seed) and space.rows(0).capacity == 1
    batch = space.rows(0).rows(0, 1)
    assert graph_of_row(space.taxonomy, batch, 0).same_scene(seed)


def test_words_of_the_graph_are_found_whatever_their_case(small: dict[str, Taxonomy]) -> None:
    lower, upper = (Space(small["home"], SceneSpec(complexity=(1, 3), containing=graph(name))) for name in ("dog", "DOG"))
    assert lower.size == upper.size


def test_the_graph_may_be_counted(small: dict[str, Taxonomy]) -> None:
    seed = SceneGraph((Object("a", "dog", (Attribute("count", "three"),)),))
    space = Space(small["home"], SceneSpec(complexity=(1, 3), containing=seed, counts=True))
    for i in range(space.size):
        dog = next(one for one in space[i].objects if one.name == "dog")
        assert [a.value for a in dog.attributes if a.type == "count"] == ["three"]
    with pytest.raises(SpecError, match="three"):
        Space(small["home"], SceneSpec(complexity=(1, 3), containing=seed))


BAD = {
    "too big": (graph("boy", "wet cup", "dog", relations="0 holding 1"), EmptySpaceError, "complexity 5.*3"),
    "a circle": (graph("boy", "dog", relations="0 chasing 1,1 chasing 0"), AnySceneError, "circle|one pair"),
    "an unknown object": (graph("zebra"), SpecError, "zebra"),
    "an object with a slip of the pen": (graph("scisors"), SpecError, "scissors"),
    "an unknown attribute": (graph("purple dog"), SpecError, "purple"),
    "an unknown relation": (graph("boy", "dog", relations="0 biting 1"), SpecError, "biting"),
    "twin nouns": (graph("dog", "dog"), SpecError, "two objects of one noun"),
    "two relations of a pair": (graph("boy", "dog", relations="0 chasing 1,0 holding 1"), SpecError, "one pair"),
    "values that exclude each other": (graph("red blue dog"), SpecError, "exclude"),
    "scene attributes": (SceneGraph((Object("a", "dog"),), (), (SceneAttribute("weather", "fog"),)), SpecError, "scene attributes"),
    "an attribute of another type": (SceneGraph((Object("a", "dog", (Attribute("smell", "red"),)),)), SpecError, "red|smell"),
    "one attribute under two types": (
        SceneGraph((Object("a", "dog", (Attribute("state", "wet"), Attribute("mood", "wet"))),)),
        SpecError,
        "wet",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_graph_that_cannot_be_contained_is_an_error(small: dict[str, Taxonomy], what: str) -> None:
    seed, error, message = BAD[what]
    with pytest.raises(error, match=message):
        Space(small["home"], SceneSpec(complexity=(1, 3), containing=seed))


def test_a_circle_of_three_is_an_error(small: dict[str, Taxonomy]) -> None:
    seed = graph("dog", "cat", "cup", relations="0 near 1,1 near 2,2 near 0")
    with pytest.raises(EmptySpaceError, match="circle"):
        Space(small["bare"], SceneSpec(complexity=(1, 8), containing=seed))


@pytest.mark.parametrize(
    ("options", "named"), [({"objects": (1, 1)}, "objects"), ({"relations": (0, 0)}, "relations"), ({"attributes": (0, 0)}, "attributes")]
)
def test_limits_below_the_graph_are_an_error_that_names_them(small: dict[str, Taxonomy], options: dict[str, object], named: str) -> None:
    spec = SceneSpec(complexity=(1, 6), containing=graph("boy", "wet cup", relations="0 holding 1"), **options)  # type: ignore[arg-type]
    with pytest.raises(EmptySpaceError, match=named):
        Space(small["home"], spec).rows(0)


def test_the_nouns_of_the_graph_occur_nowhere_else(small: dict[str, Taxonomy]) -> None:
    space = Space(small["home"], SceneSpec(complexity=(2, 4), containing=graph("dog")))
    for i in range(space.size):
        assert sum(one.name == "dog" for one in space[i].objects) == 1
    with pytest.raises(SpecError):
        space.index(graph("dog", "dog"))


def test_the_seeds_are_made_of_words_that_the_vocabularies_have() -> None:
    assert len(SEEDS) == 16 and all(
        HOME.noun(one.name) for what, (name, _, seed) in SEEDS.items() if name == "home" for one in seed.objects
    )
