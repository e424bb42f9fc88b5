"""Every scene is a number: `space[i]` and `space.index(graph)` undo each other, however the graph is written down."""

from __future__ import annotations

import random
from itertools import combinations, product

import pytest
from brute_force import (
    DEEPEST,
    HOME,
    Load,
    Noun,
    Predicate,
    Value,
    Vocabulary,
    graph_of_key,
    key_of_graph,
    labelled_scenes,
    renumbered,
    scenes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.errors import AnySceneError, SpecError
from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.space import Holdout, SceneSpec, Space
from anyscene.taxonomy import Taxonomy

# ---- small spaces, every scene ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "deepest"), DEEPEST.items())
@pytest.mark.parametrize("realism", [0.5, 0.0])
def test_number_and_scene_are_inverse(small: dict[str, Taxonomy], name: str, deepest: int, realism: float) -> None:
    space = Space(small[name], SceneSpec(complexity=(1, deepest), realism=realism))
    for i in range(space.size):
        assert space.index(space[i]) == i


@pytest.mark.parametrize(("name", "deepest"), DEEPEST.items())
def test_a_scene_has_one_number_however_it_is_written_down(small: dict[str, Taxonomy], name: str, deepest: int) -> None:
    space = Space(small[name], SceneSpec(complexity=(1, deepest)))
    rng = random.Random(name)
    for i in range(0, space.size, 1 + space.size // 150):
        graph = space[i]
        for _ in range(3):
            assert space.index(renumbered(graph, rng.shuffle)) == i


@pytest.mark.parametrize(("name", "complexity"), [("bare", 4), ("mono", 6), ("twins", 4)])
def test_all_numberings_of_one_scene_have_one_number(small: dict[str, Taxonomy], name: str, complexity: int) -> None:
    """The labelled scenes of brute force, each under its scene's number and no other."""
    from brute_force import VOCABULARIES

    space = Space(small[name], SceneSpec(complexity=(complexity, complexity)))
    numbers: dict[int, object] = {}
    for scene in labelled_scenes(VOCABULARIES[name], complexity):
        graph = graph_of_key(VOCABULARIES[name], scene)
        key = key_of_graph(graph)
        assert numbers.setdefault(space.index(graph), key) == key
    assert sorted(numbers) == list(range(space.size))


def test_numbers_do_not_depend_on_the_order_of_rows_but_on_the_spec_alone(small: dict[str, Taxonomy]) -> None:
    first, second = (Space(small["home"], SceneSpec(complexity=(1, 3), order=order)) for order in ("balanced", "uniform"))
    assert [first[i] for i in range(first.size)] == [second[i] for i in range(second.size)]


# ---- structures with symmetry -------------------------------------------------------------------------------------------------

TINY = Vocabulary(
    nouns=(Noun("dog", "animal"), Noun("cup", "thing")),
    values=(Value("red", "color"),),
    predicates=(Predicate("near"), Predicate("on", ("any",), ("thing",))),
)
CYCLE = [(i, (i + 1) % 6) for i in range(6)]
SHAPES = {
    "star out of the middle": (5, [(0, i) for i in range(1, 5)]),
    "star into the middle": (5, [(i, 0) for i in range(1, 5)]),
    "star both ways": (5, [(0, 1), (0, 2), (3, 0), (4, 0)]),
    "K 2,2": (4, [(a, b) for a in (0, 1) for b in (2, 3)]),
    "K 2,3": (5, [(a, b) for a in (0, 1) for b in (2, 3, 4)]),
    "two equal pairs": (4, [(0, 1), (2, 3)]),
    "three equal pairs": (6, [(0, 1), (2, 3), (4, 5)]),
    "two equal stars": (6, [(0, 1), (0, 2), (3, 4), (3, 5)]),
    "two equal paths": (6, [(0, 1), (1, 2), (3, 4), (4, 5)]),
    "five single objects": (5, []),
    "a tree of paths": (5, [(0, 1), (1, 2), (0, 3), (3, 4)]),
    "a triangle of three": (3, [(0, 1), (1, 2), (0, 2)]),
}
SHAPES |= {
    f"a ring of six turned as {''.join('+-'[t] for t in turned)}": (
        6,
        [(b, a) if t else (a, b) for (a, b), t in zip(CYCLE, turned, strict=True)],
    )
    for turned in [(0, 1, 0, 1, 0, 1), (0, 0, 0, 1, 1, 1), (0, 0, 1, 0, 0, 1), (0, 0, 1, 1, 0, 1), (0, 0, 0, 0, 0, 1), (0, 1, 0, 0, 1, 1)]
}
DEEP = [name for name, (size, edges) in SHAPES.items() if size + len(edges) >= 10]
SHALLOW = [name for name in SHAPES if name not in DEEP]


@pytest.fixture(scope="module")
def symmetric(load: Load) -> dict[tuple[int, int], Space]:
    """For every size of shape the space of all scenes that wide, with up to two attributes where that is quickly made."""
    found = {}
    for name, (size, edges) in SHAPES.items():
        complexity = size + len(edges)
        extra = 0 if name in DEEP else 2
        spec = SceneSpec(complexity=(complexity, complexity + extra), objects=(size, size), relations=(len(edges),) * 2)
        found.setdefault((size, len(edges)), Space(load(TINY), spec))
    return found


def random_scene(name: str, rng: random.Random, extra: int) -> SceneGraph:
    size, edges = SHAPES[name]
    nouns = [rng.choice(["dog", "cup"]) for _ in range(size)]
    red = rng.sample(range(size), extra)
    relations = []
    for a, b in edges:
        relations.append(Relation(f"n{a}", rng.choice(["near", "on"] if nouns[b] == "cup" else ["near"]), f"n{b}"))
    objects = tuple(Object(f"n{i}", noun, (Attribute("color", "red"),) if i in red else ()) for i, noun in enumerate(nouns))
    return SceneGraph(objects, tuple(relations))


@pytest.mark.parametrize("name", [*SHALLOW, *DEEP])
def test_scenes_with_symmetry_have_one_number_each(symmetric: dict[tuple[int, int], Space], name: str) -> None:
    size, edges = SHAPES[name]
    space = symmetric[size, len(edges)]
    rng = random.Random(name)
    key_of_number: dict[int, object] = {}
    number_of_key: dict[object, int] = {}
    for _ in range(60):
        graph = random_scene(name, rng, 0 if name in DEEP else rng.randrange(3))
        number = space.index(graph)
        assert 0 <= number < space.size
        assert key_of_graph(space[number]) == key_of_graph(graph)
        assert space.index(renumbered(graph, rng.shuffle)) == number
        key = key_of_graph(graph)
        assert key_of_number.setdefault(number, key) == key
        assert number_of_key.setdefault(key, number) == number
    assert len(key_of_number) > 10


@pytest.mark.parametrize("name", ["star out of the middle", "K 2,2", "two equal pairs", "a tree of paths", "a triangle of three"])
def test_a_symmetric_structure_has_every_filling_once(symmetric: dict[tuple[int, int], Space], name: str) -> None:
    """All ways to write words into one shape, against the numbers they get: as many as there are scenes."""
    size, edges = SHAPES[name]
    space = symmetric[size, len(edges)]
    found: dict[object, int] = {}
    for nouns in product(["dog", "cup"], repeat=size):
        for predicates in product(["near", "on"], repeat=len(edges)):
            if any(p == "on" and nouns[b] == "dog" for (_, b), p in zip(edges, predicates, strict=True)):
                continue
            graph = SceneGraph(
                tuple(Object(f"n{i}", noun) for i, noun in enumerate(nouns)),
                tuple(Relation(f"n{a}", p, f"n{b}") for (a, b), p in zip(edges, predicates, strict=True)),
            )
            assert found.setdefault(key_of_graph(graph), space.index(graph)) == space.index(graph)
    numbers = sorted(found.values())
    assert len(set(numbers)) == len(found)
    if name != "a tree of paths":
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "the scenes of one structure are numbered in a row"


def test_random_numbers_of_a_space_of_rings(symmetric: dict[tuple[int, int], Space]) -> None:
    space = symmetric[6, 6]
    rng = random.Random(1)
    for _ in range(150):
        number = rng.randrange(space.size)
        assert space.index(renumbered(space[number], rng.shuffle)) == number


# ---- the shipped vocabulary ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide(shipped: Taxonomy) -> Space:
    return Space(shipped, SceneSpec(complexity=(1, 8), scene_attributes=(0, 2)))


@settings(max_examples=80, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), complexity=st.integers(1, 8), rng=st.randoms(use_true_random=False))
def test_any_number_of_the_shipped_space(wide: Space, where: float, complexity: int, rng: random.Random) -> None:
    """Up to complexity 8."""
    before = sum(count for c, count in wide.scene_counts.items() if c < complexity)
    number = before + rng.randrange(wide.scene_counts[complexity])
    graph = wide[number]
    assert graph.complexity == complexity
    assert wide.index(renumbered(graph, rng.shuffle)) == number


@pytest.mark.parametrize("complexity", [9, 10, 12])
def test_numbers_of_deep_scenes_of_the_shipped_vocabulary(shipped: Taxonomy, complexity: int) -> None:
    space = Space(shipped, SceneSpec(complexity=(complexity, complexity), objects=(4, 5)))
    rng = random.Random(complexity)
    for _ in range(8):
        number = rng.randrange(space.size)
        graph = space[number]
        assert graph.complexity == complexity and space.index(renumbered(graph, rng.shuffle)) == number


def test_the_first_and_the_last_scene(wide: Space) -> None:
    for number in (0, 1, wide.size - 2, wide.size - 1):
        assert wide.index(wide[number]) == number
    with pytest.raises(IndexError):
        wide[wide.size]


@pytest.mark.parametrize("options", [{"counts": True}, {"familiar": True}, {"realism": 0.0}, {"holdout": Holdout("pair", "test")}])
def test_numbers_under_options(shipped: Taxonomy, options: dict[str, object]) -> None:
    space = Space(shipped, SceneSpec(complexity=(3, 6), **options))  # type: ignore[arg-type]
    rng = random.Random(5)
    for _ in range(40):
        number = rng.randrange(space.size)
        assert space.index(renumbered(space[number], rng.shuffle)) == number


# ---- what is not in a space has no number -------------------------------------------------------------------------------------


def scene(*objects: str, relations: str = "", extra: tuple[SceneAttribute, ...] = ()) -> SceneGraph:
    """``scene("red dog", "cup", relations="0 holding 1")``."""
    kinds = {value.name: value.kind for value in HOME.values}
    made = []
    for i, text in enumerate(objects):
        *values, name = text.split()
        made.append(Object(str(i), name, tuple(Attribute(kinds.get(value, "color"), value) for value in values)))
    triples = [part.split() for part in relations.split(",") if part]
    return SceneGraph(tuple(made), tuple(Relation(a, p, b) for a, p, b in triples), extra)


OUTSIDE = {
    "an unknown object": (scene("zebra"), "zebra"),
    "an unknown attribute": (scene("purple dog"), "purple"),
    "an unknown relation": (scene("dog", "boy", relations="0 biting 1"), "biting"),
    "an unknown scene attribute": (scene("dog", extra=(SceneAttribute("weather", "fog"),)), "fog"),
    "an attribute of another type": (SceneGraph((Object("a", "dog", (Attribute("smell", "red"),)),)), "red"),
    "one attribute under two types": (SceneGraph((Object("a", "dog", (Attribute("state", "wet"), Attribute("mood", "wet"))),)), "wet"),
    "more than the complexity": (scene("dog", "dog", "dog", "dog"), "complexity 4"),
    "a circle": (scene("boy", "dog", "boy", relations="0 chasing 1,1 chasing 2,2 chasing 0"), "circle|complexity"),
    "two relations between a pair": (scene("dog", "boy", relations="0 chasing 1,1 chasing 0"), "one pair"),
    "two relations one way": (scene("boy", "cup", relations="0 holding 1,0 on 1"), "one pair"),
    "an attribute that does not fit": (scene("happy cup"), "happy"),
    "attributes that exclude each other": (scene("red blue cup"), "red|blue"),
    "attributes that exclude each other where sets of that size exist": (scene("red blue dog"), "red|blue"),
    "a relation that does not fit": (scene("dog", "boy", relations="0 holding 1"), "holding|relation"),
    "a subject that has no relation": (scene("rice", "cup", relations="0 on 1"), "on|relation|rice"),
    "a target that has no relation": (scene("cup", "dog", relations="0 on 1"), "on|relation|dog"),
    "more attributes than the object can have": (scene("red blue rice"), "red|blue|rice"),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_is_not_in_the_space_is_an_error_that_says_why(small: dict[str, Taxonomy], what: str) -> None:
    space = Space(small["home"], SceneSpec(complexity=(1, 3)))
    graph, message = OUTSIDE[what]
    with pytest.raises(SpecError, match=message):
        space.index(graph)


def test_two_relations_do_not_exclude_a_third_object(small: dict[str, Taxonomy]) -> None:
    space = Space(small["home"], SceneSpec(complexity=(5, 5)))
    graph = scene("boy", "dog", "cup", relations="0 holding 2,1 holding 2")
    assert key_of_graph(space[space.index(graph)]) == key_of_graph(graph)


@pytest.mark.parametrize(
    ("options", "graph"),
    [
        ({"only": ("person",)}, scene("dog")),
        ({"only": ("person",)}, scene("boy", "dog", relations="0 chasing 1")),
        ({"without": ("animal",)}, scene("dog")),
        ({"without": ("dog",)}, scene("happy dog")),
        ({"familiar": True}, scene("rice")),
        ({"familiar": True}, scene("boy", "rice", relations="0 holding 1")),
        ({"objects": (2, 2)}, scene("dog")),
        ({"relations": (0, 0)}, scene("boy", "dog", relations="0 chasing 1")),
        ({"attributes": (1, 1)}, scene("dog")),
        ({"scene_attributes": (0, 0)}, scene("dog", extra=(SceneAttribute("weather", "fog"),))),
    ],
)
def test_a_scene_against_a_constraint_is_an_error(small: dict[str, Taxonomy], options: dict[str, object], graph: SceneGraph) -> None:
    space = Space(small["home"], SceneSpec(complexity=(1, 3), **options))  # type: ignore[arg-type]
    with pytest.raises(SpecError):
        space.index(graph)


@pytest.mark.parametrize("class_rules", [True, False])
def test_of_all_scenes_without_class_rules_those_with_a_number_are_those_of_the_space(
    small: dict[str, Taxonomy], class_rules: bool
) -> None:
    """What the class rules forbid is refused, never given the number of another scene."""
    space = Space(small["home"], SceneSpec(complexity=(1, 3), realism=0.5 if class_rules else 0.0))
    every = set().union(*(scenes(HOME, c, class_rules=False) for c in (1, 2, 3)))
    inside = set().union(*(scenes(HOME, c, class_rules=class_rules) for c in (1, 2, 3)))
    wrong = []
    for key in sorted(every):
        graph = graph_of_key(HOME, key)
        try:
            found: object = key_of_graph(space[space.index(graph)])
        except SpecError:
            found = None
        except Exception as error:
            found = repr(error)
        if found != (key if key in inside else None):
            wrong.append((key, found))
    assert not wrong, f"{len(wrong)} of {len(every)}, the first: {wrong[0]}"


def test_errors_are_of_the_tree(small: dict[str, Taxonomy]) -> None:
    space = Space(small["bare"], SceneSpec(complexity=(1, 4)))
    for a, b in combinations(["dog", "cup"], 2):
        with pytest.raises(AnySceneError):
            space.index(SceneGraph((Object("0", a), Object("1", b)), (Relation("1", "under", "0"),)))
