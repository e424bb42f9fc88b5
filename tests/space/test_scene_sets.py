"""Sets of scene attributes: counted, numbered and drawn as the contradictions say, read both ways."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from brute_force import MONO, SETTINGS, Load, Setting, Vocabulary, agree, setting_sets, settings_of
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.errors import AnySceneError, SpecError
from anyscene.scene import Object, SceneAttribute, SceneGraph
from anyscene.space import SceneSpec, Space, graph_of_row
from anyscene.taxonomy import Taxonomy

ALL = {(one.kind, one.name): one for one in SETTINGS.settings}


def spaces(load: Load, sizes: tuple[int, int], modality: str = "image", vocabulary: Vocabulary = SETTINGS) -> Space:
    return Space(load(vocabulary), SceneSpec(complexity=(1, 1), scene_attributes=sizes, modality=modality))


def test_a_contradiction_is_read_both_ways() -> None:
    """Of the brute force: `oil` and `pan`, `fog` and `cave` exclude each other whoever says so."""
    for pair in [("style", "oil", "motion", "pan"), ("weather", "fog", "place", "cave"), ("weather", "rain", "place", "city")]:
        one, other = ALL[pair[:2]], ALL[pair[2:]]
        assert not agree(one, other) and not agree(other, one)


@pytest.mark.parametrize("modality", ["image", "video", "3d"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_sets_are_those_of_brute_force(load: Load, size: int, modality: str) -> None:
    space = spaces(load, (size, size), modality)
    expected = setting_sets(SETTINGS, size, modality)
    assert space.set_counts == {size: len(expected)} and space.size == len(expected)
    assert {settings_of(space[i]) for i in range(space.size)} == expected


def test_there_are_sets_of_every_size_to_be_counted() -> None:
    """By hand: 12 values; 56 pairs of two types, 11 of which contradict each other."""
    assert [len(setting_sets(SETTINGS, size, "video")) for size in range(5)] == [1, 12, 45, 62, 26]


def test_every_set_has_its_own_number(load: Load) -> None:
    space = spaces(load, (0, 4), "video")
    for i in range(space.size):
        graph = space[i]
        assert space.index(graph) == i
        assert space.index(replace(graph, scene_attributes=graph.scene_attributes[::-1])) == i


def test_a_scene_takes_every_set(load: Load) -> None:
    space = Space(load(SETTINGS), SceneSpec(complexity=(1, 3), scene_attributes=(1, 3)))
    sets = sum(len(setting_sets(SETTINGS, size)) for size in (1, 2, 3))
    assert space.size == (1 + 2 + 3) * sets
    seen = Counter(settings_of(space[i]) for i in range(space.size))
    assert set(seen.values()) == {6} and len(seen) == sets


def test_values_stand_in_word_order(load: Load) -> None:
    taxonomy = load(SETTINGS)
    order = {name: i for i, name in enumerate(taxonomy.scene_attribute_types.names)}
    space = spaces(load, (3, 3))
    for i in range(space.size):
        kinds = [order[a.type] for a in space[i].scene_attributes]
        assert kinds == sorted(kinds)


BALL = (Object("a", "ball"),)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ((("weather", "fog"), ("place", "cave")), "contradict"),
        ((("place", "cave"), ("weather", "fog")), "contradict"),
        ((("weather", "fog"), ("weather", "sun")), "one type"),
        ((("light", "dawn"),), "not one that this space has"),
        ((("weather", "hail"),), "taxonomy lacks"),
        ((("light", "fog"),), "taxonomy lacks"),
        ((("weather", "fog"), ("light", "dusk"), ("style", "oil"), ("place", "city")), "0 to 3"),
    ],
)
def test_a_set_that_is_not_in_the_space_has_no_number(load: Load, attributes: tuple[tuple[str, str], ...], message: str) -> None:
    space = spaces(load, (0, 3))
    with pytest.raises(SpecError, match=message):
        space.index(SceneGraph(BALL, (), tuple(SceneAttribute(*one) for one in attributes)))


def test_one_value_twice_is_no_set(load: Load) -> None:
    fog = SceneAttribute("weather", "fog")
    with pytest.raises(AnySceneError):
        spaces(load, (0, 3)).index(SceneGraph(BALL, (), (fog, fog)))


def test_a_vocabulary_without_scene_attributes_has_no_sets(load: Load) -> None:
    assert spaces(load, (0, 2), vocabulary=MONO).set_counts == {0: 1, 1: 0, 2: 0}
    assert spaces(load, (1, 2), vocabulary=MONO).size == 0


# ---- drawing ------------------------------------------------------------------------------------------------------------------


def drawn(space: Space, count: int, size: int) -> list[tuple[int, ...]]:
    keys = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    values, counts = space.sets.draw(np.full(count, size, dtype=np.int64), keys)
    assert counts.tolist() == [size] * count
    return [tuple(row) for row in values.reshape(count, size).tolist()]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_drawn_sets_keep_the_rules_and_reach_every_set(load: Load, size: int) -> None:
    space = spaces(load, (size, size), "video")
    sets = drawn(space, 4000, size)
    assert set(sets) == {space.sets.unrank(size, i) for i in range(space.sets.count(size))}


def test_drawn_sizes_are_those_asked_for(load: Load) -> None:
    space = spaces(load, (0, 4), "video")
    sizes = np.arange(500, dtype=np.int64) % 5
    values, counts = space.sets.draw(sizes, np.arange(500, dtype=np.uint64) * np.uint64(77777777777))
    assert (counts == sizes).all() and len(values) == sizes.sum()
    row = np.repeat(np.arange(500), sizes)
    for i in range(500):
        own = tuple(values[row == i].tolist())
        assert space.sets.unrank(len(own), space.sets.rank(own)) == own


def test_types_are_drawn_by_weight(load: Load) -> None:
    """Types with many values do not drown the others; a weight of 3 counts three times."""
    many = tuple(Setting(f"filter {i}", "filter") for i in range(60))
    vocabulary = replace(SETTINGS, settings=(*SETTINGS.settings, *many), weights=(("scene_attribute", "light", 3.0),))
    space = spaces(load, (1, 1), vocabulary=vocabulary)
    kinds = space.taxonomy.scene_attributes.type_index
    names = space.taxonomy.scene_attribute_types.names
    found = Counter(names[kinds[one[0]]] for one in drawn(space, 8000, 1))
    assert found.keys() == {"weather", "place", "light", "style", "filter"}
    for name, count in found.items():
        assert count / 8000 == pytest.approx((3 if name == "light" else 1) / 7, abs=0.02), name


def test_sets_that_are_hard_to_draw_are_still_drawn(load: Load) -> None:
    """One pair out of 4,000 goes together: drawing at random would hardly ever find it."""
    a = tuple(Setting(f"a{i}", "a", ("b",) if i else ()) for i in range(40))
    b = tuple(Setting(f"b{i}", "b", () if not i else ("a",)) for i in range(100))
    space = spaces(load, (2, 2), vocabulary=replace(MONO, settings=(*a, *b)))
    assert space.sets.count(2) == 1
    assert set(drawn(space, 200, 2)) == {space.sets.unrank(2, 0)}


def test_rows_carry_the_sets(load: Load) -> None:
    """Numbers of scene attributes are as even as there are sets of them."""
    vocabulary = replace(SETTINGS, nouns=tuple(replace(MONO.nouns[0], name=f"noun {i}") for i in range(1200)))
    space = Space(load(vocabulary), SceneSpec(complexity=(2, 3), scene_attributes=(0, 2), objects=(2, 2)))
    rows = space.rows(seed=3)
    batch = rows.rows(0, 900)
    graphs = [graph_of_row(space.taxonomy, batch, i) for i in range(900)]
    sizes = Counter(len(graph.scene_attributes) for graph in graphs)
    assert all(290 <= sizes[size] <= 310 for size in (0, 1, 2)), sizes
    for graph in graphs:
        vocabulary.check(graph)


# ---- any contradictions -------------------------------------------------------------------------------------------------------


@st.composite
def some_settings(draw: st.DrawFn) -> Vocabulary:
    count = draw(st.integers(2, 7))
    kinds = [draw(st.sampled_from("abcde")) for _ in range(count)]
    names = [f"{kind}=v{i}" for i, kind in enumerate(kinds)]
    entries = st.sampled_from([*names, *sorted(set(kinds))])
    against = [tuple(draw(st.lists(entries, max_size=2, unique=True))) for _ in range(count)]
    return replace(MONO, settings=tuple(Setting(f"v{i}", kind, own) for i, (kind, own) in enumerate(zip(kinds, against, strict=True))))


@settings(max_examples=60, deadline=None)
@given(vocabulary=some_settings())
def test_any_contradictions_are_counted_and_numbered(load: Load, vocabulary: Vocabulary) -> None:
    space = spaces(load, (0, 4), vocabulary=vocabulary)
    expected = [setting_sets(vocabulary, size) for size in range(5)]
    assert list(space.set_counts.values()) == list(map(len, expected))
    graphs = [space[i] for i in range(space.size)]
    assert {settings_of(graph) for graph in graphs} == set().union(*expected)
    assert [space.index(graph) for graph in graphs] == list(range(space.size))


def test_the_shipped_sets_of_two_are_all_pairs_without_conflict(shipped: Taxonomy) -> None:
    space = Space(shipped, SceneSpec(complexity=(1, 1), scene_attributes=(1, 2)))
    values = space.sets.values
    free = ~shipped.scene_conflicts[np.ix_(values, values)]
    assert space.set_counts == {1: len(values), 2: int(np.triu(free, 1).sum())}
    rng = np.random.default_rng(0)
    for rank in rng.integers(0, space.set_counts[2], 200).tolist():
        one = space.sets.unrank(2, rank)
        assert space.sets.rank(one) == rank and not any(shipped.scene_conflicts[a, b] for a, b in combinations(one, 2))
