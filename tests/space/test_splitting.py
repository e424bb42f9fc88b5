"""Both sides of a split share nothing of what they are split by, and the proof says so for a reason."""

from __future__ import annotations

from functools import cache

import pytest
from brute_force import (
    HOME,
    VOCABULARIES,
    Key,
    Load,
    Noun,
    Predicate,
    Setting,
    Value,
    Vocabulary,
    key_of_graph,
    scenes,
    settings_of,
    smallest,
)

from anyscene.errors import SpecError
from anyscene.scene import Attribute, Object, SceneGraph, count_structures
from anyscene.space import Holdout, SceneSpec, Space, graph_of_row, prove_split
from anyscene.taxonomy import Taxonomy

SIDES = ("train", "test")


@cache
def town() -> Vocabulary:
    return Vocabulary(
        nouns=tuple(Noun(f"noun {i}", "ab"[i % 2]) for i in range(60)),
        values=(*(Value(f"color {i}", "color") for i in range(20)), *(Value(f"size {i}", "size", ("a",)) for i in range(20))),
        predicates=tuple(Predicate(f"near {i}", ("any",), ("any", "a")[i % 2 : i % 2 + 1]) for i in range(30)),
        settings=tuple(Setting(f"weather {i}", "weather") for i in range(30)),
    )


def sides(taxonomy: Taxonomy, kind: str, key: int = 0, **options: object) -> list[Space]:
    spec: dict[str, object] = {"complexity": (1, 3), **options}
    return [Space(taxonomy, SceneSpec(holdout=Holdout(kind, side, key=key), **spec)) for side in SIDES]  # type: ignore[arg-type]


def words_of(graph: SceneGraph) -> set[tuple[str, str]]:
    found = {("object", one.name) for one in graph.objects} | {("relation", r.predicate) for r in graph.relations}
    found |= {("attribute", a.value) for one in graph.objects for a in one.attributes}
    return found | {("scene", f"{kind}={value}") for kind, value in settings_of(graph)}


def pairs_of(graph: SceneGraph) -> set[tuple[str, str]]:
    return {(one.name, a.value) for one in graph.objects for a in one.attributes}


def structure_of(graph: SceneGraph) -> Key:
    nodes, edges = key_of_graph(graph)
    return smallest(tuple(("", ("",) * len(values)) for _, values in nodes), tuple((a, "", b) for a, _, b in edges))


WHAT = {
    "element": words_of,
    "pair": pairs_of,
    "structure": lambda graph: {structure_of(graph)},
    "pair+structure": lambda graph: pairs_of(graph) | {structure_of(graph)},
}


@pytest.mark.parametrize("kind", WHAT)
@pytest.mark.parametrize("key", [0, 1, 2])
def test_no_scene_of_one_side_has_what_the_other_side_has(load: Load, kind: str, key: int) -> None:
    """Over every scene of both sides."""
    found = []
    complexity = (3, 3) if "structure" in kind else (2, 2)
    for space in sides(load(town()), kind, key, complexity=complexity, scene_attributes=(0, 1 if kind == "element" else 0)):
        own: set[object] = set()
        for i in range(0, space.size, 1 + space.size // 4000):
            own |= WHAT[kind](space[i])
        found.append(own)
    assert found[0] and found[1] and not found[0] & found[1]


@pytest.mark.parametrize("kind", WHAT)
def test_rows_keep_to_their_side(load: Load, kind: str) -> None:
    found = []
    for space in sides(load(town()), kind, complexity=(3, 6)):
        rows = space.rows(seed=0)
        batch = rows.rows(0, min(1500, rows.capacity))
        found.append(set().union(*(WHAT[kind](graph_of_row(space.taxonomy, batch, i)) for i in range(batch.rows))))
    assert found[0] and found[1] and not found[0] & found[1]


@pytest.mark.parametrize("kind", WHAT)
@pytest.mark.parametrize("key", [0, 1, 2, 3])
def test_the_proof_counts_what_the_sides_have(load: Load, kind: str, key: int) -> None:
    train, test = sides(load(town()), kind, key, scene_attributes=(0, 1))
    proof = prove_split(train, test)
    assert proof["by"] == kind and proof["test_share"] == 0.2
    checked = proof["checked"]
    for one in kind.split("+"):
        assert checked[f"{one}s"]["shared"] == 0 and checked[f"{one}s"]["train"] > checked[f"{one}s"]["test"] > 0
    if kind == "element":
        assert checked["elements"]["train"] + checked["elements"]["test"] == 60 + 40 + 30 + 30
    if kind == "pair":
        assert checked["pairs"]["train"] + checked["pairs"]["test"] == 60 * 20 + 30 * 20
        assert checked["elements"]["shared"] > 0
    if kind == "structure":
        assert checked["structures"]["train"] + checked["structures"]["test"] == sum(map(count_structures, (1, 2, 3)))
        assert checked["pairs"]["shared"] == 60 * 20 + 30 * 20


def test_pairs_and_structures_of_both_sides_are_all_there_are(small: dict[str, Taxonomy]) -> None:
    expected = {c: len(scenes(HOME, c)) for c in (1, 2, 3)}
    assert sum(space.size for space in sides(small["home"], "structure")) == sum(expected.values())
    one_attribute = sides(small["home"], "pair", complexity=(2, 2), objects=(1, 1))
    pairs = {key for key in scenes(HOME, 2) if len(key[0]) == 1}
    found = [{key_of_graph(space[i]) for i in range(space.size)} for space in one_attribute]
    assert found[0] | found[1] == pairs and not found[0] & found[1]


@pytest.mark.parametrize("kind", WHAT)
def test_shares_are_as_asked(shipped: Taxonomy, kind: str) -> None:
    by_structure = "structure" in kind
    spec = {"complexity": (5, 7) if by_structure else (1, 3)}
    spaces = [Space(shipped, SceneSpec(holdout=Holdout(kind, side, test_parts=3, parts=10), **spec)) for side in SIDES]  # type: ignore[arg-type]
    proof = prove_split(*spaces)
    assert proof["test_share"] == 0.3
    for one in kind.split("+"):
        sizes = proof["checked"][f"{one}s"]
        assert sizes["shared"] == 0
        assert sizes["test"] / (sizes["train"] + sizes["test"]) == pytest.approx(0.3, abs=0.05 if by_structure else 0.02)


def test_several_kinds_have_one_name_in_whatever_order() -> None:
    assert Holdout("structure+pair", "test") == Holdout("pair+structure", "test")
    for wrong in ("pair+", "pair+scene", "+"):
        with pytest.raises(SpecError, match="several with a plus"):
            Holdout(wrong, "test")


def test_keys_give_different_splits(load: Load) -> None:
    tests = [sides(load(town()), "element", key, complexity=(1, 1))[1] for key in range(6)]
    assert len({frozenset(space[i].objects[0].name for i in range(space.size)) for space in tests}) == 6


# ---- the proof can fail -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WHAT)
def test_the_proof_fails_where_a_side_is_compared_with_itself(load: Load, kind: str) -> None:
    train, _ = sides(load(town()), kind)
    with pytest.raises(SpecError, match=f"share .* {kind.split('+')[0]}s"):
        prove_split(train, train)


@pytest.mark.parametrize("kind", WHAT)
def test_the_proof_fails_where_the_sides_have_different_keys(load: Load, kind: str) -> None:
    (train, _), (_, test) = sides(load(town()), kind, 0), sides(load(town()), kind, 1)
    with pytest.raises(SpecError, match=f"share .* {kind.split('+')[0]}s"):
        prove_split(train, test)


def test_the_proof_fails_without_a_split(small: dict[str, Taxonomy]) -> None:
    space = Space(small["home"], SceneSpec(complexity=(1, 3)))
    with pytest.raises(SpecError, match="holdout"):
        prove_split(space, space)
    with pytest.raises(SpecError, match="holdout"):
        prove_split(sides(small["home"], "pair")[0], space)


@pytest.mark.parametrize("kind", ["element", "pair"])
def test_a_contained_graph_that_both_sides_have_is_shared(load: Load, kind: str) -> None:
    """A red noun in every scene of both sides: they share the words and the pair, and the proof has to say so."""
    seed = SceneGraph((Object("a", "noun 3", (Attribute("color", "color 3"),)),))
    try:
        train, test = sides(load(town()), kind, containing=seed)
    except SpecError:
        return  # refusing such a spec is as good
    assert all(("noun 3", "color 3") in pairs_of(space[0]) for space in (train, test))
    with pytest.raises(SpecError, match="share"):
        prove_split(train, test)


@pytest.mark.parametrize("name", ["bare", "lonely", "mono"])
@pytest.mark.parametrize("kind", ["pair", "structure"])
def test_the_proof_needs_no_attributes_and_no_relations(small: dict[str, Taxonomy], name: str, kind: str) -> None:
    assert VOCABULARIES[name]
    proof = prove_split(*sides(small[name], kind, complexity=(1, 4)))
    assert proof["checked"][f"{kind}s"]["shared"] == 0
